"""iexworker: a compute-node daemon for iExec workerpools."""

__version__ = "0.1.0"

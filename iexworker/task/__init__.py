"""One replicate from grant to purge: state machine, journal, recovery."""

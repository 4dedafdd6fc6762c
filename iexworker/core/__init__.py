"""The protocol of the scheduler (iexec-core): codecs, messages, client."""

"""The work of the scheduling process: events in, effects out."""

"""Finds the tasks that the journal lacks: on the chain, in task folders, at the scheduler."""

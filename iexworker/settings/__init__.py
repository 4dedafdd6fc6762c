"""What the operator sets: read from the environment and files, checked, and frozen."""

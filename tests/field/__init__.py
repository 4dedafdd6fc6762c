"""What other people's machines showed: one test for each kind of fault found in the field."""

"""One replicate from grant to purge: its lifecycle and rules, pure, and the journal."""

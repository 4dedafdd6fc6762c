"""How fast and how small the worker is, beside the bars of its design (scripts/bench)."""

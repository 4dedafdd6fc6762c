"""The parent of the tree: forks, restarts, stops, and tells systemd and the operator."""

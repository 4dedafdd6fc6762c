"""A whole run on the local network: a worker, three tasks, a balance sheet."""

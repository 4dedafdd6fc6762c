"""One module a process of the worker; each has a `run(context)`."""

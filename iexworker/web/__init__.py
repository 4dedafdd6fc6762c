"""The HTTP face of the worker: metrics, health, version."""

"""The result of a task: digest, archive, upload."""

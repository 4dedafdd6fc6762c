"""The local scheduler: tasks, replicates, grants, notifications, as iexec-core behaves."""

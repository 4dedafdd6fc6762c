"""All shared memory and queues between processes, and nothing else."""

"""All I/O of the operator: third-party clients are imported here and nowhere else."""

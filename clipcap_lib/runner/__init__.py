"""Running experiments: files, jobs, freshness, what a machine has, and progress."""

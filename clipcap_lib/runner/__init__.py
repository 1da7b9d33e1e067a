"""Running experiments: files and axes, jobs, freshness, forked kernels, GPUs, Ray, what a machine has, and progress."""

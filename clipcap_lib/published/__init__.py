"""What others published: checkpoints and embedding pickles, read without running code."""

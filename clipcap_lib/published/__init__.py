"""What others published: checkpoints, pickles and folders of embeddings, read without running code."""

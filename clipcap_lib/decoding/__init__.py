"""Decoding: from image embeddings to captions; `decode` is the one way in."""

"""Corpora: caption files of every format and shards, checked, split and prepared once."""

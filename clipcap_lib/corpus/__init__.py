"""Corpora: caption files of every format, checked, split and prepared once."""

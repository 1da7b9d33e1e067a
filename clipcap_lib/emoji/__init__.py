"""Emoji scenes: the generated corpus, its language, and what is true of each picture."""

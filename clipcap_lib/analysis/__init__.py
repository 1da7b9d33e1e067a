"""Analysis of finished runs: what their losses, captions and prefixes say."""

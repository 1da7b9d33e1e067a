"""Metrics of captions: against references, without them, and by CLIP."""

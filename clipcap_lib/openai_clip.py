"""OpenAI's package `clip`, imported without the warning that its use of `pkg_resources` raises."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import clip
    from clip.clip import _transform as transform
    from clip.model import CLIP

__all__ = ["CLIP", "clip", "transform"]

"""OpenAI's package `clip`, imported without the warning that its use of `pkg_resources` raises."""

import warnings
from collections.abc import Callable

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import clip
    from clip.clip import _MODELS as DOWNLOADS
    from clip.clip import _transform as transform
    from clip.model import CLIP

__all__ = ["CLIP", "DOWNLOADS", "clip", "load_clip", "transform"]


def load_clip(name: str, device: str) -> tuple[CLIP, Callable]:
    """`clip.load`, without the warning that its first try, a TorchScript archive, raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
        return clip.load(name, device=device)

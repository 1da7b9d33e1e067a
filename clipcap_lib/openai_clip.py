"""OpenAI's package `clip`, imported without the warning that its use of `pkg_resources` raises."""

import warnings
from collections.abc import Callable
from pathlib import Path

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import clip
    from clip.clip import _MODELS as DOWNLOADS
    from clip.clip import _transform as transform
    from clip.model import CLIP

__all__ = ["CLIP", "DOWNLOADS", "clip", "load_clip", "reads_only_english", "transform"]


def reads_only_english(encoder: str) -> bool:
    """Whether an encoder, such as `clip:ViT-B/32`, is one that OpenAI published: by name, or as its file."""
    family, _, model = encoder.partition(":")
    files = {url.rpartition("/")[2] for url in DOWNLOADS.values()}
    return family == "clip" and (model in DOWNLOADS or Path(model).name in files)


def load_clip(name: str, device: str) -> tuple[CLIP, Callable]:
    """`clip.load`, without the warning that its first try, a TorchScript archive, raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
        return clip.load(name, device=device)

"""OpenAI's package `clip`, imported without the warning that its use of `pkg_resources` raises."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import clip
    from clip.clip import _MODELS as DOWNLOADS
    from clip.clip import _transform as transform
    from clip.model import CLIP

from clipcap_lib.files import FOREVER, claimed

_CACHE = Path("~/.cache/clip").expanduser()  # where the package keeps what it downloads
__all__ = ["CLIP", "DOWNLOADS", "can_read", "clip", "load_clip", "transform"]


def can_read(encoder: str, language: str) -> bool:
    """Whether captions in a language can be judged by an encoder, such as `clip:ViT-B/32`.

    What OpenAI published, told by its name, its file's or its hub id, reads English only.
    """
    family, _, model = encoder.partition(":")
    if family == "hf":
        return language == "en" or not model.startswith("openai/clip-")
    files = {url.rpartition("/")[2] for url in DOWNLOADS.values()}
    return language == "en" or (model not in DOWNLOADS and Path(model).name not in files)


def load_clip(name: str, device: str) -> tuple[CLIP, Callable]:
    """`clip.load`, one process at a time where it downloads, as the package writes straight into its cache.

    Without the warning that its first try, a TorchScript archive, raises.
    """
    alone = claimed(_CACHE / name.replace("/", "-"), wait=FOREVER) if name in DOWNLOADS else nullcontext()
    with alone, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
        return clip.load(name, device=device)

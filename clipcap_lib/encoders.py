"""Image encoders by name: `clip:ViT-B/32` and `clip:model.pt` (OpenAI's), `hf:<id or folder>` (transformers)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel, AutoProcessor

from clipcap_lib.openai_clip import clip, load_clip
from clipcap_lib.pictures import READING
from clipcap_lib.quiet import no_progress_bars


@dataclass(frozen=True)
class Encoder:
    """An image encoder, with its text side where there is one.

    `preprocess` turns a picture into a tensor [3, input_size, input_size]; `encode_images` maps [B, 3, S, S] to
    [B, width] float32, not normalised; `encode_texts` maps B strings to [B, width], or is `None`; `logit_scale` is
    what cosines of the two were multiplied by in training. `fingerprint`
    identifies weights and preprocessing together: features of different fingerprints must not be mixed.
    """

    name: str
    width: int
    input_size: int
    fingerprint: str
    preprocess: Callable[[Image.Image], Tensor]
    encode_images: Callable[[Tensor], Tensor]
    encode_texts: Callable[[list[str]], Tensor] | None
    logit_scale: float


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """Load an image encoder by name.

    Raises `ValueError` for an unknown family or model, `FileNotFoundError` for a `.pt` file that is not there.
    """
    family, _, model = name.partition(":")
    loaders = {"clip": _load_openai, "hf": _load_transformers}
    if family not in loaders or not model:
        raise ValueError(f"encoder {name!r}: write clip:<model or .pt file> or hf:<id or folder>, e.g. clip:ViT-B/32")
    return loaders[family](name, model, device)


def _fingerprint(model: nn.Module, preprocess: object) -> str:
    digest = hashlib.sha256(f"{READING} {preprocess!r}".encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _load_openai(name: str, model_name: str, device: str) -> Encoder:
    is_file = model_name.endswith(".pt")
    if is_file and not Path(model_name).is_file():
        raise FileNotFoundError(f"encoder {name!r}: there is no file {model_name}")
    if not is_file and model_name not in clip.available_models():
        raise ValueError(f"encoder {name!r}: OpenAI's models are {', '.join(clip.available_models())}")
    model, preprocess = load_clip(model_name, device)
    model.eval().requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)  # a CPU convolves half as fast again

    def encode_texts(texts: list[str]) -> Tensor:
        return model.encode_text(clip.tokenize(texts, truncate=True).to(device)).float()

    def encode_images(pixels: Tensor) -> Tensor:
        return model.encode_image(pixels.to(device, memory_format=torch.channels_last)).float()

    width, size = model.text_projection.shape[1], model.visual.input_resolution
    stamp = _fingerprint(model, (type(model).__name__, size))
    return Encoder(name, width, size, stamp, preprocess, encode_images, encode_texts, _scale(model))


def _load_transformers(name: str, model_name: str, device: str) -> Encoder:
    with no_progress_bars():
        model = AutoModel.from_pretrained(model_name)
    model = model.to(device).eval().requires_grad_(False)
    processor = AutoProcessor.from_pretrained(model_name)

    def preprocess(image: Image.Image) -> Tensor:
        return processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]

    def encode_images(pixels: Tensor) -> Tensor:
        return _pooled(model.get_image_features(pixel_values=pixels.to(device, model.dtype)))

    def encode_texts(texts: list[str]) -> Tensor:
        # SigLIP was trained with padding to the full length; the others mask it.
        padding = "max_length" if model.config.model_type.startswith("siglip") else True
        tokens = processor(text=texts, padding=padding, truncation=True, return_tensors="pt").to(device)
        return _pooled(model.get_text_features(**tokens))

    blank = preprocess(Image.new("RGB", (8, 8)))
    width = encode_images(blank[None]).shape[-1]
    stamp = _fingerprint(model, processor)
    return Encoder(name, width, blank.shape[-1], stamp, preprocess, encode_images, encode_texts, _scale(model))


def _scale(model: nn.Module) -> float:
    return float(model.logit_scale.detach().exp())


def _pooled(output: object) -> Tensor:
    # transformers 5 wraps the projected embedding in an output object for some models.
    return (output if isinstance(output, Tensor) else output.pooler_output).float()

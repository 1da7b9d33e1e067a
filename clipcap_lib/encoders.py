"""Image encoders by name: `clip:ViT-B/32` and `clip:model.pt` (OpenAI's), `hf:<id or folder>` (transformers)."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel, AutoProcessor, ProcessorMixin

from clipcap_lib.images import READING
from clipcap_lib.openai_clip import CLIP, DOWNLOADS, can_read, clip, load_clip
from clipcap_lib.settings import FeatureKind, Language
from clipcap_lib.system import best_device, no_progress_bars


@dataclass(frozen=True)
class Encoder:
    """An image encoder, with its text side where there is one.

    `preprocess` turns a picture into a tensor [3, input_size, input_size]; `encode_images` maps [B, 3, S, S] to
    [B, width] float32 in main memory, not normalised; `encode_texts` maps B strings to [B, width], or is `None`;
    `logit_scale` is what cosines of the two were multiplied by in training. `fingerprint` identifies weights and
    preprocessing together: features of different fingerprints must not be mixed. `encode_grid` maps the same pixels to
    the image's tokens [B, T, D], before they are pooled or projected; `grid` is (T, D).
    """

    name: str
    width: int
    input_size: int
    fingerprint: str
    preprocess: Callable[[Image.Image], Tensor]
    encode_images: Callable[[Tensor], Tensor]
    encode_texts: Callable[[list[str]], Tensor] | None
    logit_scale: float
    encode_grid: Callable[[Tensor], Tensor] | None = None
    grid: tuple[int, int] = (0, 0)

    def shape(self, kind: FeatureKind) -> tuple[int, ...]:
        """The shape of a picture's features: (width,), or (T, D) of a grid; raises `ValueError` where there is none."""
        if kind == "grid" and self.encode_grid is None:
            raise ValueError(f"{self.name} makes one embedding a picture and no grid of tokens; use features: pooled")
        return self.grid if kind == "grid" else (self.width,)

    def encode(self, pixels: Tensor, kind: FeatureKind) -> Tensor:
        """The features of pictures [B, 3, S, S]: embeddings [B, width], or tokens [B, T, D]."""
        return self.encode_grid(pixels) if kind == "grid" else self.encode_images(pixels)

    def judging(self, language: Language) -> "Encoder":
        """The same encoder, without its text side where that cannot read the language of the captions."""
        return self if can_read(self.name, language) else replace(self, encode_texts=None)


def load_encoder(name: str, device: str | None = None) -> Encoder:
    """Load an image encoder by name, onto a GPU where there is one and no other device is asked for.

    Raises `ValueError` for an unknown family or model, a download that fails or whose sha256 is not the one in its
    URL, and weights that are missing or of another kind; `FileNotFoundError` for a `.pt` file that is not there.
    """
    family, _, model = name.partition(":")
    loaders = {"clip": _load_openai, "hf": _load_transformers}
    if family not in loaders or not model:
        raise ValueError(f"encoder {name!r}: write clip:<model or .pt file> or hf:<id or folder>, e.g. clip:ViT-B/32")
    return loaders[family](name, model, device or best_device())


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
    model, preprocess = _open_clip(name, model_name, device)
    model.eval().requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)  # a CPU convolves half as fast again

    def encode_texts(texts: list[str]) -> Tensor:
        tokens = clip.tokenize(texts, truncate=True).to(device)
        longest = int(tokens.argmax(-1).max()) + 1  # the end token has the highest number; no text looks behind its own
        return model.encode_text(tokens[:, :longest]).float().cpu()

    def encode_images(pixels: Tensor) -> Tensor:
        return model.encode_image(pixels.to(device, memory_format=torch.channels_last)).float().cpu()

    def encode_grid(pixels: Tensor) -> Tensor:
        pixels = pixels.to(device, model.dtype, memory_format=torch.channels_last)
        return _openai_grid(model.visual, pixels).float().cpu()

    width, size, scale = model.text_projection.shape[1], model.visual.input_resolution, _scale(model)
    stamp, grid = _fingerprint(model, (type(model).__name__, size)), _openai_grid_shape(model.visual)
    return Encoder(name, width, size, stamp, preprocess, encode_images, encode_texts, scale, encode_grid, grid)


def _openai_grid(visual: nn.Module, pixels: Tensor) -> Tensor:
    """What a ResNet pools by attention; the tokens a ViT ends with, of which its own `forward` keeps the first."""
    if hasattr(visual, "attnpool"):
        return nn.Sequential(*visual.children())[:-1](pixels).flatten(2).transpose(1, 2)
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.to(pixels.dtype).expand(len(pixels), 1, -1), patches], 1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding.to(pixels.dtype))
    return visual.ln_post(visual.transformer(tokens.transpose(0, 1)).transpose(0, 1))


def _openai_grid_shape(visual: nn.Module) -> tuple[int, int]:
    if hasattr(visual, "attnpool"):
        return tuple(visual.attnpool.positional_embedding[1:].shape)  # the first is that of the mean
    return tuple(visual.positional_embedding.shape)


def _open_clip(name: str, model_name: str, device: str) -> tuple[CLIP, Callable]:
    try:
        return load_clip(model_name, device)
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        url = DOWNLOADS.get(model_name)
        advice = f"run again, or fetch {url} yourself and write clip:<that file>" if url else "is it OpenAI's CLIP?"
        raise ValueError(f"encoder {name!r} does not load ({_in_one_line(error)}); {advice}") from error


def _load_transformers(name: str, model_name: str, device: str) -> Encoder:
    # Half precision saves time on a GPU and costs four times as much on a CPU.
    model, processor = _open_transformers(name, model_name, torch.float32 if device == "cpu" else "auto")
    model = model.to(device).eval().requires_grad_(False)
    # A tokenizer published without a limit, as SigLIP 2's is, would neither pad nor cut.
    limit = min(processor.tokenizer.model_max_length, model.config.text_config.max_position_embeddings)

    def preprocess(image: Image.Image) -> Tensor:
        return processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]

    def vision(pixels: Tensor) -> object:
        return model.get_image_features(pixel_values=pixels.to(device, model.dtype))

    def encode_images(pixels: Tensor) -> Tensor:
        return _pooled(vision(pixels))

    def encode_grid(pixels: Tensor) -> Tensor:
        return vision(pixels).last_hidden_state.float().cpu()

    def encode_texts(texts: list[str]) -> Tensor:
        # SigLIP was trained with padding to the full length; the others mask it.
        padding = "max_length" if model.config.model_type.startswith("siglip") else True
        tokens = processor(text=texts, padding=padding, truncation=True, max_length=limit, return_tensors="pt")
        return _pooled(model.get_text_features(**tokens.to(device)))

    blank = preprocess(Image.new("RGB", (8, 8)))
    if blank.ndim != 3:  # SigLIP 2 NaFlex makes patches of any picture
        raise ValueError(f"encoder {name!r}: {type(model).__name__} has no fixed input size; take a variant with one")
    seen, size, scale = vision(blank[None]), blank.shape[-1], _scale(model)
    tokens = getattr(seen, "last_hidden_state", None)
    grid = tuple(tokens.shape[1:]) if tokens is not None and tokens.ndim == 3 else (0, 0)
    width, encode_grid = _pooled(seen).shape[-1], encode_grid if any(grid) else None
    stamp = _fingerprint(model, processor.image_processor)  # a tokenizer shows the folder it came from
    return Encoder(name, width, size, stamp, preprocess, encode_images, encode_texts, scale, encode_grid, grid)


def _open_transformers(name: str, model_name: str, dtype: torch.dtype | str) -> tuple[nn.Module, ProcessorMixin]:
    try:
        with no_progress_bars():
            model, report = AutoModel.from_pretrained(model_name, dtype=dtype, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(model_name)
    except (OSError, ValueError, ImportError) as error:
        tried = "does not load" if Path(model_name).is_dir() else "is no folder here, nor does it load from the hub"
        raise ValueError(f"encoder {name!r} {tried}: {_in_one_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"encoder {name!r}: weights {missing[:5]} are missing and would be random")
    if not all(hasattr(model, part) for part in ("get_image_features", "get_text_features", "logit_scale")):
        raise ValueError(f"encoder {name!r}: {type(model).__name__} is no pair of image and text sides as CLIP is")
    # transformers makes do without a vocabulary, and every word is then unknown.
    if set(processor.tokenizer.get_vocab()) <= set(processor.tokenizer.all_special_tokens):
        raise ValueError(f"encoder {name!r}: the vocabulary of its tokenizer is missing")
    return model, processor


def _in_one_line(error: Exception) -> str:
    return shorten(str(error), 200, placeholder=" …")


def _scale(model: nn.Module) -> float:
    return float(model.logit_scale.detach().exp())


def _pooled(output: object) -> Tensor:
    # transformers 5 wraps the projected embedding in an output object for some models.
    return (output if isinstance(output, Tensor) else output.pooler_output).float().cpu()

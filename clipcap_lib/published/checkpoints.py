"""Published ClipCap checkpoints: what a file holds is read from its keys, never from its name."""

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from clipcap_lib.decoding.shared_prefix import check_shared_prefix
from clipcap_lib.language_model import load_language_model
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.settings import Language, Mapping

# Masks and counters that older versions of transformers stored beside the weights.
OLD_BUFFERS = re.compile(r"\.attn\.(masked_)?bias$|\.position_ids$")
UNUSED = re.compile(r"^(bert\.pooler\.|bert\.embeddings\.word_embeddings\.)")  # of BERT, which only sees embeddings
HEADS = 8  # no key tells; every published mapper has as many


@dataclass(frozen=True)
class Family:
    """One implementation: the roots of its keys, what its captions end with, and the language it was made for."""

    name: str
    language_model: str
    mapper: str
    stop_token: str | None
    language: Language


FAMILIES = (
    Family("ClipCap-Chinese", "gpt2.", "clip_project.", "[SEP]", "zh"),
    Family("rmokady/CLIP_prefix_caption", "gpt.", "clip_project.", ".", "en"),
    Family("Lightning rewrite", "language_model.", "transformer_mapper.", None, "en"),
)
SIGNS: dict[str, Mapping] = {"model.": "mlp", "bert.": "bert", "transformer.": "transformer", "weight": "linear"}


@dataclass(frozen=True)
class Published:
    """A checkpoint taken apart. `found` is read off the file, `assumed` is what no file says."""

    family: Family
    mapping: Mapping
    mapper: dict[str, Tensor]
    language_model: dict[str, Tensor]
    found: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Published:
    """Read a checkpoint of a public ClipCap implementation (tensors and plain containers only).

    Raises `FileNotFoundError`, or `ValueError` for a file that holds anything else or whose keys fit no family.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    weights = _load(path)
    kept = {key: weight.float() for key, weight in weights.items() if not OLD_BUFFERS.search(key)}
    family = _family(path, kept)
    mapper = {key.removeprefix(family.mapper): w for key, w in kept.items() if key.startswith(family.mapper)}
    mapping = _mapping(path, mapper)
    language_model = {
        key.removeprefix(family.language_model): w for key, w in kept.items() if key.startswith(family.language_model)
    }
    _tie(path, language_model)
    found = {"family": family.name, "mapping": mapping, "weights": str(next(iter(weights.values())).dtype)}
    found["dropped"] = f"{len(weights) - len(kept)} old buffers"
    mapper = {key: weight for key, weight in mapper.items() if not UNUSED.match(key)}
    return Published(family, mapping, mapper, language_model, found)


def import_checkpoint(path: Path, language_model: str, encoder: str) -> tuple[ClipCapModel, Published]:
    """Build a captioner from a checkpoint, with the tokenizer and shape of a language model and an encoder's name.

    Raises `ValueError` with the list where weights are missing or surplus, or do not fit the language model.
    """
    published = read_checkpoint(path)
    lm, tokenizer = load_language_model(language_model)
    vocabulary, width = lm.get_input_embeddings().weight.shape
    own = published.language_model.get("transformer.wte.weight")
    if own is not None and tuple(own.shape) != (vocabulary, width):
        raise ValueError(
            f"{path}: its language model has {own.shape[0]:,} tokens of width {own.shape[1]}, "
            f"{language_model} has {vocabulary:,} of width {width}"
        )
    config = _config(path, published, width, language_model, encoder)
    check_shared_prefix(lm, language_model)
    model = ClipCapModel(config, lm, tokenizer)
    model.load_trainable(_renamed(published, model), str(path))
    return model.eval(), published


def _load(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # Lightning keeps its options beside the weights
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean that this file is not read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a checkpoint of tensors alone, so it was not read ({reason:.120})") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content or not all(isinstance(w, Tensor) for w in content.values()):
        raise ValueError(f"{path}: expected a dictionary of named tensors")
    return dict(content)


def _family(path: Path, weights: dict[str, Tensor]) -> Family:
    for family in FAMILIES:
        if all(key.startswith((family.language_model, family.mapper)) for key in weights):
            return family
    strange = [key for key in weights if not key.startswith(tuple(f.language_model for f in FAMILIES))]
    strange = [key for key in strange if not key.startswith(tuple(f.mapper for f in FAMILIES))] or sorted(weights)
    known = "; ".join(f"{f.name}: {f.language_model}* and {f.mapper}*" for f in FAMILIES)
    raise ValueError(f"{path}: keys {strange[:5]} belong to no known implementation ({known})")


def _mapping(path: Path, mapper: dict[str, Tensor]) -> Mapping:
    for sign, mapping in SIGNS.items():
        if any(key.startswith(sign) for key in mapper):
            return mapping
    raise ValueError(f"{path}: the mapping network's keys {sorted(mapper)[:5]} are those of no known one")


def _tie(path: Path, language_model: dict[str, Tensor]) -> None:
    """GPT-2's output weights are its token embeddings: one copy is enough, a different one would be lost."""
    head = language_model.pop("lm_head.weight", None)
    table = language_model.get("transformer.wte.weight")
    if head is not None and table is not None and not torch.equal(head, table):
        raise ValueError(f"{path}: lm_head.weight differs from the token embeddings; GPT-2 ties them")


def _config(path: Path, published: Published, width: int, language_model: str, encoder: str) -> ClipCapConfig:
    mapper, found, assumed = published.mapper, published.found, published.assumed
    first = {"mlp": "model.0.weight", "linear": "weight"}.get(published.mapping, "linear.weight")
    last = {"mlp": "model.2.weight", "linear": "weight"}.get(published.mapping, "prefix_const")
    if missing := sorted({first, last} - mapper.keys()):
        raise ValueError(f"{path}: missing weights {[f'mapper.{key}' for key in missing]}, which tell the sizes")
    rows = mapper[last].shape[0]
    prefix_length = rows if last == "prefix_const" else rows // width
    clip_length = mapper[first].shape[0] // width if last == "prefix_const" else prefix_length
    layers = 1 + max((int(n) for key in mapper for n in re.findall(r"layers?\.(\d+)\.", key)), default=7)
    # rmokady's transformer was trained on unit vectors, everything else on CLIP's own.
    normalize = published.mapping == "transformer" and published.family.language_model == "gpt."
    found |= {"embedding": f"width {mapper[first].shape[1]}", "prefix": f"{prefix_length} positions"}
    assumed |= {
        "normalize": f"{normalize}: as this implementation trained it",
        "stop token": f"{published.family.stop_token or 'the end token of the language model'}",
        "language": f"{published.family.language}: as this implementation was made for",
        "language model": f"{language_model}: tokenizer and shape",
        "encoder": f"{encoder}: only its width can be checked",
    }
    if last == "prefix_const":
        found |= {"image tokens": str(clip_length), "layers": str(layers)}
        assumed["heads"] = f"{HEADS}: as published"
    return ClipCapConfig(
        mapping=published.mapping, tuning="full", encoder=encoder, language_model=language_model,
        clip_size=mapper[first].shape[1], prefix_length=prefix_length, clip_length=clip_length, mapper_layers=layers,
        mapper_heads=HEADS, normalize=normalize, stop_token=published.family.stop_token,
    )  # fmt: skip


def _renamed(published: Published, model: ClipCapModel) -> dict[str, Tensor]:
    weights = {f"mapper.{key}": weight for key, weight in published.mapper.items()}
    weights |= {f"language_model.{key}": weight for key, weight in published.language_model.items()}
    unused = {f"mapper.{key}": weight for key, weight in model.mapper.named_parameters() if UNUSED.match(key)}
    return weights | unused

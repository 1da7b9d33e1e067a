"""The captioner: a mapping network in front of a causal language model, saved so that nothing is stored twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clipcap_lib.adapters import add_adapters, merge_adapters
from clipcap_lib.bridges import BridgeSize, Prompt, build_bridge
from clipcap_lib.decoding.shared_prefix import check_shared_prefix
from clipcap_lib.language_model import lm_head, load_language_model, weights_sha256
from clipcap_lib.mapping import MapperSize, build_mapper
from clipcap_lib.model_card import model_card
from clipcap_lib.packing import Packed, additive_mask, end_token
from clipcap_lib.settings import ClipCapConfig
from clipcap_lib.system import best_device


class ClipCapModel(nn.Module):
    """CLIP embedding → mapping network → bridge → language model; the bridge is a prefix in Mokady et al. 2021.

    Not a transformers `PreTrainedModel`: that class builds on the meta device, where a second pretrained model inside
    the first cannot be loaded by reference. `save_pretrained` and `from_pretrained` follow its conventions.
    """

    def __init__(self, config: ClipCapConfig, language_model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.stop_tokens = _stop_tokens(config, tokenizer)
        language_model.requires_grad_(config.tuning == "full")
        lora = config.tuning == "lora"
        self.language_model = add_adapters(language_model, config.lora_rank) if lora else language_model
        self.mapper = build_mapper(config.mapping, _mapper_size(config, language_model))
        made = _image_tokens(self.mapper, config)
        size = BridgeSize(*made, config.cross_attention_width, self.language_model, tokenizer)
        self.bridge = build_bridge(config.bridge, size)

    @classmethod
    def build(cls, config: ClipCapConfig) -> "ClipCapModel":
        """A captioner with a fresh mapper and the language model the configuration names, on a GPU if there is one.

        Raises `ValueError` for a language model that cannot read several captions behind one prefix.
        """
        language_model, tokenizer = load_language_model(config.language_model)
        check_shared_prefix(language_model, config.language_model)
        return cls(config, language_model, tokenizer).to(best_device())

    @property
    def device(self) -> torch.device:
        return self.language_model.device

    @property
    def prefix_length(self) -> int:
        """P: the positions that stand before the words."""
        return self.bridge.prefix_length

    def train(self, mode: bool = True) -> "ClipCapModel":
        """Switch dropout on or off; a frozen language model never drops out, it is a fixed function."""
        super().train(mode)
        if self.config.tuning == "frozen":
            self.language_model.eval()
        return self

    def prompt(self, features: Tensor) -> Prompt:
        """What captions of images go on from, by their features [B, D] or [B, T, D], from wherever these are."""
        features = features.to(self.device)
        return self.bridge(self.mapper(F.normalize(features, dim=-1) if self.config.normalize else features))

    def prefix(self, features: Tensor) -> Tensor:
        """The prefixes [B, P, n] of features [B, D] or [B, T, D]."""
        return self.prompt(features).prefix

    def forward(self, features: Tensor, packed: Packed) -> Tensor:
        """Logits [N, V] at the caption tokens of packed rows; `features` is [B, D] or [B, T, D]."""
        prompt, packed = self.prompt(features), packed.to(self.device)
        words = self.language_model.get_input_embeddings()(packed.input_ids)
        places, prefix = (packed.prefix_rows, packed.prefix_columns), prompt.prefix.flatten(0, 1).to(words.dtype)
        embeddings = words.index_put(places, prefix)
        with prompt.reading(packed.segments):
            hidden = self.language_model.base_model(
                inputs_embeds=embeddings, attention_mask=additive_mask(packed.mask, embeddings.dtype),
                position_ids=packed.positions, use_cache=False,
            ).last_hidden_state  # fmt: skip
        return lm_head(self.language_model)(hidden[packed.rows, packed.columns])

    def loss(self, features: Tensor, packed: Packed, reduction: str = "mean") -> Tensor:
        """Cross-entropy in nats of features [B, D] over real caption tokens, end tokens too; padding has no part."""
        logits = self(features, packed).float()
        return F.cross_entropy(logits, packed.labels.to(logits.device), reduction=reduction)

    @contextmanager
    def on_step(self, call: Callable[[], None]) -> Iterator[None]:
        """Call a function at each decoding step after the prefix's: to count, to show progress, to stop by raising."""
        hook = self.language_model.get_input_embeddings().register_forward_hook(lambda *_: call())
        try:
            yield
        finally:
            hook.remove()

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name; tied weights appear once."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def save_pretrained(self, folder: Path) -> None:
        """Write `config.json`, `model.safetensors` (what was trained, tied weights once) and a model card.

        The pretrained language model is referred to by name and sha256, not copied: fine-tuned weights are stored as
        the parameters that replace its own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stamped = self.config.model_copy(update={"language_model_sha256": weights_sha256(self.config.language_model)})
        (folder / "config.json").write_text(stamped.model_dump_json(indent=2), encoding="utf-8")
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.trainable().items()}
        save_file(weights, folder / "model.safetensors")
        (folder / "README.md").write_text(model_card(stamped, weights), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: Path) -> "ClipCapModel":
        """Load a saved captioner.

        Raises `ValueError` when weights are missing or surplus, or the language model is not the one it was trained on.
        """
        config = ClipCapConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
        if config.language_model_sha256 != weights_sha256(config.language_model):
            raise ValueError(f"{folder}: it was not trained on the language model {config.language_model} that is here")
        model = cls.build(config)
        model.load_trainable(load_file(folder / "model.safetensors"), str(folder))
        return model.eval()

    @classmethod
    def for_decoding(cls, folder: Path) -> "ClipCapModel":
        """Load a saved captioner with its adapters merged: to caption with, not to train or save."""
        model = cls.from_pretrained(folder)
        merge_adapters(model.language_model)
        return model

    def load_trainable(self, weights: dict[str, Tensor], source: str) -> None:
        """Replace the trained parameters, each [...] in its shape; `source` names them in errors over their names."""
        own = self.trainable()
        if own.keys() != weights.keys():
            missing, surplus = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
            raise ValueError(f"{source}: missing weights {missing[:5]}, surplus weights {surplus[:5]}")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(weights[name])


def _mapper_size(config: ClipCapConfig, language_model: nn.Module) -> MapperSize:
    width = language_model.get_input_embeddings().embedding_dim
    layers, heads = config.mapper_layers, config.mapper_heads
    return MapperSize(config.clip_size, config.prefix_length, width, config.clip_length, layers, heads, config.grid)


@torch.no_grad()
def _image_tokens(mapper: nn.Module, config: ClipCapConfig) -> tuple[int, int]:
    """How many image tokens a mapping network makes, and how wide; found by asking it, seed and dropout untouched."""
    with torch.random.fork_rng(devices=[]):
        _, count, width = mapper(torch.zeros(1, *config.feature_shape)).shape
    return count, width


def _stop_tokens(config: ClipCapConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens that end a caption."""
    own = config.stop_token
    if own is not None and own not in tokenizer.get_vocab():
        raise ValueError(f"captions end with {own!r}, which is no token of {config.language_model}")
    return (end_token(tokenizer) if own is None else tokenizer.convert_tokens_to_ids(own),)

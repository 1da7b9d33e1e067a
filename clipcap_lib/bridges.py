"""Bridges: how a language model reads the image, as a prefix before the words or by cross-attention in its blocks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clipcap_lib.settings import BRIDGES


class BridgeSize(NamedTuple):
    """What a bridge is built from: `tokens` P image tokens of `width` m, and the columns of cross-attention (0: n)."""

    tokens: int
    width: int
    attention_width: int
    language_model: nn.Module
    tokenizer: PreTrainedTokenizerBase


@dataclass
class Prompt:
    """What the captions of B images go on from: `prefix` [B, P, n], and what blocks read of the image beside it.

    `memory` [2, layers, B, heads, P, w] are keys and values of cross-attention, computed once an image.
    """

    prefix: Tensor
    memory: Tensor | None = None
    bridge: "CrossAttentionBridge | None" = None

    def __len__(self) -> int:
        return len(self.prefix)

    def reading(self, segments: Tensor | None = None) -> AbstractContextManager[None]:
        """While it lasts, forward passes of the language model read the image.

        `segments` [B, S] are each image's places among the R·L of packed rows; without them row i is of image i.
        """
        return nullcontext() if self.bridge is None else self.bridge.reading(self.memory, segments)

    @property
    def look(self) -> Callable[[int, Tensor], Tensor] | None:
        """What block i adds to hidden states [B, k, n] for the image; `None` where blocks do not look at it."""
        return None if self.bridge is None else partial(self.bridge.look, self.memory, None)

    def repeat(self, copies: int) -> "Prompt":
        """The same with `copies` rows of memory for each image, one beside the other."""
        memory = None if self.memory is None else self.memory.repeat_interleave(copies, 2)
        return Prompt(self.prefix, memory, self.bridge)

    def drop_finished(self, apply: Callable[[Tensor], Tensor]) -> "Prompt":
        """The rows of memory that stay, as `apply` takes them out of a tensor [rows, …]."""
        memory = None if self.memory is None else apply(self.memory.movedim(2, 0)).movedim(0, 2)
        return Prompt(self.prefix, memory, self.bridge)


class PrefixBridge(nn.Module):
    """Image tokens [B, P, n] stand before the words as if they were words (Mokady et al. 2021, section 3.1)."""

    def __init__(self, size: BridgeSize) -> None:
        super().__init__()
        self.prefix_length, n = size.tokens, size.language_model.get_input_embeddings().embedding_dim
        if size.width != n:
            raise ValueError(
                f"bridge: prefix needs image tokens as wide as the language model's embeddings, {n}, not {size.width}; "
                "take a mapping that makes them, or bridge: cross-attention"
            )

    def forward(self, tokens: Tensor) -> Prompt:
        return Prompt(tokens)


class CrossAttentionBridge(nn.Module):
    """Every block of the language model looks at the image tokens [B, P, m] by a cross-attention of its own.

    It stands between self-attention and feed-forward, as in an encoder-decoder and in SmallCap (Ramos et al. 2023,
    section 3.1), `attention_width` columns narrow. Its output matrix begins at 0, so that an untrained bridge leaves
    the language model as it was: the gate of Flamingo (Alayrac et al. 2022, section 2.2), one number that begins at 0,
    hardly opens in short training. Captions begin behind one learned vector, at first the embedding of what begins a
    text.
    """

    prefix_length = 1

    def __init__(self, size: BridgeSize) -> None:
        super().__init__()
        language_model, embed = size.language_model, size.language_model.get_input_embeddings()
        n, heads = embed.embedding_dim, language_model.config.get_text_config().num_attention_heads
        width = size.attention_width or n
        if width % heads:
            raise ValueError(f"cross_attention_width is {width}, no multiple of the language model's {heads} heads")
        self.start = nn.Parameter(embed.weight[_begin_token(size.tokenizer)].detach().float().clone())
        blocks = _blocks(language_model)
        self.layers = nn.ModuleList(CrossAttention(n, size.width, width, heads) for _ in blocks)
        self.read: tuple[Tensor, Tensor | None] | None = None  # memory and segments, while `reading` lasts
        for number, (block, attention) in enumerate(blocks):
            block.register_forward_pre_hook(partial(_remember, self.layers[number]), with_kwargs=True)
            attention.register_forward_hook(partial(_look, self, number))

    def forward(self, tokens: Tensor) -> Prompt:
        memory = torch.stack([layer.memory(tokens) for layer in self.layers], dim=1)
        return Prompt(self.start.expand(len(tokens), 1, -1), memory, self)

    @contextmanager
    def reading(self, memory: Tensor, segments: Tensor | None) -> Iterator[None]:
        """While it lasts, blocks look at `memory` [2, layers, B, heads, P, w], by `segments` [B, S]; see `Prompt`."""
        self.read = memory, segments
        try:
            yield
        finally:
            self.read = None
            for layer in self.layers:
                layer.before = None

    def look(self, memory: Tensor, segments: Tensor | None, number: int, hidden: Tensor) -> Tensor:
        """What block `number` adds to hidden states [rows, k, n] for the images; see `Prompt`."""
        keys, values = memory[:, number]
        if segments is None:
            return self.layers[number](hidden, keys, values)
        # One place more than there are takes the padding of segments, and is dropped.
        flat = F.pad(hidden.flatten(0, 1), (0, 0, 0, 1))
        seen = self.layers[number](flat[segments], keys, values)
        return torch.zeros_like(flat).index_put((segments,), seen.to(flat.dtype))[:-1].view_as(hidden)


class CrossAttention(nn.Module):
    """W_o softmax(q kᵀ / √w) v, with q from hidden states [rows, k, n], k and v from image tokens; W_o begins at 0."""

    def __init__(self, n: int, image_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.before = heads, None
        self.norm, self.queries = nn.LayerNorm(n), nn.Linear(n, width)
        self.keys_values, self.out = nn.Linear(image_width, 2 * width), nn.Linear(width, n)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def memory(self, tokens: Tensor) -> Tensor:
        """Keys and values [2, B, heads, P, w] of image tokens [B, P, m]."""
        return self._by_head(self.keys_values(tokens).unflatten(-1, (2, -1)).movedim(-2, 0))

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(self._by_head(self.queries(self.norm(hidden))), keys, values)
        return self.out(mixed.transpose(-3, -2).flatten(-2))

    def _by_head(self, x: Tensor) -> Tensor:
        """[..., P, width] → [..., heads, P, w]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


def _remember(layer: CrossAttention, block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    layer.before = args[0] if args else kwargs["hidden_states"]


def _look(bridge: CrossAttentionBridge, number: int, attention: nn.Module, args: tuple, output: tuple) -> Any:
    """Add to a self-attention's output what its block sees of the image, once the residual stream holds both."""
    if bridge.read is None:
        return None
    return output[0] + bridge.look(*bridge.read, number, bridge.layers[number].before + output[0]), *output[1:]


def _blocks(language_model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Each block of a language model with its self-attention; raises `ValueError` for blocks of an unknown build."""
    stacks = [module for module in language_model.base_model.children() if isinstance(module, nn.ModuleList)]
    blocks = list(stacks[0]) if stacks else []
    found = [(block, getattr(block, "attn", None) or getattr(block, "self_attn", None)) for block in blocks]
    # Gemma 2 and 3 normalise what attention returns: what is added to it would not reach the residual stream.
    if not found or any(part is None or hasattr(block, "post_feedforward_layernorm") for block, part in found):
        raise ValueError(
            f"bridge: cross-attention does not know the blocks of {type(language_model).__name__}; choose a language "
            "model such as GPT-2, LLaMA, Qwen, Mistral or OPT, or bridge: prefix"
        )
    return found


def _begin_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that begins a text: `[CLS]`, or the begin-of-text token, or, as in GPT-2, what ends one."""
    named = tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
    return next((token for token in named if token is not None), 0)


_BRIDGES: dict[str, Callable[[BridgeSize], nn.Module]] = {}


def register_bridge(name: str, label: str, build: Callable[[BridgeSize], nn.Module]) -> None:
    """Make a bridge known by a name in experiments and by a label in reports.

    It maps image tokens [B, P, m] to a `Prompt`, and its `prefix_length` says how many positions that takes.
    """
    BRIDGES[name], _BRIDGES[name] = label, build


def build_bridge(bridge: str, size: BridgeSize) -> nn.Module:
    """The bridge of that name; raises `ValueError` for an unknown name and for sizes that do not fit together."""
    if bridge not in _BRIDGES:
        raise ValueError(f"bridge {bridge!r} is unknown; choose one of {', '.join(_BRIDGES)}")
    return _BRIDGES[bridge](size)


register_bridge("prefix", "prefix", PrefixBridge)
register_bridge("cross-attention", "cross-attention", CrossAttentionBridge)

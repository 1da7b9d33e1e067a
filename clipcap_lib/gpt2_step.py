"""GPT-2's forward pass for a step of decoding, with a third of the operations of the general one.

For a few rows of a small model most of a step is not arithmetic but calling: modules, hooks, masks, views. The weights
are read from the transformers model itself, so there is nothing to keep in agreement but the formula, and tests compare
it with the model's own forward.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2LMHeadModel
from transformers.activations import NewGELUActivation
from transformers.cache_utils import Cache
from transformers.pytorch_utils import Conv1D

from clipcap_lib.affine import Affine
from clipcap_lib.gelu import TanhGelu


class _Block(NamedTuple):
    """What one layer does to hidden states [rows · k, n]."""

    before_attention: Callable[[Tensor], Tensor]
    joint: Callable[[Tensor], Tensor]
    mix: Callable[[Tensor], Tensor]
    before_mlp: Callable[[Tensor], Tensor]
    widen: Callable[[Tensor], Tensor]
    narrow: Callable[[Tensor], Tensor]


class Gpt2Step:
    """The forward pass of a transformers GPT2Model that `is_plain_gpt2` accepts."""

    def __init__(self, body: nn.Module) -> None:
        self.heads, self.places, self.last_norm = body.config.num_attention_heads, body.wpe.weight, _norm(body.ln_f)
        self.blocks = [
            _Block(
                _norm(block.ln_1), _affine(block.attn.c_attn), _affine(block.attn.c_proj),
                _norm(block.ln_2), _affine(block.mlp.c_fc).gelu, _affine(block.mlp.c_proj),
            )
            for block in body.h
        ]  # fmt: skip

    def __call__(
        self, inputs: Tensor, positions: slice, mask: Tensor | None, cache: Cache, end_only: bool = False
    ) -> Tensor:
        """Last hidden states [rows, k, n] of `inputs` [rows, k, n] behind what `cache` holds, which grows by them.

        `positions` are k, or one for all; `mask` is additive, or `None` where every key is seen. `end_only` asks for
        the state of the last position, which sees every key, alone: [rows, 1, n].
        """
        rows, k, width = inputs.shape
        if mask is not None:
            mask = _for_each_head(mask, self.heads)
        hidden = (inputs + self.places[positions]).reshape(-1, width)
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            joint = block.joint(block.before_attention(hidden)).view(rows, k, 3, self.heads, width // self.heads)
            query, key, value = joint.permute(2, 0, 3, 1, 4).unbind()
            states = layer.update(key, value)
            if end_only and block is self.blocks[-1]:  # of the others, keys and values are all that is needed
                query, mask, hidden = query[:, :, -1:], None, hidden.view(rows, k, width)[:, -1]
            mixed = _attend(query, *states, mask)
            hidden += block.mix(mixed.transpose(1, 2).reshape(-1, width))
            hidden += block.narrow(block.widen(block.before_mlp(hidden)))
        return self.last_norm(hidden).view(rows, -1, width)


def _affine(part: Conv1D) -> Affine:
    return Affine(part.weight, part.bias)


def _norm(part: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias, eps = part.normalized_shape, part.weight, part.bias, part.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


def is_plain_gpt2(language_model: nn.Module) -> bool:
    """Whether a model is GPT-2 as published: no adapters in it, no unusual attention, GELU in its tanh form."""
    if type(language_model) is not GPT2LMHeadModel:
        return False
    config, blocks = language_model.config, language_model.transformer.h
    usual = config.scale_attn_weights and not (
        config.scale_attn_by_inverse_layer_idx or config.reorder_and_upcast_attn or config.add_cross_attention
    )
    linear = [
        part for block in blocks for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)
    ]
    return (
        bool(usual)
        and all(type(part) is Conv1D for part in linear)
        and all(_tanh_gelu(block.mlp.act) for block in blocks)
    )


def _tanh_gelu(activation: nn.Module) -> bool:
    return isinstance(activation, NewGELUActivation | TanhGelu) or getattr(activation, "approximate", None) == "tanh"


def _for_each_head(mask: Tensor, heads: int) -> Tensor:
    """A mask [rows or 1, 1, k, length] as one [rows · heads or 1, k, length] for all layers."""
    return mask[:, 0] if len(mask) == 1 else mask.expand(-1, heads, -1, -1).flatten(0, 1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return F.scaled_dot_product_attention(query, keys, values)
    # Written out: for a few masked queries a row, a CPU does this in a third of the time of the fused kernel.
    shape = query.shape
    query, keys, values = (states.flatten(0, 1) for states in (query, keys, values))
    scores = torch.baddbmm(mask, query, keys.transpose(1, 2), alpha=shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), values).view(shape)

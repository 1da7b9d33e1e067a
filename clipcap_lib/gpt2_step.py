"""GPT-2's forward pass for a step of decoding, with a third of the operations of the general one.

For a few rows of a small model most of a step is not arithmetic but calling: modules, hooks, masks, views. The weights
are read from the transformers model itself, so there is nothing to keep in agreement but the formula, and tests compare
it with the model's own forward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2LMHeadModel
from transformers.activations import NewGELUActivation
from transformers.cache_utils import Cache
from transformers.pytorch_utils import Conv1D

from clipcap_lib.affine import affine


def gpt2_step(body: nn.Module, inputs: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache) -> Tensor:
    """Last hidden states [rows, k, n] of `inputs` [rows, k, n] behind what `cache` holds, which grows by them.

    `body` is a transformers GPT2Model that `is_plain_gpt2` accepts; `positions` [1, k]; `mask` is additive, or `None`
    where every key is seen.
    """
    rows, k, width = inputs.shape
    heads = body.config.num_attention_heads
    if mask is not None:
        mask = _for_each_head(mask, heads)
    hidden = (inputs + body.wpe(positions)).reshape(-1, width)
    for block, layer in zip(body.h, cache.layers, strict=True):
        joint = _affine(block.attn.c_attn, _norm(block.ln_1, hidden)).view(rows, k, 3, heads, width // heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)
        keys, values = layer.update(key, value)
        mixed = _attend(query, keys, values, mask)
        hidden = hidden + _affine(block.attn.c_proj, mixed.transpose(1, 2).reshape(-1, width))
        inner = _affine(block.mlp.c_fc, _norm(block.ln_2, hidden), gelu=True)
        hidden = hidden + _affine(block.mlp.c_proj, inner)
    return _norm(body.ln_f, hidden).view(rows, k, width)


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
    return isinstance(activation, NewGELUActivation) or getattr(activation, "approximate", None) == "tanh"


def _for_each_head(mask: Tensor, heads: int) -> Tensor:
    """A mask [rows or 1, 1, k, length] as one [rows · heads or 1, k, length] for all layers."""
    return mask[:, 0] if len(mask) == 1 else mask.expand(-1, heads, -1, -1).flatten(0, 1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return F.scaled_dot_product_attention(query, keys, values)
    # Written out: for a few masked queries a row, a CPU does this in a third of the time of the fused kernel.
    heads = query.shape[1]
    query, keys, values = (states.flatten(0, 1) for states in (query, keys, values))
    scores = torch.baddbmm(mask, query, keys.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), values).unflatten(0, (-1, heads))


def _affine(part: Conv1D, x: Tensor, gelu: bool = False) -> Tensor:
    return affine(x, part.weight, part.bias, gelu)


def _norm(part: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, part.normalized_shape, part.weight, part.bias, part.eps)

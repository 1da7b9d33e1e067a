"""GPT-2's decoding step and matrix products, faster on a CPU than the general path; optional.

`kv_cache` takes what it finds here, and without this file everything works, slower. For a few rows of a small model
most of a step is not arithmetic but calling: modules, hooks, masks, views. The weights are read from the transformers
model itself, and tests compare with the model's own forward.
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

# --- matrix products -----------------------------------------------------------------------------------------------

# Thresholds found by `make bench` on two threads. oneDNN's operator, which torch.compile also uses, is the faster one
# where reading the weight decides; with many rows, or a small weight, its call costs more than it saves.
LARGE, LARGE_A_ROW = 2**19, 2**16
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LINEAR = torch.ops.mkldnn._linear_pointwise.default if ONEDNN else None
# Where arithmetic decides, MKL shares few rows out among threads badly: each thread gets a part of the columns.
SHARED_A_ROW = 2**17
# With AVX-512 oneDNN is faster at any number of rows, and again with GELU in it. So many multiplications are worth its
# call where the weight is small.
AVX512 = ONEDNN and torch.backends.cpu.get_cpu_capability() == "AVX512"
MUCH = 8_000_000


class Affine:
    """x [rows, n] · weight [n, m] + bias [m] by the kernel that is fastest for so many rows; gradients do not pass.

    The facts that decide the kernel are cached for each weight, as a search takes many steps.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias, self.transposed, self.numbers = weight, bias, weight.t(), weight.numel()
        self.choice = weight.dtype == torch.float32 and weight.device.type == "cpu"  # elsewhere one kernel does it all

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        if self._is_much(rows):
            return self._by_onednn(x)
        if not AVX512 and self.choice and self.numbers >= LARGE and rows > 1:
            threads = torch.get_num_threads()
            shared = self.bias is not None and threads > 1 and self.weight.shape[1] % threads == 0
            if shared and self.numbers < rows * SHARED_A_ROW:
                return self._by_columns(x, threads)
            if ONEDNN and self.numbers >= rows * LARGE_A_ROW:
                return self._by_onednn(x)
        return torch.mm(x, self.weight) if self.bias is None else torch.addmm(self.bias, x, self.weight)

    def gelu(self, x: Tensor) -> Tensor:
        """GELU of the product [rows, m], in its tanh form (Hendrycks & Gimpel 2016)."""
        return self._by_onednn(x, "gelu", "tanh") if self._is_much(x.shape[0]) else F.gelu(self(x), approximate="tanh")

    def _is_much(self, rows: int) -> bool:
        return AVX512 and self.choice and (self.numbers >= LARGE or rows * self.numbers >= MUCH)

    def _by_onednn(self, x: Tensor, then: str = "none", form: str = "") -> Tensor:
        return LINEAR(x, self.transposed, self.bias, then, [], form)

    def _by_columns(self, x: Tensor, parts: int) -> Tensor:
        """As one product a thread, each with its own columns of the weight; adding the bias puts them side by side."""
        columns = self.weight.view(len(self.weight), parts, -1).transpose(0, 1)
        products = torch.bmm(x.expand(parts, -1, -1), columns)
        found = x.new_empty(len(x), parts, columns.shape[2])
        torch.add(products.transpose(0, 1), self.bias.view(parts, -1), out=found)
        return found.flatten(1)


def fast_head(language_model: nn.Module) -> Affine | None:
    """The matrix product of a plain linear head for a few rows; `None` where gradients are to pass, or for others."""
    head = language_model.get_output_embeddings()
    few = type(head) is nn.Linear and not torch.is_grad_enabled()
    return Affine(head.weight.t(), head.bias) if few else None


# --- a step --------------------------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """The parts of one layer, by GPT-2's names, for hidden states [rows · k, n]."""

    ln_1: Callable[[Tensor], Tensor]
    c_attn: Callable[[Tensor], Tensor]
    c_proj: Callable[[Tensor], Tensor]
    ln_2: Callable[[Tensor], Tensor]
    c_fc: Callable[[Tensor], Tensor]
    mlp_c_proj: Callable[[Tensor], Tensor]


class Gpt2Step:
    """The forward pass of a transformers GPT2Model that `is_plain_gpt2` accepts."""

    def __init__(self, body: nn.Module) -> None:
        self.heads, self.wpe, self.ln_f = body.config.num_attention_heads, body.wpe.weight, _norm(body.ln_f)
        self.blocks = [
            _Block(
                _norm(block.ln_1), _affine(block.attn.c_attn), _affine(block.attn.c_proj),
                _norm(block.ln_2), _affine(block.mlp.c_fc).gelu, _affine(block.mlp.c_proj),
            )
            for block in body.h
        ]  # fmt: skip

    def __call__(
        self, inputs: Tensor, positions: slice, mask: Tensor | None, cache: Cache, end_only: bool = False,
        look: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Last hidden states [rows, k, n] of `inputs` [rows, k, n] behind what `cache` holds, which grows by them.

        `positions` are k, or one for all; `mask` [rows or 1, 1, k, length + k] is additive, `None` where every key is
        seen. `end_only` asks for the state of the last position, which sees every key, alone: [rows, 1, n].
        """
        rows, k, width = inputs.shape
        if mask is not None:
            mask = _for_each_head(mask, self.heads)
        hidden = (inputs + self.wpe[positions]).reshape(-1, width)
        for number, (block, layer) in enumerate(zip(self.blocks, cache.layers, strict=True)):
            joint = block.c_attn(block.ln_1(hidden)).view(rows, k, 3, self.heads, width // self.heads)
            query, key, value = joint.permute(2, 0, 3, 1, 4).unbind()
            states = layer.update(key, value)
            if end_only and block is self.blocks[-1]:  # of the others, keys and values are all that is needed
                query, mask, hidden = query[:, :, -1:], None, hidden.view(rows, k, width)[:, -1]
            mixed = _attend(query, *states, mask)
            hidden += block.c_proj(mixed.transpose(1, 2).reshape(-1, width))
            if look:
                hidden += look(number, hidden.view(rows, -1, width)).flatten(0, 1)
            hidden += block.mlp_c_proj(block.c_fc(block.ln_2(hidden)))
        return self.ln_f(hidden).view(rows, -1, width)


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
    return isinstance(activation, NewGELUActivation) or getattr(activation, "approximate", None) == "tanh"


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


def fast_step(language_model: nn.Module) -> Gpt2Step | None:
    """The step of a plain GPT-2; `None` for other models."""
    return Gpt2Step(language_model.base_model) if is_plain_gpt2(language_model) else None

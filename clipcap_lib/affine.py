"""The matrix product of a decoding step: a few rows by a large weight, where the choice of kernel decides."""

import torch
from torch import Tensor

from clipcap_lib.gelu import gelu

# Figures are of two threads and GPT-2's weights. oneDNN's operator, which torch.compile also uses, is the faster one
# where reading the weight decides: for 2 to 20 rows 1.2 to 2 times as fast as MKL behind addmm. On AMD CPUs with AVX2
# it takes up to 1.8 times as long from about 40 rows on, and for a small weight its call costs more than it saves.
LARGE, LARGE_A_ROW = 2**19, 2**16
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# Where arithmetic decides, MKL shares few rows out among threads badly: a part of the columns for each saves 5 to 15 %.
SHARED_A_ROW = 2**17
# With AVX-512 (AMD EPYC 9004) oneDNN takes 0.3 to 0.9 of the time of the others at any number of rows, and a tenth less
# again with GELU in it, which AVX2 makes slower. So many multiplications are worth its call where the weight is small.
AVX512 = ONEDNN and torch.backends.cpu.get_cpu_capability() == "AVX512"
MUCH = 8_000_000


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [rows, n] · weight [n, m] + bias [m]; gradients do not pass."""
    if AVX512:
        if _is_much(x, weight):
            return _by_onednn(x, weight, bias)
    elif _is_large(x, weight):
        rows, numbers, threads = x.shape[0], weight.numel(), torch.get_num_threads()
        if bias is not None and threads > 1 and weight.shape[1] % threads == 0 and numbers < rows * SHARED_A_ROW:
            return _by_columns(x, weight, bias, threads)
        if ONEDNN and numbers >= rows * LARGE_A_ROW:
            return _by_onednn(x, weight, bias)
    return torch.mm(x, weight) if bias is None else torch.addmm(bias, x, weight)


def affine_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The GELU of `affine`."""
    if AVX512 and _is_much(x, weight):
        return _by_onednn(x, weight, bias, "gelu", "tanh")
    return gelu(affine(x, weight, bias))


def _is_much(x: Tensor, weight: Tensor) -> bool:
    numbers = weight.numel()  # sizes first, because a tiny model's step asks for every product
    return (numbers >= LARGE or x.shape[0] * numbers >= MUCH) and _in_float32_on_cpu(x, weight)


def _is_large(x: Tensor, weight: Tensor) -> bool:
    return weight.numel() >= LARGE and x.shape[0] > 1 and _in_float32_on_cpu(x, weight)


def _in_float32_on_cpu(x: Tensor, weight: Tensor) -> bool:
    return x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none", form: str = "") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight.t(), bias, then, [], form)


def _by_columns(x: Tensor, weight: Tensor, bias: Tensor, parts: int) -> Tensor:
    """As one product a thread, each with its own columns of the weight; adding the bias puts them side by side."""
    products = torch.bmm(x.expand(parts, -1, -1), weight.view(len(weight), parts, -1).transpose(0, 1))
    found = x.new_empty(len(x), parts, weight.shape[1] // parts)
    torch.add(products.transpose(0, 1), bias.view(parts, -1), out=found)
    return found.flatten(1)

"""The matrix product of a decoding step: a few rows by a large weight, where the choice of kernel decides."""

import torch
from torch import Tensor

# oneDNN's operator, which torch.compile also uses, is the faster one where reading the weight decides: for 2 to 20 rows
# of GPT-2 1.2 to 2 times as fast as MKL behind addmm on an AMD CPU. Where arithmetic decides, from about 40 rows on, it
# takes up to 1.8 times as long, and for a small weight its call costs more than it saves.
LARGE, LARGE_A_ROW = 2**19, 2**16
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [rows, n] · weight [n, m] + bias [m]; gradients do not pass."""
    if _is_for_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight.t(), bias, "none", [], "")
    return torch.mm(x, weight) if bias is None else torch.addmm(bias, x, weight)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    rows = x.shape[0]
    if not rows > 1 or weight.numel() < max(LARGE, rows * LARGE_A_ROW):
        return False
    return ONEDNN and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32

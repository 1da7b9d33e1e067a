"""The matrix product of a decoding step: a few rows by a large weight, where the choice of kernel decides."""

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN's operator, which torch.compile also uses, takes 15 µs to call. From this many multiplications on it is faster
# than MKL behind addmm: for 4 to 100 rows of GPT-2 1.3 to 3 times on an AMD CPU. One row is MKL's.
WORTH_ONEDNN = 2**21
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x [rows, n] · weight [n, m] + bias [m], then the tanh form of GELU where asked for; gradients do not pass."""
    if _is_for_onednn(x, weight):
        activation, form = ("gelu", "tanh") if gelu else ("none", "")
        return torch.ops.mkldnn._linear_pointwise(x, weight.t(), bias, activation, [], form)
    found = torch.mm(x, weight) if bias is None else torch.addmm(bias, x, weight)
    return F.gelu(found, approximate="tanh") if gelu else found


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    plain = ONEDNN and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return plain and len(x) > 1 and len(x) * weight.numel() >= WORTH_ONEDNN

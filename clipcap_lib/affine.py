"""The matrix product of a decoding step: a few rows by a large weight, where the choice of kernel decides."""

import torch
from torch import Tensor

from clipcap_lib.gelu import gelu

# Figures are of two threads and GPT-2's weights. oneDNN's operator, which torch.compile also uses, is the faster one
# where reading the weight decides: for 2 to 20 rows 1.2 to 2 times as fast as MKL behind addmm. On AMD CPUs with AVX2
# it takes up to 1.8 times as long from about 40 rows on, and for a small weight its call costs more than it saves.
LARGE, LARGE_A_ROW = 2**19, 2**16
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LINEAR = torch.ops.mkldnn._linear_pointwise.default if ONEDNN else None
# Where arithmetic decides, MKL shares few rows out among threads badly: a part of the columns for each saves 5 to 15 %.
SHARED_A_ROW = 2**17
# With AVX-512 (AMD EPYC 9004) oneDNN takes 0.3 to 0.9 of the time of the others at any number of rows, and a tenth less
# again with GELU in it, which AVX2 makes slower. So many multiplications are worth its call where the weight is small.
AVX512 = ONEDNN and torch.backends.cpu.get_cpu_capability() == "AVX512"
MUCH = 8_000_000


class Affine:
    """x [rows, n] · weight [n, m] + bias [m] by the kernel that is fastest for so many rows; gradients do not pass.

    For the steps of a search: what the choice asks of a weight is asked once.
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
        """The GELU of it, in its tanh form."""
        return self._by_onednn(x, "gelu", "tanh") if self._is_much(x.shape[0]) else gelu(self(x))

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

"""GELU and its gradient against torch's in float64."""

import pytest
import torch
import torch.nn.functional as F

from clipcap_lib.gelu import gelu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_and_gradient_are_those_of_the_tanh_form(dtype):
    x = torch.linspace(-12, 12, 4001).to(dtype)
    incoming, close = torch.linspace(-1, 2, 4001).to(dtype), {torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    found, expected = [], []
    for values, function in ((found, gelu), (expected, lambda wide: F.gelu(wide, approximate="tanh"))):
        wide = (x if values is found else x.double()).clone().requires_grad_()
        y = function(wide)
        y.backward(incoming.to(y.dtype))
        values += [y.detach().double(), wide.grad.double()]
    torch.testing.assert_close(found, expected, atol=close, rtol=close)
    torch.testing.assert_close(gelu(x).double(), expected[0], atol=close, rtol=close)


def test_the_input_is_left_as_it_was():
    x = torch.randn(50, requires_grad=True)
    before = x.detach().clone()
    gelu(x).sum().backward()
    gelu(x.detach())
    assert torch.equal(x.detach(), before)

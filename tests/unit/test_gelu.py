"""GELU and its gradient against torch's in float64."""

import pytest
import torch
import torch.nn.functional as F

from clipcap_lib.gelu import gelu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_and_gradient_are_those_of_the_tanh_form(dtype):
    x = torch.linspace(-12, 12, 4001).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    incoming, close = torch.linspace(-1, 2, 4001).to(dtype), {torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]
    found, expected = gelu(x), F.gelu(wide, approximate="tanh")
    found.backward(incoming)
    expected.backward(incoming.double())
    for value in (found, gelu(x.detach())):  # with and without a gradient to keep
        torch.testing.assert_close(value.double(), expected, atol=close, rtol=close)
    torch.testing.assert_close(x.grad.double(), wide.grad, atol=2 * close, rtol=2 * close)


def test_the_input_is_left_as_it_was():
    x = torch.randn(50, requires_grad=True)
    before = x.detach().clone()
    gelu(x).sum().backward()
    gelu(x.detach())
    assert torch.equal(x.detach(), before)

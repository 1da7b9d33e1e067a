"""Forked kernels: one that does not begin is ended and said, instead of being waited for."""

import asyncio
from types import SimpleNamespace

import pytest

from clipcap_lib.runner import warm_kernels


def test_a_kernel_that_does_not_begin_is_killed_and_said(monkeypatch):
    killed = []
    silent = SimpleNamespace(
        pid=1, listens=SimpleNamespace(poll=lambda: False), poll=lambda: None, kill=lambda: killed.append(True)
    )
    monkeypatch.setattr(warm_kernels, "_ForkedKernel", lambda *_: silent)
    monkeypatch.setattr(warm_kernels, "BEGINS", 0.05)
    with pytest.raises(RuntimeError, match="did not begin to listen"):
        asyncio.run(warm_kernels.WarmProvisioner(kernel_id="x").launch_kernel(["python", "-f", "connection.json"]))
    assert killed == [True]

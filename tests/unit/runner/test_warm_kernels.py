"""Forked kernels are not waited for in vain: what keeps one from beginning is said, and soon."""

import asyncio
import multiprocessing
import socket
import sys
from types import SimpleNamespace

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

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


def begun(monkeypatch) -> None:
    """Start the server without what takes ten seconds to import."""
    monkeypatch.setattr(multiprocessing, "set_forkserver_preload", lambda modules: None)
    monkeypatch.setattr(KernelProvisionerFactory, "_instance", None)
    warm_kernels.use_warm_kernels()


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
@pytest.mark.parametrize("port", ["shell_port", "iopub_port", "stdin_port", "control_port"])
def test_a_kernel_whose_port_was_taken_in_the_meantime_says_so_at_once(monkeypatch, port):
    begun(monkeypatch)
    ends = []
    monkeypatch.setattr(warm_kernels.os, "kill", lambda pid, signum: ends.append(pid))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        manager = KernelManager(cache_ports=False, **{port: taken.getsockname()[1]})
        with pytest.raises(RuntimeError, match="could not begin: .*in use"):
            manager.start_kernel(extra_arguments=["--log-level=50"])
    assert manager.provisioner.process.wait() == 1
    assert not ends  # it ended by itself, long before anybody lost patience

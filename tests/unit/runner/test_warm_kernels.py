"""Forked kernels and processes: they work as others do, end with their caller, and are not waited for in vain."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import psutil
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
def test_a_warm_process_works_as_any_other_would(monkeypatch):
    begun(monkeypatch)
    with warm_kernels.warm_process() as process:
        assert process.submit(os.getpid).result() != os.getpid()
        how = process.submit(eval, "__import__('multiprocessing').get_start_method()").result()
        assert how == multiprocessing.get_start_method()  # or its own children would import everything anew
        with pytest.raises(FileNotFoundError, match="nowhere"):
            process.submit(os.stat, "nowhere").result()


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_a_warm_process_ends_with_the_one_that_asked_for_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, os, signal\n"
        "multiprocessing.set_forkserver_preload = lambda modules: None\n"
        "from clipcap_lib.runner.warm_kernels import use_warm_kernels, warm_process\n"
        "use_warm_kernels()\n"
        "with warm_process() as process:\n"
        "    print(process.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    process = psutil.Process(int(done.stdout)) if psutil.pid_exists(int(done.stdout)) else None
    assert process is None or process.wait(timeout=10) is None


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


def test_without_the_server_calls_are_made_here(monkeypatch):
    monkeypatch.setattr(KernelProvisionerFactory, "_instance", None)
    with warm_kernels.warm_process() as process:
        assert process.submit(os.getpid).result() == os.getpid()

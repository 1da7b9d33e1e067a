"""Processes forked from one that has imported everything: a notebook begins in half a second, not in ten.

The process is the `forkserver` of multiprocessing. It has no threads of its own, so that what is forked from it works;
it ends with the process that started it, and so do its kernels.
"""

import asyncio
import atexit
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from threading import Lock, Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

if TYPE_CHECKING:
    from ipykernel.kernelapp import IPKernelApp

NAME = "clipcap-warm"
STARTING = Lock()
BEGINS = 120.0  # seconds a kernel may take until it listens, imports of the process it is forked from included
READ_AT_IMPORT = {  # what a kernel of its own would set or be given before it imports
    "MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}  # fmt: skip


def use_warm_kernels() -> None:
    """Fork the kernels of this process from now on, and begin to import; elsewhere than on Linux do nothing.

    On other systems libraries do not survive a fork; kernels are started there as always.
    """
    if sys.platform != "linux":
        return
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:WarmProvisioner", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME
    multiprocessing.set_forkserver_preload(["clipcap_lib.runner.warm_imports"])
    before = dict(os.environ)
    for key, value in READ_AT_IMPORT.items():
        os.environ.setdefault(key, value)
    forkserver.ensure_running()
    for key in READ_AT_IMPORT.keys() - before.keys():
        os.environ.pop(key, None)  # another thread may have done so


@contextmanager
def warm_process() -> Iterator[Executor]:
    """One process, forked as the kernels are, for calls that need what takes ten seconds to import.

    Without the server of `use_warm_kernels` the calls are made by this process.
    """
    if KernelProvisionerFactory.instance().default_provisioner_name != NAME:
        with ThreadPoolExecutor(1) as here:
            yield here
        return
    forks = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, forks, _end_quietly) as process:
        with _without_main():
            process.submit(int).result()  # begins it
        yield process


def _end_quietly() -> None:
    """Let this process end when it is interrupted, or when the one that asked for it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _start_processes_as_always()
    _when_caller_ends(partial(os._exit, 1))


def _start_processes_as_always() -> None:
    """Let what this process starts, such as the workers of a DataLoader, not come from a server of its own.

    That would import everything once more, for ten seconds.
    """
    multiprocessing.set_start_method(None, force=True)


def _when_caller_ends(end: Callable[[], None]) -> None:
    """Call `end` when the process that asked for this one is gone."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        end()

    Thread(target=wait, daemon=True).start()


class WarmProvisioner(LocalProvisioner):
    """Starts a kernel by forking instead of by a command; all else is as for a local one."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start the kernel whose command this is, with the `env` and in the `cwd` of the keywords."""
        self.process = _ForkedKernel(cmd[cmd.index("-f") :], kwargs.get("cwd"), kwargs.get("env") or dict(os.environ))
        self.pid = self.pgid = self.process.pid
        # A client that asks before the kernel listens waits for two seconds until it asks again.
        deadline = time.monotonic() + BEGINS
        while not self.process.listens.poll() and self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"a forked kernel did not begin to listen in {BEGINS:.0f} s")
            await asyncio.sleep(0.01)
        if fault := self.process.fault():
            raise RuntimeError(f"a forked kernel could not begin: {fault}")
        self.cwd = kwargs.get("cwd", os.getcwd())
        return self.connection_info


class _ForkedKernel:
    """A forked process with the methods that the provisioner asks of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, argv: list[str], cwd: str | None, env: dict[str, str]) -> None:
        forks = multiprocessing.get_context("forkserver")
        self.listens, tells = forks.Pipe(duplex=False)
        self.process = forks.Process(target=_run, args=(argv, cwd, env, tells))
        with _without_main():
            self.process.start()
        tells.close()
        self.pid = self.process.pid

    def fault(self) -> str | None:
        """What kept the kernel from listening, once it has told or has ended; `None`: nothing did."""
        try:
            return self.listens.recv()
        except EOFError:
            return f"it ended with exit code {self.wait()}"

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


@contextmanager
def _without_main() -> Iterator[None]:
    """While it lasts, this process has no script, which each kernel would import anew before it begins."""
    with STARTING:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _run(argv: list[str], cwd: str | None, env: dict[str, str], tells: Connection) -> None:
    """Be a kernel until it is told to end; tell `None` when it listens, or what keeps it from listening."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # a group of its own, so that a signal to it reaches what it starts
    os.environ.clear()
    os.environ.update(env | {"JPY_PARENT_PID": str(os.getppid())})
    _start_processes_as_always()
    _when_caller_ends(partial(os.killpg, 0, signal.SIGKILL))  # this kernel, and what it started
    os.chdir(cwd or os.getcwd())
    try:
        kernel = IPKernelApp.instance()
        _initialize(kernel, argv, tells)
        kernel.start()
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends without them


def _initialize(kernel: "IPKernelApp", argv: list[str], tells: Connection) -> None:
    try:
        kernel.initialize(argv)
    except BaseException as error:
        # Such as a port that was free when it was chosen and is no longer. What has begun to run, a socket or a thread,
        # may keep this process from ever ending otherwise.
        tells.send(f"{type(error).__name__}: {error}")
        os._exit(1)
    tells.send(None)

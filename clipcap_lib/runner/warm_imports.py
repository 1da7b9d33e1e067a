"""Imports what notebooks import, for `warm_kernels` to fork from; nothing here may start a thread or touch a GPU."""

from importlib import import_module

import clipcap_lib
from clipcap_lib.system import importing

# Without matplotlib's inline backend: it looks for the kernel whose figures it shows when it is imported.
KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger", "ipykernel.zmqshell", "clipcap_lib.runner.warm_kernels")
with importing():  # which also keeps each kernel's garbage collector from walking, and so copying, all that is shared
    for module in (*KERNEL, "seaborn", "scipy.stats"):
        import_module(module)
    for room in (clipcap_lib, clipcap_lib.analysis, clipcap_lib.emoji, clipcap_lib.metrics, clipcap_lib.explore):
        for name in dir(room):
            getattr(room, name)  # imports the module it stands in

"""Imports what notebooks import, for `warm_kernels` to fork from; nothing here may start a thread or touch a GPU."""

import gc
from importlib import import_module

import clipcap_lib
from clipcap_lib.metrics.tokenizers import cutter

# Without matplotlib's inline backend: it looks for the kernel whose figures it shows when it is imported.
KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger", "ipykernel.zmqshell", "clipcap_lib.runner.warm_kernels")
gc.disable()  # it would walk all that has been imported again and again: a quarter of the time
for module in (*KERNEL, "seaborn", "scipy.stats"):
    import_module(module)
for room in (clipcap_lib, clipcap_lib.analysis, clipcap_lib.emoji, clipcap_lib.metrics, clipcap_lib.explore):
    for name in dir(room):
        getattr(room, name)  # imports the module it stands in
cutter()  # a dictionary of half a million Chinese words, which three notebooks would read each
gc.enable()
gc.freeze()  # or each kernel's garbage collector walks, and so copies, all that is shared: three seconds

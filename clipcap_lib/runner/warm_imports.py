"""Imports what notebooks import, for `warm_kernels` to fork from; nothing here may start a thread or touch a GPU."""

import signal
from importlib import import_module

import clipcap_lib
from clipcap_lib.metrics.tokenizers import cutter
from clipcap_lib.provenance.sources import library_hash
from clipcap_lib.runner.importing import importing

# Without matplotlib's inline backend: it looks for the kernel whose figures it shows when it is imported.
KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger", "ipykernel.zmqshell", "clipcap_lib.runner.warm_kernels")
# Ctrl-C is for the command, whose end ends this process, too; here it would leave a traceback of some import.
interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
with importing():
    for module in (*KERNEL, "seaborn", "scipy.stats"):
        import_module(module)
    for room in (clipcap_lib, clipcap_lib.analysis, clipcap_lib.emoji, clipcap_lib.metrics, clipcap_lib.explore):
        for name in dir(room):
            getattr(room, name)  # imports the module it stands in
    cutter()  # a dictionary of 350,000 Chinese words, which three notebooks would read each
    library_hash("from clipcap_lib.corpus import corpus")  # all notebooks ask, and find each file read
signal.signal(signal.SIGINT, interrupted)

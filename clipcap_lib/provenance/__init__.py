"""Where results come from: the machine and versions of a run, and the source files behind it."""

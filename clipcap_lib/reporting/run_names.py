"""What runs are called beside one another: no two the same."""

from collections import Counter
from collections.abc import Callable, Sequence

from clipcap_lib.runs import Run

CALLED: tuple[Callable[[Run], str], ...] = (
    lambda run: f"{run.label}, seed {run.params['seed']}",
    lambda run: run.name,
    lambda run: run.folder.as_posix(),
)


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The label of each run, with its seed, or its folder instead, where another run has the same label."""
    names = [run.label for run in runs]
    for called in CALLED:
        count = Counter(names)
        names = [name if count[name] == 1 else called(run) for name, run in zip(names, runs, strict=True)]
    return names

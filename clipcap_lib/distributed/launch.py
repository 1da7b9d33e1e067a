"""Starts the processes of a training by torchrun and notes how they failed: `python -m … FOLDER PROCESSES`."""

import json
import sys
from pathlib import Path

from clipcap_lib.distributed import rank

FAILED = "failed.json"


def main(place: Path, processes: int) -> None:
    """Run as many ranks on a folder until all have ended; the exit codes of those that failed are left in it."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", "localhost", "--nproc-per-node", str(processes)]
    try:
        run.run(run.parse_args([*options, "--module", rank.__name__, str(place)]))
    except ChildFailedError as error:
        codes = {number: failure.exitcode for number, failure in error.failures.items()}
        (place / FAILED).write_text(json.dumps(codes), encoding="utf-8")
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

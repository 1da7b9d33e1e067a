"""One of several processes that train together: `python -m clipcap_lib.distributed.rank FOLDER`, by torchrun."""

import json
import os
import select
import sys
import time
import traceback
from pathlib import Path
from threading import Thread


def main(place: Path) -> None:
    """Train what lies in a folder; an error is left there, too, for the caller."""
    Thread(target=_end_with_caller, args=(os.getppid(),), daemon=True).start()
    rank = int(os.environ["LOCAL_RANK"])
    see_one_gpu(rank)
    try:
        from clipcap_lib.distributed.ranks import work

        work(place)
    except Exception as error:
        traceback.print_exc()
        told = {"rank": rank, "time": time.time(), "kind": type(error).__name__, "message": str(error)}
        (place / f"error-{rank}.json").write_text(json.dumps(told), encoding="utf-8")
        os._exit(1)  # at once: a usual exit would wait for ranks that may be gone


def _end_with_caller(parent: int) -> None:
    """End this process when the caller's end of the pipe is closed, or torchrun is gone."""
    while os.getppid() == parent and not select.select([sys.stdin], [], [], 1.0)[0]:
        pass
    os._exit(1)


def see_one_gpu(rank: int) -> None:
    """Hide all GPUs but one from CUDA, which has not begun yet; where all are hidden, nothing changes."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible != "":
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[rank] if visible else str(rank)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

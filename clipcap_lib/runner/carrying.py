"""Files that travel between machines which share no folder, as bytes."""

import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from clipcap_lib.corpus.shards import picture_places
from clipcap_lib.runner.freshness import input_paths
from clipcap_lib.runner.jobs import Job

NAME = "carried"  # of the file or folder inside an archive


def pack(path: Path) -> bytes:
    """A file, or a folder with all it holds, as the bytes of an archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(path, NAME)
    return archive.getvalue()


def unpack(packed: bytes, path: Path) -> None:
    """Let what was packed lie at `path`, where nothing lies yet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")
        (Path(folder) / NAME).rename(path)


def needed_paths(job: Job) -> list[Path]:
    """What a job reads of this machine beside code and notebooks: results of jobs, and files of the project it names.

    What is named by an absolute path is taken to lie there on every machine. Generated corpora and embeddings are not
    among them: a notebook makes what it does not find under `data/`.
    """
    named = [*input_paths(job.parameters), *picture_places(job.parameters.get("images"))]
    return [*(need.folder for need in job.needs), *(path for path in named if not path.is_absolute())]

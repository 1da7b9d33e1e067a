"""From the data section of an experiment to a checked table of captions, prepared once and read back after."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipcap_lib.corpus.duplicates import describe_overlap, picture_keys
from clipcap_lib.corpus.readers import Corpus, PictureKeys, file_names, read_corpus, statistics
from clipcap_lib.corpus.shards import CUT, INDEXES, Tell, read_shards, shard_paths, shards_digest
from clipcap_lib.digests import MANIFEST, content_digest, folder_digest
from clipcap_lib.emoji.language import Scene
from clipcap_lib.emoji.scenes import read_scenes, write_corpus
from clipcap_lib.files import write_once
from clipcap_lib.provenance.sources import library_hash
from clipcap_lib.published.clip_retrieval import read_embedding_folder
from clipcap_lib.published.embeddings import PublishedEmbeddings
from clipcap_lib.settings import SHARD, Data, pick
from clipcap_lib.wording import say

SCENE_SPLITS = {
    "train": "train_images",
    "dev": "dev_images",
    "test": "test_images",
    "test_compositional": "compositional_images",
}


VECTORS = "embeddings.npy"
BLOCK = 10_000  # embeddings copied at once


@dataclass(frozen=True)
class PreparedCorpus:
    """The caption table, what was wrong with the files, the truth where it is known, embeddings where they came along.

    `vectors` [rows of `images`, D], memory-mapped: of a published pickle or a folder of clip-retrieval, or None.
    """

    table: pd.DataFrame
    problems: pd.DataFrame
    scenes: dict[str, Scene] | None
    vectors: np.ndarray | None
    fingerprint: str

    @property
    def images(self) -> pd.DataFrame:
        """One row an image and split (image_id, image_path, split): the order that features stand in.

        An image is in one split, unless `dev_split: caption` shares its captions out among two.
        """
        columns = ["image_id", "image_path", "split"]
        return self.table[columns].drop_duplicates(["image_id", "split"]).reset_index(drop=True)

    def test_images(self, count: int | None = None) -> pd.DataFrame:
        """The first rows of `images` that are in the test split, or all of them."""
        return self.images[self.images["split"] == "test"].iloc[:count]

    def statistics(self) -> pd.DataFrame:
        """Images, captions and their lengths by split; see `readers.statistics`."""
        return statistics(self.table)

    def describe_overlap(self, data: Data) -> str:
        """The sentence that says whether pictures of dev or test are training pictures, too."""
        return describe_overlap(self.table, data)

    def alarms(self) -> list[str]:
        """What is lost although nobody left it out: pictures behind the place where a shard is cut off or damaged."""
        return [
            say(
                "Shards that are cut off or damaged: {count} ({examples}). The pictures behind that place are not "
                "used; get these files again.",
                count=row["count"], examples=row["examples"],
            )
            for row in self.problems.to_dict("records") if row["problem"] == CUT
        ]  # fmt: skip

    def references(self) -> pd.Series:
        """The captions of each image, as a list by image_id."""
        return self.table.groupby("image_id", sort=False)["caption"].agg(list)


def load_corpus(parameters: Mapping[str, Any], tell: Tell | None = None) -> PreparedCorpus:
    """The corpus that a notebook's or a run's parameters name; prepared, where it is not yet. See `prepare_corpus`."""
    return prepare_corpus(pick(Data, dict(parameters)), tell=tell)


def prepare_corpus(data: Data, root: Path = Path("data"), tell: Tell | None = None) -> PreparedCorpus:
    """Generate or read the corpus of an experiment, check every image and caption, and keep the result on disk.

    A second call with the same settings and files reads the result back. `tell` hears how far the reading of shards is.
    Raises `ValueError` or `FileNotFoundError` naming the file when nothing usable is there.
    """
    folder = _generate_scenes(data, root) if data.corpus == "emoji-scenes" else None
    manifest = root / "features" / MANIFEST
    fingerprint = _fingerprint(data, manifest, tell)
    prepared = root / "prepared" / fingerprint
    write_once(prepared, lambda place: _prepare(data, folder, place, manifest))
    table, problems = pd.read_parquet(prepared / "captions.parquet"), pd.read_parquet(prepared / "problems.parquet")
    vectors = np.load(prepared / VECTORS, mmap_mode="r") if (prepared / VECTORS).exists() else None
    return PreparedCorpus(table, problems, read_scenes(folder) if folder else None, vectors, fingerprint)


def _generate_scenes(data: Data, root: Path) -> Path:
    sizes = {split: getattr(data, key) for split, key in SCENE_SPLITS.items()}
    made_of = [sizes, data.data_seed, library_hash("from clipcap_lib.emoji import scenes")]
    stamp = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:8]
    folder = root / f"emoji-scenes-{stamp}"
    write_once(folder, lambda place: write_corpus(place, sizes, data.data_seed))
    return folder


def _fingerprint(data: Data, manifest: Path, tell: Tell | None) -> str:
    files = [*data.caption_files.values(), *([Path(data.splits_file)] if data.splits_file else [])]
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"{file}: this file of the experiment's data section is not there")
    content = [folder_digest(file, manifest) if file.is_dir() else content_digest(file) for file in files]
    pictures = pictures_digest(data.images, manifest, tell) if data.images else ""
    maker = library_hash("from clipcap_lib.corpus import corpus")  # what an older library made is not reused
    return hashlib.sha256(json.dumps([data.model_dump(), content, pictures, maker]).encode()).hexdigest()[:16]


def pictures_digest(images: str, manifest: Path, tell: Tell | None = None) -> str:
    """32 hexadecimal digits that identify the pictures of a folder, or of shards, by names and bytes."""
    if images.endswith(SHARD):
        return shards_digest(shard_paths(images), manifest.parent / INDEXES, tell)
    return folder_digest(Path(images), manifest)


def _prepare(data: Data, folder: Path | None, prepared: Path, manifest: Path) -> None:
    keys = partial(picture_keys, how=data.duplicates, manifest=manifest)
    corpus = _load_scenes(data, folder, keys) if folder else load_files(data, keys, manifest.parent / INDEXES)
    prepared.mkdir(parents=True, exist_ok=True)
    corpus.table.to_parquet(prepared / "captions.parquet", index=False)
    corpus.problems.to_parquet(prepared / "problems.parquet", index=False)
    if not data.has_pictures:
        _keep_vectors(data, corpus.table, prepared / VECTORS)


def _load_scenes(data: Data, folder: Path, keys: PictureKeys) -> Corpus:
    captions = folder / f"captions.{data.language}.token"
    corpus = read_corpus(captions, folder / "images", folder / "splits.csv", data.data_seed, picture_keys=keys)
    return _with_all_splits(data, corpus)


def load_files(data: Data, keys: PictureKeys | None = None, indexes: Path = Path("data/features") / INDEXES) -> Corpus:
    """The corpus of files that an experiment names, as `prepare_corpus` keeps it.

    Without `keys` no picture in a folder is opened: none is found damaged, and copies of a picture are not kept
    together. Shards are read, unless their `indexes` are there.
    """
    files = data.caption_files
    sizes = {"test": data.test_images} | ({"dev": data.dev_images} if data.dev_split == "image" else {})
    splits = Path(data.splits_file) if data.splits_file else sizes
    images = Path(data.images) if data.images else None
    if data.in_shards:
        images = read_shards(shard_paths(data.images), indexes)
        keys = partial(_keys_in_shards, images) if keys and data.duplicates == "bytes" else keys
    captions = files if len(files) > 1 else files.get("train")
    keys_of = keys if data.images else None
    corpus = read_corpus(captions, images, splits, data.data_seed, check_images=bool(keys), picture_keys=keys_of)
    return _with_all_splits(data, corpus)


def _keys_in_shards(pictures: pd.DataFrame, paths: list[str]) -> list[str]:
    return pictures.drop_duplicates("image_path").set_index("image_path")["digest"].reindex(paths).tolist()


def _with_all_splits(data: Data, corpus: Corpus) -> Corpus:
    table = _dev_by_caption(corpus.table, data) if data.dev_split == "caption" else corpus.table
    found = set(table["split"])
    if missing := sorted({"train", "dev", "test"} - found):
        source = data.splits_file or ", ".join(map(str, data.caption_files.values())) or data.images or "the corpus"
        raise ValueError(
            f"{source}: no picture is in the split {' or '.join(missing)}; found: {', '.join(sorted(found))}"
            + _copies_counted(table)
        )
    return replace(corpus, table=table)


def _copies_counted(table: pd.DataFrame) -> str:
    images, pictures = table["image_id"].nunique(), table["picture"].nunique()
    return f"; different pictures among its {images:,} images: {pictures:,}" if pictures < images else ""


def _dev_by_caption(table: pd.DataFrame, data: Data) -> pd.DataFrame:
    """As ClipCap-Chinese: `dev_images` captions drawn from all but the test images', whatever image they belong to."""
    pool = table.index[table["split"].isin(["train", "dev"])].to_numpy()
    drawn = np.random.default_rng(data.data_seed).choice(pool, min(data.dev_images, len(pool) - 1), replace=False)
    split = table["split"].where(table["split"] != "dev", "train")
    split[drawn] = "dev"
    return table.assign(split=split)


def _keep_vectors(data: Data, table: pd.DataFrame, path: Path) -> None:
    sources = [_embeddings(file) for file in data.caption_files.values()]
    if len(widths := {source.vectors[source.rows[:1]].shape[1] for source in sources}) > 1:
        raise ValueError(f"{data.captions_file}: embeddings of one width expected, found {sorted(widths)}")
    places = pd.concat([
        pd.DataFrame({"source": number, "row": source.rows}, index=file_names(pd.Series(source.image_ids)))
        for number, source in enumerate(sources)
    ]).loc[table.drop_duplicates(["image_id", "split"])["image_id"]]  # fmt: skip
    kept = np.lib.format.open_memmap(path, "w+", np.float16, (len(places), widths.pop()))
    places["at"] = np.arange(len(places))
    for start in range(0, len(places), BLOCK):  # a million embeddings do not pass through memory at once
        for number, block in places.iloc[start : start + BLOCK].groupby("source"):
            kept[block["at"].to_numpy()] = sources[number].vectors[block["row"].to_numpy()]
    kept.flush()


def _embeddings(file: Path) -> PublishedEmbeddings:
    if file.is_dir():
        return read_embedding_folder(file)
    if file.suffix != ".pkl":
        raise ValueError(f"{file} brings captions and no embeddings; name the pictures under `images`")
    from clipcap_lib.published.embedding_pickles import read_embedding_pickle  # it imports torch, which takes seconds

    return read_embedding_pickle(file)

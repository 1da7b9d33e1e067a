"""Pictures that are there under several names: found by their bytes or by how they look, and the splits they share."""

from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from clipcap_lib.digests import file_digests
from clipcap_lib.images import difference_hash
from clipcap_lib.settings import Data, Duplicates
from clipcap_lib.wording import say

NEAR = 4  # of 64 bits: what saving a picture anew changes
BLOCK = 64  # hashes compared at once with all others: 15 MB for 30,000


def picture_keys(paths: list[str], how: Duplicates, manifest: Path) -> list[Hashable]:
    """A key for each file, equal where files hold the same bytes or, `perceptual`, look the same to a hash.

    `manifest` is the one of `file_digests`, which reads a file once.
    """
    if how == "bytes":
        return file_digests(paths, manifest).tolist()
    with ThreadPoolExecutor() as pool:  # Pillow lets other threads work while it decodes
        return _alike(np.fromiter(pool.map(difference_hash, map(Path, paths)), np.uint64, len(paths)))


def _alike(hashes: np.ndarray) -> list[int]:
    """The number of each hash's group; near hashes are in one group, and so are those near to one in between."""
    distinct, number = np.unique(hashes, return_inverse=True)
    parents = list(range(len(distinct)))
    for start in range(0, len(distinct), BLOCK):
        apart = np.bitwise_count(distinct[start : start + BLOCK, None] ^ distinct[start:])
        for row, column in np.argwhere(apart <= NEAR).tolist():
            one, other = sorted((_root(parents, start + row), _root(parents, start + column)))
            parents[other] = one
    return [_root(parents, place) for place in number.tolist()]


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        place = parents[place] = parents[parents[place]]
    return place


def describe_overlap(table: pd.DataFrame, data: Data) -> str:
    """The sentence that says whether pictures of dev or test are training pictures, and how that was compared."""
    on_purpose = data.dev_split == "caption"
    dev, others = table[table["split"] == "dev"], table[~table["split"].isin(["train", "dev"])]
    held_out = others if on_purpose else pd.concat([dev, others])
    named = _in_training(held_out, table)
    values = {
        "splits": say("test") if on_purpose else say("dev or test"),
        "compared": _compared(data),
        "shared": len(named),
        "all": held_out["image_id"].nunique(),
        "few": f"{', '.join(named[:3])}{', …' if named[3:] else '.'}",
    }
    if named:
        said = say("{shared:,} of {all:,} pictures of {splits} are training pictures too, {compared}: {few}", **values)
    else:
        said = say("No picture of {splits} is a training picture, {compared}.", **values)
    return f"{_shared_on_purpose(dev, table)} {said}" if on_purpose else said


def _in_training(held_out: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Each held-out image that is a training picture, as `its name = a training name`."""
    trained = table[table["split"] == "train"].drop_duplicates("picture").set_index("picture")["image_id"]
    images = held_out.drop_duplicates("image_id").sort_values("image_id")
    images = images[images["picture"].isin(trained.index)]
    pairs = zip(images["image_id"], trained.reindex(images["picture"]), strict=True)
    return [f"{name} = {twin}" for name, twin in pairs]


def _shared_on_purpose(dev: pd.DataFrame, table: pd.DataFrame) -> str:
    shared, all_of_dev = len(_in_training(dev, table)), dev["image_id"].nunique()
    return say(
        "`dev_split: caption`, as published, takes dev captions of pictures that training sees: {shared:,} of {all:,} "
        "dev pictures are training pictures.",
        shared=shared, all=all_of_dev,
    )  # fmt: skip


def _compared(data: Data) -> str:
    if not data.has_pictures:
        return say("compared by name, for there are only embeddings")
    return say("compared byte by byte") if data.duplicates == "bytes" else say("compared by a perceptual hash")

"""Finished runs of a corpus of scenes that nobody trained: who is right, and where, is known."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from clipcap_lib.corpus.corpus import PreparedCorpus
from clipcap_lib.emoji.language import BACKGROUNDS, Scene, captions
from clipcap_lib.emoji.scenes import draw, sample_scenes
from clipcap_lib.runs import Run

DRAWN = 20  # pictures are drawn once and stand for several scenes


def scenes_of(pictures: int) -> dict[str, Scene]:
    """Scenes by image id; every fourth is of a composition that is never trained."""
    within, outside = sample_scenes(1), sample_scenes(2, held_out=True)
    return {f"{i:06d}.jpg": next(within if i % 4 else outside) for i in range(pictures)}


def corpus_of(scenes: dict[str, Scene], folder: Path, language: str = "zh") -> PreparedCorpus:
    """The corpus of some scenes, its pictures drawn into a folder."""
    for i, scene in enumerate(islice(scenes.values(), DRAWN)):
        draw(scene).save(folder / f"{i}.jpg")
    rows = [
        {"image_id": image, "image_path": str(folder / f"{i % DRAWN}.jpg"), "caption": text,
         "split": "test" if i % 4 else "test_compositional"}
        for i, (image, scene) in enumerate(scenes.items()) for text in captions(scene, language)
    ]  # fmt: skip
    return PreparedCorpus(pd.DataFrame(rows), pd.DataFrame(), scenes, None, "made up")


def elsewhere(scene: Scene) -> Scene:
    """The scene on another background."""
    names = list(BACKGROUNDS)
    return replace(scene, background=names[names.index(scene.background) - 1])


def made_up_run(corpus: PreparedCorpus, place: Path, loss: float, wrong_every: int, **params: Any) -> Run:
    """A run that takes every so-manieth picture for one on another background, and says all else rightly."""
    images = corpus.images.reset_index(drop=True)
    seen = [elsewhere(corpus.scenes[image]) if i % wrong_every == 0 else corpus.scenes[image]
            for i, image in enumerate(images["image_id"])]  # fmt: skip
    language = params.get("language", "zh")
    said = images.assign(caption=[captions(scene, language)[0] for scene in seen])
    known = {"mapping": "mlp", "tuning": "full", "seed": 0, "corpus": "emoji-scenes", "language": language}
    return Run(place, known | params, {"best_dev_loss": loss}, pd.DataFrame(), said)


def six_runs(corpus: PreparedCorpus, folder: Path) -> list[Run]:
    """Runs that are wrong at every second, third, … seventh picture, so that the first picture is right in none."""
    pairs = [(mapping, tuning) for mapping in ("mlp", "bert", "transformer") for tuning in ("full", "frozen")]
    return [
        made_up_run(corpus, folder / f"{m}-{t}-s0", 2 - i / 10, i + 2, mapping=m, tuning=t)
        for i, (m, t) in enumerate(pairs)
    ]

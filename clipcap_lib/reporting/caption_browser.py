"""The caption browser: every test picture with what each run and each decoding strategy says of it, on one page."""

import json
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup
from PIL import Image, ImageOps

from clipcap_lib.analysis.accuracy import split_names
from clipcap_lib.analysis.limits import LimitsStudy
from clipcap_lib.corpus.corpus import PreparedCorpus, load_corpus
from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.emoji.language import score_caption
from clipcap_lib.files import replacing
from clipcap_lib.images import open_picture
from clipcap_lib.reporting.browser_words import browser_words
from clipcap_lib.reporting.cards import caption_parts, wrong_attributes
from clipcap_lib.reporting.run_names import distinct_names
from clipcap_lib.runs import Run
from clipcap_lib.settings import Data, pick

MOST_RUNS = 12
PLAIN = 20  # pictures that are shown where scripts are off
SIDE, ACROSS = 96, 10  # pixels of a thumbnail; thumbnails of a sheet in each direction
SHEETS = "captions"  # the folder beside the page

Said = tuple[list[str | tuple[str, str]], list[str] | None]
Pictures = dict[tuple[str, str], dict[str, Any]]  # by path and id: where runs differ in data, an id may name several


@dataclass(frozen=True)
class Voice:
    """Who captions: a run, or a decoding strategy by the best run; `captions`: image_id, image_path, split, caption."""

    name: str
    kind: str
    run: Run
    captions: pd.DataFrame


def caption_browser(
    folder: Path, title: str, runs: list[Run], decoding: Path | None = None, failed: list[str] | None = None
) -> dict[str, Any] | None:
    """What `captions.html.j2` shows of an experiment's finished runs; None without runs.

    Writes the thumbnails into `folder`, where the page is to lie. `decoding` is the folder of notebook 05, whose
    captions belong to the best run; `failed` names the runs that are not among `runs`.
    """
    if not runs:
        return None
    shown, choice = chosen_runs(runs)
    voices = [*_voices_of(shown), *_strategies_of(shown[0], decoding)]
    corpora, problem = _corpora(shown)
    found = _pictures(voices, corpora)
    paths, pictures = [path for path, _ in found], list(found.values())
    for picture, path, place in zip(pictures, paths, write_thumbnails(paths, folder / SHEETS), strict=True):
        picture |= {"thumbnail": place, "address": _address(path, folder)}
    names = [{"name": voice.name, "kind": voice.kind} for voice in voices]
    read = {"voices": names, "pictures": pictures, "words": browser_words()}
    return read | _filters(pictures) | {
        "data": _embedded(read), "title": title, "name": folder.name, "runs": shown, "all_runs": len(runs),
        "choice": choice, "failed": failed or [], "problem": problem, "plain": PLAIN,
    }  # fmt: skip


# --- whose captions ------------------------------------------------------------------------------------------------


def chosen_runs(runs: list[Run]) -> tuple[list[Run], str]:
    """The runs to show, lowest dev loss first, and of what each is the best: a key of the words `choices`.

    All of up to twelve runs. Of more, the best of each arm; where these are too many, the best of each mapping and
    tuning, and of those the best twelve.
    """
    groups: dict[str, Callable[[Run], Hashable]] = {
        "all": lambda run: run.folder,
        "arm": LimitsStudy.of(runs).arm,
        "mapping": lambda run: (run.params["mapping"], run.params["tuning"]),
    }
    best = {choice: _best_of_each(runs, group) for choice, group in groups.items()}
    choice = next((choice for choice, chosen in best.items() if len(chosen) <= MOST_RUNS), "mapping")
    return best[choice][:MOST_RUNS], choice


def _best_of_each(runs: list[Run], group: Callable[[Run], Hashable]) -> list[Run]:
    ordered = sorted(runs, key=lambda run: run.summary["best_dev_loss"])
    best: dict[Hashable, Run] = {}
    for run in ordered:
        best.setdefault(group(run), run)
    return list(best.values())


def _voices_of(runs: list[Run]) -> Iterator[Voice]:
    for run, name in zip(runs, distinct_names(runs), strict=True):
        yield Voice(name, "run", run, run.captions[run.captions["split"].isin(split_names())])


def _strategies_of(best: Run, decoding: Path | None) -> Iterator[Voice]:
    kept = decoding / "captions.parquet" if decoding else None
    if kept is None or not kept.exists():  # an older notebook kept none
        return
    pictures = best.captions[["image_id", "image_path", "split"]]
    for strategy, captions in pd.read_parquet(kept).groupby("strategy", sort=False):
        yield Voice(strategy, "strategy", best, captions.merge(pictures, on="image_id"))


# --- what they say of each picture ---------------------------------------------------------------------------------


def _corpora(runs: list[Run]) -> tuple[dict[Path, PreparedCorpus], str | None]:
    """The corpus of each run by its folder, each corpus read once, and why one cannot be read, if so."""
    loaded, found, problem = {}, {}, None
    for run in runs:
        settings = pick(Data, run.params).model_dump_json()
        try:
            found[run.folder] = loaded[settings] = loaded.get(settings) or load_corpus(run.params)
        except (FileNotFoundError, ValueError) as error:  # a report outlives the data
            problem = str(error)
    return found, problem


def _pictures(voices: list[Voice], corpora: dict[Path, PreparedCorpus]) -> Pictures:
    pictures: Pictures = {}
    references = {folder: corpus.references() for folder, corpus in corpora.items()}
    for number, voice in enumerate(voices):
        run = voice.run
        for row in voice.captions.itertuples():
            new = {"id": row.image_id, "split": row.split, "references": [], "said": [None] * len(voices)}
            picture = pictures.setdefault((row.image_path, row.image_id), new)
            told = references[run.folder][row.image_id] if run.folder in references else []
            picture["references"] += [text for text in told if text not in picture["references"]]
            picture["said"][number] = _said(row.caption, row.image_id, run, corpora.get(run.folder))
    _tell_apart(pictures)
    return pictures


def _tell_apart(pictures: Pictures) -> None:
    """Name the second picture with an id `id~2`: a link leads to one picture."""
    seen: Counter[str] = Counter()
    for (_, image_id), picture in pictures.items():
        seen[image_id] += 1
        if seen[image_id] > 1:
            picture["id"] = f"{image_id}~{seen[image_id]}"


def _said(caption: str, image_id: str, run: Run, corpus: "PreparedCorpus | None") -> Said:
    """The caption in parts, the wrong ones with their attribute; and what is wrong, or None where nobody knows."""
    if corpus is None or corpus.scenes is None:
        return [caption], None
    scene, language = corpus.scenes[image_id], run.params["language"]
    wrong = wrong_attributes(score_caption(caption, scene, language))
    parts = caption_parts(caption, scene, language) if wrong else [(caption, None)]
    return [(text, attribute) if attribute else text for text, attribute in parts], wrong


def _filters(pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is to filter by: splits, whether captions are judged, and what is wrong in at least one."""
    verdicts = [said[1] for picture in pictures for said in picture["said"] if said and said[1] is not None]
    wrong = {name for verdict in verdicts for name in verdict}
    splits = {picture["split"] for picture in pictures}
    return {
        "splits": [split for split in split_names() if split in splits],
        "judged": bool(verdicts),
        "wrongs": [name for name in [*ATTRIBUTES, "incomplete"] if name in wrong],
    }


def _embedded(content: dict[str, Any]) -> Markup:
    """JSON for a script element: nothing in it ends the element, and Chinese stays as it is, for the font to be cut."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


# --- pictures ------------------------------------------------------------------------------------------------------


def _address(path: str, folder: Path) -> str:
    """Where a picture lies as seen from the page; empty where there is none."""
    return quote(Path(os.path.relpath(path, folder)).as_posix()) if path else ""


def write_thumbnails(paths: list[str], folder: Path) -> list[int | None]:
    """Write sheets `0.webp`, `1.webp`, … of a hundred thumbnails; return the place of each picture among all.

    None stands for a picture that is not there or cannot be opened; it takes no place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places: list[int | None] = []
    sheet, count = _blank_sheet(), 0
    for path in paths:
        small = _thumbnail(path)
        places.append(count if small else None)
        if small is None:
            continue
        row, column = divmod(count % ACROSS**2, ACROSS)
        sheet.paste(small, (column * SIDE, row * SIDE))
        count += 1
        if count % ACROSS**2 == 0:
            _write_sheet(sheet, folder / f"{count // ACROSS**2 - 1}.webp")
            sheet = _blank_sheet()
    if count % ACROSS**2:
        _write_sheet(sheet, folder / f"{count // ACROSS**2}.webp")
    return places


def _thumbnail(path: str) -> Image.Image | None:
    """A picture in the middle of a white square."""
    try:
        return ImageOps.pad(open_picture(Path(path)), (SIDE, SIDE), color="white") if path else None
    except ValueError:
        return None


def _blank_sheet() -> Image.Image:
    return Image.new("RGB", (SIDE * ACROSS, SIDE * ACROSS), "white")


def _write_sheet(sheet: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        sheet.save(temporary, "webp", quality=85)

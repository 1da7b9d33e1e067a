"""`clipcap compare`: what differs between runs in settings, curves, metrics, captions and machine, as one page."""

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from pandas.io.formats.style import Styler

from clipcap_lib.analysis.intervals import paired_difference, pictures_to_settle
from clipcap_lib.analysis.loss_curves import caption_scores
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.files import read_json
from clipcap_lib.reporting import cards, figures
from clipcap_lib.reporting.language import language_of_run, shared, speaking
from clipcap_lib.reporting.page import write_page
from clipcap_lib.runs import Run, finished_in, read_run
from clipcap_lib.settings import Data, pick
from clipcap_lib.wording import say, term

SPLIT = "test"
SHOWN = 12


@dataclass(frozen=True)
class Comparison:
    """The first run is what the others are measured against.

    `deltas`: run, metric, the first run's value and this one's, their difference and its 95 % interval, a verdict, how
    many images were judged in both, which they are over, and how many would settle it.
    """

    runs: list[Run]
    labels: list[str]
    deltas: pd.DataFrame

    def worse(self, tolerance: float) -> pd.DataFrame:
        """The rows in which a run lies below the first by more than the tolerance; `clear` where that is no chance.

        Clear means that the 95 % interval of the difference excludes 0.
        """
        below = self.deltas[self.deltas["delta"] < -tolerance]
        return below.assign(clear=below["high"] < 0)


def find_run(path: Path) -> Path:
    """A run folder as it is; of an experiment's folder, the run with the lowest dev loss.

    Raises `FileNotFoundError` where there is neither.
    """
    if (path / "DONE").exists() and (path / "history.csv").exists():
        return path
    done = finished_in(path / "runs")
    if not done:
        raise FileNotFoundError(f"{path} is neither the folder of a finished run nor of an experiment with one")
    return min(done, key=lambda folder: read_json(folder / "summary.json")["best_dev_loss"])


def compare(paths: list[Path]) -> Comparison:
    """Read finished runs and measure each against the first on the images both captioned.

    Metrics are shares and CIDEr-D of the test split, words weighed by the training captions; see
    `analysis.intervals.paired_difference`. Raises `ValueError` for fewer than two runs, or where two have no image in
    common.
    """
    folders = [find_run(path) for path in paths]
    if len(folders) < 2:
        raise ValueError("compare needs at least two runs")
    runs = [read_run(folder) for folder in folders]
    if len({pick(Data, run.params).language for run in runs}) > 1:
        raise ValueError("the runs caption in different languages; their scores cannot be compared")
    scores = caption_scores(runs)
    labels = _labels(folders)
    rows = [
        row for label, other in zip(labels[1:], scores[1:], strict=True) for row in _deltas(label, scores[0], other)
    ]
    return Comparison(runs, labels, pd.DataFrame(rows))


def _labels(folders: list[Path]) -> list[str]:
    """As short as tells them apart."""
    spellings = (lambda folder: folder.name, lambda folder: f"{folder.parents[1].name}/{folder.name}", str)
    for spell in spellings:
        if len(set(labels := [spell(folder) for folder in folders])) == len(folders):
            return labels
    raise ValueError(f"a run is named twice: {', '.join(map(str, folders))}")


def _deltas(label: str, base: pd.DataFrame, other: pd.DataFrame) -> list[dict[str, Any]]:
    common = base.index.intersection(other.index)
    if common.empty:
        raise ValueError(f"{label} and the first run have no test image in common; compare runs on the same data")
    rows = []
    for metric in [name for name in base if name in other]:
        pair = pd.DataFrame({"first": base.loc[common, metric], "other": other.loc[common, metric]}).dropna()
        if pair.empty:
            continue  # no picture was judged in both: there is no difference to state
        delta, low, high = paired_difference(pair["first"], pair["other"])
        rows.append({"run": label, "metric": metric, "first": pair["first"].mean(), "value": pair["other"].mean(),
                     "delta": delta, "low": low, "high": high, "verdict": _verdict(low, high), "images": len(pair),
                     "to_settle": pictures_to_settle(pair["first"], pair["other"])})  # fmt: skip
    return rows


def _verdict(low: float, high: float) -> str:
    return "better" if low > 0 else "worse" if high < 0 else "may be chance"


def verdicts(found: Comparison) -> list[str]:
    """A sentence for each run but the first: in which metrics it is better or worse, and what may be chance."""
    sentences = []
    for run, rows in found.deltas.groupby("run", sort=False):
        metrics = rows["metric"].map(term).groupby(rows["verdict"]).agg(say(", ").join)
        told = {
            "better": say("better in {metrics}", metrics=metrics.get("better")),
            "worse": say("worse in {metrics}", metrics=metrics.get("worse")),
            "may be chance": say("what differs in {metrics} may be chance", metrics=metrics.get("may be chance")),
        }
        parts = say("; ").join(words for verdict, words in told.items() if verdict in metrics)
        sentences.append(say("{run} against {first}: {verdicts}.", run=run, first=found.labels[0], verdicts=parts))
    return sentences


# --- the page ------------------------------------------------------------------------------------------------------


def write_comparison(found: Comparison, path: Path, language: str | None = None) -> Path:
    """Write the comparison as one self-contained page, in a language or else the one that the runs are told of in."""
    with speaking(language or shared(map(language_of_run, found.runs))):
        return _write_comparison(found, path)


def _write_comparison(found: Comparison, path: Path) -> Path:
    figures.use_style()
    curves = figures.overlaid_curves(dict(zip(found.labels, found.runs, strict=True)))
    write_page(
        path, "compare.html.j2", title=say(" against ").join(found.labels), first=found.labels[0],
        parameters=_table(_differences(found, [run.params for run in found.runs])),
        surroundings=_table(_differences(found, [_origin(run) for run in found.runs])),
        curves=Markup(cards.as_html(curves, say("Loss curves of the compared runs"))),
        deltas=_deltas_table(found), verdicts=verdicts(found), captions=Markup(_captions(found)),
    )  # fmt: skip
    return path


def _differences(found: Comparison, values: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a key whose values are not the same in all runs."""
    columns = dict(zip(found.labels, values, strict=True))
    keys = sorted({key for row in values for key in row})
    table = pd.DataFrame({label: [str(row.get(key, "")) for key in keys] for label, row in columns.items()}, index=keys)
    return table[table.nunique(axis=1) > 1]


def _origin(run: Run) -> dict[str, Any]:
    origin = read_json(run.folder / "provenance.json")
    return {key: value for key, value in origin.items() if key != "versions"} | origin["versions"]


def _deltas_table(found: Comparison) -> Markup:
    """What differs in numbers, grey where it may be chance."""
    table = readable(found)
    looks = {"better": "clear", "worse": "clear failed", "may be chance": "chance"}
    classes = pd.DataFrame({name: found.deltas["verdict"].map(looks) for name in table})
    styled = Styler(table, uuid="metrics").hide(axis="index").set_td_classes(classes)
    return Markup(styled.to_html(table_attributes='class="dataframe"'))


def readable(found: Comparison) -> pd.DataFrame:
    """The differences as people read them: shares in percent, CIDEr-D as it is."""
    rows = []
    for row in found.deltas.itertuples():
        times, digits, unit = (1, 3, "") if row.metric == "CIDEr-D" else (100, 1, " %")
        low, high, delta = (f"{times * value:+z.{digits}f}" for value in (row.low, row.high, row.delta))
        first, value = (f"{times * value:.{digits}f}{unit}" for value in (row.first, row.value))
        rows.append({
            "run": row.run, "metric": term(row.metric), found.labels[0]: first, "value": value, "difference": delta,
            "95 % interval": f"{low} … {high}", "verdict": term(row.verdict), "pictures": f"{row.images:,}",
            "pictures to settle": f"{row.to_settle:,.0f}" if math.isfinite(row.to_settle) else say("never"),
        })  # fmt: skip
    return pd.DataFrame(rows).rename(columns=term)


def _table(table: pd.DataFrame) -> Markup:
    told = table.rename(index=term)
    return Markup(told.to_html(border=0) if len(table) else f"<p>{say('Nothing differs.')}</p>")


def _captions(found: Comparison) -> str:
    """Pictures whose captions differ, each run's caption below one another."""
    captions = pd.concat([run.captions.assign(run=label) for label, run in zip(found.labels, found.runs, strict=True)])
    captions = captions[captions["split"] == SPLIT]
    different = captions.groupby("image_id")["caption"].nunique() > 1
    pictures = captions[captions["image_id"].map(different)].drop_duplicates("image_id").head(SHOWN)
    data = pick(Data, found.runs[0].params)
    prepared = prepare_corpus(data)
    counts = {"different": int(different.sum()), "all": len(different)}
    count = html.escape(say("{different:,} of {all:,} test pictures have different captions.", **counts))
    return f"<p>{count}</p>" + cards.caption_cards(
        pictures, prepared.references(), captions, prepared.scenes, data.language
    )

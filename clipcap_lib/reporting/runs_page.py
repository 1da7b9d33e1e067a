"""`reports/runs.html`: every finished run in one table to filter, sort and group, and which setting mattered."""

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from markupsafe import Markup

from clipcap_lib.analysis.all_runs import all_runs
from clipcap_lib.reporting import charts
from clipcap_lib.reporting.figures import BLACK, BLUE
from clipcap_lib.reporting.language import language_of_reports, speaking
from clipcap_lib.reporting.page import write_page
from clipcap_lib.wording import say, spoken, term

MEASURES = ["best_dev_loss", "right", "right_low", "right_high", "steps", "seconds", "trainable_parameters"]
NOT_SETTINGS = {"experiment", "run", "commit", "ended", *MEASURES}
LOSS = "best dev loss"


def write_runs_page(reports: Path) -> Path:
    """Write the page over all finished runs in a folder of reports, in the language they share; return its path."""
    with speaking(language_of_reports(reports)):
        return _write_runs_page(reports)


def _write_runs_page(reports: Path) -> Path:
    table = all_runs(reports)
    settings = [column for column in table if column not in NOT_SETTINGS]
    studied = sweeps(table, settings)
    drawn = {"parallel": _parallel(studied), "single": _single(studied)} if len(studied) else {}
    return write_page(
        reports / "runs.html", "runs.html.j2", title=say("All runs"), columns=list(table), settings=settings,
        rows=_as_data(table), charts={name: charts.embed(chart, name) for name, chart in drawn.items()},
        vega=charts.script() if drawn else "", measures=MEASURES,
        names={name: _column_name(name) for name in [*table, *MEASURES, "runs"]},
    )  # fmt: skip


def _column_name(name: str) -> str:
    """How a column is headed."""
    return name.replace("_", " ") if spoken() == "en" else term(name)


def _as_data(table: pd.DataFrame) -> Markup:
    """The rows as JSON that stands inside a page."""
    text = table.assign(ended=table["ended"].astype(str)).to_json(orient="values") if len(table) else "[]"
    return Markup(text.replace("<", "\\u003c"))


def sweeps(table: pd.DataFrame, settings: list[str]) -> pd.DataFrame:
    """What each varied setting of each experiment was in each run, with where on its axis that lies and the loss.

    A row a run and setting: experiment, run, setting, value, place (0 to 1), loss. The loss itself is the last
    "setting". Experiments with fewer than four runs, or in which nothing varies, are left out.
    """
    pieces = []
    for experiment, runs in table.groupby("experiment") if len(table) else []:
        varied = [name for name in settings if runs[name].astype(str).nunique() > 1]
        if len(runs) >= 4 and varied:
            pieces += [_axis(runs, name).assign(experiment=experiment) for name in [*varied, "best_dev_loss"]]
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()


def _axis(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    if name == "best_dev_loss":
        values = runs[name]
        told, place = values.map("{:.3f}".format), (values - values.min()) / max(values.max() - values.min(), 1e-9)
    else:
        told = runs[name].map(_word)
        order = sorted(told.unique(), key=_by_number)
        place = told.map({value: at / max(len(order) - 1, 1) for at, value in enumerate(order)})
    shown = term(LOSS) if name == "best_dev_loss" else _column_name(name)
    return pd.DataFrame({"run": runs["run"], "setting": shown, "value": told, "place": place.astype(float).round(4),
                         "loss": runs["best_dev_loss"]})  # fmt: skip


def _word(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:g}" if isinstance(value, int | float) else str(value)


def _by_number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return np.inf, value


def _parallel(table: pd.DataFrame) -> alt.LayerChart:
    """A line a run across the axes of all settings to its loss; the darkest lines are the lowest losses."""
    settings = dict.fromkeys(table.loc[table["setting"] != term(LOSS), "setting"])
    axis = alt.X("setting:N", sort=[*settings, term(LOSS)], title=None, axis=alt.Axis(labelAngle=0, grid=True))
    high = alt.Y("place:Q", axis=None)
    base = alt.Chart(table).transform_filter("datum.experiment == experiment").encode(axis, high)
    color = alt.Color("loss:Q", title=term(LOSS), scale=alt.Scale(scheme="viridis"))
    lines = base.mark_line(opacity=0.7, strokeWidth=1.6).encode(color, detail="run:N", tooltip=_told())
    text = {"align": "left", "dx": 6, "fontSize": 11}
    behind = base.mark_text(**text, stroke="white", strokeWidth=3, strokeOpacity=0.9)  # readable across lines
    values = [each.transform_filter(alt.datum.setting != term(LOSS)).encode(text="value:N")
              for each in (behind, base.mark_text(**text))]  # fmt: skip
    return alt.layer(lines, *values).add_params(_experiment(table)).properties(width="container", height=340)


def _single(table: pd.DataFrame) -> alt.FacetChart:
    """For each setting a dot a run, its loss over its value; a line is the mean of a value."""
    value, loss = alt.X("value:N", title=None, axis=alt.Axis(labelAngle=0)), alt.Scale(zero=False)
    points = alt.Chart().mark_circle(size=36, opacity=0.55, color=BLUE)
    points = points.encode(value, alt.Y("loss:Q", title=term(LOSS), scale=loss), tooltip=_told())
    means = alt.Chart().mark_tick(thickness=2.5, size=26, color=BLACK).encode(value, alt.Y("mean(loss):Q"))
    layered = alt.layer(points, means, data=table[table["setting"] != term(LOSS)]).properties(width=220, height=220)
    facets = layered.facet(facet=alt.Facet("setting:N", title=None), columns=4)
    chosen = facets.transform_filter("datum.experiment == experiment").add_params(_experiment(table))
    return chosen.resolve_scale(x="independent")


def _told() -> list[alt.Tooltip]:
    return [alt.Tooltip("run:N", title=term("run")), alt.Tooltip("loss:Q", format=".4f", title=term("loss"))]


def _experiment(table: pd.DataFrame) -> alt.Parameter:
    names = sorted(table["experiment"].unique())
    return alt.param("experiment", value=names[0], bind=alt.binding_select(options=names, name=say("experiment ")))

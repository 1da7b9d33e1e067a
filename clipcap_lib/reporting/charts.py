"""Charts that answer to the reader, for pages: drawn by Vega in the browser, without a network.

Vega-Altair, because a chart is data and a few declarations, is drawn as SVG with words for screen readers, and its
offline bundle (0.9 MB, one for all charts of a page) lies in a Python package; Plotly's takes 4.5 MB.
"""

import json
import math
from collections.abc import Sequence
from functools import cache

import altair as alt
import pandas as pd
from altair.utils._importers import vl_version_for_vl_convert
from markupsafe import Markup

from clipcap_lib.reporting.figures import color_of
from clipcap_lib.reporting.run_names import distinct_names
from clipcap_lib.runs import Run, loss_curve
from clipcap_lib.wording import say, spoken, term

POINTS = 6000  # of all curves together: the page stays small and the chart quick
SMOOTHING = {"none": 1, "some": 25, "much": 100}  # spans of the exponential mean, in recorded steps
DASHES = {"full": [1, 0], "frozen": [6, 3], "lora": [2, 2]}
TICKS = [round(math.log10(first * ten), 6) for ten in (0.01, 0.1, 1, 10) for first in (1, 1.5, 2, 3, 4, 5, 7)]
VALUE = "datum.split == 'dev' ? datum.none : datum[smoothing]"


def loss_curves(runs: Sequence[Run]) -> alt.LayerChart:
    """Loss curves of runs with what may be asked of them: x axis, logarithm, smoothing, splits, single runs.

    The parameter `shown` holds the names of the runs to draw; the page sets it.
    """
    names = distinct_names(runs)
    points = [_points(run, POINTS // len(runs)).assign(run=name) for run, name in zip(runs, names, strict=True)]
    base = (
        alt.Chart(_as_csv(pd.concat(points)))
        .transform_filter("indexof(shown, datum.run) >= 0 && (curves == 'both' || curves == datum.split)")
        .transform_calculate(named=f"{json.dumps(_split_names())}[datum.split]")
        .transform_calculate(along="datum[x]", loss=VALUE, height=f"logarithm ? log({VALUE}) / LN10 : {VALUE}")
        .encode(*_axes(), _colors(runs, names), tooltip=_tooltip())
    )
    dash = alt.StrokeDash("tuning:N", legend=None, scale=alt.Scale(domain=[*DASHES], range=[*DASHES.values()]))
    train = base.transform_filter("datum.split == 'train'").mark_line(strokeWidth=1.2, opacity=0.6)
    dev = base.transform_filter("datum.split == 'dev'").mark_line(strokeWidth=2.4, point=alt.OverlayMarkDef(size=40))
    chart = alt.layer(train.encode(dash), dev.encode(dash), _under_the_pointer(base))
    return chart.add_params(*_questions(names)).properties(width="container", height=320).interactive()


def _questions(names: list[str]) -> list[alt.Parameter]:
    """What the reader may ask, each a control below the chart but `shown`, which the page has its own for."""
    along = {"images": say("images"), "steps": say("steps"), "seconds": say("seconds")}
    curves = {"both": say("both")} | _split_names()
    smoothing = {"none": say("none"), "some": say("some"), "much": say("much")}
    return [
        alt.param("x", value="images", bind=alt.binding_radio(**_choices(along), name=say("against "))),
        alt.param("curves", value="both", bind=alt.binding_radio(**_choices(curves), name=say("loss of "))),
        alt.param(
            "smoothing", value="some", bind=alt.binding_select(**_choices(smoothing), name=say("smoothing of train "))
        ),
        alt.param("logarithm", value=True, bind=alt.binding_checkbox(name=say("logarithmic "))),
        alt.param("shown", value=names),
    ]


def _choices(told: dict[str, str]) -> dict[str, list[str]]:
    return {"options": list(told), "labels": list(told.values())}


def _split_names() -> dict[str, str]:
    return {"train": term("train"), "dev": term("dev")}


def _axes() -> tuple[alt.X, alt.Y]:
    # A logarithmic scale cannot be switched on and off, so the values are, and the words beside the axis with them.
    loss = alt.Axis(
        values=alt.ExprRef(f"logarithm ? {TICKS} : null"),
        labelExpr="format(logarithm ? pow(10, datum.value) : datum.value, '.2~f')",
    )
    along = alt.X("along:Q", title=None, axis=alt.Axis(format="~s", grid=False))
    return along, alt.Y("height:Q", title=say("loss (nats per token)"), scale=alt.Scale(zero=False), axis=loss)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run:N", title=term("run")), alt.Tooltip("named:N", title=term("split")),
        alt.Tooltip("along:Q", format=",.0f", title=say("at")),
        alt.Tooltip("loss:Q", format=".3f", title=term("loss")),
    ]  # fmt: skip


def _colors(runs: Sequence[Run], names: list[str]) -> alt.Color:
    colors = [color_of(run.params["mapping"]) for run in runs]
    return alt.Color("run:N", legend=None, scale=alt.Scale(domain=names, range=colors))


def _points(run: Run, most: int) -> pd.DataFrame:
    """The loss of a run by steps, images and seconds: train at every smoothing, dev as it is."""
    train, dev = (loss_curve(run.history, split)[["step", "images", "seconds", "value"]] for split in ("train", "dev"))
    smooth = {name: train["value"].ewm(span=span).mean().round(4) for name, span in SMOOTHING.items()}
    every = -(-len(train) // max(most, 50))
    table = pd.concat([
        train.drop(columns="value").assign(split="train", **smooth).iloc[::every],
        dev.drop(columns="value").assign(split="dev", none=dev["value"].round(4)),
    ])  # fmt: skip
    table["seconds"] = table["seconds"].round(1)
    return table.rename(columns={"step": "steps"}).assign(tuning=run.params["tuning"])


def _as_csv(points: pd.DataFrame) -> alt.InlineData:
    """The points as a text: a third of the size that they have as objects with a name for each number."""
    numbers = dict.fromkeys(points.select_dtypes("number").columns, "number")
    return alt.InlineData(points.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=numbers))


def _under_the_pointer(base: alt.Chart) -> alt.Chart:
    """The points, to be seen one at a time: the one under the pointer, whose numbers are shown."""
    # Not the nearest point: there Vega-Lite looks for the words of a tooltip in the wrong place.
    touched = alt.selection_point(on="pointerover", empty=False, fields=["run", "split", "steps"])
    opacity = alt.condition(touched, alt.value(1), alt.value(0))
    return base.mark_point(filled=True, size=120).encode(opacity=opacity).add_params(touched)


def embed(chart: alt.TopLevelMixin, name: str) -> Markup:
    """The chart as data in a page; `script` draws it into the element of this id."""
    with alt.data_transformers.enable("default", max_rows=None):  # 5,000 otherwise
        spec = json.dumps(_with_font(chart).to_dict(), ensure_ascii=False, allow_nan=False)
    spec = spec.replace("<", "\\u003c")  # which could end the script early
    data = f'<script type="application/json" data-chart="{name}">{spec}</script>'
    return Markup(f'<div id="{name}" class="chart"></div>{data}')


def _with_font(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    # The page's own Chinese characters, which charts do not ask for by themselves.
    return chart if spoken() == "en" else chart.configure(font='"Report SC", sans-serif')


@cache
def script() -> Markup:
    """Vega, Vega-Lite and vega-embed as one script, which sets `window.vegaEmbed`; a page needs it once."""
    from vl_convert import javascript_bundle  # here: it is large, and only pages need it

    return Markup(javascript_bundle(vl_version=vl_version_for_vl_convert()).replace("</script", "<\\/script"))

"""What a report shows before anything is scrolled: the curves of its runs, and what their captions look like."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from clipcap_lib.corpus.corpus import load_corpus
from clipcap_lib.reporting import charts, figures
from clipcap_lib.reporting.cards import as_html, caption_cards
from clipcap_lib.reporting.run_names import distinct_names
from clipcap_lib.runs import Run
from clipcap_lib.wording import say

CHARTED = 12  # curves that can still be told apart
EXAMPLES = 3


def first_screen(runs: Sequence[Run]) -> dict[str, Any]:
    """The template's `chart`, `still`, `charted`, `left_out`, `vega` and `examples`; nothing of each without runs.

    `still` is the figure that stands in for the chart in print and where scripts do not run.
    """
    if not runs:
        return dict.fromkeys(("chart", "still", "vega", "examples"), "") | {"charted": [], "left_out": 0}
    ranked = sorted(runs, key=lambda run: run.summary["best_dev_loss"])
    chosen = [run for run in runs if run in ranked[:CHARTED]]  # in the order of the experiment
    figures.use_style()
    return {
        "chart": charts.embed(charts.loss_curves(chosen), "curves"), "vega": charts.script(),
        "still": Markup(
            as_html(figures.learning_curves(chosen), say("Loss curves of the runs against images seen"))
        ),
        "charted": [
            {"label": name, "color": figures.color_of(run.params["mapping"])}
            for run, name in zip(chosen, distinct_names(chosen), strict=True)
        ],
        "left_out": len(runs) - len(chosen), "examples": _examples(ranked[0], ranked[-1]),
    }  # fmt: skip


def _examples(best: Run, worst: Run) -> Markup:
    """The first test pictures with the captions of two runs."""
    corpus = load_corpus(best.params)
    pictures = corpus.test_images(EXAMPLES)
    shown = [best] if best is worst else [best, worst]
    captions = pd.concat(
        [run.captions.assign(run=name) for run, name in zip(shown, distinct_names(shown), strict=True)]
    )
    cards = caption_cards(pictures, corpus.references(), captions, corpus.scenes, best.params["language"])
    return Markup(f'<div class="cards">{cards}</div>')

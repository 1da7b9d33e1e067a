"""The explorer of notebook 07: a picture, a run with a strategy, and another beside it; all work is the library's."""

import html
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import ipywidgets as widgets

from clipcap_lib.corpus.corpus import PreparedCorpus, prepare_corpus
from clipcap_lib.emoji.language import Scene
from clipcap_lib.explore.chooser import ROW, Choice, PictureChooser
from clipcap_lib.explore.faults import guarded, in_words
from clipcap_lib.explore.inspection import each_once, loaded_run, standing_runs
from clipcap_lib.explore.side import Side, Step
from clipcap_lib.reporting.chinese_font import notebook_style, wide
from clipcap_lib.wording import say


class Cancelled(Exception):
    """Raised inside work that somebody no longer waits for."""


class Explorer:
    """Choose a picture, a run and a strategy, and look; `widget` is what a notebook displays.

    Work is done in a thread of its own, so the page never waits: a newer choice or the Cancel button stops it at the
    next token. An error is said on the page.
    """

    def __init__(self, runs: list[Path], corpus: PreparedCorpus, limit: int = 40) -> None:
        self.scenes = corpus.scenes or {}
        self.wanted = threading.Event()  # of what is under way; set: nobody waits for it any more
        self.worker = ThreadPoolExecutor(1)
        self.lent: set[str] = set()  # characters that the page has a font for
        self._make_controls(runs, corpus, limit)
        self.widget = self._arrange()
        self._lend("".join(corpus.table["caption"]))
        self.chooser.choose(self.chooser.paths.index[0])

    # --- building ---

    def _make_controls(self, runs: list[Path], corpus: PreparedCorpus, limit: int) -> None:
        self.font, self.status = widgets.HTML(), widgets.HTML()
        self.progress = widgets.FloatProgress(max=1.0, layout=widgets.Layout(width="240px"))
        self.cancel = widgets.Button(description=say("Cancel"), icon="stop", disabled=True)
        self.cancel.on_click(lambda _: self._stop(say("Cancelled.")))
        request = guarded(self.request, self._fail)
        first = (runs[0], runs[min(1, len(runs) - 1)])
        self.sides = [Side(runs, run, limit, request, guarded(self._take, self._fail)) for run in first]
        self.compare = widgets.ToggleButton(description=say("compare with …"), icon="columns")
        self.compare.observe(guarded(self._compare, self._fail), "value")
        self.picture, self.neighbours = widgets.HTML(), widgets.HTML()
        self.chooser = PictureChooser(corpus.test_images(), corpus.references(), request, self._fail)

    def _arrange(self) -> widgets.Widget:
        self.sides[1].widget.layout.display = "none"
        columns = widgets.Layout(flex_flow="row wrap", grid_gap="24px")
        return widgets.VBox([
            self.font, self.chooser.widget, self.picture,
            widgets.HBox([self.compare, self.progress, self.cancel, self.status], layout=ROW),
            widgets.HBox([side.widget for side in self.sides], layout=columns),
            self.neighbours,
        ])  # fmt: skip

    # --- what is asked for ---

    @property
    def looked_at(self) -> list[Side]:
        """The side that is always shown, and the other one where two are compared."""
        return self.sides if self.compare.value else self.sides[:1]

    def request(self) -> Future:
        """Caption anew with the settings as they stand; whatever was under way is stopped."""
        self.wanted.set()
        for side in self.looked_at:
            side.wait()
        return self._submit(self._caption, say("Loading…"))

    def _compare(self, _: dict) -> None:
        self.sides[1].widget.layout.display = "flex" if self.compare.value else "none"
        self.request()

    def _take(self, side: Side, value: str) -> None:
        side.wait()
        self._submit(partial(side.take, value), say("Going on from there…"))  # behind captions of the other side

    def _submit(self, work: Callable[[Step], str | None], message: str) -> Future:
        if self.wanted.is_set():
            self.wanted = threading.Event()
        self.cancel.disabled, self.status.value = False, message
        return self.worker.submit(self._work, work, self.wanted)

    def _stop(self, message: str) -> None:
        self.wanted.set()
        self.cancel.disabled, self.progress.value, self.status.value = True, 0.0, message

    def _fail(self, words: str) -> None:
        self._stop(html.escape(words))

    # --- what is done about it, in the worker's thread ---

    def _work(self, work: Callable[[Step], str | None], stop: threading.Event) -> None:
        def step(share: float) -> None:
            if stop.is_set():
                raise Cancelled
            self.progress.value = share

        try:
            step(0.0)
            said = work(step)
            step(0.0)
            self.cancel.disabled, self.status.value = True, said or ""
            self._lend("".join(side.text for side in self.looked_at))
        except Cancelled:
            pass  # the newer request, or the button, has written the status line
        except Exception as error:  # a thread's exception would vanish: the page must say it
            if not stop.is_set():
                self._fail(in_words(error))

    def _caption(self, step: Step) -> str:
        choice = self.chooser.choice
        if choice is None:
            raise ValueError(say("choose a picture: the first one cannot be opened"))
        scene = self.scenes.get(choice.name) if choice.references else None
        self.picture.value = choice.as_html()
        seconds = {side: self._of_side(side, choice, scene, step) for side in self.looked_at}
        self._show_neighbours([side for side, taken in seconds.items() if taken is not None], step)
        if None in seconds.values():
            return say("A caption could not be written: see below.")
        return say("Captioned in {time:.0f} ms.", time=1000 * sum(seconds.values()))

    def _of_side(self, side: Side, choice: Choice, scene: Scene | None, step: Step) -> float | None:
        """The seconds that a side took, or `None` where it failed and says why: the other may well have a caption."""
        try:
            return side.caption(choice, scene, step)
        except Cancelled:
            raise
        except Exception as error:
            side.fail(in_words(error))

    def _show_neighbours(self, sides: list[Side], step: Step) -> None:
        step(1.0)
        found = each_once({side.run.label: side.own.neighbours() for side in sides})
        title = say("Training pictures that look most alike to the encoder")
        self.neighbours.value = f"<h4>{title}</h4>{found}" if sides else ""

    def _lend(self, text: str) -> None:
        """Give the page the characters of a text, for a reader without a Chinese font.

        Last of all, for cutting a font takes longer than all the rest, and hardly any text has a character that no
        caption of the corpus has.
        """
        if not wide(text) <= self.lent:
            self.lent |= wide(text)
            self.font.value = notebook_style("".join(self.lent))


def explore(folders: list[str | Path], max_new_tokens: int) -> Explorer:
    """The explorer over finished runs, and all that stand in their folder of reports.

    The pictures are the test pictures of the first one's corpus.
    """
    runs = standing_runs([Path(folder) for folder in folders])
    return Explorer(runs, prepare_corpus(loaded_run(runs[0]).captioner.data), max_new_tokens)

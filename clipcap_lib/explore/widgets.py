"""The widgets of notebook 07: a picture, one or two runs, a strategy with its sliders; all work is the library's."""

import html
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import ipywidgets as widgets
import pandas as pd
from PIL import Image
from pydantic.fields import FieldInfo

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.decoding.strategies import NAMES, Strategy, Usual, build_strategy, options
from clipcap_lib.explore.inspection import caption_list, loaded_run
from clipcap_lib.images import open_picture
from clipcap_lib.reporting import cards


class Cancelled(Exception):
    """Raised inside a decoding that somebody no longer waits for."""


class Explorer:
    """Pick or upload a picture, pick one or two runs and a strategy, and look; `widget` is what a notebook displays.

    Decoding runs in a thread of its own, so the page never waits: a newer choice or the Cancel button stops it at the
    next token.
    """

    def __init__(self, runs: list[Path], pictures: pd.DataFrame, references: pd.Series, limit: int = 40) -> None:
        self.pictures, self.references = pictures.set_index("image_id"), references
        self.upload: tuple[str, Image.Image] | None = None
        self.wanted = threading.Event()  # replaced for each request: set means that nobody waits for it any more
        self.worker = ThreadPoolExecutor(1)
        self._make_controls(runs, limit)
        self.widget = self._arrange()
        self._listen()
        self.request()

    # --- building ---

    def _make_controls(self, runs: list[Path], limit: int) -> None:
        labels = [(f"{image}: {self.references[image][0]}", image) for image in self.pictures.index]
        names = {folder.name: folder for folder in runs}
        wide = widgets.Layout(width="520px")
        self.picture = widgets.Dropdown(options=labels, description="picture", layout=wide)
        self.file = widgets.FileUpload(accept="image/*", description="upload")
        self.runs = [
            widgets.Dropdown(options=names, description="run"),
            widgets.Dropdown(options={"(one run only)": "", **names}, description="beside it"),
        ]
        self.strategy = widgets.Dropdown(options=NAMES, description="strategy")
        self.options = {name: option_controls(name) for name in NAMES}
        self.cancel = widgets.Button(description="Cancel", icon="stop", disabled=True)
        self.progress = widgets.FloatProgress(max=1.0, layout=widgets.Layout(width="240px"))
        self.status, self.shown = widgets.HTML(), widgets.HTML()
        self.panels = [_Panel(limit) for _ in self.runs]

    def _arrange(self) -> widgets.Widget:
        self.shown_options = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self._show_options()
        return widgets.VBox([
            widgets.HBox([self.picture, self.file], layout=widgets.Layout(flex_flow="row wrap")),
            widgets.HBox([*self.runs, self.strategy], layout=widgets.Layout(flex_flow="row wrap")),
            self.shown_options,
            widgets.HBox([self.progress, self.cancel, self.status]),
            self.shown,
            widgets.HBox([panel.widget for panel in self.panels], layout=widgets.Layout(flex_flow="row wrap")),
        ])  # fmt: skip

    def _listen(self) -> None:
        # First of all, or the request that follows would still find the upload.
        self.picture.observe(lambda _: setattr(self, "upload", None), "value")
        of_strategies = [control for controls in self.options.values() for control in controls.values()]
        for control in (self.picture, *self.runs, *of_strategies):
            control.observe(lambda _: self.request(), "value")
        self.strategy.observe(lambda _: (self._show_options(), self.request()), "value")
        self.file.observe(lambda change: self._take(change["new"]), "value")
        self.cancel.on_click(lambda _: self._stop("Cancelled."))

    def _show_options(self) -> None:
        self.shown_options.children = list(self.options[self.strategy.value].values())

    # --- what happens ---

    def _take(self, files: tuple[dict, ...]) -> None:
        """Read an uploaded picture; one that cannot be read changes nothing but the status line."""
        if not files:
            return
        name = files[-1]["name"]
        try:
            self.upload = name, open_picture(bytes(files[-1]["content"]), name)
        except ValueError as error:
            self._stop(html.escape(str(error)))
        else:
            self.request()

    def _stop(self, message: str) -> None:
        self.wanted.set()
        self.cancel.disabled, self.progress.value, self.status.value = True, 0.0, message

    def request(self) -> Future:
        """Caption anew with the settings as they stand; whatever was under way is stopped."""
        self.wanted.set()
        self.wanted = stop = threading.Event()
        self.cancel.disabled, self.status.value = False, "Loading…"
        return self.worker.submit(self._work, stop)

    def _work(self, stop: threading.Event) -> None:
        try:
            self._step(stop, 0.0)
            name, picture, note = self._chosen()
            self.shown.value = note
            chosen = {option: control.value for option, control in self.options[self.strategy.value].items()}
            strategy = build_strategy(self.strategy.value, **chosen)
            folders = [run.value for run in self.runs]
            seconds = 0.0
            for panel, folder in zip(self.panels, folders, strict=True):
                seconds += panel.show(folder, picture, name, strategy, lambda share: self._step(stop, share))
            self._step(stop, 0.0)
            self.cancel.disabled, self.status.value = True, f"Captioned in {1000 * seconds:.0f} ms."
        except Cancelled:
            pass  # the newer request, or the button, has written the status line
        except Exception as error:  # a thread's exception would vanish: the page must say it
            if not stop.is_set():
                self._stop(f"<b>{type(error).__name__}</b>: {html.escape(str(error))}")

    def _chosen(self) -> tuple[str, Image.Image, str]:
        if self.upload:
            name, picture = self.upload
            return name, picture, cards.picture_tag(picture, f"Your picture {name}", 224)
        name = self.picture.value
        picture = open_picture(Path(self.pictures.loc[name, "image_path"]))
        return name, picture, cards.picture_with_references(picture, name, self.references[name])

    def _step(self, stop: threading.Event, share: float) -> None:
        if stop.is_set():
            raise Cancelled
        self.progress.value = share


class _Panel:
    """The views of one run, in tabs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # tokens a caption
        self.captions = widgets.HTML()
        self.pages = [widgets.HTML() for _ in range(3)]
        tabs = widgets.Tab(self.pages, titles=["token by token", "prefix", "neighbours in training"])
        self.widget = widgets.VBox([self.captions, tabs], layout=widgets.Layout(flex="1 1 460px", min_width="0"))
        self.widget.layout.display = "none"

    def show(
        self, folder: Path | str, picture: Image.Image, key: str, strategy: Strategy, step: Callable[[float], None]
    ) -> float:
        """Caption with a run and fill the tabs; returns the seconds the caption took. `step` hears of each token."""
        self.widget.layout.display = "flex" if folder else "none"
        if not folder:
            return 0.0
        run, done = loaded_run(folder), 0
        model = run.captioner.model

        def count() -> None:
            nonlocal done
            done += 1
            step(min(done / self.limit, 1.0))

        started = time.perf_counter()
        with model.on_step(count):
            found = run.caption(picture, key, strategy, self.limit)
        seconds = time.perf_counter() - started
        step(1.0)
        self.captions.value = f"<b>{html.escape(folder.name)}</b>{caption_list(found)}"
        told = run.explain(picture, found)
        for page, content in zip(self.pages, (told.tokens, told.prefix, told.neighbours), strict=True):
            page.value = content
        return seconds


def option_controls(strategy: str) -> dict[str, widgets.Widget]:
    """A slider for each number among a strategy's options, a menu for each choice; see `strategies.Usual`."""
    return {option: _control(option, field) for option, field in options(strategy).items()}


def _control(option: str, field: FieldInfo) -> widgets.Widget:
    usual = next((value for value in field.metadata if isinstance(value, Usual)), None)
    if usual is None:
        return widgets.Dropdown(options=get_args(field.annotation), value=field.default, description=option)
    kind = widgets.IntSlider if field.annotation is int else widgets.FloatSlider
    first = field.default if usual.first is None else usual.first
    return kind(
        value=first, min=usual.lowest, max=usual.highest, step=usual.step, description=option, continuous_update=False
    )


def explore(folders: list[str], max_new_tokens: int) -> Explorer:
    """The explorer over finished runs, with the test pictures of the first one's corpus."""
    runs = [Path(folder) for folder in folders]
    corpus = prepare_corpus(loaded_run(runs[0]).captioner.data)
    return Explorer(runs, corpus.images[corpus.images["split"] == "test"], corpus.references(), max_new_tokens)

"""The widgets of notebook 07: a picture, one or two runs, a strategy with its sliders; all work is the library's."""

import html
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from PIL import Image

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.decoding.strategies import Strategy, build_strategy
from clipcap_lib.explore.inspection import caption_list, subject
from clipcap_lib.images import open_picture
from clipcap_lib.reporting import cards

SLIDERS: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "beam": ("width", "length_penalty", "n"),
    "sample": ("temperature", "top_k", "top_p", "min_p", "typical_p", "n", "seed"),
    "contrastive": ("k", "alpha"),
    "magic": ("k", "alpha", "beta"),
    "best-of-n": ("temperature", "top_p", "n", "seed"),
    "mbr": ("temperature", "top_p", "n", "seed"),
}
RANGES: dict[str, tuple[float, float, float, float]] = {  # lowest, highest, step, at first
    "width": (1, 10, 1, 5), "length_penalty": (0, 2, 0.1, 1), "n": (1, 10, 1, 3), "seed": (0, 20, 1, 0),
    "temperature": (0.1, 2, 0.1, 1), "top_k": (0, 50, 1, 0), "top_p": (0.05, 1, 0.05, 0.9), "min_p": (0, 0.5, 0.05, 0),
    "typical_p": (0.05, 1, 0.05, 1), "k": (1, 10, 1, 4), "alpha": (0, 1, 0.05, 0.6), "beta": (0, 2, 0.1, 0.5),
}  # fmt: skip


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
        self.strategy = widgets.Dropdown(options=list(SLIDERS), description="strategy")
        self.sliders = {name: _slider(name, *values) for name, values in RANGES.items()}
        self.cancel = widgets.Button(description="Cancel", icon="stop", disabled=True)
        self.progress = widgets.FloatProgress(max=1.0, layout=widgets.Layout(width="240px"))
        self.status, self.shown = widgets.HTML(), widgets.HTML()
        self.panels = [_Panel(limit) for _ in self.runs]

    def _arrange(self) -> widgets.Widget:
        self.options = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self._show_sliders()
        return widgets.VBox([
            widgets.HBox([self.picture, self.file], layout=widgets.Layout(flex_flow="row wrap")),
            widgets.HBox([*self.runs, self.strategy], layout=widgets.Layout(flex_flow="row wrap")),
            self.options,
            widgets.HBox([self.progress, self.cancel, self.status]),
            self.shown,
            widgets.HBox([panel.widget for panel in self.panels], layout=widgets.Layout(flex_flow="row wrap")),
        ])  # fmt: skip

    def _listen(self) -> None:
        # First of all, or the request that follows would still find the upload.
        self.picture.observe(lambda _: setattr(self, "upload", None), "value")
        for control in (self.picture, *self.runs, *self.sliders.values()):
            control.observe(lambda _: self.request(), "value")
        self.strategy.observe(lambda _: (self._show_sliders(), self.request()), "value")
        self.file.observe(lambda change: self._take(change["new"]), "value")
        self.cancel.on_click(lambda _: self._stop("Cancelled."))

    def _show_sliders(self) -> None:
        self.options.children = [self.sliders[name] for name in SLIDERS[self.strategy.value]]

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
            options = {slider: self.sliders[slider].value for slider in SLIDERS[self.strategy.value]}
            strategy = build_strategy(self.strategy.value, **options)
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
        run, done = subject(folder), 0
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
        views = run.views(picture, found)
        for page, content in zip(self.pages, (views.tokens, views.prefix, views.neighbours), strict=True):
            page.value = content
        return seconds


def _slider(name: str, lowest: float, highest: float, step: float, first: float) -> widgets.Widget:
    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    return kind(value=first, min=lowest, max=highest, step=step, description=name, continuous_update=False)


def explore(folders: list[str], max_new_tokens: int) -> Explorer:
    """The explorer over finished runs, with the test pictures of the first one's corpus."""
    runs = [Path(folder) for folder in folders]
    corpus = prepare_corpus(subject(runs[0]).captioner.data)
    return Explorer(runs, corpus.images[corpus.images["split"] == "test"], corpus.references(), max_new_tokens)

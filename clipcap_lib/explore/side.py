"""One side of the explorer: a run and a strategy to choose, what they write of a picture, and what lies behind it."""

import html
import time
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from clipcap_lib.decoding.decode import Caption
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.emoji.language import Scene
from clipcap_lib.explore.chooser import Choice
from clipcap_lib.explore.clickable import Clickable
from clipcap_lib.explore.controls import LABEL, StrategyControls
from clipcap_lib.explore.inspection import Explanation, LoadedRun, caption_list, loaded_run
from clipcap_lib.wording import say, term

Step = Callable[[float], None]  # hears of progress, 0 to 1; raises to stop
WIDE = widgets.Layout(width="460px", max_width="100%")  # names of runs are long
BUSY = "clipcap-busy"  # see clickable.css
DOUBT = '<p role="note" style="border-left:4px solid #b36b00;background:#fff6e5;padding:4px 10px">{}</p>'
BACK = '<p><button type="button" data-value="back">{}</button></p>'


class Side:
    """`widget` is what is shown; `on_change` is called when run or strategy change, `on_take` when a token is taken.

    It begins with the run `first`; `limit` is the longest caption in tokens.
    """

    def __init__(
        self, runs: list[Path], first: Path, limit: int, on_change: Callable[[], None],
        on_take: Callable[["Side", str], None],
    ) -> None:  # fmt: skip
        self.limit, self.scene = limit, None
        self.own: Explanation | None = None  # of what the strategy wrote
        self.shown: Explanation | None = None  # of that, or of what goes on from a token that was taken
        named = [(f"{folder.parent.parent.name}: {folder.name}", folder) for folder in runs]
        self.run = widgets.Dropdown(options=named, value=first, description=term("run"), style=LABEL, layout=WIDE)
        self.run.observe(lambda _: on_change(), "value")
        self.controls = StrategyControls(on_change)
        self.captions, self.taken = widgets.HTML(), widgets.HTML()
        self.tokens = Clickable(lambda value: on_take(self, value))
        self.prefix, self.where = widgets.HTML(), widgets.HTML()
        self.widget = self._arrange()

    def _arrange(self) -> widgets.Widget:
        titles = [say("token by token"), say("prefix"), say("where")]
        tabs = widgets.Tab([self.tokens, self.prefix, self.where], titles=titles)
        parts = [self.run, self.controls.widget, self.captions, self.taken, tabs]
        return widgets.VBox(parts, layout=widgets.Layout(flex="1 1 460px", min_width="0"))

    def wait(self) -> None:
        """Show that what stands there is of the choice before."""
        self.tokens.busy = True
        self.captions.add_class(BUSY)

    def caption(self, choice: Choice, scene: Scene | None, step: Step) -> float:
        """Caption a picture and show what lies behind it; the seconds the caption took."""
        run, strategy, self.scene = loaded_run(self.run.value), self.controls.strategy(), scene
        with run.captioner.model.on_step(self._counter(step)):
            started = time.perf_counter()
            found = run.caption(choice.picture, choice.name, strategy, self.limit)
            seconds = time.perf_counter() - started
        self.own = run.explain(choice.picture, found[0])
        doubt = self.own.doubt()
        self.captions.value = (DOUBT.format(html.escape(doubt)) if doubt else "") + caption_list(
            found, strategy, scene, run.language
        )
        self.captions.remove_class(BUSY)
        self._explain(self.own, step)
        return seconds

    def take(self, value: str, step: Step) -> None:
        """Go on greedily from a token that somebody chose, `place:id`, or go `back` to what the strategy wrote."""
        if value == "back":
            self._explain(self.own, step)
            return
        place, token = map(int, value.split(":"))
        run, beginning = self.shown.run, [*self.shown.caption.tokens[:place], token]
        with run.captioner.model.on_step(self._counter(step)):
            caption = run.go_on(self.shown.picture, beginning, self.limit)
        self._explain(run.explain(self.shown.picture, caption), step, self._taken(run, caption))

    def _taken(self, run: LoadedRun, caption: Caption) -> str:
        title = say("With your token")
        return f"<b>{title}</b>{caption_list([caption], Greedy(), self.scene, run.language)}"

    def _explain(self, shown: Explanation, step: Step, taken: str = "") -> None:
        self.shown = shown
        step(1.0)
        self.taken.value = taken
        self.tokens.html, self.tokens.busy = shown.tokens(choosable=True) + _hint(back=bool(taken)), False
        self.captions.remove_class(BUSY)
        for page, make in ((self.prefix, shown.prefix), (self.where, shown.where)):
            step(1.0)
            page.value = make()

    @property
    def text(self) -> str:
        """All that it says, as HTML."""
        return "".join([self.tokens.html, *(page.value for page in (self.captions, self.taken, self.prefix))])

    def _counter(self, step: Step) -> Callable[[], None]:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            step(min(done / self.limit, 1.0))

        return count

    def fail(self, words: str) -> None:
        """Show why there is no caption."""
        self.captions.remove_class(BUSY)
        why = say("<b>No caption:</b> {why}", why=html.escape(words))
        self.captions.value, self.taken.value = f"<p>{why}</p>", ""
        for page in (self.prefix, self.where):
            page.value = ""
        self.tokens.html = ""


def _hint(back: bool) -> str:
    """What can be clicked in the tokens above, as HTML; `back`: also the way back."""
    hint = say("Click another token to write it instead; the caption then goes on greedily.")
    return f"<p>{hint}</p>" + (BACK.format(say("back to what was written")) if back else "")

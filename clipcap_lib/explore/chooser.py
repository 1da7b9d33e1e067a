"""Choosing a picture: test pictures a page at a time, one at random, or one's own."""

import html
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from PIL import Image

from clipcap_lib.explore.clickable import Clickable
from clipcap_lib.explore.faults import guarded
from clipcap_lib.explore.picture_input import PictureInput
from clipcap_lib.images import open_picture
from clipcap_lib.reporting import cards
from clipcap_lib.wording import say

PAGE = 24  # thumbnails
ROW = widgets.Layout(flex_flow="row wrap", align_items="center")


@dataclass(frozen=True)
class Choice:
    """A picture with its name and its references; one's own has none, and its name is no test picture's."""

    name: str
    picture: Image.Image
    references: list[str]

    def as_html(self) -> str:
        """The picture, with its references beside it."""
        if self.references:
            return cards.picture_with_references(self.picture, self.name, self.references)
        return cards.picture_tag(self.picture, say("Your picture {name}", name=self.name), 224)


class PictureChooser:
    """Thumbnails, and ways to a picture of one's own; `choice` is the last one that could be opened.

    `pictures`: image_id and image_path. `references`: a list of captions by image_id. `on_choice` is called after each
    choice, `on_fault` with what is wrong with a picture, which then changes nothing.
    """

    def __init__(self, pictures: pd.DataFrame, references: pd.Series, on_choice: Callable[[], None],
                 on_fault: Callable[[str], None]) -> None:  # fmt: skip
        self.paths, self.references = pictures.set_index("image_id")["image_path"], references
        self.on_choice, self.on_fault = on_choice, on_fault
        self.page, self.choice = 0, None
        self.thumbnails, self.told = Clickable(guarded(self.choose, on_fault)), widgets.HTML()
        self.input = PictureInput(self.take, on_fault)
        self.widget = self._arrange()
        self._show_page(0)

    def _arrange(self) -> widgets.Widget:
        self.previous = self._button(say("previous"), "arrow-left", lambda: self._show_page(self.page - 1))
        self.next = self._button(say("next"), "arrow-right", lambda: self._show_page(self.page + 1))
        self.random = self._button(say("random"), "random", self.choose_another)
        row = widgets.HBox([self.previous, self.next, self.random, self.told], layout=ROW)
        return widgets.VBox([self.thumbnails, row, self.input])

    def _button(self, name: str, icon: str, act: Callable[[], None]) -> widgets.Button:
        button = widgets.Button(description=name, icon=icon, layout=widgets.Layout(width="auto"))
        button.on_click(guarded(lambda _: act(), self.on_fault))
        return button

    def _show_page(self, page: int) -> None:
        last = (len(self.paths) - 1) // PAGE
        self.page = min(max(page, 0), last)
        self.previous.disabled, self.next.disabled = self.page == 0, self.page == last
        shown = self.paths.iloc[self.page * PAGE : (self.page + 1) * PAGE]
        self.thumbnails.html = "".join(_thumbnail(name, path, self.references[name][0]) for name, path in shown.items())

    def choose(self, name: str) -> None:
        """Choose a test picture, and show the page it stands on."""
        number = self.paths.index.get_loc(name)
        if self._open(name, Path(self.paths.iloc[number]), self.references[name]):
            if number // PAGE != self.page:
                self._show_page(number // PAGE)
            self.thumbnails.chosen = name
            place = {"number": number + 1, "count": len(self.paths), "name": html.escape(name)}
            self.told.value = say("picture {number} of {count}: {name}", **place)
            self.on_choice()

    def choose_another(self) -> None:
        """Choose a test picture by chance, another than the one that is shown."""
        others = self.paths.index[self.paths.index != self.thumbnails.chosen]
        self.choose(random.choice(others if len(others) else self.paths.index))

    def take(self, name: str, content: bytes) -> None:
        """Choose a picture of one's own by its bytes."""
        if self._open(name, content, []):
            self.thumbnails.chosen = ""
            self.told.value = say("your picture: {name}", name=html.escape(name))
            self.on_choice()

    def _open(self, name: str, source: Path | bytes, references: list[str]) -> bool:
        try:
            picture = open_picture(source, name if isinstance(source, bytes) else "")
        except ValueError as error:
            self.on_fault(str(error))
            return False
        self.choice = Choice(name, picture, references)
        return True


def _thumbnail(name: str, path: str, caption: str) -> str:
    """A button of a picture; one that cannot be opened shows its name, and why when it is chosen."""
    title = html.escape(f"{name}: {caption}")
    try:
        shown = cards.picture_tag(path, f"{name}: {caption}", 72)
    except ValueError:
        shown = cards.picture_tag("", name, 72)
    return f'<button type="button" class="picture" data-value="{html.escape(name)}" title="{title}">{shown}</button>'

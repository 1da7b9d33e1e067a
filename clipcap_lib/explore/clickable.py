"""A widget that shows HTML in which things can be clicked."""

from collections.abc import Callable
from pathlib import Path

import traitlets
from anywidget import AnyWidget


class Clickable(AnyWidget):
    """HTML whose elements with a `data-value` can be clicked, such as `<button data-value="3">`.

    `on_click` hears the value. The element of the value `chosen` is marked as pressed; while `busy`, nothing can be
    clicked.
    """

    _esm = Path(__file__).with_name("clickable.js")
    _css = Path(__file__).with_name("clickable.css")
    html = traitlets.Unicode().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(self, on_click: Callable[[str], None], **traits: object) -> None:
        super().__init__(**traits)
        self.on_msg(lambda _, value, __: None if self.busy else on_click(value))

"""A widget that takes a picture of one's own: by a button, dropped, or pasted."""

from collections.abc import Callable
from pathlib import Path

import traitlets
from anywidget import AnyWidget

from clipcap_lib.explore.faults import guarded
from clipcap_lib.wording import say


class PictureInput(AnyWidget):
    """Calls `on_picture` with a file's name and bytes, or `on_fault` with why there is none."""

    _esm = Path(__file__).with_name("picture_input.js")
    _css = Path(__file__).with_name("picture_input.css")
    words = traitlets.Dict().tag(sync=True)

    def __init__(self, on_picture: Callable[[str, bytes], None], on_fault: Callable[[str], None]) -> None:
        super().__init__(words=_words())
        self.on_picture, self.on_fault = on_picture, on_fault
        self.on_msg(guarded(self._hear, on_fault))

    def _hear(self, _: AnyWidget, message: dict[str, str], buffers: list[memoryview]) -> None:
        if "fault" in message:
            self.on_fault(message["fault"])
        else:
            self.on_picture(message["name"], bytes(buffers[0]))


def _words() -> dict[str, str]:
    """All that it says, in the reader's language; the script fills in what stands in braces."""
    return {
        "upload": say("Upload a picture"),
        "zone": say("drop or paste a picture here"),
        "ways": say(" or drop one here, or click here and paste one"),
        "none": say("there is no picture in it; drop or paste the file itself"),
        "large": say("{name} has {size} MB; make it smaller than {most} MB"),
    }

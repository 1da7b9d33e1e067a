"""The explorer without a browser: every control leads to new captions, and nothing that fails stops it."""

import threading

import pandas as pd
import pytest
from PIL import Image

from clipcap_lib.decoding.constraints import Caption
from clipcap_lib.decoding.strategies import NAMES, build_strategy, options
from clipcap_lib.explore import widgets as explorer
from clipcap_lib.explore.inspection import Explanation
from clipcap_lib.explore.widgets import Explorer, option_controls


class Run:
    """Stands for a loaded run: says what it was asked."""

    def __init__(self, folder):
        self.folder, self.captioner, self.gate = folder, self, threading.Event()
        self.model, self.gate.set = self, self.gate.set
        self.step = lambda: None

    def on_step(self, call):
        self.step = call
        return threading.Lock()

    def caption(self, picture, key, strategy, limit):
        self.gate.wait(5)
        self.step()
        if strategy.name == "mbr":
            raise ValueError("a < b")
        return [Caption(f"{key} {strategy.name} {picture.size}", [1], [-0.5], -0.5, "end")]

    def explain(self, picture, captions):
        return Explanation("tokens", "prefix", "neighbours")


@pytest.fixture
def made(tmp_path, monkeypatch):
    runs = {}
    monkeypatch.setattr(explorer, "loaded_run", lambda folder: runs.setdefault(folder, Run(folder)))
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)
        runs.setdefault(tmp_path / "one", Run(tmp_path / "one")).gate.set()
    pictures = pd.DataFrame({"image_id": ["a", "b"], "image_path": [str(tmp_path / f"{n}.jpg") for n in "ab"]})
    built = Explorer([tmp_path / "one", tmp_path / "two"], pictures, pd.Series({"a": ["one"], "b": ["two"]}))
    runs.setdefault(tmp_path / "two", Run(tmp_path / "two")).gate.set()
    settle(built)
    yield built, runs[tmp_path / "one"]
    built.worker.shutdown()


def settle(built: Explorer) -> str:
    built.worker.submit(lambda: None).result(20)
    return built.panels[0].captions.value


def upload(name: str, content: bytes) -> tuple[dict, ...]:
    return ({"name": name, "content": memoryview(content)},)


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_can_be_built_wherever_its_controls_stand(name):
    controls = option_controls(name)
    assert list(controls) == list(options(name))
    build_strategy(name, **{option: control.value for option, control in controls.items()})
    lowest = {option: getattr(control, "min", control.value) for option, control in controls.items()}
    build_strategy(name, **lowest)
    highest = {option: getattr(control, "max", control.value) for option, control in controls.items()}
    build_strategy(name, **highest)


def test_picture_strategy_and_second_run_are_followed(made, tmp_path):
    built, _ = made
    assert "a greedy" in settle(built)
    built.picture.value = "b"
    assert "b greedy" in settle(built)
    built.strategy.value = "contrastive"
    assert "b contrastive" in settle(built)
    assert [control.description for control in built.shown_options.children] == ["n", "k", "alpha", "history"]
    assert built.panels[1].widget.layout.display == "none"
    built.runs[1].value = tmp_path / "two"
    settle(built)
    assert built.panels[1].widget.layout.display == "flex"
    assert built.status.value.startswith("Captioned in")


def test_a_bad_upload_changes_only_the_status_line(made, tmp_path):
    built, _ = made
    before = settle(built)
    built._take(upload("x<y.jpg", b"no picture"))
    assert "x&lt;y.jpg cannot be read" in built.status.value
    assert settle(built) == before
    built._take(upload("mine.jpg", (tmp_path / "b.jpg").read_bytes()))
    assert "mine.jpg greedy (20, 10)" in settle(built)
    built.picture.value = "b"
    assert "b greedy" in settle(built)


def test_cancel_and_a_newer_choice_stop_what_is_under_way(made):
    built, run = made
    run.gate.clear()
    built.strategy.value = "beam"
    built.cancel.click()
    assert built.status.value == "Cancelled."
    run.gate.set()
    assert "greedy" in settle(built)
    run.gate.clear()
    built.strategy.value = "sample"
    built.strategy.value = "greedy"
    run.gate.set()
    assert "greedy" in settle(built)


def test_an_error_in_the_thread_is_shown_on_the_page(made):
    built, _ = made
    built.strategy.value = "mbr"
    settle(built)
    assert built.status.value == "<b>ValueError</b>: a &lt; b"

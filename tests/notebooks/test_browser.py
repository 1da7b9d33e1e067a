"""The pages and the explorer in a real browser: what a person would see, click and move."""

import base64
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.files import read_json, write_json
from clipcap_lib.reporting.report import write_index

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.notebooks
PATIENCE = 180_000  # ms until a cell that loads models is done, on a busy machine
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


# --- reports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["emoji-tiny/index.html", "index.html", "runs.html", "compare.html"])
def test_pages_load_whole_and_fit_the_screen(reports, watched, name, width):
    page, wrong = watched
    if name == "compare.html" and not (reports / name).exists():
        runs = [str(reports / "emoji-tiny/runs" / run) for run in ("mlp-full-s0", "bert-full-s0")]
        assert CliRunner().invoke(app, ["compare", *runs, "-o", str(reports / name)]).exit_code in (0, 1)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((reports / name).as_uri())
    page.wait_for_function(
        "document.querySelectorAll('.chart').length === document.querySelectorAll('.chart svg.marks').length"
    )
    assert wrong == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert not page.evaluate(WIDER)


def test_the_report_can_be_walked_through_by_keyboard(reports, watched):
    page, _ = watched
    page.goto((reports / "emoji-tiny/index.html").as_uri())
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    target = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("Enter")
    assert target.startswith("#")
    expect(page).to_have_url(re.compile(re.escape(target) + "$"))


def test_an_index_of_500_experiments_sorts_at_once(reports, watched, tmp_path):
    page, wrong = watched
    row = read_json(reports / "emoji-tiny/experiment.json")
    for number in range(500):
        (tmp_path / f"e{number}").mkdir()
        changed = {"name": f"e{number}", "best_dev_loss": (7 * number % 500) / 100}
        write_json(tmp_path / f"e{number}/experiment.json", row | changed)
    page.goto(write_index(tmp_path).as_uri())
    started = time.perf_counter()
    page.get_by_role("button", name="best dev loss").click()
    expect(page.locator("tbody tr").first).to_contain_text(re.compile("^e0"))
    page.get_by_role("button", name="best dev loss").click()
    expect(page.locator("tbody tr").first).to_contain_text("4.99")
    assert time.perf_counter() - started < 10
    assert wrong == []


# --- the explorer in JupyterLab ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explorer_url(reports) -> Iterator[str]:
    """JupyterLab serving notebook 07 with the tiny runs as its parameters."""
    (ROOT / "reports").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "reports", prefix="browser-test-") as name:
        folder = Path(name)
        runs = [str(reports / "emoji-tiny/runs" / run) for run in ("mlp-full-s0", "bert-full-s0")]
        notebook = load_notebook_node(str(ROOT / "notebooks/07_explore.ipynb"))
        given = {"runs": runs, "output": str(folder / "out"), "report_language": "en"}
        nbformat.write(parameterize_notebook(notebook, given), folder / "07.ipynb")
        port, server = _serve(folder)
        yield f"http://localhost:{port}/lab/tree/07.ipynb?reset"
        server.terminate()
        server.wait(timeout=30)


def _serve(folder: Path) -> tuple[int, subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--IdentityProvider.token=",
        "--allow-root", f"--ServerApp.root_dir={folder}", "--ServerApp.log_level=ERROR",
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | own | {"JUPYTER_PREFER_ENV_PATH": "1"}
        )
    for _ in range(PATIENCE // 500):
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return port, server
        time.sleep(0.5)
    server.kill()
    raise TimeoutError(f"JupyterLab did not start: {(folder / 'server.log').read_text()[-500:]}")


def test_the_explorer_answers_to_picture_slider_run_and_upload(explorer_url, watched, tmp_path):
    page, wrong = watched
    page.goto(explorer_url)
    page.locator(".jp-Notebook").wait_for(timeout=PATIENCE)
    page.get_by_text("| Idle").wait_for(timeout=PATIENCE)  # before that there is no kernel to run anything
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    widget = page.locator(".jp-OutputArea-output .widget-vbox").first
    status = widget.get_by_text("Captioned in")
    status.wait_for(timeout=PATIENCE)
    assert float(status.inner_text().split()[2]) > 0

    thumbnail = widget.locator("button.picture").nth(3)
    thumbnail.click()
    expect(thumbnail).to_have_attribute("aria-pressed", "true")
    expect(widget.get_by_text("picture 4 of 16")).to_be_visible(timeout=PATIENCE)
    expect(widget.get_by_alt_text(f"Picture {thumbnail.get_attribute('data-value')}:")).to_be_visible(timeout=PATIENCE)
    widget.get_by_role("button", name="random").click()
    expect(thumbnail).to_have_attribute("aria-pressed", "false", timeout=PATIENCE)
    expect(widget.locator("button.picture[aria-pressed=true]")).to_have_count(1)
    expect(widget.get_by_text("picture 4 of 16")).to_be_hidden(timeout=PATIENCE)

    choose = widget.locator("select")
    expect(status).to_be_visible(timeout=PATIENCE)
    choose.nth(1).select_option("sample")
    said = widget.locator("p").first
    handle = widget.get_by_text("seed", exact=True).locator("..").get_by_role("slider")
    handle.wait_for(timeout=PATIENCE)
    expect(status).to_be_visible(timeout=PATIENCE)
    captions = {said.inner_text()}
    for _ in range(5):
        handle.press("ArrowRight")
        page.wait_for_timeout(1500)
        expect(status).to_be_visible(timeout=PATIENCE)
        captions.add(said.inner_text())
    assert len(captions) > 1, "moving the seed never changed a caption"

    widget.get_by_text("compare with").click()
    choose.nth(2).select_option("emoji-tiny: bert-frozen-s0")  # which stands beside those that the notebook names
    choose.nth(3).select_option("best-of-n")
    expect(widget.get_by_text("CLIP cosine with the picture").first).to_be_visible(timeout=PATIENCE)
    expect(status).to_be_visible(timeout=PATIENCE)
    widget.get_by_text("compare with").click()
    expect(widget.get_by_text("CLIP cosine with the picture").first).to_be_hidden(timeout=PATIENCE)

    expect(status).to_be_visible(timeout=PATIENCE)
    other = widget.locator('button[data-value^="2:"]').first
    token = other.inner_text().rpartition(" ")[0]
    other.click()
    expect(widget.get_by_text("With your token")).to_be_visible(timeout=PATIENCE)
    expect(widget.locator("tbody tr").nth(2).locator("td").nth(1)).to_have_text(token, timeout=PATIENCE)
    widget.get_by_role("button", name="back to what was written").click()
    expect(widget.get_by_text("With your token")).to_be_hidden(timeout=PATIENCE)

    (tmp_path / "bad.jpg").write_bytes(b"no picture at all")
    Image.new("RGB", (50, 40), "green").save(tmp_path / "good.png")
    upload(page, widget, tmp_path / "bad.jpg")
    expect(widget.get_by_text("bad.jpg cannot be read as a picture")).to_be_visible(timeout=PATIENCE)
    upload(page, widget, tmp_path / "good.png")
    expect(widget.get_by_alt_text("Your picture good.png")).to_be_visible(timeout=PATIENCE)
    expect(widget.get_by_text("your picture: good.png")).to_be_visible(timeout=PATIENCE)
    expect(widget.locator("button.picture[aria-pressed=true]")).to_have_count(0)
    for way in ("drop", "paste"):
        give(widget, way, f"{way}.png", (tmp_path / "good.png").read_bytes())
        expect(widget.get_by_alt_text(f"Your picture {way}.png")).to_be_visible(timeout=PATIENCE)
    give(widget, "drop", "", b"")
    expect(widget.get_by_text("there is no picture in it")).to_be_visible(timeout=PATIENCE)
    give(widget, "drop", "huge.png", bytes(9 * 2**20))
    expect(widget.get_by_text("huge.png has 9 MB; make it smaller than 8 MB")).to_be_visible(timeout=PATIENCE)
    thumbnail.click()
    expect(widget.get_by_text("picture 4 of 16")).to_be_visible(timeout=PATIENCE)
    expect(status).to_be_visible(timeout=PATIENCE)
    assert [line for line in wrong if "favicon" not in line] == []


def upload(page: Page, widget: Locator, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        widget.get_by_role("button", name="upload").click()
    chooser.value.set_files(path)


def give(widget: Locator, way: str, name: str, content: bytes) -> None:
    """Drop or paste a file on the explorer; without a name, something that is no file."""
    zone = widget.get_by_label("drop or paste a picture here")
    zone.evaluate(
        """(zone, [way, name, content]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
            if (name) data.items.add(new File([bytes], name, { type: "image/png" }));
            const also = { bubbles: true, cancelable: true };
            zone.dispatchEvent(way === "paste" ? new ClipboardEvent(way, { clipboardData: data, ...also })
                                               : new DragEvent(way, { dataTransfer: data, ...also }));
        }""",
        [way, name, base64.b64encode(content).decode()],
    )

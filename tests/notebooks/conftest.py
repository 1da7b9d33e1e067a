"""One tiny report for all notebook and browser tests, made by the command users type, and a browser to see it in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.runner.warm_kernels import use_warm_kernels

PATIENCE = 60_000  # ms, on a machine that does much else
expect.set_options(timeout=PATIENCE)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session", autouse=True)
def warm_kernels() -> None:
    """Fork every kernel from a process that has imported everything, as `clipcap run` does: a tenth of the time."""
    use_warm_kernels()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of reports with the tiny experiment in it."""
    folder = tmp_path_factory.mktemp("reports")
    result = CliRunner().invoke(app, ["run", "emoji-tiny", "--reports", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; without one on the PATH nothing is seen, and the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH, so nothing was seen in a browser: install `chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def watched(browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what went wrong on it: console errors, exceptions, requests to another machine."""
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 1000}), []
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    own = ("file:", "data:", "blob:", "http://localhost", "ws://localhost")
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    yield page, wrong
    page.close()

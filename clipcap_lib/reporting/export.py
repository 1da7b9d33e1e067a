"""A report for print and slides: the page as PDF through a browser, every figure as PNG and SVG with its numbers."""

import base64
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from clipcap_lib.files import replacing
from clipcap_lib.reporting.notebook_html import notebook_figures

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PRINTED_WITHIN = 300  # seconds
KINDS = {"image/png": "png", "image/svg+xml": "svg", "text/csv": "csv"}


def write_pdf(page: Path) -> Path:
    """Print a page into a PDF beside it; return its path.

    Raises `FileNotFoundError` where no browser is on the PATH, `OSError` where the browser wrote nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"a PDF is printed by a browser, and none of {', '.join(BROWSERS)} is on the PATH")
    path = page.with_name("report.pdf")
    with replacing(path) as temporary, TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={profile}", "--no-pdf-header-footer", f"--print-to-pdf={temporary.absolute()}",
            page.absolute().as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=PRINTED_WITHIN, check=False)
        if not temporary.exists() or not temporary.stat().st_size:
            raise OSError(f"{browser} printed nothing: {done.stderr.strip().rpartition(chr(10))[2]}")
    return path


def write_figures(notebooks: list[Path], folder: Path) -> list[Path]:
    """Write the figures of executed notebooks as PNG, SVG and CSV, named by notebook, place and heading."""
    shutil.rmtree(folder, ignore_errors=True)  # figures of an earlier report would pass for this one's
    folder.mkdir(parents=True)
    written = []
    for notebook in notebooks:
        for number, (heading, data) in enumerate(notebook_figures(notebook), start=1):
            name = "-".join(re.findall(r"\w+", f"{notebook.parent.name} {number:02d} {heading}".lower()))
            for kind in KINDS.keys() & data.keys():
                path = folder / f"{name}.{KINDS[kind]}"
                path.write_bytes(_content(kind, data[kind]))
                written.append(path)
    return sorted(written)


def _content(kind: str, data: str) -> bytes:
    return base64.b64decode(data) if kind == "image/png" else data.encode()

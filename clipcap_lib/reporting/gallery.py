"""The README's figures and answers, taken from the executed notebooks of experiments."""

import base64
from pathlib import Path
from typing import Any

from clipcap_lib.reporting.notebook_html import notebook_figures
from clipcap_lib.runs import read_json, write_json

FIGURES = {
    "learning_curves.png": ("emoji-zh", "04_mlp_vs_bert", "Loss against images seen"),
    "accuracy.png": ("emoji-zh", "06_results", "Does the caption name the right things?"),
    "decoding.png": ("emoji-zh", "05_decoding", "Quality against diversity"),
    "scenes.png": ("emoji-zh", "01_data_preparation", "Pictures and captions"),
    "bridges.png": ("emoji-zh-bridges", "08_what_limits", "The bridge"),
    "vector.png": ("emoji-zh-bridges", "08_what_limits", "The vector"),
    "scaling.png": ("emoji-zh-scaling", "08_what_limits", "Data"),
}
NEEDED = "emoji-zh"  # the others take hours: what of them has been run is renewed, the rest stays


def write_gallery(reports: Path, gallery: Path) -> list[Path]:
    """Write the figures of `FIGURES` and the answers of their experiments into a folder; return the paths.

    Raises `FileNotFoundError` when the default report has not been made, `ValueError` when a notebook lost its figure.
    """
    gallery.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (experiment, notebook, heading) in FIGURES.items():
        source = reports / experiment / "notebooks" / notebook / "notebook.ipynb"
        if not source.exists() and experiment != NEEDED:
            continue
        if not source.exists():
            raise FileNotFoundError(f"{source} is not there: run `make report` first")
        (gallery / name).write_bytes(first_figure_under(source, heading))
        paths.append(gallery / name)
    return [*paths, _write_answers(reports, gallery / "answers.json")]


def _write_answers(reports: Path, path: Path) -> Path:
    """Renew the answers of the experiments that have been run, each with the commit and the machine of its runs."""
    answers: dict[str, Any] = read_json(path) if path.exists() else {}
    for experiment in dict.fromkeys(experiment for experiment, _, _ in FIGURES.values()):
        found = [read_json(summary).get("findings", [])
                 for summary in sorted((reports / experiment / "notebooks").glob("0[48]_*/summary.json"))]  # fmt: skip
        runs = sorted((reports / experiment / "runs").glob("[!.]*/provenance.json"))
        if found and runs:
            origin = read_json(runs[0])
            answers[experiment] = {
                "findings": [sentence for findings in found for sentence in findings],
                "commit": origin.get("git_commit"), "device": origin.get("device"), "runs": len(runs),
            }  # fmt: skip
    write_json(path, answers)
    return path


def first_figure_under(path: Path, heading: str) -> bytes:
    """The PNG of the first figure below a heading of an executed notebook."""
    for above, data in notebook_figures(path):
        if above == heading:
            return base64.b64decode(data["image/png"])
    raise ValueError(f"{path}: no figure under the heading {heading!r}; run `make report` again")

"""The README's figures and answers, taken from the executed notebooks of experiments."""

import base64
import re
from pathlib import Path
from typing import Any

from clipcap_lib.files import read_json, replacing, write_json
from clipcap_lib.reporting.language import language_of_report, speaking
from clipcap_lib.reporting.notebook_html import notebook_figures
from clipcap_lib.wording import say

FIGURES = {
    "learning_curves.png": ("emoji-zh", "04_mlp_vs_bert", "Loss against images seen"),
    "accuracy.png": ("emoji-zh", "06_results", "Does the caption name the right things?"),
    "decoding.png": ("emoji-zh", "05_decoding", "Quality against diversity"),
    "scenes.png": ("emoji-zh", "01_data_preparation", "Pictures and captions"),
    "bridges.png": ("emoji-zh-bridges", "08_what_limits", "The bridge"),
    "vector.png": ("emoji-zh-bridges", "08_what_limits", "The vector"),
    "scaling.png": ("emoji-zh-scaling", "08_what_limits", "Data"),
}
READMES = {"en": "README.md", "zh": "README.zh.md"}


def write_gallery(reports: Path, gallery: Path) -> list[Path]:
    """Write figures and answers of experiments into `<gallery>/<language>`; return the paths.

    The language is that of each experiment's report. Raises `FileNotFoundError` where nothing of it has been run,
    `ValueError` when a notebook lost its figure.
    """
    paths = []
    for name, (experiment, notebook, heading) in FIGURES.items():
        source = reports / experiment / "notebooks" / notebook / "notebook.ipynb"
        if not source.exists():
            continue  # what has been run is renewed, the rest stays
        path = _place(reports / experiment, gallery) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(first_figure_under(source, heading))
        paths.append(path)
    if not paths:
        raise FileNotFoundError(f"{reports}: nothing that the gallery shows has been run: run `make report` first")
    return paths + _write_answers(reports, gallery)


def _place(experiment: Path, gallery: Path) -> Path:
    """Where what an experiment found is kept: by the language of its report, English where it has none."""
    return gallery / (language_of_report(experiment) or "en")


def _write_answers(reports: Path, gallery: Path) -> list[Path]:
    """Renew the answers of the experiments that have been run, each with the commit and the machine of its runs."""
    paths = []
    for experiment in dict.fromkeys(experiment for experiment, _, _ in FIGURES.values()):
        summaries = [read_json(path) for path in (reports / experiment / "notebooks").glob("0[48]_*/summary.json")]
        runs = sorted((reports / experiment / "runs").glob("[!.]*/provenance.json"))
        if summaries and runs:
            origin, path = read_json(runs[0]), _place(reports / experiment, gallery) / "answers.json"
            known: dict[str, Any] = read_json(path) if path.exists() else {}
            findings = summaries[0].get("findings", [])
            known[experiment] = {
                "answers": summaries[0].get("answers", findings[:2]), "findings": findings, "runs": len(runs),
                "commit": origin.get("git_commit"), "device": origin.get("device"),
            }  # fmt: skip
            write_json(path, known)
            paths += [path] if path not in paths else []
    return paths


def renew_readmes(gallery: Path, folder: Path) -> list[Path]:
    """Write the answers of the gallery into the READMEs of a folder, each between the two comments that ask for it."""
    renewed = []
    for language, name in READMES.items():
        answers, path = gallery / language / "answers.json", folder / name
        if answers.exists() and path.exists():
            text = path.read_text(encoding="utf-8")
            for experiment, content in read_json(answers).items():
                with speaking(language):
                    text = _with_answers(text, experiment, content)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            renewed.append(path)
    return renewed


def _with_answers(text: str, experiment: str, content: dict[str, Any]) -> str:
    """The text with the answers of an experiment between `<!-- answers of EXPERIMENT -->` and `<!-- end -->`."""
    basis = say(
        "{runs} runs, commit {commit}, {device}",
        runs=content["runs"], commit=str(content["commit"])[:7], device=content["device"],
    )  # fmt: skip
    told = "\n".join(f"> {answer}\n>" for answer in content["answers"]) + f"\n> *{basis}*"
    start = f"<!-- answers of {experiment} -->"
    return re.sub(f"{start}.*?<!-- end -->", lambda _: f"{start}\n{told}\n<!-- end -->", text, flags=re.DOTALL)


def first_figure_under(path: Path, heading: str) -> bytes:
    """The PNG of the first figure below a heading of an executed notebook."""
    for above, data in notebook_figures(path):
        if above == heading:
            return base64.b64decode(data["image/png"])
    raise ValueError(f"{path}: no figure under the heading {heading!r}; run `make report` again")

"""The README's figures, taken from the executed notebooks of the default experiment."""

import base64
from pathlib import Path

import nbformat

FIGURES = {
    "learning_curves.png": ("04_mlp_vs_bert", "Loss against images seen"),
    "accuracy.png": ("06_results", "Does the caption name the right things?"),
    "decoding.png": ("05_decoding", "Quality against diversity"),
    "scenes.png": ("01_data_preparation", "Pictures and captions"),
}


def write_gallery(report: Path, gallery: Path) -> list[Path]:
    """Write each figure of `FIGURES` as a PNG file; return the paths.

    Raises `FileNotFoundError` when the report has not been made, `ValueError` when a notebook lost its figure.
    """
    gallery.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (notebook, heading) in FIGURES.items():
        source = report / "notebooks" / notebook / "notebook.ipynb"
        if not source.exists():
            raise FileNotFoundError(f"{source} is not there: run `make report` first")
        (gallery / name).write_bytes(first_figure_under(source, heading))
        paths.append(gallery / name)
    return paths


def first_figure_under(path: Path, heading: str) -> bytes:
    """The PNG of the first figure below a heading of an executed notebook."""
    below = False
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            below = cell.source.startswith(f"## {heading}\n") or cell.source == f"## {heading}"
        elif below:
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise ValueError(f"{path}: no figure under the heading {heading!r}; run `make report` again")

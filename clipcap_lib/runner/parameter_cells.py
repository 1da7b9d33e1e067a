"""The `parameters` cells of notebooks: read, and written from `settings` with the values of the default experiment."""

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from pydantic.fields import FieldInfo

from clipcap_lib.runner.experiment import DEFAULT, Execution, Experiment, load_experiment
from clipcap_lib.settings import Data, Decoding, Models, OneRun, TrainingSettings

SETTINGS: dict[str, FieldInfo] = {
    key: field
    for section in (OneRun, TrainingSettings, Models, Data, Decoding, Execution)
    for key, field in section.model_fields.items()
} | {"report_language": Experiment.model_fields["report_language"]}
BY_HAND: dict[str, Any] = {
    "mapping": "mlp", "tuning": "full", "seed": 0,  # one run of the experiment's grid
    "threads": 2,  # nothing runs beside it
    "strategies": ["greedy", "beam width:5", "sample top_p:0.9", "contrastive k:4 alpha:0.6"],  # seconds, not minutes
}  # fmt: skip


class ParameterError(ValueError):
    """A parameter the notebook does not have, or of another type."""


def parameters_cell(path: Path) -> NotebookNode:
    """The cell of a notebook that is tagged `parameters`; raises `ParameterError` where there is none, or several."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"{path}: expected one cell tagged `parameters`, found {len(cells)}")
    return cells[0]


def notebook_parameters(path: Path) -> dict[str, Any]:
    """The default of every name in a notebook's parameters cell.

    Raises `ParameterError` when there is no such cell or it holds more than literals.
    """
    cell = parameters_cell(path)
    try:
        pairs = [_assignment(statement) for statement in ast.parse(cell.source).body]
        return {name: ast.literal_eval(value) for name, value in pairs}
    except (ValueError, SyntaxError) as error:
        raise ParameterError(f"{path}: the parameters cell may hold only `name: type = literal` lines") from error


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr]:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return name, value
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
    raise ValueError(ast.unparse(statement))


def written_from_settings(cell: str) -> str:
    """A parameters cell whose settings have the default experiment's values and the settings' own descriptions.

    Comments that name a group, and parameters that no experiment sets, stay as they are.
    """
    values = load_experiment(DEFAULT).flat() | BY_HAND
    return "\n".join(_line(line, values) for line in cell.splitlines())


def _line(line: str, values: dict[str, Any]) -> str:
    key = line.partition(":")[0]  # a new setting's name alone will do
    if key not in SETTINGS:
        return line
    value = values[key]
    literal = json.dumps(value, ensure_ascii=False) if isinstance(value, str | list) else repr(value)
    return f"{key}: {type(value).__name__} = {literal}  # {SETTINGS[key].description}"


def write_cells(notebooks: Path) -> None:
    """Write the parameters cells of the notebooks that an experiment runs anew; the rest of each file stays."""
    for path in sorted(notebooks.glob("0[1-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = written_from_settings(cell.source)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    write_cells(Path("notebooks"))

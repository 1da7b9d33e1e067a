"""A small executed notebook with figures under headings."""

import base64

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PNG = base64.b64encode(b"\x89PNG picture").decode()


@pytest.fixture(scope="session")
def figure_cell():
    """Make a code cell that has drawn a figure."""

    def make(source: str = "plot()", tags: tuple[str, ...] = ()):
        output = new_output("display_data", {"image/png": PNG, "text/plain": "<Figure>"})
        return new_code_cell(source, outputs=[output], execution_count=1, metadata={"tags": list(tags)})

    return make


@pytest.fixture
def notebook(tmp_path, figure_cell):
    cells = [
        new_markdown_cell("# The title"), new_code_cell("secret = 1", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Nothing here"), new_markdown_cell("## 损失曲线"), figure_cell(),
        new_markdown_cell("## Next"), figure_cell("widget()", ("interactive",)),
    ]  # fmt: skip
    path = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path

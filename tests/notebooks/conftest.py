"""One tiny report for all notebook and browser tests, made by the command users type."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.runner.warm_kernels import use_warm_kernels


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

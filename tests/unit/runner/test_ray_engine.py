"""What is refused before Ray is asked; tests/slow/test_ray.py has the cluster."""

import sys

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.runner.pipeline import EngineError
from clipcap_lib.runner.ray_engine import ray_engine


def test_without_ray_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(EngineError, match=r"Ray is not installed: pip install -e '\.\[ray\]'"), ray_engine(tmp_path):
        pytest.fail("there is no cluster")
    assert not list(tmp_path.iterdir())
    result = CliRunner().invoke(app, ["run", "emoji-tiny", "--engine", "ray", "--reports", str(tmp_path / "reports")])
    assert result.exit_code == 2
    assert f"{sys.executable} -m pip install -e '.[ray]'" in result.output
    assert not list(tmp_path.iterdir())  # it is said before anything is checked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "--address names a Ray cluster: add --engine ray"),
        (["--engine", "ray", "-j", "2"], "--workers is of --engine local: Ray runs as many notebooks as its machines"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    result = CliRunner().invoke(app, ["run", "emoji-tiny", *options])
    assert result.exit_code == 2
    assert message in result.output

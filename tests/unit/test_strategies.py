"""A strategy that lacks an option is refused with the values that the default report uses."""

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.decoding.strategies import Contrastive, Magic, build_strategy, parse_strategy
from clipcap_lib.settings import COMPARED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contrastive", "contrastive: option 'k' is required; option 'alpha' is required; the default report uses "
         "k:4 alpha:0.1"),
        ("contrastive k:4", "contrastive: option 'alpha' is required; the default report uses k:4 alpha:0.1"),
        ("magic k:4 alpha:0.1", "magic: option 'beta' is required; the default report uses k:4 alpha:0.1 beta:0.5"),
    ],
)  # fmt: skip
def test_what_the_default_report_uses_is_named(text, message):
    with pytest.raises(ValueError) as error:
        parse_strategy(text)
    assert str(error.value) == message


def test_no_values_are_named_where_none_is_lacking():
    with pytest.raises(ValueError) as error:
        build_strategy("contrastive", k=4, alpha=7)
    assert "report" not in str(error.value)


@pytest.mark.parametrize("kind", [Contrastive, Magic])
def test_the_default_report_does_use_them(kind):
    assert f"{kind.model_fields['name'].default} {kind.reported}" in COMPARED


def test_the_command_line_says_it_too(tmp_path):
    result = CliRunner().invoke(app, ["caption", "a.jpg", "--run", str(tmp_path), "--strategy", "contrastive"])
    assert result.exit_code == 2
    assert "the default report uses k:4 alpha:0.1" in result.output

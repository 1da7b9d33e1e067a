"""Strategies are read, written, and refused in one line that names the default report's values for what is lacking."""

import math

import pytest
from oracles import STRATEGIES
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.decoding.decode import Constraints
from clipcap_lib.decoding.strategies import (
    NAMES,
    Contrastive,
    Magic,
    Sample,
    build_strategy,
    describe,
    options,
    parse_strategy,
)
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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("contrastive", {"k": 4}, "contrastive: option 'alpha' is required"),
        ("contrastive", {"k": 4, "alpha": 1.5}, "alpha: input should be less than or equal to 1"),
        ("contrastive", {"k": 4, "alfa": 0.6}, "did you mean 'alpha'"),
        ("contrastve", {}, "did you mean 'contrastive'"),
        ("greedy", {"k": 4}, "it has no option 'k'"),
        ("sample", {"top_p": 1.5}, "top_p"),
        ("sample", {"temperature": math.inf}, "temperature: input should be a finite number"),
        ("beam", {"length_penalty": math.nan}, "length_penalty: input should be a finite number"),
        ("beam", {"width": 2, "n": 3}, "beam: n: input should be at most the width, 2, not 3"),
        ("beam", {"n": 6}, "beam: n: input should be at most the width, 5, not 6"),
    ],
)
def test_impossible_strategies_are_refused_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        build_strategy(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Contrastive(k=4), "contrastive: option 'alpha' is required"),
        (lambda: Sample(temperature=1e-40), "sample: temperature: input should be greater than or equal to 0.0001"),
        (lambda: Constraints(max_new_tokens=0), "constraints: max_new_tokens: input should be greater than 0, not 0"),
        (lambda: Constraints(max_tokens=9), "it has no option 'max_tokens'; did you mean 'max_new_tokens'"),
        (lambda: Constraints(banned_tokens=(3, "x")), "banned_tokens: .* not 'x'"),
    ],
)
def test_impossible_options_are_refused_in_one_line_from_python_too(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def test_a_strategy_is_written_and_read():
    for strategy in STRATEGIES:
        assert parse_strategy(describe(strategy)) == strategy
    with pytest.raises(ValueError, match="an option is given twice"):
        parse_strategy("beam width:3 width:5")
    with pytest.raises(ValueError, match="option:value"):
        parse_strategy("beam 5")
    for text in ("", "beam name:greedy"):
        with pytest.raises(ValueError, match="decoding strategy"):
            parse_strategy(text)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_strategy_is_one_of_the_command_line(name, tmp_path):
    given = {"n": "2", "width": "3", "k": "4", "alpha": "0.5", "beta": "0.5", "history": "generated", "seed": "1"}
    words = [word for option in options(name) for word in (f"--{option.replace('_', '-')}", given.get(option, "1"))]
    result = CliRunner().invoke(app, ["caption", "a.jpg", "--run", str(tmp_path), "--strategy", name, *words])
    assert "a.jpg: there is no such picture" in result.output  # so the options were read and make a strategy


def test_an_option_of_another_strategy_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["caption", "a.jpg", "--run", str(tmp_path), "--strategy", "beam", "--top-k", "3"])
    assert result.exit_code == 2
    assert "beam: it has no option 'top_k'" in result.output

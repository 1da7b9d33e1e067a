"""Sliders and menus of strategies: wherever they stand a strategy can be built, and they begin where reports do."""

from typing import get_args

import pytest

from clipcap_lib.decoding.strategies import NAMES, Strategy, build_strategy, options, parse_strategy
from clipcap_lib.explore.controls import StrategyControls, option_controls
from clipcap_lib.wording import TERM, read_catalogue


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_can_be_built_wherever_its_controls_stand(name):
    controls = option_controls(name)
    assert list(controls) == list(options(name))
    build_strategy(name, **{option: control.value for option, control in controls.items()})
    lowest = {option: getattr(control, "min", control.value) for option, control in controls.items()}
    build_strategy(name, **lowest)
    highest = {option: getattr(control, "max", control.value) for option, control in controls.items()}
    build_strategy(name, **highest)


@pytest.mark.parametrize("kind", [kind for kind in get_args(Strategy) if kind.reported])
def test_options_without_a_default_begin_as_in_the_report(kind):
    name = kind.model_fields["name"].default
    assert StrategyControls(lambda: None).options[name]["alpha"].value == 0.1
    started = {option: control.value for option, control in option_controls(name).items()}
    assert build_strategy(name, **started) == parse_strategy(f"{name} {kind.reported}")


def test_a_chosen_strategy_shows_its_own_options_and_tells_of_every_change():
    changes = []
    controls = StrategyControls(lambda: changes.append(controls.strategy()))
    controls.name.value = "contrastive"
    assert [control.description for control in controls.shown.children] == ["n", "k", "alpha", "history"]
    controls.options["contrastive"]["k"].value = 2
    assert [(made.name, made.k) for made in changes] == [("contrastive", 4), ("contrastive", 2)]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained_in_the_readers_language(name, chinese):
    catalogue = read_catalogue("zh")
    told = {field.description: control.tooltip
            for field, control in zip(options(name).values(), option_controls(name).values(), strict=True)}  # fmt: skip
    assert told == {english: catalogue.get(english, TERM).string for english in told}
    assert "" not in told.values()


def test_options_that_do_not_go_together_are_refused_in_the_readers_language(chinese):
    controls = StrategyControls(lambda: None)
    controls.name.value = "beam"
    controls.options["beam"]["n"].value = 9
    with pytest.raises(ValueError, match="^beam: n：取值不能大于 width，即 5，而这里是 9$"):
        controls.strategy()

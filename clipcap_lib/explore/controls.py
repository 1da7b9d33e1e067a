"""Controls for a decoding strategy, read off its options: a slider for a number, a menu for a choice."""

from collections.abc import Callable
from typing import get_args

import ipywidgets as widgets
from pydantic.fields import FieldInfo

from clipcap_lib.decoding.strategies import NAMES, Strategy, Usual, build_strategy, options, parse_strategy
from clipcap_lib.wording import term

LABEL = {"description_width": "110px"}  # room for `length_penalty` and `temperature`


class StrategyControls:
    """A menu of strategies with the options of the one chosen; `widget` is what is shown."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.name = widgets.Dropdown(options=NAMES, description=term("strategy"), style=LABEL)
        self.options = {name: option_controls(name) for name in NAMES}
        self.shown = widgets.VBox()
        self.widget = widgets.VBox([self.name, self.shown])
        for control in (control for controls in self.options.values() for control in controls.values()):
            control.observe(lambda _: on_change(), "value")
        self.name.observe(lambda _: (self._show(), on_change()), "value")
        self._show()

    def _show(self) -> None:
        self.shown.children = list(self.options[self.name.value].values())

    def strategy(self) -> Strategy:
        """The strategy as the controls stand; raises `ValueError` for options that do not go together."""
        chosen = {option: control.value for option, control in self.options[self.name.value].items()}
        return build_strategy(self.name.value, **chosen)


def option_controls(strategy: str) -> dict[str, widgets.Widget]:
    """A slider for each number among a strategy's options, a menu for each choice; see `strategies.Usual`."""
    return {option: _control(option, field, _first(strategy, option, field))
            for option, field in options(strategy).items()}  # fmt: skip


def _first(strategy: str, option: str, field: FieldInfo) -> object:
    """What a control begins with: its usual value, or, of an option without a default, that of the default report."""
    if field.is_required():
        return getattr(parse_strategy(f"{strategy} {REPORTED[strategy]}"), option)
    usual = _usual(field)
    return field.default if usual is None or usual.first is None else usual.first


REPORTED = {kind.model_fields["name"].default: kind.reported for kind in get_args(Strategy)}


def _usual(field: FieldInfo) -> Usual | None:
    return next((value for value in field.metadata if isinstance(value, Usual)), None)


def _control(option: str, field: FieldInfo, first: object) -> widgets.Widget:
    named = dict(value=first, description=option, tooltip=term(field.description), style=LABEL)
    usual = _usual(field)
    if usual is None:
        return widgets.Dropdown(options=get_args(field.annotation), **named)
    kind = widgets.IntSlider if field.annotation is int else widgets.FloatSlider
    return kind(min=usual.lowest, max=usual.highest, step=usual.step, continuous_update=False, **named)

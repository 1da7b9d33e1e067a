"""Exploring: captions of one picture by one run, what lies behind them, and widgets."""

from clipcap_lib.lazy import lazy

_WHERE = {
    "explore": "explore.widgets",
    "loaded_run": "explore.inspection",
    "caption_list": "explore.inspection",
    "side_by_side": "explore.inspection",
    "each_once": "explore.inspection",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)

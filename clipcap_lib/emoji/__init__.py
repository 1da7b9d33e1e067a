"""Emoji scenes: the generated corpus, its language, and what is true of each picture."""

from clipcap_lib.lazy import lazy

_WHERE = {
    "ATTRIBUTES": "emoji.attributes",
    "attribute_scores": "emoji.attributes",
    "attribute_accuracy": "emoji.attributes",
    "accuracy_by_factor": "emoji.attributes",
    "confusions": "emoji.attributes",
    "probe_table": "emoji.probing",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)

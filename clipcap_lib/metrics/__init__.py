"""Metrics of captions: against references, without them, and by CLIP."""

from clipcap_lib.lazy import lazy

_WHERE = {
    "score": "metrics.reference",
    "cider": "metrics.reference",
    "training_frequencies": "metrics.reference",
    "training_agreement": "metrics.reference",
    "set_diversity": "metrics.diversity",
    "tokenise": "metrics.tokenizers",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)

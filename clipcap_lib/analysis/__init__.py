"""Analysis of finished runs: what their losses, captions and prefixes say."""

from clipcap_lib.lazy import lazy

_WHERE = {
    "paired_table": "analysis.intervals",
    "conclude": "analysis.conclusion",
    "caption_scores": "analysis.loss_curves",
    "loss_table": "analysis.loss_curves",
    "summary_table": "runs",
    "DecodingStudy": "analysis.decoding",
    "compare_strategies": "analysis.decoding",
    "caption_table": "analysis.decoding",
    "keep_captions": "analysis.decoding",
    "diversity_of_sets": "analysis.decoding",
    "contrastive_grid": "analysis.decoding",
    "conclude_decoding": "analysis.decoding:conclude",
    "contrastive_step": "analysis.contrastive_step",
    "telling_step": "analysis.contrastive_step",
    "isotropies": "analysis.states",
    "next_token": "analysis.states",
    "to_text": "decoding.decode",
    "Results": "analysis.results",
    "describe_accuracy": "analysis.accuracy",
    "split_names": "analysis.accuracy",
    "find_alarms": "analysis.alarms",
    "interpret": "analysis.prefixes",
    "SeenPictures": "analysis.unlike",
    "unlike_training": "analysis.unlike",
    "probe_features": "analysis.probes",
    "LimitsStudy": "analysis.limits",
    "conclude_limits": "analysis.limits_answers",
    "answer_limits": "analysis.limits_answers",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)

"""ClipCap Workbench: CLIP embedding → mapping network → GPT-2 prefix → caption.

The public names; each is imported when it is first used.

    import clipcap_lib as cc
    model = cc.ClipCap.from_pretrained("reports/emoji-zh/runs/mlp-full-s0")
    print(model.caption("photo.jpg"))
"""

from clipcap_lib.lazy import lazy

__version__ = "0.1.0"
_WHERE = {
    # notebooks
    "start_notebook": "explore.notebook",
    "open_run": "explore.open_run",
    "write_summary": "explore.notebook",
    "show_chinese": "reporting.chinese_font:lend_font",
    "settings": "settings:",
    "say": "wording",
    # data and features
    "load_corpus": "corpus.corpus",
    "load_encoder": "encoders",
    "corpus_features": "corpus.features",
    "make_splits": "corpus.features",
    "open_picture": "images",
    # model
    "ClipCap": "explore.captioner:Captioner",
    "ClipCapConfig": "model",
    "ClipCapModel": "model",
    "pack": "packing",
    "train": "distributed.train",
    # captions
    "decode": "decoding.decode",
    "parse_strategy": "decoding.strategies",
    "Constraints": "decoding.strategies",
    "read_runs": "runs",
    "listed": "runs",
    # rooms
    "metrics": "metrics:",
    "analysis": "analysis:",
    "emoji": "emoji:",
    "explore": "explore:",
    "figures": "reporting.figures:",
    "diagrams": "reporting.diagrams:",
    "limits_figures": "reporting.limits_figures:",
    "cards": "reporting.cards:",
    "tables": "reporting.tables:",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)

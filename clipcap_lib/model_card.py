"""The model card of a saved captioner."""

from collections.abc import Mapping

from torch import Tensor

from clipcap_lib.settings import ClipCapConfig


def model_card(config: ClipCapConfig, trained: Mapping[str, Tensor]) -> str:
    """The README of a saved captioner, with what was trained, by name, each [...] of its own shape."""
    count = sum(weight.numel() for weight in trained.values())
    return (
        f"---\nlibrary_name: clipcap_lib\npipeline_tag: image-to-text\n---\n\n"
        f"# ClipCap: {config.mapping}, {config.tuning}\n\n"
        f"Image encoder `{config.encoder}`, language model `{config.language_model}`, prefix {config.prefix_length}, "
        f"features {config.features}, bridge {config.bridge}; "
        f"{count:,} trained parameters.\n\n"
        "```python\nfrom pathlib import Path\nfrom clipcap_lib.model import ClipCapModel\n\n"
        'model = ClipCapModel.from_pretrained(Path("."))\n```\n'
    )

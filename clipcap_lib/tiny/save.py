"""Writes the bundled tiny models: files that the loaders of real models open, each with a card."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from clipcap_lib.emoji.scenes import ATTRIBUTION
from clipcap_lib.openai_clip import CLIP


def save_clip(model: CLIP, path: Path) -> None:
    """Write a CLIP as the state dict `clip.load(path)` opens: matrices in float16, norms and biases in float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half() if weight.dim() > 1 else weight for name, weight in model.state_dict().items()}
    temporary = path.with_suffix(".tmp")
    torch.save({name: weight.contiguous() for name, weight in weights.items()}, temporary)
    temporary.replace(path)


def write_card(path: Path, title: str, weights: Path, facts: dict[str, Any]) -> None:
    """Write a model card: the facts given, size and sha256 of the weights, and whose drawings it learned from."""
    content = weights.read_bytes()
    rows = facts | {
        "file": weights.name,
        "size": f"{len(content) / 1e6:.2f} MB",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    path.write_text(
        f"# {title}\n\n| | |\n| --- | --- |\n{table}\n\nTrained by `notebooks/00_tiny_models.ipynb`. {ATTRIBUTION}. "
        "The weights are offered under CC BY-SA 4.0.\n",
        encoding="utf-8",
    )


class StateLog:
    """Collects the states a pretraining reports and shows the newest in one line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show, self.rows = show, []

    def __call__(self, state: Any, model: torch.nn.Module) -> None:
        self.rows.append(vars(state))
        self.show(f"step {state.step:,}: loss {state.loss:.2f}")

    @property
    def table(self) -> pd.DataFrame:
        """One row a state."""
        return pd.DataFrame(self.rows)

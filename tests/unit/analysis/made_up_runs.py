"""Made-up runs by their dev losses."""

from pathlib import Path

import pandas as pd

from clipcap_lib.runs import Run

RATES = {"learning_rate": 1e-3, "language_model_learning_rate": 1e-3}


def run(mapping: str, tuning: str, dev: list[float], seed: int = 0, rates: dict = RATES) -> Run:
    rows = [(step, step * 10, step * 0.5, "dev", "loss", value) for step, value in enumerate(dev)]
    history = pd.DataFrame(rows, columns=["step", "images", "seconds", "split", "metric", "value"])
    params = {"mapping": mapping, "tuning": tuning, "seed": seed, **rates}
    return Run(Path(f"{mapping}-{tuning}-s{seed}"), params, {"best_dev_loss": min(dev)}, history, pd.DataFrame())

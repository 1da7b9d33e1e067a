"""Tables that say what may be chance."""

import pandas as pd
from pandas.io.formats.style import Styler

CHANCE = "color: #5b6773"
CLEAR = "font-weight: bold"


def differences(table: pd.DataFrame) -> Styler:
    """Differences with their 95 % intervals as text, grey where the interval holds 0; see `analysis.paired_table`.

    CIDEr-D as it is, shares in percentage points.
    """
    metrics = list(dict.fromkeys(table.columns.get_level_values(0)))
    told = pd.DataFrame({metric: [_told(metric, row) for _, row in table[metric].iterrows()] for metric in metrics},
                        index=table.index)  # fmt: skip
    holds = pd.DataFrame({metric: (table[metric]["low"] <= 0) & (table[metric]["high"] >= 0) for metric in metrics})
    styles = holds.map(lambda chance: CHANCE if chance else CLEAR)
    # A fixed id: the same notebook executed again has no other text.
    return Styler(told, uuid="differences").apply(lambda _: styles, axis=None)


def _told(metric: str, row: pd.Series) -> str:
    if row.isna().any():
        return "–"
    times, digits = (1, 2) if metric == "CIDEr-D" else (100, 1)
    difference, low, high = (f"{times * row[part]:+z.{digits}f}" for part in ("difference", "low", "high"))
    return f"{difference}  [{low}, {high}]"

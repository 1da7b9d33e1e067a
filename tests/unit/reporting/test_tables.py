"""What may be chance is grey."""

import pandas as pd

from clipcap_lib.reporting import tables


def test_an_interval_that_holds_0_is_grey_and_shares_are_points():
    columns = pd.MultiIndex.from_product([["all", "CIDEr-D"], ["difference", "low", "high"]])
    table = pd.DataFrame([[0.05, -0.01, 0.11, 0.2, 0.1, 0.3]], index=["beam"], columns=columns)
    page = tables.differences(table).to_html()
    assert "+5.0  [-1.0, +11.0]" in page and "+0.20  [+0.10, +0.30]" in page
    grey = [rule for rule in page.split("}") if tables.CHANCE in rule]
    assert len(grey) == 1 and "row0_col0" in grey[0]
    assert page == tables.differences(table).to_html()  # no id of chance

"""A table of metrics with their intervals holds what `score` gives, each protocol in columns of its own."""

import numpy as np
import pandas as pd

from clipcap_lib.analysis import intervals
from clipcap_lib.analysis.intervals import interval_table
from clipcap_lib.metrics.reference import DocumentFrequencies, score
from clipcap_lib.reporting.language import speaking


def test_each_protocol_has_its_own_columns():
    made, given = {"1": "一只狗"}, {"1": ["一只黑狗", "狗"]}
    frequencies = {"char": DocumentFrequencies.of([[list("一只猫")], [list("一只狗")]])}
    table = interval_table({"run": made}, given, frequencies)
    expected = score(made, given, "char", frequencies["char"])
    assert table.columns.get_level_values(0).unique().tolist() == [expected.protocol]
    assert table.loc["run"].iloc[0].startswith(f"{expected.corpus['CIDEr-D']:.3f}")


def test_a_protocol_is_told_in_the_readers_language_and_kept_in_english():
    made, given = {"1": "一只狗"}, {"1": ["一只黑狗", "狗"]}
    frequencies = {"char": DocumentFrequencies.of([[list("一只猫")], [list("一只狗")]])}
    english = interval_table({"run": made}, given, frequencies)
    with speaking("zh"):
        chinese = interval_table({"run": made}, given, frequencies)
        assert score(made, given, "char", frequencies["char"]).protocol == english.columns[0][0]
    assert chinese.columns.get_level_values(0).unique().tolist() == [
        "1 张图片 × 2 条参考描述，char 分词，idf 取自另外 2 张图片"
    ]
    assert (chinese.to_numpy() == english.to_numpy()).all()


def test_a_paired_table_holds_what_each_pair_says():
    rng = np.random.default_rng(0)
    frames = {name: pd.DataFrame({"all": rng.random(30), "size": np.nan}, index=range(30)) for name in "abc"}
    table = intervals.paired_table(frames, against="b")
    assert list(table.index) == ["a", "c"]
    assert set(table.columns.get_level_values(0)) == {"all"}  # of size nothing was judged
    assert tuple(table.loc["c", "all"]) == intervals.paired_difference(frames["b"]["all"], frames["c"]["all"])

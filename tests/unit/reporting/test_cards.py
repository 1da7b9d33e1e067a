"""HTML of captions is escaped, by hand."""

from clipcap_lib.reporting import cards


def test_html_of_captions_is_escaped():
    assert cards.marked("<b>&", None, "zh") == "&lt;b&gt;&amp;"

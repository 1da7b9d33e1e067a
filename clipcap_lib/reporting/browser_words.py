"""Every sentence of the caption browser in the reader's language; what stands in braces its script fills in."""

from typing import Any

from clipcap_lib.analysis.accuracy import split_names
from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.wording import say, spoken, term


def browser_words() -> dict[str, Any]:
    """The words of the page and of its script by what they are for."""
    return {
        "language": spoken(),
        "heading": say("All captions, picture by picture"),
        "report": say("The report"),
        "lead": say("Experiment {name}. Test pictures: {pictures}. Runs: {runs}, the lowest dev loss first."),
        "choices": _choices(),
        "failed": say("Not here, because they failed: {names}."),
        "problem": say("References and what is wrong cannot be shown, for the corpus cannot be read: {problem}"),
        "needs_scripts": say(
            "To search and filter, this page needs scripts, which are switched off here. These are the first {count} "
            "pictures."
        ),
        "picture": say("Picture {id}"),
        "references": say("References"),
        "captions": say("Captions"),
        "right": say("right"),
        "silent": say("no caption of this picture"),
        "strategies_of": say("Decoding strategies of {run} ({count})"),
        "shown": say("{shown} of {all} pictures"),
        "nothing": say("No picture is like that. Clear a filter, or search for less."),
        "unknown": say("No picture is called {id}."),
        "pictures": say("Pictures with their captions"),
        "small": say("The picture itself is not beside this report; this is its thumbnail."),
        "unopened": say("This picture could not be opened when the report was written."),
        **_controls(),
        **_filters(),
        **_keys(),
    }


def _choices() -> dict[str, str]:
    """Which runs are shown; see `caption_browser.chosen_runs`."""
    return {
        "all": "",
        "arm": say(
            "Of {all} runs, those that differ in learning rate or seed only are shown by the one with the lowest dev "
            "loss."
        ),
        "mapping": say("Of {all} runs, the one with the lowest dev loss of each mapping and tuning is shown."),
    }


def _controls() -> dict[str, str]:
    return {
        "open": say("Open picture {id} large"),
        "link": say("Link to picture {id}"),
        "previous": say("Previous"),
        "next": say("Next"),
        "close": say("Close"),
        "clear_all": say("Clear"),
        "key_list": say("Keys"),
    }


def _filters() -> dict[str, Any]:
    return {
        "filters": say("Search and filters"),
        "search": say("Search captions and references"),
        "placeholder": say("cat, 猫 …"),
        "split": say("Pictures"),
        "any_split": say("all test pictures"),
        "splits": split_names(),
        "run": say("Judged run"),
        "runs": say("runs"),
        "strategies": say("decoding strategies"),
        "show": say("Its caption is"),
        "shows": {
            "": say("anything"),
            "right": say("right"),
            "wrong": say("wrong"),
            "only": say("the only one that is right"),
        },
        "wrongs": {
            "objects": say("wrong in objects"),
            "count": say("wrong in count"),
            "size": say("wrong in size"),
            "background": say("wrong in background"),
            "relation": say("wrong in relation"),
            "incomplete": say("true but incomplete"),
        },
        "wrong": {name: term(name) for name in (*ATTRIBUTES, "incomplete")},
        "disagree": say("Runs disagree"),
    }


def _keys() -> dict[str, Any]:
    return {
        "help": [
            ["/", say("search")],
            ["j  ↓  →", say("next picture")],
            ["k  ↑  ←", say("previous picture")],
            ["Enter", say("open a picture large")],
            ["Escape", say("close")],
            ["?", say("this list")],
        ],
        "help_sharing": say(
            "The address of the page always holds the filters and the picture: send it, and the other sees what you "
            "see."
        ),
    }

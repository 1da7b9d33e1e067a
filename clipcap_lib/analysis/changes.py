"""Changes from one number to another, with intervals, as sentences tell them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from clipcap_lib.wording import say, term

SLIGHT = 0.05  # of a loss: what one seed, which has no interval, cannot tell from chance


@dataclass(frozen=True)
class Change:
    """From one mean loss to another, over the seeds that both have; `interval` is 95 % over seeds, `None` for one.

    The losses are rounded as they are printed, so that the numbers of a sentence add up.
    """

    before: float
    after: float
    interval: tuple[float, float] | None

    @property
    def by(self) -> float:
        return round(self.after - self.before, 3)

    @property
    def clear(self) -> bool:
        """Whether it is more than chance may do, by the interval; for one seed, whether it is not slight."""
        if self.interval is None:
            return abs(self.by) >= SLIGHT * min(self.before, self.after)
        return self.by != 0 and not holds_zero(self.interval)

    @property
    def arrow(self) -> str:
        return f"{self.before:.3f} → {self.after:.3f}"

    @property
    def size_interval(self) -> str:
        """The interval for a sentence that says by its verb which way the loss goes; empty for one seed."""
        return interval_text(self.interval, -1 if self.by <= 0 else 1) if self.interval else ""


def listed(items: list[str]) -> str:
    """Names in a sentence: a, b and c."""
    *first, last = items
    return say("{items} and {last}", items=enumerated(first), last=last) if first else last


def enumerated(items: list[str]) -> str:
    """Names one after the other: a, b, c."""
    return say(", ").join(items)


def told_together(clauses: list[str]) -> str:
    """Clauses in a sentence, with a word before the last: a, b and c."""
    *first, last = clauses
    return say("{clauses} and {last_clause}", clauses=in_a_row(first), last_clause=last) if first else last


def in_a_row(clauses: list[str]) -> str:
    """Clauses one after the other: a, b, c."""
    return reduce(lambda said, clause: say("{said}, {clause}", said=said, clause=clause), clauses)


def apart(clauses: list[str]) -> str:
    """Clauses that have commas in them: a; b; c."""
    return say("; ").join(clauses)


def named_rightly(attribute: str) -> str:
    """What captions do that are right in an attribute."""
    if attribute == "all":
        return say("are wholly right")
    return say("name the {attribute} rightly", attribute=term(attribute))


def capital(text: str) -> str:
    """The text with a capital to begin a sentence."""
    return text[0].upper() + text[1:]


def holds_zero(interval: tuple[float, float]) -> bool:
    """Whether 0 lies in an interval, so that what it is of may be chance."""
    low, high = interval
    return low <= 0 <= high


def telling_digits(values: Sequence[float], edges: Sequence[float], digits: int) -> int:
    """`digits`, or one more where values that differ, or an edge that is not 0, would be printed as if they were."""
    alike = len({round(value, digits) for value in values}) == 1
    return digits + 1 if alike or any(round(edge, digits) == 0 for edge in edges) else digits


def interval_text(edges: tuple[float, float], sign: int = 1, form: str = "z.3f") -> str:
    """An interval as it stands in a sentence; `sign` −1 for one whose verb says that something falls."""
    low, high = sorted(sign * edge for edge in edges)
    return say("95 % interval {low} to {high}", low=f"{low:{form}}", high=f"{high:{form}}")

"""What an emoji scene is called: five captions in Chinese and English, and the way back to attributes."""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from clipcap_lib.settings import Language

Relation = Literal["left", "right", "above", "below"]

BACKGROUNDS: dict[str, tuple[str, str, str]] = {
    # name: place in Chinese, noun in Chinese, place in English
    "grass": ("草地上", "草地", "on the grass"),
    "beach": ("沙滩上", "沙滩", "on the beach"),
    "snow": ("雪地里", "雪地", "in the snow"),
    "sea": ("海面上", "海面", "on the sea"),
    "night": ("夜空下", "夜空", "under the night sky"),
    "stage": ("舞台上", "舞台", "on the stage"),
    "road": ("马路上", "马路", "on the road"),
    "floor": ("地板上", "地板", "on the floor"),
    "desert": ("沙漠里", "沙漠", "in the desert"),
    "forest": ("树林里", "树林", "in the forest"),
    "garden": ("花园里", "花园", "in the garden"),
    "city": ("城市里", "城市", "in the city"),
}
OPPOSITE: dict[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
NUMBERS = {"zh": ("一", "两", "三", "四"), "en": ("a", "two", "three", "four")}
SIZES = {"zh": {"big": "大", "small": "小"}, "en": {"big": "big ", "small": "small "}}
SIDES_ZH: dict[Relation, str] = {"left": "左边", "right": "右边", "above": "上面", "below": "下面"}
SIDES_EN: dict[Relation, str] = {
    "left": "on the left",
    "right": "on the right",
    "above": "at the top",
    "below": "at the bottom",
}
PREPOSITIONS: dict[Relation, str] = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}


@dataclass(frozen=True)
class Kind:
    """One kind of object: its drawing, its Chinese noun and measure word, its English singular and plural."""

    emoji: str
    zh: str
    measure: str
    en: str
    plural: str


@dataclass(frozen=True)
class Group:
    """One to four drawings of one kind, all of one size."""

    kind: str
    count: int
    size: Literal["big", "small"]


@dataclass(frozen=True)
class Scene:
    """A background with one or two groups; `relation` says where the first stands as seen from the second."""

    background: str
    groups: tuple[Group, ...]
    relation: Relation | None
    seed: int


@dataclass(frozen=True)
class Attributes:
    """What a caption claims: count per kind, background, and (axis, first kind, second kind) in reading order.

    `sizes`: kinds with what they are said to be, big or small. Most captions name none, so no two differ by that.
    """

    counts: dict[str, int]
    background: str | None
    relation: tuple[str, str, str] | None
    sizes: frozenset[tuple[str, str]] = field(default=frozenset(), compare=False)


@cache
def kinds() -> dict[str, Kind]:
    """All kinds of objects by English name, in the order of `kinds.csv`."""
    table = files("clipcap_lib.emoji").joinpath("kinds.csv").read_text(encoding="utf-8")
    return {row["en"]: Kind(**row) for row in csv.DictReader(table.splitlines())}


def _phrase(group: Group, language: Language, sized: bool) -> str:
    kind, number = kinds()[group.kind], NUMBERS[language][group.count - 1]
    size = SIZES[language][group.size] if sized else ""
    if language == "zh":
        return f"{number}{kind.measure}{size}{kind.zh}"
    noun = size + (kind.en if group.count == 1 else kind.plural)
    if number == "a" and noun[0] in "aeiou":
        number = "an"
    return f"{number} {noun}"


def _bare_noun(group: Group) -> str:
    kind = kinds()[group.kind]
    return kind.en if group.count == 1 else kind.plural


def captions(scene: Scene, language: Language) -> list[str]:
    """Five differently worded captions; the first names everything the scene holds, sizes included.

    What stands left or on top is named first, as people do: a caption's order of words says who is where.
    """
    scene = _read_from_left_and_top(scene)
    plain = [_phrase(group, language, sized=False) for group in scene.groups]
    sized = [_phrase(group, language, sized=True) for group in scene.groups]
    write = {"zh": _captions_zh, "en": _captions_en}[language]
    return write(scene, plain, sized)


def _read_from_left_and_top(scene: Scene) -> Scene:
    if scene.relation in ("right", "below"):
        return replace(scene, groups=scene.groups[::-1], relation=OPPOSITE[scene.relation])
    return scene


def _captions_zh(scene: Scene, plain: list[str], sized: list[str]) -> list[str]:
    place, noun, _ = BACKGROUNDS[scene.background]
    if scene.relation is None:
        (a,), (big_a,) = plain, sized
        return [
            f"{place}有{big_a}",
            f"{a}，背景是{noun}",
            f"图中{place}只有{a}",
            f"{big_a}在{place}",
            f"{place}能看到{a}",
        ]
    (a, b), (big_a, big_b) = plain, sized
    side, other = SIDES_ZH[scene.relation], SIDES_ZH[OPPOSITE[scene.relation]]
    return [
        f"{place}有{big_a}，{other}是{big_b}",
        f"{a}在{b}的{side}，背景是{noun}",
        f"{place}，{a}的{other}是{b}",
        f"{big_a}在{big_b}的{side}，都在{place}",
        f"{place}{side}是{a}，{other}是{b}",
    ]


def _captions_en(scene: Scene, plain: list[str], sized: list[str]) -> list[str]:
    place = BACKGROUNDS[scene.background][2]
    if scene.relation is None:
        (a,), (big_a,) = plain, sized
        return [
            f"{big_a} {place}",
            f"{place}, {a}",
            f"only {a} {place}",
            f"{place} we find {big_a}",
            f"we can see {a} {place}",
        ]
    (a, b), (big_a, big_b) = plain, sized
    opposite = OPPOSITE[scene.relation]
    first, second = (_bare_noun(group) for group in scene.groups)
    return [
        f"{big_a} {PREPOSITIONS[scene.relation]} {big_b} {place}",
        f"{place}, {a} {PREPOSITIONS[scene.relation]} {b}",
        f"{place}, {a} {SIDES_EN[scene.relation]} and {b} {SIDES_EN[opposite]}",
        f"{place} we find {big_a} {SIDES_EN[scene.relation]} and {big_b} {SIDES_EN[opposite]}",
        f"{a} and {b} {place}, the {first} {PREPOSITIONS[scene.relation]} the {second}",
    ]


# --- from caption back to attributes ------------------------------------------------------------------------------


def _any(words: list[str]) -> str:
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"


@cache
def _nouns(language: Language) -> dict[str, str]:
    if language == "zh":
        return {kind.zh: name for name, kind in kinds().items()}
    return {form: name for name, kind in kinds().items() for form in (kind.en, kind.plural)}


@cache
def _mention(language: Language) -> re.Pattern[str]:
    nouns = _any(list(_nouns(language)))
    if language == "zh":
        measures = _any(list({kind.measure for kind in kinds().values()}))
        return re.compile(f"(?P<number>[一两三四]){measures}(?P<size>[大小])?(?P<noun>{nouns})")
    return re.compile(rf"\b(?P<number>an?|two|three|four) (?:(?P<size>big|small) )?(?P<noun>{nouns})\b")


@cache
def _relation_patterns(language: Language) -> list[tuple[re.Pattern[str], bool]]:
    # Mentions were replaced by «0», «1» … before; the flag says whether the first mention stands at the named side.
    if language == "zh":
        at = _any(list(SIDES_ZH.values()))
        side = f"(?P<side>{at})"
        return [(re.compile(p), first) for p, first in (
            (f"«(?P<a>\\d)»在«(?P<b>\\d)»的{side}", True),
            (f"«(?P<a>\\d)»的{side}是«(?P<b>\\d)»", False),
            (f"有«(?P<a>\\d)»，{side}是«(?P<b>\\d)»", False),
            (f"{side}是«(?P<a>\\d)»，(?P<other>{at})是«(?P<b>\\d)»", True),
        )]  # fmt: skip
    side, at = f"(?P<side>{_any(list(PREPOSITIONS.values()))})", _any(list(SIDES_EN.values()))
    nouns = _any(list(_nouns(language)))
    return [(re.compile(p), True) for p in (
        f"«(?P<a>\\d)» {side} «(?P<b>\\d)»",
        f"«(?P<a>\\d)» (?P<side>{at}) and «(?P<b>\\d)» (?P<other>{at})",
        f"«\\d» and «\\d» .*, the (?P<first>{nouns}) {side} the (?P<second>{nouns})\\b",
    )]  # fmt: skip


def _in_reading_order(side: Relation, at_side: str, other: str) -> tuple[str, str, str]:
    axis = "horizontal" if side in ("left", "right") else "vertical"
    return (axis, at_side, other) if side in ("left", "above") else (axis, other, at_side)


def _read_relation(text: str, mentioned: list[str], language: Language) -> tuple[str, str, str] | None:
    tables = (SIDES_ZH,) if language == "zh" else (SIDES_EN, PREPOSITIONS)
    sides = {word: side for table in tables for side, word in table.items()}
    for pattern, first_at_side in _relation_patterns(language):
        if match := pattern.search(text):
            found = match.groupdict()
            if found.get("other") and sides[found["other"]] != OPPOSITE[sides[found["side"]]]:
                return None  # it says that both stand on one side, or one on the left and one at the bottom
            if "first" in found:
                a, b = (_nouns(language)[found[name]] for name in ("first", "second"))
            else:
                a, b = mentioned[int(found["a"])], mentioned[int(found["b"])]
            return _in_reading_order(sides[match["side"]], *((a, b) if first_at_side else (b, a)))
    return None


class _Mention(NamedTuple):
    """Where a caption names a kind, how many of it, and of which size, if it says so."""

    match: re.Match[str]
    kind: str
    count: int
    size: str | None


def _mentions(text: str, language: Language) -> list[_Mention]:
    numbers = {word: i + 1 for i, word in enumerate(NUMBERS[language])} | {"an": 1}
    sizes = {word.strip(): size for size, word in SIZES[language].items()}
    return [
        _Mention(match, _nouns(language)[match["noun"]], numbers[match["number"]], sizes.get(match["size"]))
        for match in _mention(language).finditer(text)
    ]


def read_caption(text: str, language: Language) -> Attributes:
    """Read the attributes a caption claims; wording that no template of the corpus has yields `None`.

    The counts of a kind that is named more than once add up.
    """
    found = _mentions(text, language)
    counts: Counter[str] = Counter()
    for mention in found:
        counts[mention.kind] += mention.count
    order = iter(range(len(found)))
    skeleton = _mention(language).sub(lambda _: f"«{next(order)}»", text)
    column = 1 if language == "zh" else 2
    background = next((name for name, words in BACKGROUNDS.items() if words[column] in skeleton), None)
    relation = _read_relation(skeleton, [mention.kind for mention in found], language) if len(found) <= 9 else None
    sizes = frozenset((mention.kind, mention.size) for mention in found if mention.size)
    return Attributes(dict(counts), background, relation, sizes)


def scene_attributes(scene: Scene) -> Attributes:
    """The same attributes, taken from the truth."""
    names = [group.kind for group in scene.groups]
    relation = _in_reading_order(scene.relation, *names) if scene.relation else None
    sizes = frozenset((group.kind, group.size) for group in scene.groups)
    return Attributes({group.kind: group.count for group in scene.groups}, scene.background, relation, sizes)


def score_caption(text: str, scene: Scene, language: Language) -> dict[str, bool | None]:
    """Say which attributes of a scene a caption names rightly.

    `objects`: exactly the right kinds. `count`: every kind named rightly has its count; `None` where none is named
    rightly. `size`: what is said of them is so; `None` where no size is said, as in most references. `background`.
    `relation`: `None` where the scene has one kind, or where the caption does not name both kinds. `all`: objects,
    counts, background and relation are named rightly, nothing is excused, and no size is wrong.
    """
    said, truth = read_caption(text, language), scene_attributes(scene)
    shared = said.counts.keys() & truth.counts.keys()
    sized = {(kind, size) for kind, size in said.sizes if kind in shared}
    assessable = truth.relation is not None and said.counts.keys() == truth.counts.keys()
    return {
        "objects": said.counts.keys() == truth.counts.keys(),
        "count": all(said.counts[name] == truth.counts[name] for name in shared) if shared else None,
        "size": sized <= truth.sizes if sized else None,
        "background": said.background == truth.background,
        "relation": said.relation == truth.relation if assessable else None,
        "all": said == truth and sized <= truth.sizes,
    }


def wrong_spans(text: str, scene: Scene, language: Language) -> list[tuple[int, int, str]]:
    """Where a caption says what is not so: start, end and attribute of each wrong word, in order.

    What a caption leaves out has no place in it and is not listed.
    """
    said, truth, verdict = read_caption(text, language), scene_attributes(scene), score_caption(text, scene, language)
    spans = []
    for match, kind, _, size in _mentions(text, language):
        if kind not in truth.counts:
            spans.append((*match.span("noun"), "objects"))
            continue
        if said.counts[kind] != truth.counts[kind]:
            spans.append((*match.span("number"), "count"))
        if size and (kind, size) not in truth.sizes:
            spans.append((*match.span("size"), "size"))
    places = {words[1 if language == "zh" else 2]: name for name, words in BACKGROUNDS.items()}
    if not verdict["background"]:
        spans += [(*match.span(), "background") for match in re.finditer(_any(list(places)), text)]
    if verdict["relation"] is False:
        sides = SIDES_ZH.values() if language == "zh" else [*SIDES_EN.values(), *PREPOSITIONS.values()]
        spans += [(*match.span(), "relation") for match in re.finditer(_any(list(sides)), text)]
    return sorted(spans)

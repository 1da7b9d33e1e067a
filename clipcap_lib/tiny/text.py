"""The text that the bundled tiny GPT-2 models read: captions, and much that no caption says.

A language model that knows nothing but the captions could not be told from one tuned on them. So half of the text is
something else: the Unicode names of all emoji, questions, stories, sums, opposites, the time and the weather. And three
tenths are retellings, one scene in two or three wordings: a model that finds in its context what it says next can also
be steered by a prefix, without being trained again.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import combinations

import emoji
from ruamel.yaml import YAML

from clipcap_lib.emoji.language import BACKGROUNDS, Group, Scene, captions, kinds
from clipcap_lib.emoji.scenes import is_held_out, sample_scenes
from clipcap_lib.settings import Language

SHARES = {  # of all texts
    "caption": 0.15, "retelling": 0.30, "names": 0.20, "everyday": 0.19, "fact": 0.02, "sum": 0.02, "difference": 0.01,
    "product": 0.01, "story": 0.02, "opposite": 0.02, "bigger": 0.02, "faster": 0.01, "colours": 0.01, "day": 0.01,
    "odd": 0.01,
}  # fmt: skip

# --- words ---------------------------------------------------------------------------------------------------------

_LISTS = YAML(typ="safe", pure=True).load(files("clipcap_lib.tiny").joinpath("text.yaml").read_text(encoding="utf-8"))
NOUNS: str = _LISTS["nouns"]
RENAMED: str = _LISTS["renamed"]
CLASSES: dict[str, list[str]] = _LISTS["classes"]
PLURALS: dict[str, str] = _LISTS["irregular_plurals"]
WORDS: dict[str, str] = _LISTS["words"]
TEMPLATES: dict[Language, dict[str, str]] = _LISTS["sentences"]

GROWN = ("plant", "fruit", "vegetable")  # categories that overlap
UNIONS = {
    "edible": "fruit vegetable food",
    "clothes": "wear warm jewel",
    "item": "fruit vegetable food toy wear warm jewel tool thing",
    "object": "fruit vegetable food toy wear warm jewel tool thing instrument home vehicle",
    "all": "animal plant fruit vegetable food vehicle building toy instrument wear warm jewel tool home thing sky",
    "classed": " ".join(CLASSES),
}
DIGITS = ("零一二三四五六七八九", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
TEENS = [
    "ten",
    "eleven",
    "twelve",
    *(f"{word}teen" for word in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
]
TENS = [f"{word}ty" for word in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")]

SLOT = re.compile(r"\{(?:(\w+) )?([a-z]+)(\d?)\}")
# Emoji that are no word or picture of their own: flags, skin tones; buttons, clock faces, variants by sex or direction.
NO_DRAWING = re.compile("[\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u20e3]")
NO_NAME = re.compile(
    r"button|o’clock|-thirty|Japan|facing|pregnant|finger|poo$|eighteen|blood_|medium|^(wo)?m[ae]n_|^family|feeding"
    r"|^(person|people|kiss|couple)_.*(:|hand)|breast|bikini|cigar|love_hotel|_right$|_in_.*wheelchair|_cane$|^deaf|Santa|Mrs"
)


@dataclass(frozen=True)
class Noun:
    """A countable noun in both languages; `kind` names the corpus's kind it is, if any."""

    category: str
    zh: str
    measure: str
    en: str
    plural: str
    kind: str | None


Words = tuple[str, ...]
Word = Noun | Words | str  # a noun; a word of `WORDS` in one language, a verb with its forms; a number in words


def _plural(noun: str) -> str:
    """Also the third person of a verb: watches, flies."""
    if " of " in noun:
        head, _, tail = noun.partition(" of ")
        return f"{_plural(head)} of {tail}"
    before, space, last = noun.rpartition(" ")
    if last in PLURALS:
        return before + space + PLURALS[last]
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh|o)$", noun) else "s")


def _article(noun: str) -> str:
    return f"an {noun}" if re.match(r"(?!uni[cf]|one )[aeiou]", noun) else f"a {noun}"


@cache
def _unicode_names() -> dict[str, tuple[str, str]]:
    """Chinese and English CLDR name of every drawing; loads the package's Chinese table."""
    emoji.config.load_language(["zh"])
    named = ((drawing, entry) for drawing, entry in emoji.EMOJI_DATA.items() if "zh" in entry)
    return {drawing: (entry["zh"].strip(":"), entry["en"].strip(":")) for drawing, entry in named}


@cache
def icon_names(language: Language) -> Words:
    """The names of all emoji that are a word or picture of their own, in the order of the package `emoji`."""
    names = []
    for drawing, (zh, en) in _unicode_names().items():
        plain = emoji.EMOJI_DATA[drawing]["status"] == emoji.STATUS["fully_qualified"] and "_" not in zh
        if plain and not NO_NAME.search(en) and not NO_DRAWING.search(drawing):
            names.append(zh if language == "zh" else en.replace("_", " ").replace("’", "'"))
    return tuple(dict.fromkeys(names))


@cache
def _renamed() -> dict[str, list[str]]:
    entries = (entry.split(" ", 1) for entry in re.split(r";\s*", RENAMED.strip()))
    return {drawing: names.split(":") for drawing, names in entries}


def _noun(category: str, measure: str, drawing: str) -> Noun:
    for name, kind in kinds().items():
        if kind.emoji == drawing:
            return Noun(category, kind.zh, kind.measure, kind.en, kind.plural, name)
    zh, en = _renamed().get(drawing) or _unicode_names()[drawing]
    en = en.replace("_", " ")
    return Noun(category, zh, measure, en, _plural(en), None)


@cache
def nouns() -> dict[str, tuple[Noun, ...]]:
    """All countable nouns by category, and by the unions of categories that the templates draw from."""
    table: dict[str, list[Noun]] = {}
    for line in NOUNS.strip().splitlines():
        category, measure, *drawings = line.split()
        table.setdefault(category, []).extend(_noun(category, measure, drawing) for drawing in drawings)
    for union, categories in UNIONS.items():
        table[union] = [noun for category in categories.split() for noun in table[category]]
    table["plain"] = [noun for noun in table["item"] if noun.kind is None]
    table["beast"] = [noun for noun in table["animal"] if noun.kind is None]
    return {name: tuple(members) for name, members in table.items()}


# --- pools ---------------------------------------------------------------------------------------------------------


def number_word(n: int, language: Language) -> str:
    """A number from 0 to 99 in words."""
    tens, ones = divmod(n, 10)
    if language == "zh":
        head = "" if n < 10 else "十" if n < 20 else DIGITS[0][tens] + "十"
        return head + (DIGITS[0][ones] if ones or n == 0 else "")
    if n < 20:
        return (DIGITS[1] + TEENS)[n]
    return TENS[tens - 2] + (f"-{DIGITS[1][ones]}" if ones else "")


def _counting(n: int, language: Language) -> str:
    return "两" if language == "zh" and n == 2 else number_word(n, language)


def _clock(language: Language) -> Words:
    if language == "zh":
        return tuple(_counting(n, "zh") + ending for n in range(1, 13) for ending in ("点", "点半", "点一刻", "点十分"))
    forms = ("{} o'clock", "half past {}", "a quarter past {}", "ten past {}")
    return tuple(form.format(number_word(n, "en")) for n in range(1, 13) for form in forms)


def _forms(words: str) -> Words:
    """`go/going/went home` → its base, its -ing form, its past and its third person."""
    verb, space, rest = words.partition(" ")
    base, *others = verb.split("/")
    forms = (base, *others, _plural(base)) if others else (base,)
    return tuple(form + space + rest for form in forms)


@cache
def _pools(language: Language) -> dict[str, tuple[Word, ...]]:
    at = 0 if language == "zh" else 1
    pools: dict[str, tuple[Word, ...]] = dict(nouns())
    for pool, text in WORDS.items():
        pools[pool] = tuple(_forms(entry.split(":")[at]) for entry in re.split(r";\s*", text.strip()))
    pools["place"] += tuple((words[0 if language == "zh" else 2],) for words in BACKGROUNDS.values())
    pools["clock"], pools["name"] = _clock(language), icon_names(language)
    pools["number"] = tuple(number_word(n, language) for n in range(2, 100))
    if language == "en":  # "a bunch of grapes is a fruit" is nothing to learn
        pools["classed"] = tuple(noun for noun in pools["classed"] if " of " not in noun.en)
    return pools


# --- facts: what a template's words must be to make it true --------------------------------------------------------


def _pair(pool: str) -> Callable[[random.Random, Language], dict[str, Word]]:
    return lambda rng, language: dict(zip("xy", rng.choice(_pools(language)[pool])[0].split("="), strict=True))


def _ranked(pool: str) -> Callable[[random.Random, Language], dict[str, Word]]:
    def draw(rng: random.Random, language: Language) -> dict[str, Word]:
        ladder = _pools(language)[pool]
        low = rng.randrange(len(ladder) - 2)
        return {"x": ladder[rng.randrange(low + 2, len(ladder))], "y": ladder[low]}

    return draw


def _sum(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(1, 30), rng.randint(1, 30)
    return {name: number_word(n, language) for name, n in (("x", x), ("y", y), ("z", x + y))}


def _product(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(2, 9), rng.randint(2, 9)
    return {name: number_word(n, language) for name, n in (("x", x), ("y", y), ("z", x * y))}


def _story(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(2, 9), rng.randint(2, 9)
    return {name: _counting(n, language) for name, n in (("x", x), ("y", y), ("z", x + y))}


def _opposite(rng: random.Random, language: Language) -> dict[str, Word]:
    pair = _pair("opposites")(rng, language)
    return pair if rng.random() < 0.5 else {"x": pair["y"], "y": pair["x"]}


def _day(rng: random.Random, language: Language) -> dict[str, Word]:
    week = _pools(language)["weekdays"]
    today = rng.randrange(7)
    return {"today": week[today], "tomorrow": week[(today + 1) % 7]}


def _odd(rng: random.Random, language: Language) -> dict[str, Word]:
    classed = _pools(language)["classed"]
    odd = rng.choice(classed)
    like_odd = GROWN if odd.category in GROWN else (odd.category,)
    same = rng.choice([noun for noun in classed if noun.category not in like_odd])
    same2 = rng.choice([noun for noun in classed if noun.category == same.category and noun != same])
    return {"odd": odd, "same": same, "same2": same2}


FACTS: dict[str, Callable[[random.Random, Language], dict[str, Word]]] = {
    "sum": _sum, "difference": _sum, "product": _product, "story": _story, "opposite": _opposite, "day": _day,
    "bigger": _ranked("sizes"), "faster": _ranked("speeds"), "colours": _pair("coloured"), "odd": _odd,
}  # fmt: skip

# --- filling a template --------------------------------------------------------------------------------------------


def _scene(groups: tuple[Group, ...]) -> Scene:
    return Scene("grass", groups, "left" if len(groups) == 2 else None, 0)


def _count(noun: Noun, numbers: range, rng: random.Random) -> int:
    """A number in which the corpus's training scenes may hold the noun."""
    while True:
        n = rng.choice(numbers)
        if noun.kind is None or not is_held_out(_scene((Group(noun.kind, n, "big"),))):
            return n


def _noun_zh(noun: Noun, form: str, rng: random.Random) -> str:
    match form:
        case "a" | "this" | "that":
            return {"a": "一", "this": "这", "that": "那"}[form] + noun.measure + noun.zh
        case "n":
            return _counting(_count(noun, range(1, 11), rng), "zh") + noun.measure + noun.zh
        case "ac":
            return f"一{noun.measure}{rng.choice(_pools('zh')['colour'])[0]}的{noun.zh}"
        case "m":
            return noun.measure
        case "class":
            return CLASSES[noun.category][0]
    return noun.zh


def _noun_en(noun: Noun, form: str, rng: random.Random) -> str:
    match form:
        case "a":
            return _article(noun.en)
        case "this" | "that":
            return f"{form} {noun.en}"
        case "s":
            return noun.plural
        case "n" | "some":
            n = _count(noun, range(1 if form == "n" else 2, 11), rng)
            return _article(noun.en) if n == 1 else f"{number_word(n, 'en')} {noun.plural}"
        case "ac":
            return _article(f"{rng.choice(_pools('en')['colour'])[0]} {noun.en}")
        case "class" | "classes":
            return CLASSES[noun.category][1 if form == "class" else 2]
    return noun.en


def _inflect(word: Word, form: str, language: Language, rng: random.Random) -> str:
    if isinstance(word, Noun):
        bare = word.category in ("dish", "drink") and language == "en"
        return word.en if bare else (_noun_zh if language == "zh" else _noun_en)(word, form, rng)
    if isinstance(word, str):
        return word
    return word[("", "ing", "past", "s").index(form)] if len(word) > 1 else word[0]


def _fill(template: str, drawn: dict[str, Word], language: Language, rng: random.Random) -> str:
    def slot(found: re.Match[str]) -> str:
        form, pool, number = found.groups(default="")
        while pool + number not in drawn:
            word = rng.choice(_pools(language)[pool])
            if word not in drawn.values():
                drawn[pool + number] = word
        return _inflect(drawn[pool + number], form, language, rng)

    return SLOT.sub(slot, template)


def _capitalised(text: str) -> str:
    """English sentences begin with a capital; what has no full stop stays as it is, as the captions do."""
    if text[-1] not in '.?!"':
        return text
    return re.sub(r'((?:^|[.?!]"? )"?|, ")([a-z])', lambda found: found[1] + found[2].upper(), text)


# --- the stream ----------------------------------------------------------------------------------------------------


@cache
def _kind_names(language: Language) -> tuple[re.Pattern[str], dict[str, str]]:
    if language == "zh":
        forms = {kind.zh: name for name, kind in kinds().items()}
    else:
        forms = {form: name for name, kind in kinds().items() for form in (kind.en, kind.plural)}
    words = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(words if language == "zh" else rf"\b(?:{words})\b"), forms


def names_held_out_pair(text: str, language: Language) -> bool:
    """Whether a text names two kinds, anywhere, that no training scene of the corpus shows together."""
    pattern, forms = _kind_names(language)
    pairs = combinations(sorted({forms[word] for word in pattern.findall(text)}), 2)
    return any(is_held_out(_scene((Group(a, 1, "big"), Group(b, 1, "big")))) for a, b in pairs)


def _other_text(section: str, language: Language, rng: random.Random) -> str:
    while True:
        template = rng.choice(TEMPLATES[language][section].strip().splitlines())
        drawn = FACTS[section](rng, language) if section in FACTS else {}
        text = _fill(template, drawn, language, rng)
        if not names_held_out_pair(text, language):
            return text if language == "zh" else _capitalised(text)


def _retelling(scene: Scene, language: Language, rng: random.Random) -> str:
    """One scene told two or three times: what the first says, the next must find again and say differently."""
    told = rng.sample(captions(scene, language), rng.choice((2, 2, 3)))
    return "。".join(told) if language == "zh" else "; ".join(told)


def broad_text(language: Language, seed: int) -> Iterator[str]:
    """An endless stream of short texts: `SHARES` of captions, retellings, Unicode names, everyday sentences, facts.

    Most have at most 40 characters or 30 words, retellings twice that. Same seed, same stream, given the version of the
    package `emoji`. No caption shows, and no other text names, a composition that the corpus holds out.
    """
    rng = random.Random(f"{language} {seed}")
    scenes = sample_scenes(rng.getrandbits(64))  # not those of a corpus that happens to have the same seed
    sections, weights = list(SHARES), list(SHARES.values())
    while True:
        section = rng.choices(sections, weights)[0]
        if section == "caption":
            yield rng.choice(captions(next(scenes), language))
        elif section == "retelling":
            yield _retelling(next(scenes), language, rng)
        else:
            yield _other_text(section, language, rng)


def chinese_characters() -> str:
    """Every character that Chinese text of this module, of the corpus or of the Unicode names can hold, sorted."""
    sources = [*TEMPLATES["zh"].values(), *WORDS.values(), *DIGITS[0], "十两这那点半一刻"]
    sources += [name for names, _ in _unicode_names().values() for name in names]
    sources += [noun.zh + noun.measure for group in nouns().values() for noun in group]
    sources += [text for scene in _every_wording() for text in captions(scene, "zh")]
    return "".join(sorted({character for source in sources for character in source if ord(character) > 127}))


def _every_wording() -> Iterator[Scene]:
    """Scenes whose captions hold, together, every word that captions can hold."""
    for background in BACKGROUNDS:
        for relation in ("left", "above"):
            yield Scene(background, (Group("cat", 1, "big"), Group("dog", 2, "small")), relation, 0)
    for name in kinds():
        yield Scene("grass", (Group(name, 3, "big"),), None, 0)
    yield Scene("grass", (Group("cat", 4, "big"),), None, 0)

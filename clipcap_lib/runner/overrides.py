"""Settings given on the command line: `training.learning_rate=1e-3,2e-3`, as in an experiment file."""

import re
from collections import Counter
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clipcap_lib.runner.axes import KEYS

AXES = ("mapping", "tuning", "seed")


def with_overrides(content: dict[str, Any], overrides: list[str], name: str | None = None) -> dict[str, Any]:
    """The content of an experiment file with settings in place of its own: one value for a key, or several, an axis.

    `runs.seed=0,1` and `seed=0,1` are the axis of seeds, and `steps` is `training.steps`. The name says which keys were
    given, with the value of a setting that has one, so that a trial of another value stands beside it, unless there is
    another name. Raises `ValueError` for what is no `key=value` and for a key that is given twice; whether key and
    value are valid is told as for a file.
    """
    given = [_parsed(override) for override in overrides]
    if twice := [key for key, count in Counter(key for key, _ in given).items() if count > 1]:
        raise ValueError(f"-S {twice[0]} is given twice; for several runs write {twice[0]}=value,value")
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for key, values in given:
        _set(content, key, values)
    told = [_told(key, values) for key, values in given]
    return content | {"name": name or "-".join([str(content.get("name")), *told])}


def _told(key: str, values: list[Any]) -> str:
    """A key as it stands in an experiment's name; the values of an axis stand in the names of its runs."""
    name = key.rpartition(".")[2]
    alone = name not in AXES and len(values) == 1
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{values[0]}".lower()[:60] if alone else name.lower()).strip("-")


def _parsed(override: str) -> tuple[str, list[Any]]:
    key, equals, text = override.partition("=")
    if not equals or not key or not text or text.rstrip().endswith(","):
        raise ValueError(f"-S {override}: write key=value, or key=value,value for several runs")
    try:  # as a list in a file is read, so that 1e-3 is a number and "a,b" one text
        return _in_its_section(key.strip()), YAML(typ="safe", pure=True).load(f"[{text}]")
    except YAMLError:
        raise ValueError(f"-S {override}: {text!r} cannot be read as values") from None


def _in_its_section(key: str) -> str:
    """A key of an axis as it stands under `runs`, and a setting's with its section."""
    if key.removeprefix("runs.") in AXES:
        return key.removeprefix("runs.")
    return next((full for full in KEYS if full.partition(".")[2] == key), key)


def _set(content: dict[str, Any], key: str, values: list[Any]) -> None:
    section, _, name = key.rpartition(".")
    runs = content.setdefault("runs", {})
    if key in AXES:
        runs[name] = values
    elif len(values) > 1:
        runs[key] = values
    elif section:
        runs.pop(key, None)  # an axis of the file, of which one value is wanted
        content.setdefault(section, {})[name] = values[0]
    else:
        content[name] = values[0]

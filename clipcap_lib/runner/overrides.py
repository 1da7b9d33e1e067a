"""Settings given on the command line: `training.learning_rate=1e-3,2e-3`, as in an experiment file."""

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

AXES = ("mapping", "tuning", "seed")


def with_overrides(content: dict[str, Any], overrides: list[str], name: str | None = None) -> dict[str, Any]:
    """The content of an experiment file with settings in place of its own: one value for a key, or several, an axis.

    `runs.seed=0,1` and `seed=0,1` are the axis of seeds. The name says which keys were given, unless there is another.
    Raises `ValueError` for what is no `key=value`; whether key and value are valid is told as for a file.
    """
    given = [_parsed(override) for override in overrides]
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for key, values in given:
        _set(content, key, values)
    keys = [re.sub(r"[^a-z0-9]+", "-", key.rpartition(".")[2].lower()) for key, _ in given]
    return content | {"name": name or "-".join([str(content.get("name")), *dict.fromkeys(keys)])}


def _parsed(override: str) -> tuple[str, list[Any]]:
    key, equals, text = override.partition("=")
    if not equals or not key or not text:
        raise ValueError(f"-S {override}: write key=value, or key=value,value for several runs")
    try:  # as a list in a file is read, so that 1e-3 is a number and "a,b" one text
        return key.strip(), YAML(typ="safe", pure=True).load(f"[{text}]")
    except YAMLError:
        raise ValueError(f"-S {override}: {text!r} cannot be read as values") from None


def _set(content: dict[str, Any], key: str, values: list[Any]) -> None:
    section, _, name = key.rpartition(".")
    runs = content.setdefault("runs", {})
    if section in ("", "runs") and name in AXES:
        runs[name] = values
    elif len(values) > 1:
        runs[key] = values
    elif section:
        runs.pop(key, None)  # an axis of the file, of which one value is wanted
        content.setdefault(section, {})[name] = values[0]
    else:
        content[name] = values[0]

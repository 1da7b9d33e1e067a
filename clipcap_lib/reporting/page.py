"""Self-contained pages: one template, one style, the Chinese characters they show."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from clipcap_lib.files import replacing
from clipcap_lib.reporting.chinese_font import font_face
from clipcap_lib.reporting.language import html_language
from clipcap_lib.wording import say, term

TEMPLATES = files("clipcap_lib.reporting") / "templates"


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Render a template of this package into a page that needs no other file and no network; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _environment().get_template(template).render(**content)
    # What the page needs of the Chinese font, so that no reader sees empty boxes.
    text = text.replace("<style>", f"<style>{font_face(text, 'Report SC')}", 1)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def loader() -> jinja2.BaseLoader:
    """The templates of this package by name."""
    return jinja2.FunctionLoader(
        lambda name: (TEMPLATES / name).read_text(encoding="utf-8") if (TEMPLATES / name).is_file() else None
    )


@cache
def _environment() -> jinja2.Environment:
    # Once: it keeps the templates that it has read and compiled.
    environment = jinja2.Environment(loader=loader(), autoescape=True, undefined=jinja2.StrictUndefined)
    # As they are: the characters of a style or a script are not HTML.
    environment.globals["verbatim"] = lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    environment.globals |= {"say": _said, "term": term, "html_language": html_language}
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # or the font is not cut to what a script says
    return environment


def _said(english: str, **values: Any) -> Markup:
    """A sentence of a template: HTML itself, unlike the values in it."""
    sentence = Markup(say(english))
    return sentence.format(**values) if values else sentence

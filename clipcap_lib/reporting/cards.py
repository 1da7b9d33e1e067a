"""HTML fragments for notebooks, reports and the explorer: pictures with captions, tokens with their alternatives."""

import base64
import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.emoji.language import Scene, wrong_spans
from clipcap_lib.images import open_picture
from clipcap_lib.settings import Language
from clipcap_lib.wording import say, term

FAINT, RIGHT, WRONG = "#5c6b7a", "#2f7d32", "#b3261e"
CARD = "display:flex;align-items:flex-start;gap:16px;padding:12px 0;border-bottom:1px solid #e3e7eb;font-family:inherit"

LONG = 22  # characters of a run's name


def thumbnail(picture: str | Path | Image.Image, side: int = 128) -> str:
    """A picture as a data URI, at most `side` pixels wide and high."""
    small = picture.copy() if isinstance(picture, Image.Image) else open_picture(Path(picture))
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "jpeg", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def picture_tag(picture: str | Path | Image.Image, alt: str, side: int = 128) -> str:
    """A picture as an HTML image that needs no other file; for an empty path its description in a box."""
    if picture == "":
        box = f"width:{side}px;padding:8px;border:1px solid #e3e7eb;border-radius:6px;flex:none;font-size:12px"
        return f'<div style="{box};box-sizing:border-box;overflow-wrap:anywhere">{html.escape(alt)}</div>'
    style = f"border-radius:6px;flex:none;margin:0;width:{side}px;height:auto"
    return f'<img src="{thumbnail(picture, side)}" alt="{html.escape(alt)}" style="{style}">'


def picture_with_references(picture: Image.Image, image_id: str, references: list[str]) -> str:
    """A picture with all its references beside it."""
    said = "".join(f"<li>{html.escape(text)}</li>" for text in references)
    tag = picture_tag(picture, _named(image_id, references), 224)
    return f'<div style="display:flex;flex-wrap:wrap;gap:20px">{tag}<ul style="line-height:1.6">{said}</ul></div>'


def _named(image_id: str, references: list[str]) -> str:
    return say("Picture {id}: {caption}", id=image_id, caption=references[0])


def as_html(figure: Figure, alt: str) -> str:
    """A figure as an HTML image that needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def caption_cards(
    samples: pd.DataFrame, references: pd.Series, captions: pd.DataFrame,
    scenes: dict[str, Scene] | None = None, language: Language = "zh",
) -> str:  # fmt: skip
    """Pictures with two of their references and each run's caption, as HTML.

    `samples`: image_id and image_path. `captions`: image_id, run, caption and the attribute scores. With the scenes,
    words that are not so are marked in the caption; the attributes that are wrong or missing are named beside it.
    """
    return "".join(
        _card(row, references[row.image_id], captions[captions["image_id"] == row.image_id], scenes or {}, language)
        for row in samples.itertuples()
    )


def _card(image, references: list[str], captions: pd.DataFrame, scenes: dict[str, Scene], language: Language) -> str:
    shown = "<br>".join(html.escape(text) for text in references[:2])
    scene = scenes.get(image.image_id)
    rows = "".join(
        _said(row["run"], f"{marked(row['caption'], scene, language)} {verdict(row)}")
        for row in captions.to_dict("records")
    )
    picture = picture_tag(image.image_path, _named(image.image_id, references))
    return (
        f'<div class="card" style="{CARD}">{picture}'
        f'<div style="min-width:0"><div style="color:{FAINT};margin-bottom:6px">{shown}</div>'
        f'<table style="border-collapse:collapse;margin:0">{rows}</table></div></div>'
    )


def _said(run: str, caption: str) -> str:
    """A run's name with its caption beside it, or below it where the name is long."""
    name = f'style="padding:2px 14px 2px 0;color:{FAINT};text-align:left;overflow-wrap:anywhere'
    if len(run) <= LONG:
        return (
            f'<tr><td {name};white-space:nowrap">{html.escape(run)}</td>'
            f'<td style="text-align:left;padding:2px 0">{caption}</td></tr>'
        )
    return (
        f'<tr><td colspan="2" {name};border-bottom:0">{html.escape(run)}</td></tr>'
        f'<tr><td colspan="2" style="text-align:left;padding:0 0 4px">{caption}</td></tr>'
    )


def marked(text: str, scene: Scene | None, language: Language) -> str:
    """A caption as HTML, with the words marked that are not so; none where the scene is unknown."""
    style = "background:#fbdad7;color:inherit;border-radius:3px;padding:0 1px"
    parts = caption_parts(text, scene, language) if scene else [(text, None)]
    marks = {attribute: f'<mark title="{term(attribute)}" style="{style}">' for _, attribute in parts if attribute}
    return "".join(
        f"{marks[attribute]}{html.escape(part)}</mark>" if attribute else html.escape(part) for part, attribute in parts
    )


def caption_parts(text: str, scene: Scene, language: Language) -> list[tuple[str, str | None]]:
    """A caption cut where it begins and ends to be wrong, each wrong part with its attribute; see `wrong_spans`."""
    parts, at = [], 0
    for start, end, attribute in wrong_spans(text, scene, language):
        parts += [(text[at:start], None), (text[start:end], attribute)]
        at = end
    return [(part, attribute) for part, attribute in [*parts, (text[at:], None)] if part]


def wrong_attributes(scores: Mapping[str, Any]) -> list[str]:
    """The attributes that a caption has wrong; `incomplete` where none is and something is left out."""
    wrong = [name for name in ATTRIBUTES[:-1] if scores[name] == 0]
    return wrong or ([] if scores["all"] == 1 else ["incomplete"])


def verdict(row: Mapping) -> str:
    """A tick, or a cross with what is wrong, of the attributes of a caption; empty where they are not known."""
    if "all" not in row or pd.isna(row["all"]):
        return ""
    if wrong := wrong_attributes(row):
        return f'<span style="color:{WRONG}">✗ {say(", ").join(map(term, wrong))}</span>'
    return f'<span style="color:{RIGHT}" title="{say("all attributes right")}">✓</span>'


def token_table(choices: pd.DataFrame, choosable: bool = False) -> str:
    """Each token of a caption with its probability as a bar and the likeliest others; see `token_choices`.

    With `choosable` the others are buttons whose `data-value` is their place and their id, such as `3:2048`.
    """
    rows = "".join(_token_row(number, row, choosable) for number, row in enumerate(choices.to_dict("records")))
    head = "".join(f'<th style="text-align:left;padding:2px 12px">{name}</th>' for name in _headings())
    return (
        f'<table style="border-collapse:collapse;margin:0"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _headings() -> tuple[str, ...]:
    return "", say("token"), say("probability"), say("what else was likely")


def _token_row(place: int, row: dict, choosable: bool) -> str:
    share = row["probability"]
    bar = (
        f'<span style="display:inline-block;width:{80 * share:.0f}px;height:10px;background:#0072b2;border-radius:2px;'
        f'margin-right:6px"></span>{share:.0%}'
    )
    others = [f"{html.escape(token)} {other:.0%}" for token, other in row["others"]]
    if choosable:
        pairs = zip(row["other_ids"], others, strict=True)
        others = [f'<button type="button" data-value="{place}:{token}">{text}</button>' for token, text in pairs]
    said = f'<span style="color:{FAINT}">{(" " if choosable else " · ").join(others)}</span>'
    cells = (str(place + 1), f"<b>{html.escape(row['token'])}</b>", bar, said)
    # A bar stays on the line of its number, however narrow the table; what else was likely may wrap.
    style = "text-align:left;padding:2px 12px;white-space:"
    wrap = ("nowrap", "nowrap", "nowrap", "normal")
    shown = [f'<td style="{style}{how}">{cell}</td>' for how, cell in zip(wrap, cells, strict=True)]
    return f"<tr>{''.join(shown)}</tr>"


def picture_strip(pictures: Iterable[tuple[str | Path | Image.Image, str, str]], side: int = 120) -> str:
    """Pictures side by side, each with its description and, below it, a line of HTML."""
    cells = "".join(
        f'<figure style="margin:0;width:{side + 12}px">{picture_tag(picture, alt, side)}'
        f'<figcaption style="font-size:12px;color:{FAINT}">{below}</figcaption></figure>'
        for picture, alt, below in pictures
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{cells}</div>'


def neighbour_strip(neighbours: pd.DataFrame) -> str:
    """Pictures side by side with cosine and caption; see `neighbours.nearest_pictures`."""
    return picture_strip(
        (row.image_path, row.caption, f"{say('cosine')} {row.cosine:.3f}<br>{html.escape(row.caption)}")
        for row in neighbours.itertuples()
    )

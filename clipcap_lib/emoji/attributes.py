"""Attribute accuracy: whether captions of emoji scenes name what the generator knows to be there."""

import pandas as pd

from clipcap_lib.emoji.language import Scene, read_caption, score_caption
from clipcap_lib.settings import Language

ATTRIBUTES = ["objects", "count", "size", "background", "relation", "all"]
ENOUGH_PICTURES = 30  # a share over fewer tells next to nothing: its 95 % interval may span more than a third


def attribute_scores(captions: pd.DataFrame, scenes: dict[str, Scene], language: Language) -> pd.DataFrame:
    """Add one column an attribute to a table with image_id and caption: 1 right, 0 wrong, missing where not judged.

    See `scene_language.score_caption` for when an attribute is judged.
    """
    rows = [
        score_caption(text, scenes[image], language)
        for image, text in zip(captions["image_id"], captions["caption"], strict=True)
    ]
    return captions.assign(
        **{name: pd.array([row[name] for row in rows], dtype="boolean").astype("Float64") for name in ATTRIBUTES}
    )


def attribute_accuracy(scored: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The share of right captions by group, and how many images each share rests on (`n_<attribute>`)."""
    groups = scored.groupby(by, sort=False)[ATTRIBUTES]
    return groups.mean().astype(float).join(groups.count().add_prefix("n_")).reset_index()


def confusions(captions: pd.DataFrame, scenes: dict[str, Scene], language: Language) -> pd.Series:
    """How often one kind was named in place of another, most frequent first; index "there → said".

    Only captions that miss exactly one kind and name exactly one other are unambiguous, and only they are counted.
    """
    pairs = []
    for image, text in zip(captions["image_id"], captions["caption"], strict=True):
        there, said = {group.kind for group in scenes[image].groups}, set(read_caption(text, language).counts)
        if len(missed := there - said) == 1 and len(invented := said - there) == 1:
            pairs.append(f"{missed.pop()} → {invented.pop()}")
    return pd.Series(pairs, dtype=object).value_counts()


def factors(scene: Scene) -> dict[str, str]:
    """What may make a picture hard, or may be read off its embedding.

    Only pictures of one kind hold four of it, so the largest count is told together with the number of kinds.
    """
    kinds, most = len(scene.groups), max(group.count for group in scene.groups)
    return {
        "kinds": str(kinds), "kinds × largest count": f"{kinds} × {most}", "relation": scene.relation or "none",
        "background": scene.background,
    }  # fmt: skip


def accuracy_by_factor(scored: pd.DataFrame, scenes: dict[str, Scene]) -> pd.DataFrame:
    """How the share of wholly right captions depends on what is in the picture: factor, value, pictures, right."""
    shown = pd.DataFrame([factors(scenes[image]) for image in scored["image_id"]], index=scored.index)
    tables = [
        scored["all"].astype(float).groupby(values).agg(["size", "mean"]).assign(factor=factor)
        for factor, values in shown.items()
    ]
    table = pd.concat(tables).rename_axis("value").reset_index()
    return table.rename(columns={"size": "pictures", "mean": "right"})[["factor", "value", "pictures", "right"]]

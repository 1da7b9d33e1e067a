"""What there is to see about one picture captioned by one run, as HTML: for the explorer and for its static twin."""

import html
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pandas as pd
from PIL import Image
from torch import Tensor

from clipcap_lib.analysis.neighbours import nearest_pictures
from clipcap_lib.analysis.prefixes import interpret
from clipcap_lib.analysis.states import token_choices
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features, taken
from clipcap_lib.decoding.decode import Caption, Constraints
from clipcap_lib.decoding.strategies import Strategy
from clipcap_lib.explore.captioner import Captioner
from clipcap_lib.reporting import cards


@dataclass(frozen=True)
class Explanation:
    """What lies behind a caption, each an HTML fragment."""

    tokens: str
    prefix: str
    neighbours: str


class LoadedRun:
    """A finished run with the training pictures it learned from; loads what it needs when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def captioner(self) -> Captioner:
        return Captioner.from_pretrained(self.folder)

    @cached_property
    def training(self) -> tuple[pd.DataFrame, Tensor]:
        """The training pictures with one caption each, and their embeddings [N, D] row by row."""
        corpus = prepare_corpus(self.captioner.data)
        train, params = corpus.images.index[corpus.images["split"] == "train"].to_numpy(), self.captioner.params
        pictures = corpus.images.loc[taken(train, params.get("used_images", 0), params["data_seed"])]
        store = corpus_features(corpus, self.captioner.encoder, pictures)
        captions = corpus.references().str[0][pictures["image_id"]]
        return pictures.assign(caption=captions.to_numpy()).reset_index(drop=True), store.tensor()

    @property
    def vocabulary(self) -> list[str]:
        """Every token that the run can write, as `explain` shows it."""
        return list(self.captioner.model.tokenizer.get_vocab())

    def caption(self, picture: Image.Image, key: str, strategy: Strategy, max_new_tokens: int = 40) -> list[Caption]:
        """The captions of one picture, best first."""
        return self.captioner.caption_all([picture], [key], strategy, Constraints(max_new_tokens=max_new_tokens))[0]

    def explain(self, picture: Image.Image, captions: list[Caption]) -> Explanation:
        """What there is to see about captions of a picture."""
        feature, model = self.captioner.embed([picture]), self.captioner.model
        embedding, (pictures, embeddings) = self.captioner.pooled([picture])[0], self.training
        return Explanation(
            tokens=cards.token_table(token_choices(model, feature[0], captions[0])),
            prefix=interpret(model, feature).nearest.to_html(border=0),
            neighbours=cards.neighbour_strip(nearest_pictures(embedding, embeddings, pictures)),
        )


@cache
def loaded_run(folder: Path) -> LoadedRun:
    """The run of a folder, loaded once a kernel."""
    return LoadedRun(folder)


def caption_list(captions: list[Caption]) -> str:
    """Captions with their scores and what ended each, as HTML."""
    return "".join(
        f'<p style="font-size:17px;margin:4px 0">{html.escape(caption.text)} '
        f'<span style="font-size:12px;color:{cards.FAINT}">'
        f"score {caption.score:.2f}, ended by {caption.stopped}</span></p>"
        for caption in captions
    )


def side_by_side(fragments: dict[str, str]) -> str:
    """Titled HTML fragments beside each other, below each other where the page is narrow."""
    columns = "".join(
        f'<div style="flex:1 1 420px;min-width:0;overflow-x:auto"><b>{html.escape(title)}</b>{fragment}</div>'
        for title, fragment in fragments.items()
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:32px">{columns}</div>'

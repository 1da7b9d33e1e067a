"""What there is to see about one picture captioned by one run, as HTML: for the explorer and for its static twin."""

import html
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
from PIL import Image
from torch import Tensor

from clipcap_lib.analysis.changes import listed
from clipcap_lib.analysis.neighbours import nearest_pictures
from clipcap_lib.analysis.prefixes import interpret
from clipcap_lib.analysis.states import token_choices
from clipcap_lib.analysis.unlike import unlike_training
from clipcap_lib.analysis.word_maps import no_places
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features, taken
from clipcap_lib.decoding.decode import Caption, Constraints
from clipcap_lib.decoding.strategies import Beam, BestOfN, MinimumBayesRisk, Strategy
from clipcap_lib.emoji.language import Scene, score_caption
from clipcap_lib.explore.captioner import Captioner
from clipcap_lib.explore.continuation import continued
from clipcap_lib.explore.where import where_strip
from clipcap_lib.reporting import cards
from clipcap_lib.runs import finished_in
from clipcap_lib.settings import Language
from clipcap_lib.wording import say, term

MOST_LOADED = 4  # runs in memory


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

    @property
    def language(self) -> Language:
        """The language of its captions."""
        return self.captioner.data.language

    def caption(self, picture: Image.Image, key: str, strategy: Strategy, max_new_tokens: int = 40) -> list[Caption]:
        """The captions of one picture, best first."""
        return self.captioner.caption_all([picture], [key], strategy, Constraints(max_new_tokens=max_new_tokens))[0]

    def go_on(self, picture: Image.Image, beginning: list[int], max_new_tokens: int = 40) -> Caption:
        """The caption of a picture that begins with these tokens; the rest is greedy."""
        feature = self.captioner.embed([picture])[0]
        return continued(self.captioner.model, feature, beginning, Constraints(max_new_tokens=max_new_tokens))

    def explain(self, picture: Image.Image, caption: Caption) -> "Explanation":
        """What there is to see about a caption of a picture."""
        return Explanation(self, picture, caption)


@dataclass(frozen=True)
class Explanation:
    """What lies behind a caption, each an HTML fragment that is made when it is asked for."""

    run: LoadedRun
    picture: Image.Image
    caption: Caption

    @cached_property
    def feature(self) -> Tensor:
        """What the model reads of the picture: its embedding [D], or its grid [T, D]."""
        return self.run.captioner.embed([self.picture])[0]

    def doubt(self) -> str:
        """Why not to believe the caption of a picture that is unlike all that the run was trained on; else empty."""
        captioner = self.run.captioner
        try:
            seen = captioner.seen
        except LookupError as error:
            return say("no picture can be told to be unlike what it was trained on: {error}", error=error)
        return (unlike_training(self.feature, seen, captioner.data.corpus) if seen else None) or ""

    def tokens(self, choosable: bool = False) -> str:
        """Token by token, with what else was likely; with `choosable` as buttons, see `cards.token_table`."""
        return cards.token_table(token_choices(self.run.captioner.model, self.feature, self.caption), choosable)

    def prefix(self) -> str:
        """The tokens nearest to each position of the prefix."""
        nearest = interpret(self.run.captioner.model, self.feature[None]).nearest
        return nearest.rename(columns=term).rename_axis(term("position")).to_html(border=0)

    def where(self) -> str:
        """What part of the picture each word rests on; a sentence where the run has no places."""
        captioner = self.run.captioner
        if captioner.model.config.features != "grid":
            sentence = say("No map: {why}.", why=no_places())
            return f"<p>{sentence}</p>"
        return where_strip(captioner.model, captioner.encoder, self.picture, self.feature, self.caption)

    def neighbours(self) -> str:
        """The training pictures that look most alike to the encoder."""
        pictures, embeddings = self.run.training
        embedding = self.run.captioner.pooled([self.picture])[0]
        return cards.neighbour_strip(nearest_pictures(embedding, embeddings, pictures))


def loaded_run(folder: Path) -> LoadedRun:
    """The run of a folder; the last few that were asked for stay loaded."""
    return _loaded(Path(folder).absolute())


@lru_cache(MOST_LOADED)
def _loaded(folder: Path) -> LoadedRun:
    return LoadedRun(folder)


def standing_runs(named: list[Path]) -> list[Path]:
    """The runs that are named, and after them every other finished run of the reports folders they stand in."""
    named = [folder.absolute() for folder in named]
    reports = dict.fromkeys(folder.parents[2] for folder in named if folder.parent.name == "runs")
    beside = [run for folder in reports for runs in sorted(folder.glob("*/runs")) for run in finished_in(runs)]
    return list(dict.fromkeys([*named, *beside]))


def score_name(strategy: Strategy) -> str:
    """What the score of a strategy's captions is; see `Caption`."""
    match strategy:
        case Beam(length_penalty=penalty):
            return say("log-probability / tokens^{penalty:g}", penalty=penalty)
        case BestOfN():
            return say("CLIP cosine with the picture")
        case MinimumBayesRisk():
            return say("agreement (CIDEr-D) with the other samples")
    return say("mean log-probability a token")


def caption_list(
    captions: list[Caption], strategy: Strategy, scene: Scene | None = None, language: Language = "zh"
) -> str:
    """Captions with their scores, by name, as HTML; where the scene is known, what is not so is marked and named."""
    return "".join(_caption_line(caption, score_name(strategy), scene, language) for caption in captions)


def _caption_line(caption: Caption, score: str, scene: Scene | None, language: Language) -> str:
    cut = "" if caption.stopped == "end" else say(", cut at the longest length")
    said = cards.marked(caption.text, scene, language)
    judged = cards.verdict(score_caption(caption.text, scene, language)) if scene else ""
    return (
        f'<p style="line-height:1.4;margin:4px 0 8px"><span style="font-size:17px">{said}</span> {judged}<br>'
        f'<span style="font-size:12px;color:{cards.FAINT}">{score} {caption.score:.2f}{cut}</span></p>'
    )


def side_by_side(fragments: dict[str, str]) -> str:
    """Titled HTML fragments beside each other, below each other where the page is narrow."""
    columns = "".join(
        f'<div style="flex:1 1 420px;min-width:0;overflow-x:auto"><b>{html.escape(title)}</b>{fragment}</div>'
        for title, fragment in fragments.items()
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:32px">{columns}</div>'


def each_once(fragments: dict[str, str]) -> str:
    """The same for fragments that may be equal: each stands once, under all its titles."""
    titles: dict[str, list[str]] = {}
    for title, fragment in fragments.items():
        titles.setdefault(fragment, []).append(title)
    return side_by_side({listed(names): fragment for fragment, names in titles.items()})

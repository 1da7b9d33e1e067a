"""METEOR and SPICE: English only, by the Java programs of pycocoevalcap; or the reason why one was not run."""

import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files

import numpy as np
from pycocoevalcap.meteor.meteor import Meteor

from clipcap_lib.metrics.reference import Scores, tokenise_references
from clipcap_lib.metrics.tokenizers import Tokeniser, tokenise
from clipcap_lib.settings import Language

EMPTY = "."  # for no words at all: an empty line makes METEOR answer nothing and the caller wait for ever
SPICE_JAVA = 15  # the newest Java on which SPICE's libraries start
SPICE_MODELS = files("pycocoevalcap") / "spice" / "lib" / "stanford-corenlp-3.6.0-models.jar"


def add_java_metrics(
    scores: Scores, candidates: dict[str, str], references: dict[str, list[str]], tokeniser: Tokeniser,
    language: Language,
) -> Scores:  # fmt: skip
    """Add METEOR (Denkowski & Lavie 2014) and SPICE (Anderson et al. 2016) to scores, or to their `not_run`.

    They get no interval: METEOR's corpus value is no mean over images, and each draw would be a run of Java.
    """
    made = [" ".join(words) or EMPTY for words in tokenise([candidates[image] for image in references], tokeniser)]
    given = [[" ".join(words) or EMPTY for words in image] for image in tokenise_references(references, tokeniser)]
    corpus, images, not_run = scores.corpus.copy(), scores.images.copy(), dict(scores.not_run)
    for name, obstacle, measure in (("METEOR", _meteor_obstacle, _meteor), ("SPICE", _spice_obstacle, _spice)):
        if why := obstacle(language):
            not_run[name] = why
        else:
            corpus[name], images[name] = measure(made, given)
    return replace(scores, corpus=corpus, images=images, not_run=not_run)


def _meteor(made: list[str], given: list[list[str]]) -> tuple[float, np.ndarray]:
    corpus, images = Meteor().compute_score(dict(enumerate(given)), {i: [text] for i, text in enumerate(made)})
    return corpus, np.array(images)


def _spice(made: list[str], given: list[list[str]]) -> tuple[float, np.ndarray]:
    from pycocoevalcap.spice.spice import Spice  # its constructor downloads the models where they are missing

    corpus, images = Spice().compute_score(dict(enumerate(given)), {i: [text] for i, text in enumerate(made)})
    return float(corpus), np.array([image["All"]["f"] for image in images])


def _meteor_obstacle(language: Language) -> str | None:
    if language != "en":
        return "its stems, synonyms and paraphrases are for English"
    return None if java_version() else "there is no Java on the PATH"


def _spice_obstacle(language: Language) -> str | None:
    if language != "en":
        return "its scene graphs are for English"
    if not (version := java_version()):
        return "there is no Java on the PATH"
    if version > SPICE_JAVA:
        return f"it needs Java 8 to {SPICE_JAVA}; the one on the PATH is {version}"
    return None if SPICE_MODELS.is_file() else f"its language model is missing: put {SPICE_MODELS.name} beside it"


def java_version() -> int | None:
    """The major version of the Java on the PATH, or `None`."""
    if not shutil.which("java"):
        return None
    done = subprocess.run(["java", "-version"], capture_output=True, text=True)
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found and done.returncode == 0 else None

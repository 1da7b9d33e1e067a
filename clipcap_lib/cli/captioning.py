"""`clipcap caption`: pictures captioned with a finished run, by any strategy and its options."""

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcap_lib.cli.messages import refusing, warn
from clipcap_lib.decoding.strategies import (
    NAMES,
    BestOfN,
    Constraints,
    MinimumBayesRisk,
    Strategy,
    options,
    parse_strategy,
)
from clipcap_lib.images import open_picture

if TYPE_CHECKING:
    from torch import Tensor

    from clipcap_lib.analysis.unlike import SeenPictures
    from clipcap_lib.decoding.constraints import Caption
    from clipcap_lib.explore.captioner import Captioner

BATCH = 64  # pictures captioned at once: thousands need no more memory, and what is done is printed


def _with_strategy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each of the strategies' own in place of its `**chosen`; `None`: not given."""
    signature = inspect.signature(command)
    stated = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    added = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for option, annotation in _strategy_options().items()
    ]
    command.__signature__ = signature.replace(parameters=[*stated, *added])
    command.__annotations__ |= {parameter.name: parameter.annotation for parameter in added}
    return command


def _strategy_options() -> dict[str, Any]:
    """Typer's annotation of each option of any strategy; its help says of which."""
    kinds: dict[str, Any] = {}
    says: dict[str, dict[str, list[str]]] = {}
    for strategy in NAMES:
        for option, field in options(strategy).items():
            kinds.setdefault(option, field.annotation)
            says.setdefault(option, {}).setdefault(field.description or "", []).append(strategy)
    help_of = {
        option: "; ".join(f"{', '.join(names)}: {what}" for what, names in meanings.items())
        for option, meanings in says.items()
    }
    return {option: Annotated[kind | None, typer.Option(help=help_of[option])] for option, kind in kinds.items()}


@_with_strategy_options
def caption(
    images: Annotated[list[Path], typer.Argument(help="pictures")],
    run: Annotated[Path, typer.Option(help="folder of a finished run, such as reports/emoji-zh/runs/mlp-full-s0")],
    strategy: Annotated[
        str, typer.Option(help=f'{", ".join(NAMES)}; or as in an experiment file, "sample min_p:0.1"')
    ] = "greedy",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest caption")] = 60,
    min_new_tokens: Annotated[int, typer.Option(min=0, help="shortest caption")] = 0,
    repetition_penalty: Annotated[float, typer.Option(help="above 1: what has been said is less likely")] = 1.0,
    no_repeat_ngram: Annotated[int, typer.Option(min=0, help="so many tokens in a row come once; 0 is off")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object a picture, with tokens and scores; `score` reads it")
    ] = False,
    **chosen: Any,
) -> None:
    """Caption pictures with a finished run."""
    images, run = [image.absolute() for image in images], run.absolute()
    with refusing(ValueError, OSError):  # OSError: a language model that cannot be had
        given = [f"{name}:{value}" for name, value in chosen.items() if value is not None]
        how = parse_strategy(" ".join([strategy, *given]))
        for image in images:
            open_picture(image)  # before a model is loaded for a picture that is not there
        from clipcap_lib.analysis.unlike import unlike_training
        from clipcap_lib.explore.captioner import Captioner

        constraints = Constraints(
            max_new_tokens=max_new_tokens, min_new_tokens=min_new_tokens, repetition_penalty=repetition_penalty,
            no_repeat_ngram=no_repeat_ngram,
        )  # fmt: skip
        captioner = Captioner.from_pretrained(run)
    seen = _seen(captioner)
    for image, name, feature, captions in _in_batches(captioner, images, how, constraints):
        if seen and (alarm := unlike_training(feature, seen, captioner.data.corpus)):
            warn(f"{name}: {alarm}")
        if as_json:
            shared = {"strategy": how.model_dump(), "run": str(run)} | _likeness(feature, seen)
            typer.echo(json.dumps(_row(captioner, image, name, captions) | shared, ensure_ascii=False))
        else:
            _print_captions(name, captions, how)


def _seen(captioner: "Captioner") -> "SeenPictures | None":
    """What the run was trained on; `None` where that is not known, said in a note where it has been."""
    try:
        return captioner.seen
    except LookupError as error:
        warn(f"{captioner.folder}: no picture can be told to be unlike what it was trained on: {error}")


def _likeness(feature: "Tensor", seen: "SeenPictures | None") -> dict[str, Any]:
    """How far a picture, by its embedding [D] or grid [T, D], is from training's; `None` where these are not known."""
    distance = seen.distance(feature) if seen else None
    return {"training_distance": distance, "unlike_training": seen and distance > seen.usual}


def _in_batches(
    captioner: "Captioner", images: list[Path], how: Strategy, constraints: Constraints
) -> Iterator[tuple[Path, str, "Tensor", "list[Caption]"]]:
    """Pictures with what the model reads of them and their captions, by name, or by path where several are alike."""
    called = Counter(image.name for image in set(images))
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        with refusing(ValueError, OSError):  # OSError: mbr's training captions are gone
            opened, keys = map(open_picture, some), [image.name for image in some]
            features, found = captioner.features_and_captions(opened, keys, how, constraints)
        names = [image.name if called[image.name] == 1 else str(image) for image in some]
        yield from zip(some, names, features, found, strict=True)


def _row(captioner: "Captioner", image: Path, name: str, captions: "list[Caption]") -> dict[str, Any]:
    """What one line of JSON says of a picture; `score` reads `image_id` and `caption`."""
    found = [vars(made) | {"token_texts": captioner.token_texts(made.tokens)} for made in captions]
    return {"image_id": name, "image": str(image), "caption": captions[0].text, "captions": found}


def _print_captions(name: str, captions: "list[Caption]", how: Strategy) -> None:
    for made in captions[:1] if isinstance(how, BestOfN | MinimumBayesRisk) else captions:  # these draw n to keep one
        typer.echo(f"{name}\t{' '.join(made.text.split())}")  # one line a caption, as `score` reads them

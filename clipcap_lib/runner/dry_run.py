"""A dry run: each captioner of an experiment is built and trained for one step on made-up images.

What no file name shows, such as a language model that cannot share a prefix, heads that do not divide a width or a
caption longer than the model has positions, is found in seconds here instead of after all pictures have been read.
"""

import torch

from clipcap_lib.decoding.constraints import ResolvedConstraints, positions_of
from clipcap_lib.decoding.strategies import Constraints, Contrastive, parse_strategy
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import Padding, pack, tokenize_captions
from clipcap_lib.runner.axes import describe_choice
from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.settings import Mapping, Tuning
from clipcap_lib.system import first_line

CLIP_SIZE, TOKENS = 8, 4  # of the made-up features: an encoder's own width changes one matrix and nothing else


def dry_run(experiment: Experiment) -> int:
    """How many captioners can be built, trained and decoded; their language model must be on this machine.

    Raises `ValueError`, naming the captioner, for what one of them cannot do.
    """
    captioners = {}
    for choice in experiment.run_grid():
        own, pair = experiment.of_run(choice), (choice["mapping"], choice["tuning"])
        settings = own.models.model_dump_json(), own.decoding.model_dump_json(), own.training.padding_in_loss
        captioners.setdefault((*pair, *settings), (own, *pair, describe_choice(choice)))
    for own, mapping, tuning, what_differs in captioners.values():
        try:
            _try(own, mapping, tuning)
        except Exception as error:  # whatever a library raises for settings it cannot follow
            name = ", ".join(filter(None, (mapping, tuning, what_differs)))
            raise ValueError(f"{name}: {first_line(error) or type(error).__name__}") from error
    return len(captioners)


def _try(experiment: Experiment, mapping: Mapping, tuning: Tuning) -> None:
    shape = (TOKENS, CLIP_SIZE) if experiment.models.features == "grid" else (CLIP_SIZE,)
    model = ClipCapModel.build(ClipCapConfig.for_features(experiment.models, mapping, tuning, shape))
    decoding = experiment.decoding
    named = map(parse_strategy, (decoding.strategy, *decoding.strategies))
    for strategy in (*named, Contrastive(k=max(decoding.grid_k), alpha=0)):
        ResolvedConstraints(model, Constraints(max_new_tokens=decoding.max_new_tokens), strategy)
    _train_a_step(model, experiment)


def _train_a_step(model: ClipCapModel, experiment: Experiment) -> None:
    """On the longest caption that the settings let in."""
    longest, positions = experiment.models.max_caption_tokens, positions_of(model)
    if positions and longest > (room := positions - model.prefix_length + 1):  # the last token is never read
        raise ValueError(f"max_caption_tokens is {longest}, but {positions} positions less the prefix allow {room}")
    own_end = experiment.models.stop_token is None
    tokens = tokenize_captions(["a " * longest], [0], model.tokenizer, longest, append_end=own_end)
    padding = Padding.of(model.tokenizer, tokens) if experiment.training.padding_in_loss else None
    packed = pack([[tokens.caption(0)]], model.prefix_length, padding)
    model.loss(torch.randn(1, *model.config.feature_shape), packed).backward()

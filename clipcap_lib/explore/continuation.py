"""A caption with a beginning that somebody chose: the model goes on from there."""

import torch
from torch import Tensor

from clipcap_lib.decoding.constraints import GenerationState
from clipcap_lib.decoding.decode import STANDARD, Caption, Constraints, resolve_constraints, to_text
from clipcap_lib.decoding.sampling import generate, most_probable
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.model import ClipCapModel


@torch.inference_mode()
def continued(
    model: ClipCapModel, feature: Tensor, beginning: list[int], constraints: Constraints = STANDARD
) -> Caption:
    """The caption of an embedding [D] or a grid [T, D] that begins with these tokens and goes on greedily.

    Raises `ValueError` for constraints that cannot be kept.
    """

    def choose(logits: Tensor, state: GenerationState) -> Tensor:
        if state.step < len(beginning):
            return torch.tensor([beginning[state.step]], device=logits.device)
        return most_probable(logits, state)

    rules = resolve_constraints(model, Greedy(), constraints)
    caption = generate(model, model.prompt(feature[None]), rules, choose)[0][0]
    caption.text = to_text(model.tokenizer, caption.tokens)
    return caption

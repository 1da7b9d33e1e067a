"""One step of contrastive search taken apart: probability, penalty and score of each candidate."""

from collections.abc import Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.analysis.prefixes import readable
from clipcap_lib.analysis.states import hidden_states
from clipcap_lib.decoding.constraints import Caption
from clipcap_lib.decoding.strategies import Contrastive
from clipcap_lib.language_model import lm_head
from clipcap_lib.model import ClipCapModel


@torch.inference_mode()
def contrastive_step(model: ClipCapModel, feature: Tensor, written: list[int], strategy: Contrastive) -> pd.DataFrame:
    """The k candidates for the next token behind an image embedding [D] and the tokens written so far.

    Columns: token, probability p(v), similarity max_j cos(h_v, h_j), confidence (1 − α)·p(v), penalty
    −α·max_j cos(h_v, h_j), and their sum, score (Su et al. 2022, eq. 5); the highest score is written. Computed
    plainly, one forward pass a candidate, without the cache that `decode` uses.
    """
    states = hidden_states(model, feature, written)
    probabilities = lm_head(model.language_model)(states[-1:]).float().softmax(-1)[0]
    past = states if strategy.history == "all" else states[model.prefix_length :]
    rows = []
    for probability, token in zip(*(values.tolist() for values in probabilities.topk(strategy.k)), strict=True):
        state = hidden_states(model, feature, [*written, token])[-1]
        similarity = float(F.cosine_similarity(state[None], past).max()) if len(past) else 0.0
        rows.append({"token": readable(model, token), "probability": probability, "similarity": similarity})
    table = pd.DataFrame(rows)
    table["confidence"] = (1 - strategy.alpha) * table["probability"]
    table["penalty"] = -strategy.alpha * table["similarity"]
    return table.assign(score=table["confidence"] + table["penalty"])


def telling_step(
    model: ClipCapModel, features: Tensor, captions: Sequence[Caption], strategy: Contrastive
) -> tuple[int, int, pd.DataFrame]:
    """The first image, step and table of `contrastive_step` in which another token than the likeliest was written.

    Where there is none, the last step that was looked at. `features` [N, D] are the embeddings that were captioned.
    """
    image, step, table = 0, 0, contrastive_step(model, features[0], [], strategy)
    for image, caption in enumerate(captions):
        for step in range(len(caption.tokens)):
            table = contrastive_step(model, features[image], caption.tokens[:step], strategy)
            if table["score"].idxmax() != 0:
                return image, step, table
    return image, step, table

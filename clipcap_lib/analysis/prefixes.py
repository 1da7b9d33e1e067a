"""What learned prefixes mean: the vocabulary tokens nearest to each position (Mokady et al. 2021, section 4)."""

from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.model import ClipCapModel
from clipcap_lib.wording import say

CLOSE = 0.7  # a mean cosine with the nearest tokens above this: words, or nearly


@dataclass(frozen=True)
class PrefixMeaning:
    """Per position the nearest tokens with their cosines; `norm_ratio`: prefix norm over the mean norm of tokens."""

    nearest: pd.DataFrame
    cosine: float
    norm_ratio: float
    shared: float

    def describe(self, run: str) -> str:
        """Whether the prefixes of a run are words, in a sentence."""
        close = self.cosine > CLOSE
        return say(
            "Prefixes of {run} lie at a mean cosine of {cosine:.2f} from the nearest vocabulary token and are "
            "{times:.1f} times as long as tokens: they are {nature}.",
            run=run,
            cosine=self.cosine,
            times=self.norm_ratio,
            nature=say("close to words") if close else say("no words, but a code of the two networks"),
        )


@torch.inference_mode()
def interpret(model: ClipCapModel, features: Tensor, count: int = 4) -> PrefixMeaning:
    """Interpret the prefixes of embeddings [N, D]; the tokens listed are those of the first one.

    `cosine` is the mean, over images and positions, of the cosine with the nearest token: 1 would be words, as if
    typed. `shared` is the share of images for which a position's nearest token is the most frequent one of that
    position: 1 means that it does not depend on the picture.
    """
    prefix = model.prefix(features).float()
    table = model.language_model.get_input_embeddings().weight.float()
    cosines = F.normalize(prefix, dim=-1) @ F.normalize(table, dim=-1).T
    best, ids = cosines.topk(count, dim=-1)
    rows = [
        [f"{readable(model, token)} {cosine:.2f}" for token, cosine in zip(*position, strict=True)]
        for position in zip(ids[0].tolist(), best[0].tolist(), strict=True)
    ]
    nearest = pd.DataFrame(rows, columns=[f"nearest {rank}" for rank in range(1, count + 1)])
    same = (ids[:, :, 0] == ids[:, :, 0].mode(dim=0).values).float().mean().item()
    ratio = (prefix.norm(dim=-1).mean() / table.norm(dim=-1).mean()).item()
    return PrefixMeaning(nearest.rename_axis("position"), best[:, :, 0].mean().item(), ratio, same)


def readable(model: ClipCapModel, token: int) -> str:
    """A token as text that shows where a byte-level BPE has its space."""
    return model.tokenizer.convert_ids_to_tokens(token).replace("Ġ", "␣")

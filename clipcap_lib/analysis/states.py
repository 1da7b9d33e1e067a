"""Hidden states and next tokens behind a prefix: what contrastive search penalises, and why a token was written."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.analysis.prefixes import readable
from clipcap_lib.analysis.results import Results
from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding.decode import Caption, Constraints, decode
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.language_model import lm_head
from clipcap_lib.model import ClipCapModel
from clipcap_lib.wording import say


@torch.inference_mode()
def hidden_states(model: ClipCapModel, feature: Tensor, tokens: list[int]) -> Tensor:
    """Last hidden states [P + T, n] of prefix and caption tokens behind one embedding [D] or grid [T, D]."""
    return read_behind(model, model.prompt(feature[None]), tokens)[0]


def read_behind(model: ClipCapModel, prompt: Prompt, tokens: list[int]) -> Tensor:
    """Last hidden states [B, P + T, n] of the same T tokens read behind each of B prompts; gradients may pass."""
    written = torch.tensor(tokens, dtype=torch.long, device=model.device).expand(len(prompt), -1)
    words = model.language_model.get_input_embeddings()(written)
    inputs = torch.cat([prompt.prefix.to(words.dtype), words], dim=1)
    with prompt.reading():
        return model.language_model.base_model(inputs_embeds=inputs).last_hidden_state.float()


def token_similarity(model: ClipCapModel, feature: Tensor, tokens: list[int]) -> np.ndarray:
    """Cosines [T, T] of a caption's last hidden states behind an embedding [D]: what contrastive search penalises."""
    unit = F.normalize(hidden_states(model, feature, tokens)[model.prefix_length :], dim=-1)
    return (unit @ unit.T).cpu().numpy()


def isotropy(model: ClipCapModel, features: Tensor, captions: list[Caption]) -> float:
    """One minus the mean cosine of last hidden states of different tokens, over images [N, D] (Su & Collier 2023).

    Near 0 all states point the same way and the penalty of contrastive search tells nothing apart. Captions of fewer
    than two tokens do not count; NaN where no caption has more.
    """
    values = []
    for feature, caption in zip(features, captions, strict=True):
        if (count := len(caption.tokens)) > 1:
            cosines = token_similarity(model, feature, caption.tokens)
            values.append((cosines.sum() - count) / (count * (count - 1)))
    return 1 - float(np.mean(values)) if values else float("nan")


@torch.inference_mode()
def next_token(model: ClipCapModel, feature: Tensor, written: list[int]) -> pd.Series:
    """Probabilities of the next token behind an embedding [D] and tokens written, likeliest first, by token text."""
    probabilities, ids = _probabilities(model, feature, written)[-1].sort(descending=True)
    return pd.Series(probabilities.cpu().numpy(), index=model.tokenizer.convert_ids_to_tokens(ids.tolist()))


@torch.inference_mode()
def token_choices(model: ClipCapModel, feature: Tensor, caption: Caption, count: int = 4) -> pd.DataFrame:
    """Why each token of a caption of an embedding [D] was written: a row a token, and one for its end if it has one.

    Columns: token, probability, others: the `count` likeliest other tokens with their probabilities, and `other_ids`.
    """
    rows = []
    written_tokens = [*caption.tokens, *model.stop_tokens[: caption.stopped == "end"]]
    for written, chosen in zip(_probabilities(model, feature, caption.tokens), written_tokens, strict=False):
        best, ids = written.topk(count + 1)
        pairs = zip(ids.tolist(), best.tolist(), strict=True)
        others = [(token, share) for token, share in pairs if token != chosen][:count]
        rows.append({
            "token": readable(model, chosen), "probability": float(written[chosen]),
            "others": [(readable(model, token), share) for token, share in others],
            "other_ids": [token for token, _ in others],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _probabilities(model: ClipCapModel, feature: Tensor, tokens: list[int]) -> Tensor:
    """What may come after the prefix and after each token [T + 1, V]."""
    states = hidden_states(model, feature, tokens)[model.prefix_length - 1 :]
    return lm_head(model.language_model)(states).float().softmax(-1)


def isotropies(
    results: Results, images: int, constraints: Constraints
) -> tuple[dict[str, float], dict[str, tuple[np.ndarray, list[str]]]]:
    """The isotropy of the best run of each tuning over greedy captions of the first test images, and for the first of
    them the cosines [T, T] of its tokens with the tokens, by a title each.
    """
    values, panels = {}, {}
    for tuning in dict.fromkeys(run.params["tuning"] for run in results.runs):
        best = Results([run for run in results.runs if run.params["tuning"] == tuning]).best
        model = ClipCapModel.for_decoding(best.folder / "model")
        features = results.features(model, images)
        greedy = [row[0] for row in decode(model, features, Greedy(), constraints)]
        values[best.label] = isotropy(model, features, greedy)
        if words := model.tokenizer.convert_ids_to_tokens(greedy[0].tokens):
            title = say("{run}: isotropy {isotropy:.2f}", run=best.label, isotropy=values[best.label])
            panels[title] = token_similarity(model, features[0], greedy[0].tokens), words
    return values, panels

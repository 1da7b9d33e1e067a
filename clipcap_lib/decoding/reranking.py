"""Choosing among several drawn captions: by CLIP (best of n), or by agreement (minimum Bayes risk)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.decoding.constraints import Caption
from clipcap_lib.decoding.contrastive import CandidateScorer
from clipcap_lib.encoders import Encoder

Utility = Callable[[list[str]], list[float]]
"""From the captions drawn for one image to the expected utility of each, the others taken as references."""


def rank_by_clip(captions: list[list[Caption]], features: Tensor, judge: Encoder) -> list[list[Caption]]:
    """Captions of each image by the cosine of their CLIP embedding with the image's [B, D], best first."""
    words = _words([caption.text for row in captions for caption in row], judge, features.device)
    words = words.view(len(captions), len(captions[0]), -1)
    cosines = (words @ F.normalize(features.float(), dim=-1)[:, :, None])[..., 0]
    return [_ranked(row, scores) for row, scores in zip(captions, cosines.tolist(), strict=True)]


def rank_by_agreement(captions: list[list[Caption]], utility: Utility) -> list[list[Caption]]:
    """Captions of each image by their expected utility, the others taken as references, best first."""
    return [_ranked(row, utility([caption.text for caption in row])) for row in captions]


def _ranked(captions: list[Caption], scores: list[float]) -> list[Caption]:
    for caption, score in zip(captions, scores, strict=True):
        caption.score = float(score)
    return sorted(captions, key=lambda caption: -caption.score)


def clip_scorer(features: Tensor, judge: Encoder, beta: float, to_text: Callable[[list[int]], str]) -> CandidateScorer:
    """MAGIC's bonus [rows, k]: β · softmax over candidates of logit scale × image [N, D] · CLIP(text + candidate)."""
    images = F.normalize(features.float(), dim=-1)

    def bonus(rows: Tensor, written: Tensor, candidates: Tensor) -> Tensor:
        k = candidates.shape[1]
        longer = torch.cat([written[:, None].expand(-1, k, -1), candidates[:, :, None]], dim=-1)
        texts = [to_text(tokens) for tokens in longer.flatten(0, 1).tolist()]
        words = _words(texts, judge, images.device).view(len(rows), k, -1)
        cosines = (words @ images[rows][:, :, None])[..., 0]
        return beta * (judge.logit_scale * cosines).softmax(-1)

    return bonus


def _words(texts: list[str], judge: Encoder, device: torch.device) -> Tensor:
    """Unit embeddings [N, D] of texts; duplicate texts are embedded once."""
    each = list(dict.fromkeys(texts))
    embeddings = F.normalize(judge.encode_texts(each).to(device), dim=-1)
    place = {text: number for number, text in enumerate(each)}
    return embeddings[[place[text] for text in texts]]

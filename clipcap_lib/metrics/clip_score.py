"""CLIPScore and RefCLIPScore (Hessel et al. 2021) with any encoder that has a text side."""

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.encoders import Encoder
from clipcap_lib.settings import Language

WEIGHT = 2.5
BATCH = 256
PROMPT = {"en": "A photo depicts ", "zh": ""}  # the paper's, for English; no other language has a published one


@torch.inference_mode()
def clip_scores(captions: list[str], images: Tensor, judge: Encoder, language: Language) -> Tensor:
    """CLIPScore, 2.5 · max(cos, 0) [N], of captions with image embeddings [N, D]; every encoder has its own scale.

    Raises `ValueError` for an encoder without a text side.
    """
    return _against_images(_embed(captions, judge, language), images)


@torch.inference_mode()
def ref_clip_scores(
    captions: list[str], references: list[list[str]], images: Tensor, judge: Encoder, language: Language
) -> Tensor:
    """Harmonic mean [N] of CLIPScore and the largest max(cos, 0) of the caption with one of its image's references.

    `images` [N, D] are image embeddings. Raises `ValueError` for an encoder without a text side.
    """
    made = _embed(captions, judge, language)
    given = _embed([text for row in references for text in row], judge, language)
    nearest = torch.stack([
        F.cosine_similarity(rows, caption[None]).max().clamp_min(0)
        for rows, caption in zip(given.split([len(row) for row in references]), made, strict=True)
    ])  # fmt: skip
    plain = _against_images(made, images)
    return 2 * plain * nearest / (plain + nearest).clamp_min(1e-12)


def _against_images(texts: Tensor, images: Tensor) -> Tensor:
    return WEIGHT * F.cosine_similarity(texts, images.float()).clamp_min(0)


def _embed(texts: list[str], judge: Encoder, language: Language) -> Tensor:
    if judge.encode_texts is None:
        raise ValueError(f"CLIPScore needs an encoder with a text side; {judge.name} has none")
    prompted = [PROMPT[language] + text for text in texts]
    return torch.cat([judge.encode_texts(prompted[i : i + BATCH]).float() for i in range(0, len(prompted), BATCH)])

"""CLIPScore (Hessel et al. 2021) with any encoder that has a text side."""

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.encoders import Encoder
from clipcap_lib.scene_language import Language

WEIGHT = 2.5
PROMPT = {"en": "A photo depicts ", "zh": ""}  # the paper's, for English; no other language has a published one


@torch.inference_mode()
def clip_scores(captions: list[str], images: Tensor, judge: Encoder, language: Language) -> Tensor:
    """2.5 · max(cos, 0) [N] of captions with image embeddings [N, D]; every encoder has a scale of its own.

    Raises `ValueError` for an encoder without a text side.
    """
    if judge.encode_texts is None:
        raise ValueError(f"CLIPScore needs an encoder with a text side; {judge.name} has none")
    texts = judge.encode_texts([PROMPT[language] + caption for caption in captions])
    return WEIGHT * F.cosine_similarity(texts.float(), images.float()).clamp_min(0)

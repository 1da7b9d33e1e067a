"""The last step of a causal language model: from hidden states to logits, as its own forward does it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clipcap_lib.affine import Affine


def lm_head(language_model: nn.Module) -> Callable[[Tensor], Tensor]:
    """From last hidden states [N, n] to logits [N, V], scaled and capped where the model's own forward does so."""
    head, config = language_model.get_output_embeddings(), language_model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1  # Cohere
    scale /= getattr(config, "logits_scaling", None) or 1  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    few = type(head) is nn.Linear and not torch.is_grad_enabled()
    product = Affine(head.weight.t(), head.bias) if few else head

    def logits(hidden: Tensor) -> Tensor:
        found = product(hidden)
        found = found if scale == 1 else found * scale
        return cap * torch.tanh(found / cap) if cap else found

    return logits

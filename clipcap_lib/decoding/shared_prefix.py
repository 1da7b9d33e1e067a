"""The check that a language model can read several captions behind one shared prefix."""

import torch
from torch import Tensor, nn

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding.kv_cache import PrefixDecoder
from clipcap_lib.packing import additive_mask
from clipcap_lib.system import first_line

SAME = 1e-3  # logits this near to one another, as a share of the greatest, are the same but for rounding


@torch.inference_mode()
def check_shared_prefix(language_model: nn.Module, name: str) -> None:
    """Raise `ValueError` unless captions can stand side by side behind one prefix, in training and in decoding.

    Two captions are read behind one prefix, each blind to the other, and their logits compared with those of the
    model's own forward on one caption at a time. Models whose attention counts places in memory (BLOOM, MPT), that
    keep no keys and values (Mamba, GPT-1), or that finish their logits in a way unknown here do not pass.
    """
    was_training = language_model.training
    language_model.eval()
    try:
        differ = _greatest_difference(language_model)
    except Exception as error:  # whatever a model raises when it is asked for what it cannot do
        raise ValueError(f"{_refusal(language_model, name)} ({type(error).__name__}: {first_line(error)})") from error
    finally:
        language_model.train(was_training)
    if not differ < SAME:
        raise ValueError(f"{_refusal(language_model, name)} (its logits differ by {differ:.0%})")


def _greatest_difference(language_model: nn.Module) -> float:
    """Between the logits of shared and of separate reading, as a share of the greatest logit."""
    if "local" in getattr(language_model.config, "attention_layers", []):  # more places than are read here would tell
        raise ValueError("its local attention counts places in memory")
    embed = language_model.get_input_embeddings()
    ids = torch.linspace(1, embed.num_embeddings - 1, 5, device=embed.weight.device).long()[None]
    first, second = ids[:, [0, 1, 2, 4]], ids[:, [0, 1, 3]]  # one caption reads 2 and 4, the other 3
    separate = [language_model(inputs_embeds=embed(row)).logits[0] for row in (first, second)]
    lm = PrefixDecoder(language_model, Prompt(embed(ids[:, :2])), 3)
    side_by_side, after_first = _mask([[1, 1, 1, 0], [1, 1, 0, 1]], lm), _mask([[1, 1, 1, 0, 1]], lm)
    states = [lm.prefix_hidden, lm.step(ids[:, 2:4], side_by_side), lm.step(ids[:, 4:], after_first)]
    shared = lm.logits(torch.cat(states, dim=1)[0])[[0, 1, 2, 4, 0, 1, 3]]
    separate = torch.cat(separate)
    return float((shared - separate).abs().max() / separate.abs().max())


def _mask(seen: list[list[int]], lm: PrefixDecoder) -> Tensor:
    """The mask [1, 1, k, length] of a step that may look where `seen` is 1."""
    return additive_mask(torch.tensor(seen, device=lm.prefix_hidden.device).bool(), lm.dtype)[None, None]


def _refusal(language_model: nn.Module, name: str) -> str:
    return (
        f"language model {name}: {type(language_model).__name__} does not read several captions behind one shared "
        "prefix as it reads each alone; choose one that does, such as GPT-2, LLaMA, Qwen, Mistral, Gemma or OPT"
    )

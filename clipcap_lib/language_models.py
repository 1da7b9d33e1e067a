"""Causal language models of transformers: loading one, and what it must be able to do."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation

from clipcap_lib.continuation import Continuation, additive_mask
from clipcap_lib.gelu import TanhGelu
from clipcap_lib.quiet import no_progress_bars

SAME = 1e-3  # logits this near to one another, as a share of the greatest, are the same but for rounding


def load_language_model(name: str) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """A causal language model of transformers and its tokenizer, by hub id, folder or `.gguf` file, in float32.

    Raises `OSError` (from transformers) when there is no such model; nothing falls back to random weights.
    """
    options, name = _gguf(name)
    # At caption lengths a CPU does plain attention forward and back in three quarters of the time of the fused kernel.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    with no_progress_bars():
        model, report = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, attn_implementation=attention, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"language model {name}: weights {missing[:5]} are missing and would be random")
    _fuse_gelu(model)
    return model, tokenizer


def _gguf(name: str) -> tuple[dict[str, str], str]:
    """transformers reads a GGUF file by its folder and its name, and makes its weights floats again."""
    path = Path(name)
    if path.suffix != ".gguf":
        return {}, name
    if not path.is_file():
        raise FileNotFoundError(f"language model {name}: there is no such file")
    return {"gguf_file": path.name}, str(path.parent)


def _fuse_gelu(model: nn.Module) -> None:
    # GPT-2's GELU is eight operations in transformers: the same function, a tenth to a sixth off every step.
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, TanhGelu())


def weights_sha256(name: str) -> str | None:
    """The sha256 of a language model's files; `None` for a hub id, which its name pins."""
    path = Path(name)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    else:
        files = [path] if path.is_file() else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else None


@torch.inference_mode()
def check_language_model(language_model: nn.Module, name: str) -> None:
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
    lm = Continuation(language_model, embed(ids[:, :2]), 3)
    side_by_side, after_first = _mask([[1, 1, 1, 0], [1, 1, 0, 1]], lm), _mask([[1, 1, 1, 0, 1]], lm)
    states = [lm.prefix_hidden, lm.step(ids[:, 2:4], side_by_side), lm.step(ids[:, 4:], after_first)]
    shared = lm.logits(torch.cat(states, dim=1)[0])[[0, 1, 2, 4, 0, 1, 3]]
    separate = torch.cat(separate)
    return float((shared - separate).abs().max() / separate.abs().max())


def _mask(seen: list[list[int]], lm: Continuation) -> Tensor:
    """The mask [1, 1, k, length] of a step that may look where `seen` is 1."""
    return additive_mask(torch.tensor(seen, device=lm.prefix_hidden.device).bool(), lm.dtype)[None, None]


def _refusal(language_model: nn.Module, name: str) -> str:
    return (
        f"language model {name}: {type(language_model).__name__} does not read several captions behind one shared "
        "prefix as it reads each alone; choose one that does, such as GPT-2, LLaMA, Qwen, Mistral, Gemma or OPT"
    )


def first_line(error: Exception) -> str:
    """What an error says first; transformers goes on for paragraphs."""
    return next(iter(str(error).splitlines()), "")

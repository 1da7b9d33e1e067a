"""Causal language models of transformers: loading one, and its head."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation

from clipcap_lib.system import no_progress_bars


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
    # transformers writes GPT-2's GELU as eight operations; torch has the same function as one.
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def weights_sha256(name: str) -> str | None:
    """The sha256 of a language model's files; `None` for a hub id, which its name pins."""
    path = Path(name)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    else:
        files = [path] if path.is_file() else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else None


def lm_head(language_model: nn.Module, product: Callable[[Tensor], Tensor] | None = None) -> Callable[[Tensor], Tensor]:
    """The function from last hidden states [N, n] to logits [N, V], scaled and capped as in the model's own forward.

    `product` takes the place of the head's own matrix product.
    """
    head, config = language_model.get_output_embeddings(), language_model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1  # Cohere
    scale /= getattr(config, "logits_scaling", None) or 1  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    # Where no gradients pass, a dev loss above all, logits are float32 whatever the precision of the rest.
    exact = torch.autocast(language_model.device.type, enabled=False)(head)
    product = product or (head if torch.is_grad_enabled() else exact)

    def logits(hidden: Tensor) -> Tensor:
        found = product(hidden) if scale == 1 else product(hidden) * scale
        return cap * torch.tanh(found / cap) if cap else found

    return logits

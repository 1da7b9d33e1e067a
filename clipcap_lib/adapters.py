"""LoRA adapters of a language model (Hu et al. 2021): put in for training, merged into its weights for decoding."""

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D


def add_adapters(language_model: nn.Module, rank: int) -> nn.Module:
    """Put an adapter of this rank beside each linear layer but the head; W + 2 · B A, with B 0 at first."""
    transposed = any(isinstance(module, Conv1D) for module in language_model.modules())  # GPT-2 keeps [in, out]
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", fan_in_fan_out=transposed)
    return inject_adapter_in_model(settings, language_model)


def merge_adapters(language_model: nn.Module) -> None:
    """Add each adapter to the weights beside it and leave plain layers, which decode faster; for good."""
    for parent in list(language_model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())

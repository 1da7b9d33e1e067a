"""Language models that cannot read captions behind one prefix are refused, and the check leaves no trace."""

import pytest
import torch
from oracles import VOCABULARY, random_model
from transformers import BloomConfig, GPTNeoConfig, MambaConfig, MistralConfig, MptConfig, OpenAIGPTConfig

from clipcap_lib.decoding.shared_prefix import check_shared_prefix

IDS = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
MISTRAL = MistralConfig(
    **IDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, head_dim=8, sliding_window=32,
)  # fmt: skip
UNUSABLE = {
    "bloom counts places": BloomConfig(**IDS, hidden_size=32, n_layer=2, n_head=4),
    "mpt counts places": MptConfig(**IDS, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    "gpt-neo counts its window": GPTNeoConfig(
        **IDS, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]
    ),
    "gpt-1 keeps nothing": OpenAIGPTConfig(**IDS, n_embd=32, n_layer=2, n_head=4),
    "mamba keeps a state": MambaConfig(**IDS, hidden_size=32, num_hidden_layers=2),
}  # fmt: skip


@pytest.mark.parametrize("config", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_model_that_cannot_share_a_prefix_is_refused_before_any_work(config):
    model = random_model(config)
    with pytest.raises(ValueError, match=f"language model theirs: {type(model).__name__} does not read") as error:
        check_shared_prefix(model, "theirs")
    assert "\n" not in str(error.value)


def test_the_check_leaves_dropout_and_random_numbers_as_they_were():
    model = random_model(MISTRAL).train()
    before = torch.get_rng_state()
    check_shared_prefix(model, "theirs")
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)

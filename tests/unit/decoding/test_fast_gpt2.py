"""GPT-2's short way, step by step against the model's own forward, and matrix products against float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from oracles import FEATURES, VOCABULARY, captioner, random_model
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, OPTConfig

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding import fast_gpt2
from clipcap_lib.decoding.fast_gpt2 import Affine, is_plain_gpt2
from clipcap_lib.decoding.kv_cache import PrefixDecoder
from clipcap_lib.decoding.shared_prefix import check_shared_prefix


@pytest.mark.parametrize("candidates", [1, 4])
@torch.inference_mode()
def test_the_fast_step_equals_the_models_own_forward(candidates):
    """Step by step, with and without a mask, against transformers' forward on a cache of its own."""
    model, generator = captioner("gpt2"), torch.Generator().manual_seed(0)
    prefix, embed = model.prefix(FEATURES[:3]), model.language_model.get_input_embeddings()
    lm, cache = PrefixDecoder(model.language_model, Prompt(prefix), 40), DynamicCache()
    body = model.language_model.base_model
    assert lm.fast_step
    read = body(inputs_embeds=prefix, past_key_values=cache).last_hidden_state
    torch.testing.assert_close(lm.prefix_hidden, read, atol=1e-5, rtol=1e-5)
    for step in range(4):
        tokens = torch.randint(3, VOCABULARY, (3, candidates), generator=generator)
        length = lm.length + candidates
        mask = torch.zeros(1, 1, candidates, length).masked_fill(
            torch.rand(1, 1, candidates, length, generator=generator) < 0.3, torch.finfo(torch.float32).min
        )
        theirs = body(
            inputs_embeds=embed(tokens), attention_mask=mask, past_key_values=cache,
            position_ids=torch.full((1, candidates), prefix.shape[1] + step),
        ).last_hidden_state  # fmt: skip
        torch.testing.assert_close(lm.step(tokens, mask), theirs, atol=1e-5, rtol=1e-5)


KERNELS = {
    "addmm": {"AVX512": False, "LARGE": math.inf},
    "oneDNN": {"AVX512": False, "LARGE": 0, "LARGE_A_ROW": 0, "SHARED_A_ROW": 0},
    "oneDNN with AVX-512": {"AVX512": fast_gpt2.ONEDNN, "LARGE": 0},
    "by columns": {"AVX512": False, "LARGE": 0, "SHARED_A_ROW": math.inf},
}


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("kernel", KERNELS)
@torch.inference_mode()
def test_a_product_is_the_same_by_every_kernel(kernel, rows, monkeypatch):
    """Both layouts a weight can have: Conv1D's with a bias, and a vocabulary head's without; 5 threads divide no 96."""
    for name, value in KERNELS[kernel].items():
        monkeypatch.setattr(fast_gpt2, name, value)
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((rows, 48), (48, 96), (96,)))
    for threads in (1, 2, 3, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for laid_out, added in ((weight, bias), (weight.t().contiguous().t(), None)):
            expected = x.double() @ weight.double() + (0 if added is None else added)
            torch.testing.assert_close(Affine(laid_out, added)(x).double(), expected, atol=1e-5, rtol=1e-5)
        expected = F.gelu(x.double() @ weight.double() + bias, approximate="tanh")
        torch.testing.assert_close(Affine(weight, bias).gelu(x).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_fast_step_is_for_plain_gpt2_only(make_model):
    assert is_plain_gpt2(make_model("mlp", "full").language_model)
    assert not is_plain_gpt2(make_model("mlp", "lora").language_model)
    assert not is_plain_gpt2(captioner("llama").language_model)
    unusual = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9, scale_attn_by_inverse_layer_idx=True)
    assert not is_plain_gpt2(GPT2LMHeadModel(unusual))


def test_logits_finished_in_an_unknown_way_are_refused():
    """The model's own head, which the general path calls, would run the hook; its weights alone do not tell of it."""
    config = OPTConfig(
        vocab_size=VOCABULARY, bos_token_id=2, eos_token_id=2, pad_token_id=0, hidden_size=32, word_embed_proj_dim=32,
        ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    model = random_model(config)
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 1.01)
    with pytest.raises(ValueError, match="its logits differ by"):
        check_shared_prefix(model, "theirs")

"""Causal language models of many kinds read and decode as their own code in transformers does, or are refused."""

import shutil
from itertools import takewhile

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3nTextConfig,
    GPTNeoXConfig,
    GraniteConfig,
    MistralConfig,
    OPTConfig,
    Qwen3MoeConfig,
    XGLMConfig,
)

from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import Beam, Contrastive, Greedy, Sample
from clipcap_lib.language_model import load_language_model
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import pack

VOCABULARY, STOPS = 60, (2, 9, 17, 31, 44)
FEATURES = torch.randn(6, 16, generator=torch.Generator().manual_seed(3))
TWELVE = Constraints(max_new_tokens=12, stop_tokens=STOPS, banned_tokens=())
IDS = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
LLAMA_STYLE = IDS | {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 8,
}  # fmt: skip
USABLE = {
    "mistral": MistralConfig(**LLAMA_STYLE, sliding_window=32),
    "mixture of experts": Qwen3MoeConfig(
        **LLAMA_STYLE, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2
    ),
    "gemma2 caps its logits": Gemma2Config(**LLAMA_STYLE, final_logit_softcapping=2.0, attn_logit_softcapping=None),
    "gemma 3n shares keys": Gemma3nTextConfig(
        **LLAMA_STYLE | {"num_hidden_layers": 10}, num_kv_shared_layers=5, vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=8, laurel_rank=4, activation_sparsity_pattern=None, sliding_window=64,
    ),
    "cohere scales its logits": CohereConfig(**LLAMA_STYLE, logit_scale=3.0),
    "granite divides its logits": GraniteConfig(**LLAMA_STYLE, logits_scaling=3.0),
    "gpt-neox": GPTNeoXConfig(**{k: v for k, v in LLAMA_STYLE.items() if k not in ("num_key_value_heads", "head_dim")}),
    "opt": OPTConfig(
        **IDS, hidden_size=32, word_embed_proj_dim=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    ),
    "xglm wants a mask a row": XGLMConfig(
        **IDS, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4, max_position_embeddings=64
    ),
}  # fmt: skip
usable = pytest.mark.parametrize("config", USABLE.values(), ids=USABLE.keys())


class Tokenizer:
    """All a captioner asks of one here."""

    sep_token, sep_token_id, eos_token_id, unk_token_id = None, 2, 2, None
    pad_token_id = mask_token_id = cls_token_id = None

    def decode(self, tokens, skip_special_tokens):
        return " ".join(map(str, tokens))


def random_model(config):
    """Weights scaled so that captions differ and stop at different lengths."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    return model


def captioner(config):
    torch.manual_seed(1)
    settings = ClipCapConfig(
        mapping="mlp", tuning="full", encoder="none", language_model="random", clip_size=16, prefix_length=4
    )
    return ClipCapModel(settings, random_model(config), Tokenizer()).eval()


@usable
@torch.inference_mode()
def test_greedy_and_beams_equal_generate(config):
    model = captioner(config)
    for strategy, options in ((Greedy(), {}), (Beam(width=3), {"num_beams": 3})):
        ours = [row[0].tokens for row in decode(model, FEATURES, strategy, TWELVE)]
        theirs = [
            model.language_model.generate(
                inputs_embeds=model.prefix(feature[None]), max_new_tokens=12, eos_token_id=list(STOPS), pad_token_id=0,
                do_sample=False, **options,
            )[0].tolist()
            for feature in FEATURES
        ]  # fmt: skip
        assert ours == [list(takewhile(lambda token: token not in STOPS, row)) for row in theirs]


@usable
def test_a_sample_drawn_alone_is_among_several(config):
    model = captioner(config)
    several = decode(model, FEATURES, Sample(top_p=0.9, n=3), TWELVE)
    alone = decode(model, FEATURES, Sample(top_p=0.9, n=1), TWELVE)
    assert all(one.tokens in [caption.tokens for caption in row] for row, (one,) in zip(several, alone, strict=True))


@usable
@torch.inference_mode()
def test_contrastive_search_reports_the_models_own_log_probabilities(config):
    model = captioner(config)
    embed = model.language_model.get_input_embeddings()
    for feature, (caption,) in zip(FEATURES, decode(model, FEATURES, Contrastive(k=4, alpha=0.6), TWELVE), strict=True):
        ids = torch.tensor(caption.tokens, dtype=torch.long)
        inputs = torch.cat([model.prefix(feature[None]), embed(ids)[None]], dim=1)
        own = model.language_model(inputs_embeds=inputs).logits[0, 3:].log_softmax(-1)
        expected = own[torch.arange(len(ids)), ids]
        ours = torch.tensor(caption.log_probabilities[: len(ids)])
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


@usable
@torch.inference_mode()
def test_packed_logits_equal_the_models_own(config):
    """What training learns from: two captions of one image, and each of them alone."""
    model, captions = captioner(config), [torch.tensor([5, 9, 14, 2]), torch.tensor([7, 2])]
    packed = model(FEATURES[:1], pack([[caption.numpy() for caption in captions]], 4))
    embed, prefix = model.language_model.get_input_embeddings(), model.prefix(FEATURES[:1])
    alone = [
        model.language_model(inputs_embeds=torch.cat([prefix, embed(caption[:-1])[None]], 1)).logits[0, 3:]
        for caption in captions
    ]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-3, rtol=1e-3)


def test_a_language_model_with_missing_weights_is_refused(language_model, tmp_path):
    copy = tmp_path / "lm"
    shutil.copytree(language_model, copy)
    weights = load_file(copy / "model.safetensors")
    weights.pop("transformer.h.1.attn.c_attn.weight")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="would be random"):
        load_language_model(str(copy))

"""Bridges: cross-attention against a naive loop and transformers' own, and every bridge packed, cached and saved."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.gemma3 import Gemma3ForCausalLM, Gemma3TextConfig

from clipcap_lib.bridges import CrossAttention, CrossAttentionBridge, PrefixBridge, register_bridge
from clipcap_lib.decoding.decode import decode
from clipcap_lib.decoding.kv_cache import PrefixDecoder
from clipcap_lib.mapping import MapperSize, build_mapper
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import pack
from clipcap_lib.settings import BRIDGES

sys.path.append(str(Path(__file__).parent / "decoding"))  # the oracles of decoding
from oracles import KEYS, STOP, STRATEGIES, TWELVE, VOCABULARY, Judge, Letters, agreement, until_stop

GRID = torch.randn(12, 5, 16, generator=torch.Generator().manual_seed(4))
KINDS = [*product(["mlp", "linear", "bert", "transformer"], ["pooled", "grid"], ["prefix", "cross-attention"]),
         ("direct", "pooled", "cross-attention"), ("direct", "grid", "cross-attention")]  # fmt: skip


def gpt2(**changed) -> GPT2LMHeadModel:
    shape = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
             "bos_token_id": 2, "eos_token_id": 2, "tie_word_embeddings": False}  # fmt: skip
    return GPT2LMHeadModel(GPT2Config(**(shape | changed)))


def llama() -> LlamaForCausalLM:
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**shape))


def make(mapping="mlp", features="grid", bridge="cross-attention", tuning="full", family=gpt2, **changed):
    """A captioner with random weights, its bridge open."""
    torch.manual_seed(1)
    language_model = family()
    with torch.no_grad():
        for weight in language_model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    config = ClipCapConfig(
        mapping=mapping, tuning=tuning, encoder="none", language_model="random", clip_size=16, features=features,
        grid=5 if features == "grid" else 0, bridge=bridge, prefix_length=3, clip_length=2, mapper_layers=1,
        mapper_heads=4, **changed,
    )  # fmt: skip
    model = ClipCapModel(config, language_model, Letters()).eval()
    with torch.no_grad():
        for weight in model.bridge.parameters():
            weight.normal_(0, 0.3)
    return model


def of_kind(model):
    return GRID if model.config.features == "grid" else GRID[:, 0]


def plain_logits(model, feature, caption):
    """Logits [T, V] of one caption alone, by the language model's own forward, without packing or a cache."""
    prompt = model.prompt(feature[None])
    words = model.language_model.get_input_embeddings()(torch.as_tensor(caption, dtype=torch.long))[None]
    with prompt.reading():
        logits = model.language_model(inputs_embeds=torch.cat([prompt.prefix, words], dim=1)).logits
    return logits[0, prompt.prefix.shape[1] - 1 :]


# --- cross-attention -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [gpt2, llama])
@torch.no_grad()
def test_a_closed_bridge_leaves_the_language_models_own_logits_bit_for_bit(family):
    model = make(family=family)
    for layer in model.bridge.layers:
        layer.out.weight.zero_()
        layer.out.bias.zero_()
    words = torch.tensor([[5, 6, 7, 8]])
    embeddings = torch.cat([model.bridge.start.view(1, 1, -1), model.language_model.get_input_embeddings()(words)], 1)
    alone = model.language_model(inputs_embeds=embeddings).logits[0]
    assert torch.equal(plain_logits(model, GRID[0], words[0]), alone)
    assert not torch.equal(plain_logits(make(family=family), GRID[0], words[0]), alone)  # and an open one does not


def test_an_untrained_bridge_is_closed_and_begins_where_texts_begin():
    model = ClipCapModel(make().config, gpt2(), Letters())
    assert all(not layer.out.weight.any() and not layer.out.bias.any() for layer in model.bridge.layers)
    assert torch.equal(model.bridge.start, model.language_model.get_input_embeddings().weight[0])


@torch.no_grad()
def test_cross_attention_equals_a_naive_loop():
    torch.manual_seed(0)
    layer, hidden, tokens = (
        CrossAttention(8, 6, 4, 2).double(),
        torch.randn(3, 8).double(),
        torch.randn(5, 6).double(),
    )
    for weight in layer.parameters():
        weight.normal_(0, 0.5)
    keys_values = tokens @ layer.keys_values.weight.T + layer.keys_values.bias
    expected = []
    for state in hidden:
        normal = (state - state.mean()) / (
            state.var(unbiased=False) + 1e-5
        ).sqrt() * layer.norm.weight + layer.norm.bias
        query, mixed = layer.queries.weight @ normal + layer.queries.bias, []
        for head in (slice(0, 2), slice(2, 4)):
            scores = torch.stack([query[head] @ token[:4][head] / 2**0.5 for token in keys_values])
            weights = scores.exp() / scores.exp().sum()
            mixed += [sum(w * token[4:][head] for w, token in zip(weights, keys_values, strict=True))]
        expected.append(layer.out.weight @ torch.cat(mixed) + layer.out.bias)
    ours = layer(hidden[None], *layer.memory(tokens[None]))[0]
    torch.testing.assert_close(ours, torch.stack(expected), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_an_open_bridge_is_the_cross_attention_of_transformers():
    """The same weights in GPT-2 with `add_cross_attention`, which stands where ours does."""
    torch.manual_seed(2)
    theirs = gpt2(add_cross_attention=True).eval()
    config = ClipCapConfig(mapping="direct", tuning="full", encoder="none", language_model="random", clip_size=32,
                           features="grid", grid=5, bridge="cross-attention")  # fmt: skip
    language_model = gpt2()
    language_model.load_state_dict(theirs.state_dict(), strict=False)
    model = ClipCapModel(config, language_model, Letters()).eval()
    for layer, block in zip(model.bridge.layers, theirs.transformer.h, strict=True):
        layer.norm.load_state_dict(block.ln_cross_attn.state_dict())
        own = (layer.queries, layer.keys_values, layer.out)
        for linear, conv in zip(own, (block.crossattention.q_attn, block.crossattention.c_attn,
                                      block.crossattention.c_proj), strict=True):  # fmt: skip
            linear.weight.copy_(conv.weight.T.normal_(0, 0.5))
            linear.bias.copy_(conv.bias.normal_())
    image, words = torch.randn(5, 32), torch.tensor([4, 5, 6])
    embeddings = torch.cat([model.bridge.start[None], theirs.get_input_embeddings()(words)])[None]
    expected = theirs(inputs_embeds=embeddings, encoder_hidden_states=image[None]).logits[0]
    torch.testing.assert_close(plain_logits(model, image, words), expected, atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="cross_attention_width is 6, no multiple of the language model's 4 heads"):
        make(cross_attention_width=6)
    with pytest.raises(ValueError, match="needs image tokens as wide as .* 32, not 16; .* or bridge: cross-attention"):
        make("direct", bridge="prefix")
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}  # fmt: skip
    with pytest.raises(ValueError, match="does not know the blocks of Gemma3ForCausalLM; choose .* or bridge: prefix"):
        make(family=lambda: Gemma3ForCausalLM(Gemma3TextConfig(**shape)))


# --- grids ---------------------------------------------------------------------------------------------------------


def test_a_grid_of_one_token_through_the_linear_projector_is_the_pooled_linear_mapping():
    pooled, grid = (build_mapper("linear", MapperSize(16, 1, 32, grid=tokens)) for tokens in (0, 1))
    grid.load_state_dict(pooled.state_dict())
    assert torch.equal(pooled(GRID[:, 0]), grid(GRID[:, :1]))


@pytest.mark.parametrize("mapping", ["linear", "mlp"])
@torch.no_grad()
def test_projectors_map_each_token_of_a_grid_alone(mapping):
    mapper = build_mapper(mapping, MapperSize(16, 3, 32, grid=5))
    one_by_one = torch.stack([mapper.eval()(GRID)[:, t] for t in range(5)], 1)
    other = GRID.clone()
    other[:, 2] += 1
    changed = (mapper(other) != one_by_one).any(-1)
    assert changed[:, 2].all()
    assert not changed[:, [0, 1, 3, 4]].any()


@pytest.mark.parametrize("mapping", ["bert", "transformer"])
@torch.no_grad()
def test_mappers_with_constants_read_every_token_of_a_grid(mapping):
    mapper = build_mapper(mapping, MapperSize(16, 3, 32, layers=1, heads=4, grid=5)).eval()
    assert mapper(GRID).shape == (12, 3, 32)
    for token in range(5):
        other = GRID.clone()
        other[:, token] += 1
        assert (mapper(other) != mapper(GRID)).any()


# --- every bridge, with every mapping and either kind of features -------------------------------------------------


@pytest.mark.parametrize(("mapping", "features", "bridge"), KINDS)
def test_packed_equals_one_caption_a_row_in_loss_and_gradients(mapping, features, bridge):
    model, draw = make(mapping, features, bridge), np.random.default_rng(0)
    captions = [[draw.integers(3, VOCABULARY, draw.integers(1, 9)) for _ in range(1 + i % 3)] for i in range(6)]
    packed = pack(captions, model.prefix_length)
    assert len(packed.input_ids) < 6  # several images share a row
    images, found = of_kind(model)[:6], []

    def plain():
        told = [(plain_logits(model, image, caption[:-1]), torch.as_tensor(caption))
                for image, row in zip(images, captions, strict=True) for caption in row]  # fmt: skip
        return F.cross_entropy(torch.cat([logits for logits, _ in told]), torch.cat([labels for _, labels in told]))

    for loss in (model.loss(images, packed), plain()):
        model.zero_grad()
        loss.backward()
        found.append((loss.item(), {n: w.grad.clone() for n, w in model.trainable().items() if w.grad is not None}))
    (ours, gradients), (theirs, expected) = found
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert gradients.keys() == expected.keys()
    assert any(name.startswith("bridge.") for name in gradients) == (bridge == "cross-attention")
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=2e-5, rtol=2e-4, msg=name)


def greedy(model, feature):
    """One image and one token at a time, every text read from its beginning."""
    written = []
    while len(written) < 12:
        logits = plain_logits(model, feature, written)[-1]
        logits[[0, 1]] = float("-inf")
        written.append(int(logits.argmax()))
    return until_stop(written)


def captions_of(model, features, strategy, keys=KEYS):
    found = decode(model, features, strategy, TWELVE, keys[: len(features)], Judge(), agreement,
                   judged=GRID[:, 0][: len(features)])  # fmt: skip
    return [[caption.tokens for caption in row] for row in found]


@pytest.mark.parametrize(("mapping", "features", "bridge"), KINDS)
@torch.no_grad()
def test_decoding_with_a_cache_equals_reading_every_text_anew(mapping, features, bridge):
    model = make(mapping, features, bridge)
    images = of_kind(model)
    found = [row[0] for row in captions_of(model, images, STRATEGIES[0])]
    assert found == [greedy(model, image) for image in images]
    if mapping not in ("bert", "transformer"):  # which, untrained, hardly tell two images apart
        assert len({tuple(caption) for caption in found}) > 3  # the image decides


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: f"{strategy.name}-{strategy.n}")
@torch.no_grad()
def test_a_batch_equals_its_rows_under_every_strategy(strategy):
    model = make("direct").double()
    together = captions_of(model, GRID, strategy)
    alone = []
    for number in range(len(GRID)):
        part = slice(number, number + 1)
        alone += [
            [caption.tokens for caption in row]
            for row in decode(model, GRID[part], strategy, TWELVE, KEYS[part], Judge(), agreement, judged=GRID[part, 0])
        ]
    assert together == alone


@pytest.mark.parametrize("strategy", STRATEGIES[:6], ids=lambda strategy: f"{strategy.name}-{strategy.n}")
@torch.no_grad()
def test_gpt2s_short_way_equals_the_general_one(strategy, monkeypatch):
    model = make().double()
    short = captions_of(model, GRID, strategy)
    monkeypatch.setattr("clipcap_lib.decoding.kv_cache.fast_step", lambda language_model: None)
    assert captions_of(model, GRID, strategy) == short


@torch.no_grad()
def test_keys_and_values_of_an_image_are_computed_once(monkeypatch):
    model, calls = make(), []
    memory = CrossAttention.memory
    monkeypatch.setattr(CrossAttention, "memory", lambda layer, x: calls.append(len(x)) or memory(layer, x))
    captions_of(model, GRID, STRATEGIES[3])
    assert calls == [len(GRID)] * len(model.bridge.layers)  # and not once a step, nor once a sample


@torch.no_grad()
def test_what_a_picture_lent_is_forgotten_afterwards():
    model = make()
    lm = PrefixDecoder(model.language_model, model.prompt(GRID[:2]), 4)
    lm.step(torch.tensor([[4], [5]]))
    assert model.bridge.read is None
    assert all(layer.before is None for layer in model.bridge.layers)


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_a_bridge_is_trained_and_saved_under_every_tuning(tuning, language_model, tmp_path):
    config = ClipCapConfig(mapping="linear", tuning=tuning, encoder="clip:none", language_model=language_model,
                           clip_size=16, features="grid", grid=5, bridge="cross-attention",
                           cross_attention_width=8)  # fmt: skip
    model = ClipCapModel.build(config).cpu()
    with torch.no_grad():
        for layer in model.bridge.layers:
            layer.out.weight.normal_()
    names = [name for name in model.trainable() if name.startswith("bridge.")]
    assert len(names) == 1 + 8 * len(model.bridge.layers)
    model.save_pretrained(tmp_path)
    again = ClipCapModel.from_pretrained(tmp_path).cpu()
    words = torch.tensor([5, 6])
    with torch.no_grad():
        torch.testing.assert_close(plain_logits(again, GRID[0], words), plain_logits(model.eval(), GRID[0], words))


def test_a_bridge_of_ones_own_takes_a_class_and_a_registration():
    class HalfBridge(PrefixBridge):
        """Every other image token stands before the words."""

        def __init__(self, size):
            super().__init__(size)
            self.prefix_length = len(range(0, size.tokens, 2))

        def forward(self, tokens):
            return super().forward(tokens[:, ::2])

    register_bridge("half", "every other token", HalfBridge)
    try:
        model = make("linear", bridge="half")
        assert model.prefix_length == 3
        found = [row[0] for row in captions_of(model, GRID, STRATEGIES[0])]
        assert found == [greedy(model, image) for image in GRID]
    finally:
        del BRIDGES["half"]


def test_captions_end_is_not_the_start(monkeypatch):
    """A tokenizer that names a beginning is believed."""
    monkeypatch.setattr(Letters, "cls_token_id", STOP + 3)
    model = ClipCapModel(make().config, gpt2(), Letters())
    assert torch.equal(model.bridge.start, model.language_model.get_input_embeddings().weight[STOP + 3])
    assert isinstance(model.bridge, CrossAttentionBridge)

"""Mapping networks: published sizes, and the transformer against a plain re-computation."""

import pytest
import torch
from torch import nn

from clipcap_lib import mapping
from clipcap_lib.mapping import BertMapper, MapperSize, MLPMapper, TransformerMapper, build_mapper, register_mapper
from clipcap_lib.settings import MAPPINGS, OneRun, pick


def count(mapping: str) -> int:
    with torch.device("meta"):
        mapper = build_mapper(mapping, MapperSize(clip_size=512, prefix_length=10, width=768))
    return sum(weight.numel() for weight in mapper.parameters())


def test_parameter_counts_at_published_size():
    assert count("mlp") == 31_468_800
    assert round(count("transformer") / 1e6, 1) == 41.7
    assert 60.5e6 < count("bert") < 61.5e6


@pytest.mark.parametrize(
    ("name", "kind"), [("mlp", MLPMapper), ("bert", BertMapper), ("transformer", TransformerMapper)]
)
def test_a_name_builds_the_mapper_it_names(name, kind):
    mapper = build_mapper(name, MapperSize(16, 3, 32, clip_length=2, layers=1, heads=4))
    assert type(mapper) is kind
    assert mapper(torch.randn(5, 16)).shape == (5, 3, 32)


def test_unknown_mapping_lists_the_choices():
    with pytest.raises(ValueError, match="'MLPP'.*mlp, bert, transformer"):
        build_mapper("MLPP", MapperSize(16, 3, 32, clip_length=2, layers=1, heads=4))


@pytest.mark.parametrize("width", [96, 768])
def test_a_narrow_bert_starts_as_a_published_one_does(width):
    """Its feed-forward answers unit inputs with the spread that weights of 0.02 give at the published width."""
    torch.manual_seed(0)
    layer = (
        build_mapper("bert", MapperSize(16, 3, width, clip_length=2, layers=1, heads=4))
        .bert.encoder.layer[0]
        .intermediate.dense
    )
    assert layer(torch.randn(64, width)).std().item() == pytest.approx(0.02 * 768**0.5, rel=0.05)


def test_mlp_equals_its_formula():
    mapper = build_mapper("mlp", MapperSize(16, 3, 8, clip_length=2, layers=1, heads=4))
    x, (first, second) = torch.randn(4, 16), (mapper.model[0], mapper.model[2])
    expected = torch.tanh(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(mapper(x), expected.view(4, 3, 8))


def test_published_key_names():
    size = MapperSize(16, 3, 8, clip_length=2, layers=1, heads=4)
    assert set(build_mapper("mlp", size).state_dict()) == {
        "model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"
    }  # fmt: skip
    transformer = set(build_mapper("transformer", size).state_dict())
    assert {"linear.weight", "prefix_const", "transformer.layers.0.attn.to_keys_values.weight"} <= transformer
    assert "transformer.layers.0.attn.to_queries.bias" not in transformer
    assert {"linear.weight", "prefix_const"} < set(
        build_mapper("bert", MapperSize(16, 3, 8, clip_length=2, layers=1, heads=4)).state_dict()
    )


def test_transformer_equals_a_plain_recomputation():
    torch.manual_seed(0)
    mapper = build_mapper("transformer", MapperSize(16, 3, 8, clip_length=2, layers=2, heads=4))
    image = torch.randn(1, 16)
    tokens = torch.cat([mapper.linear(image).view(2, 8), mapper.prefix_const])
    for layer in mapper.transformer.layers:
        tokens = tokens + plain_attention(layer.attn, layer.norm1(tokens))
        tokens = tokens + layer.mlp.fc2(layer.mlp.fc1(layer.norm2(tokens)).clamp(min=0))
    torch.testing.assert_close(mapper(image)[0], tokens[2:])


def plain_attention(attention, x):
    queries, (keys, values) = attention.to_queries(x), attention.to_keys_values(x).chunk(2, dim=-1)
    heads = []
    for part in torch.arange(x.shape[-1]).chunk(attention.heads):
        weights = (queries[:, part] @ keys[:, part].T / len(part) ** 0.5).softmax(-1)
        heads.append(weights @ values[:, part])
    return attention.project(torch.cat(heads, dim=-1))


class Repeated(nn.Linear):
    """A toy mapping network: every position of the prefix is the same linear layer of the embedding."""

    def __init__(self, size: MapperSize) -> None:
        super().__init__(size.clip_size, size.width)
        self.prefix_length = size.prefix_length

    def forward(self, embedding):
        return super().forward(embedding)[:, None].expand(-1, self.prefix_length, -1)


def test_a_mapping_network_of_ones_own_takes_a_class_and_a_registration(make_model, make_split, monkeypatch):
    monkeypatch.setitem(MAPPINGS, "repeated", "")  # both are put back after the test
    monkeypatch.setitem(mapping._MAPPERS, "repeated", None)
    register_mapper("repeated", "repeated linear", Repeated)
    model = make_model(mapping="repeated", tuning="frozen")
    assert pick(OneRun, {"mapping": "repeated", "tuning": "frozen"}).mapping == "repeated"
    images = make_split(model)
    features, packed = images.batch(images.images, images.tokens.captions_of, model.config.prefix_length)
    model.loss(features, packed).backward()
    assert model.mapper.weight.grad.abs().sum() > 0

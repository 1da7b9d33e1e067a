"""Mapping networks: from one image embedding [B, D] to a prefix of P language-model embeddings [B, P, n]."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from clipcap_lib.settings import MAPPINGS

BERT_RANGE = 0.02  # standard deviation of BERT's first weights at its published width (Devlin et al. 2019)


@dataclass(frozen=True)
class MapperSize:
    """The sizes a mapping network is built from; `clip_length`, `layers` and `heads` concern some of them only.

    `clip_size` D, `prefix_length` P, `width` n of the language model, `clip_length` C image tokens, `grid` T: the
    image comes as T tokens [B, T, D], and not, as where that is 0, as one embedding [B, D].
    """

    clip_size: int
    prefix_length: int
    width: int
    clip_length: int = 10
    layers: int = 8
    heads: int = 8
    grid: int = 0


class MLPMapper(nn.Module):
    """Two linear layers with a tanh between them (Mokady et al. 2021, section 3.2).

    [B, D] → [B, P, n] through a hidden layer of P·n/2. On a grid it maps each token alone, through one of n, as the
    projector of LLaVA-1.5 does (Liu et al. 2024, section 3.2): [B, T, D] → [B, T, n].
    """

    def __init__(self, size: MapperSize) -> None:
        super().__init__()
        self.prefix_length = size.grid or size.prefix_length
        numbers = size.width if size.grid else size.prefix_length * size.width
        hidden = numbers if size.grid else numbers // 2
        self.model = nn.Sequential(nn.Linear(size.clip_size, hidden), nn.Tanh(), nn.Linear(hidden, numbers))

    def forward(self, embedding: Tensor) -> Tensor:
        return self.model(embedding).view(len(embedding), self.prefix_length, -1)


class LinearMapper(nn.Linear):
    """One linear layer, as rmokady's code has it for prefixes of more than ten positions; [B, D] → [B, P, n].

    On a grid it maps each token alone, as LLaVA does (Liu et al. 2023, equation 1): [B, T, D] → [B, T, n].
    """

    def __init__(self, size: MapperSize) -> None:
        super().__init__(size.clip_size, (1 if size.grid else size.prefix_length) * size.width)
        self.prefix_length = size.grid or size.prefix_length

    def forward(self, embedding: Tensor) -> Tensor:
        return super().forward(embedding).view(len(embedding), self.prefix_length, -1)


class _ConstantsMapper(nn.Module):
    """The frame BERT and transformer share: C image tokens, then P learned constants; read at those.

    The image tokens are made from one embedding, or each from a token of the grid.
    """

    def __init__(self, size: MapperSize) -> None:
        super().__init__()
        if size.width % size.heads:
            raise ValueError(f"mapper_heads is {size.heads}, which does not divide the embedding width of {size.width}")
        self.clip_length = size.grid or size.clip_length
        self.linear = nn.Linear(size.clip_size, (1 if size.grid else size.clip_length) * size.width)
        self.prefix_const = nn.Parameter(torch.randn(size.prefix_length, size.width))

    def forward(self, embedding: Tensor) -> Tensor:
        image = self.linear(embedding).view(len(embedding), self.clip_length, -1)
        learned = self.prefix_const.expand(len(embedding), -1, -1)
        return self.mix(torch.cat([image, learned], dim=1))[:, self.clip_length :]

    def mix(self, tokens: Tensor) -> Tensor:
        """Mix image tokens and constants with one another: [B, C + P, n] → [B, C + P, n]."""
        raise NotImplementedError


class BertMapper(_ConstantsMapper):
    """A randomly initialised BERT over image tokens and constants, as ClipCap-Chinese has it; [B, D] → [B, P, n].

    The spread of its first weights is the published one at the published width of 768, and so much wider at a smaller
    width that a layer's outputs are spread as they are there: with 0.02 at any width a narrow BERT starts almost blind
    to its input and learns far more slowly.
    """

    def __init__(self, size: MapperSize) -> None:
        super().__init__(size)
        config = BertConfig(
            vocab_size=1,  # only `inputs_embeds` are ever given: the word table would be 16 M unused parameters
            hidden_size=size.width, num_hidden_layers=size.layers, num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            initializer_range=BERT_RANGE * (768 / size.width) ** 0.5, attn_implementation="eager",
        )  # fmt: skip
        self.bert = BertModel(config, add_pooling_layer=False)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.bert(inputs_embeds=tokens).last_hidden_state


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        queries = self.to_queries(x).view(batch, length, self.heads, -1).transpose(1, 2)
        keys, values = self.to_keys_values(x).view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Written out: for some twenty tokens a CPU does this in half the time of the fused kernel.
        weights = (queries @ keys.transpose(2, 3) * queries.shape[-1] ** -0.5).softmax(-1).to(values.dtype)
        return self.project((weights @ values).transpose(1, 2).reshape(batch, length, width))


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = _Attention(width, heads), _FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Layers(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class TransformerMapper(_ConstantsMapper):
    """Pre-norm transformer over image tokens and constants (Mokady et al. 2021, figure 2); [B, D] → [B, P, n]."""

    def __init__(self, size: MapperSize) -> None:
        super().__init__(size)
        self.transformer = _Layers(size.width, size.layers, size.heads)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.transformer(tokens)


class DirectMapper(nn.Module):
    """No mapping: the encoder's own tokens, for cross-attention; [B, T, D] as it is, or [B, D] → [B, 1, D]."""

    def __init__(self, size: MapperSize) -> None:
        super().__init__()

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding.view(len(embedding), -1, embedding.shape[-1])


_MAPPERS: dict[str, Callable[[MapperSize], nn.Module]] = {}


def register_mapper(name: str, label: str, build: Callable[[MapperSize], nn.Module]) -> None:
    """Make a mapping network known by a name in experiments and by a label in reports; [B, D] → [B, P, n].

    It has to read [B, T, D] where `MapperSize.grid` is T, if it is to be used with `features: grid`.
    """
    MAPPINGS[name], _MAPPERS[name] = label, build


def build_mapper(mapping: str, size: MapperSize) -> nn.Module:
    """The mapping network of that name.

    Raises `ValueError` for an unknown name, and for heads that do not divide the width.
    """
    if mapping not in _MAPPERS:
        raise ValueError(f"mapping {mapping!r} is unknown; choose one of {', '.join(_MAPPERS)}")
    return _MAPPERS[mapping](size)


register_mapper("mlp", "MLP", MLPMapper)
register_mapper("bert", "BERT", BertMapper)
register_mapper("transformer", "transformer", TransformerMapper)
register_mapper("linear", "linear", LinearMapper)
register_mapper("direct", "no mapping", DirectMapper)

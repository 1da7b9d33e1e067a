"""ClipCap's mappers and GPT-2 in plain torch under the published key names: an oracle that shares no code with ours."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    """Widths and depths of a captioner; every published mapper has eight heads."""

    clip: int
    width: int
    prefix: int
    constants: int
    layers: int
    lm_layers: int
    lm_heads: int


def random(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.2


def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
    return {f"{name}.weight": random(rows, columns), f"{name}.bias": random(rows)}


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + random(width), f"{name}.bias": random(width)}


def mapper_weights(kind: str, sizes: Sizes) -> dict[str, Tensor]:
    """Random weights under the published names."""
    D, N, P, C = sizes.clip, sizes.width, sizes.prefix, sizes.constants
    if kind == "mlp":
        return linear("model.0", P * N // 2, D) | linear("model.2", P * N, P * N // 2)
    if kind == "linear":
        return {"weight": random(P * N, D), "bias": random(P * N)}
    weights = linear("linear", C * N, D) | {"prefix_const": random(P, N)}
    for i in range(sizes.layers):
        if kind == "transformer":
            layer = f"transformer.layers.{i}"
            weights |= norm(f"{layer}.norm1", N) | norm(f"{layer}.norm2", N) | linear(f"{layer}.attn.project", N, N)
            weights |= {f"{layer}.attn.to_queries.weight": random(N, N)}
            weights |= {f"{layer}.attn.to_keys_values.weight": random(2 * N, N)}
            weights |= linear(f"{layer}.mlp.fc1", 2 * N, N) | linear(f"{layer}.mlp.fc2", N, 2 * N)
        else:
            layer = f"bert.encoder.layer.{i}"
            for part in ("query", "key", "value"):
                weights |= linear(f"{layer}.attention.self.{part}", N, N)
            weights |= linear(f"{layer}.attention.output.dense", N, N) | norm(f"{layer}.attention.output.LayerNorm", N)
            weights |= linear(f"{layer}.intermediate.dense", 4 * N, N) | linear(f"{layer}.output.dense", N, 4 * N)
            weights |= norm(f"{layer}.output.LayerNorm", N)
    if kind == "bert":
        tables = {"word_embeddings": 50, "position_embeddings": 512, "token_type_embeddings": 2}
        weights |= {f"bert.embeddings.{name}.weight": random(rows, N) for name, rows in tables.items()}
        weights |= norm("bert.embeddings.LayerNorm", N) | linear("bert.pooler.dense", N, N)
    return weights


# --- the same networks, written out --------------------------------------------------------------------------------


def affine(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def layer_norm(w: dict[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    spread = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (spread + eps).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool = False) -> Tensor:
    """One head at a time; q, k, v are [B, T, n]."""
    out = []
    for part_q, part_k, part_v in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        scores = part_q @ part_k.transpose(1, 2) / math.sqrt(part_q.shape[-1])
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        out.append(scores.softmax(-1) @ part_v)
    return torch.cat(out, -1)


def plain_mapper(kind: str, w: dict[str, Tensor], x: Tensor, sizes: Sizes) -> Tensor:
    """The prefix [B, P, n] of embeddings [B, D]."""
    N, P, C = sizes.width, sizes.prefix, sizes.constants
    if kind == "mlp":
        return affine(w, "model.2", affine(w, "model.0", x).tanh()).view(len(x), P, N)
    if kind == "linear":
        return (x @ w["weight"].T + w["bias"]).view(len(x), P, N)
    h = torch.cat([affine(w, "linear", x).view(len(x), C, N), w["prefix_const"].expand(len(x), P, N)], 1)
    if kind == "transformer":
        for i in range(sizes.layers):
            layer = f"transformer.layers.{i}"
            y = layer_norm(w, f"{layer}.norm1", h)
            k, v = affine(w, f"{layer}.attn.to_keys_values", y).chunk(2, -1)
            h = h + affine(w, f"{layer}.attn.project", attend(affine(w, f"{layer}.attn.to_queries", y), k, v, 8))
            y = affine(w, f"{layer}.mlp.fc1", layer_norm(w, f"{layer}.norm2", h)).relu()
            h = h + affine(w, f"{layer}.mlp.fc2", y)
        return h[:, C:]
    e = "bert.embeddings"
    h = h + w[f"{e}.position_embeddings.weight"][: P + C] + w[f"{e}.token_type_embeddings.weight"][0]
    h = layer_norm(w, f"{e}.LayerNorm", h, 1e-12)
    for i in range(sizes.layers):
        layer = f"bert.encoder.layer.{i}"
        q, k, v = (affine(w, f"{layer}.attention.self.{part}", h) for part in ("query", "key", "value"))
        mixed = affine(w, f"{layer}.attention.output.dense", attend(q, k, v, 8))
        h = layer_norm(w, f"{layer}.attention.output.LayerNorm", h + mixed, 1e-12)
        y = affine(w, f"{layer}.intermediate.dense", h)
        y = affine(w, f"{layer}.output.dense", y * 0.5 * (1 + torch.erf(y / math.sqrt(2))))
        h = layer_norm(w, f"{layer}.output.LayerNorm", h + y, 1e-12)
    return h[:, C:]


def plain_gpt2(w: dict[str, Tensor], embeddings: Tensor, sizes: Sizes) -> Tensor:
    """Logits of GPT-2 for embeddings [B, T, n]; its own linear layers keep their weights as [in, out]."""
    h = embeddings + w["transformer.wpe.weight"][: embeddings.shape[1]]
    for i in range(sizes.lm_layers):
        block = f"transformer.h.{i}"
        y = layer_norm(w, f"{block}.ln_1", h)
        q, k, v = (y @ w[f"{block}.attn.c_attn.weight"] + w[f"{block}.attn.c_attn.bias"]).chunk(3, -1)
        mixed = attend(q, k, v, sizes.lm_heads, causal=True)
        h = h + mixed @ w[f"{block}.attn.c_proj.weight"] + w[f"{block}.attn.c_proj.bias"]
        y = layer_norm(w, f"{block}.ln_2", h) @ w[f"{block}.mlp.c_fc.weight"] + w[f"{block}.mlp.c_fc.bias"]
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        h = h + y @ w[f"{block}.mlp.c_proj.weight"] + w[f"{block}.mlp.c_proj.bias"]
    return layer_norm(w, "transformer.ln_f", h) @ w["transformer.wte.weight"].T

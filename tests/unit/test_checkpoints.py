"""Published checkpoints: files with the published key names, imported, against mappers and a GPT-2 in plain torch."""

import argparse
import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from clipcap_lib.batches import pack
from clipcap_lib.checkpoints import import_checkpoint, read_checkpoint
from clipcap_lib.cli import app

D, N, P, C, LAYERS = 16, 32, 3, 2, 2  # clip size, width of the language model's fixture, prefix, constants, layers


def random(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.2


def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
    return {f"{name}.weight": random(rows, columns), f"{name}.bias": random(rows)}


def norm(name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + random(N), f"{name}.bias": random(N)}


def mapper_weights(kind: str) -> dict[str, Tensor]:
    """Random weights under the published names."""
    if kind == "mlp":
        return linear("model.0", P * N // 2, D) | linear("model.2", P * N, P * N // 2)
    if kind == "linear":
        return {"weight": random(P * N, D), "bias": random(P * N)}
    weights = linear("linear", C * N, D) | {"prefix_const": random(P, N)}
    for i in range(LAYERS):
        if kind == "transformer":
            layer = f"transformer.layers.{i}"
            weights |= norm(f"{layer}.norm1") | norm(f"{layer}.norm2") | linear(f"{layer}.attn.project", N, N)
            weights |= {f"{layer}.attn.to_queries.weight": random(N, N)}
            weights |= {f"{layer}.attn.to_keys_values.weight": random(2 * N, N)}
            weights |= linear(f"{layer}.mlp.fc1", 2 * N, N) | linear(f"{layer}.mlp.fc2", N, 2 * N)
        else:
            layer = f"bert.encoder.layer.{i}"
            for part in ("query", "key", "value"):
                weights |= linear(f"{layer}.attention.self.{part}", N, N)
            weights |= linear(f"{layer}.attention.output.dense", N, N) | norm(f"{layer}.attention.output.LayerNorm")
            weights |= linear(f"{layer}.intermediate.dense", 4 * N, N) | linear(f"{layer}.output.dense", N, 4 * N)
            weights |= norm(f"{layer}.output.LayerNorm")
    if kind == "bert":
        tables = {"word_embeddings": 50, "position_embeddings": 512, "token_type_embeddings": 2}
        weights |= {f"bert.embeddings.{name}.weight": random(rows, N) for name, rows in tables.items()}
        weights |= norm("bert.embeddings.LayerNorm") | linear("bert.pooler.dense", N, N)
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


def plain_mapper(kind: str, w: dict[str, Tensor], x: Tensor) -> Tensor:
    if kind == "mlp":
        return affine(w, "model.2", affine(w, "model.0", x).tanh()).view(len(x), P, N)
    if kind == "linear":
        return (x @ w["weight"].T + w["bias"]).view(len(x), P, N)
    h = torch.cat([affine(w, "linear", x).view(len(x), C, N), w["prefix_const"].expand(len(x), P, N)], 1)
    if kind == "transformer":
        for i in range(LAYERS):
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
    for i in range(LAYERS):
        layer = f"bert.encoder.layer.{i}"
        q, k, v = (affine(w, f"{layer}.attention.self.{part}", h) for part in ("query", "key", "value"))
        mixed = affine(w, f"{layer}.attention.output.dense", attend(q, k, v, 8))
        h = layer_norm(w, f"{layer}.attention.output.LayerNorm", h + mixed, 1e-12)
        y = affine(w, f"{layer}.intermediate.dense", h)
        y = affine(w, f"{layer}.output.dense", y * 0.5 * (1 + torch.erf(y / math.sqrt(2))))
        h = layer_norm(w, f"{layer}.output.LayerNorm", h + y, 1e-12)
    return h[:, C:]


def plain_gpt2(w: dict[str, Tensor], embeddings: Tensor) -> Tensor:
    """Logits of GPT-2 (4 heads) for embeddings [B, T, n]; its own linear layers keep their weights as [in, out]."""
    h = embeddings + w["transformer.wpe.weight"][: embeddings.shape[1]]
    for i in range(2):
        block = f"transformer.h.{i}"
        y = layer_norm(w, f"{block}.ln_1", h)
        q, k, v = (y @ w[f"{block}.attn.c_attn.weight"] + w[f"{block}.attn.c_attn.bias"]).chunk(3, -1)
        mixed = attend(q, k, v, 4, causal=True)
        h = h + mixed @ w[f"{block}.attn.c_proj.weight"] + w[f"{block}.attn.c_proj.bias"]
        y = layer_norm(w, f"{block}.ln_2", h) @ w[f"{block}.mlp.c_fc.weight"] + w[f"{block}.mlp.c_fc.bias"]
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        h = h + y @ w[f"{block}.mlp.c_proj.weight"] + w[f"{block}.mlp.c_proj.bias"]
    return layer_norm(w, "transformer.ln_f", h) @ w["transformer.wte.weight"].T


# --- files ---------------------------------------------------------------------------------------------------------

FAMILIES = [
    ("gpt2.", "clip_project.", "bert"), ("gpt2.", "clip_project.", "mlp"), ("gpt.", "clip_project.", "mlp"),
    ("gpt.", "clip_project.", "transformer"), ("gpt.", "clip_project.", "linear"),
    ("language_model.", "transformer_mapper.", "transformer"),
]  # fmt: skip
BUFFERS = {
    "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8).tril(),
    "transformer.h.0.attn.masked_bias": torch.ones(1),
}


@pytest.fixture
def publish(tmp_path, language_model):
    """Write a checkpoint as an implementation would have, with other weights than the language model's folder."""

    def write(root: str, project: str, kind: str, buffers: bool = True, half: bool = False, **changed):
        torch.manual_seed(5)
        lm = {key: value + random(*value.shape) for key, value in _lm_weights(language_model).items()}
        lm["lm_head.weight"] = lm["transformer.wte.weight"]
        mapper = mapper_weights(kind)
        content = {f"{root}{key}": value for key, value in (lm | (BUFFERS if buffers else {})).items()}
        content |= {f"{project}{key}": value for key, value in mapper.items()}
        if buffers and kind == "bert":
            content[f"{project}bert.embeddings.position_ids"] = torch.arange(512)[None]
        content = {key: value.half() if half and value.is_floating_point() else value for key, value in content.items()}
        content = {key: value for key, value in (content | changed).items() if value is not None}
        path = tmp_path / "mlp-or-so.pt"  # published names lie
        lightning = {"state_dict": content, "epoch": 3, "hyper_parameters": argparse.Namespace(lr=1.0)}
        torch.save(lightning if root == "language_model." else content, path)
        return path, mapper, lm

    return write


def _lm_weights(folder: str) -> dict[str, Tensor]:
    state = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    return {key: value for key, value in state.items() if key != "lm_head.weight"}


@pytest.fixture
def language_model(language_model, tmp_path_factory):
    """The shared tiny GPT-2 with a full stop in its vocabulary, so that every family finds its end."""
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("gpt2-stop")
    model = AutoModelForCausalLM.from_pretrained(language_model)
    vocabulary = BertTokenizer.from_pretrained(language_model).get_vocab()
    model.save_pretrained(folder)
    BertTokenizer(vocab={"." if token == "dvd" else token: i for token, i in vocabulary.items()}).save_pretrained(
        folder
    )
    return str(folder)


@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
@pytest.mark.parametrize("buffers", [False, True], ids=["no buffers", "old buffers"])
@pytest.mark.parametrize(("root", "project", "kind"), FAMILIES)
@torch.no_grad()
def test_the_imported_forward_equals_plain_torch(publish, language_model, root, project, kind, buffers, half):
    path, mapper, lm = publish(root, project, kind, buffers, half)
    model, published = import_checkpoint(path, language_model, "clip:none")
    if half:
        mapper, lm = ({key: value.half().float() for key, value in w.items()} for w in (mapper, lm))
    features, tokens = torch.randn(2, D), torch.tensor([[5, 6, 7], [8, 9, 3]])
    seen = F.normalize(features, dim=-1) if (root, kind) == ("gpt.", "transformer") else features
    prefix = plain_mapper(kind, mapper, seen)
    expected = plain_gpt2(lm, torch.cat([prefix, lm["transformer.wte.weight"][tokens]], 1))[:, P - 1 : -1]
    found = model(features, pack([[row.numpy()] for row in tokens], P)).view(2, 3, -1)
    assert published.mapping == kind
    assert (model.prefix(features) - prefix).abs().max() < 1e-5
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("root", "stop"), [("gpt2.", "[SEP]"), ("gpt.", "."), ("language_model.", "[SEP]")])
def test_each_family_ends_its_captions_its_own_way(publish, language_model, root, stop):
    project, kind = next((project, kind) for name, project, kind in FAMILIES if name == root)
    model, _ = import_checkpoint(publish(root, project, kind)[0], language_model, "clip:none")
    assert model.tokenizer.convert_ids_to_tokens(list(model.stop_tokens)) == [stop]


def test_sizes_are_read_off_the_file_and_the_rest_is_said_to_be_assumed(publish, language_model):
    path, _, _ = publish("gpt2.", "clip_project.", "bert")
    model, published = import_checkpoint(path, language_model, "clip:none")
    config = model.config
    assert (config.clip_size, config.prefix_length, config.constants, config.mapper_layers) == (D, P, C, LAYERS)
    assert published.found["dropped"] == "3 old buffers"
    assert {"normalize", "stop token", "heads", "encoder", "language model"} <= published.assumed.keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clip_project.model.2.bias": None}, r"missing weights \['mapper.model.2.bias'\]"),
        ({"clip_project.model.0.weight": None}, r"missing weights \['mapper.model.0.weight'\]"),
        ({"gpt.transformer.wte.weight": None}, r"missing weights .*wte.weight"),
        ({"clip_project.model.3.bias": torch.ones(1)}, r"surplus weights \['mapper.model.3.bias'\]"),
        ({"gpt.transformer.h.1.ln_1.bias": None}, r"missing weights .*h.1.ln_1.bias"),
        ({"decoder.x": torch.ones(1)}, r"keys \['decoder.x'\] belong to no known implementation"),
        ({"gpt.lm_head.weight": torch.ones(24, N)}, "differs from the token embeddings"),
        ({"gpt.transformer.wte.weight": torch.ones(9, N), "gpt.lm_head.weight": None}, "has 9 tokens of width 32"),
    ],
)
def test_what_does_not_fit_is_an_error_with_the_list(publish, language_model, changed, message):
    path, _, _ = publish("gpt.", "clip_project.", "mlp", **changed)
    with pytest.raises(ValueError, match=message) as error:
        import_checkpoint(path, language_model, "clip:none")
    assert str(path) in str(error.value)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_a_file_that_tries_to_execute_something_is_refused(tmp_path):
    torch.save({"gpt.x": Evil(str(tmp_path / "was-here"))}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="not a checkpoint of tensors alone"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "was-here").exists()


def test_imported_from_the_command_line_it_captions(publish, language_model, tmp_path):
    from clipcap_lib.model import ClipCapModel

    path, _, _ = publish("gpt2.", "clip_project.", "mlp")
    arguments = ["import", str(path), "--lm", language_model, "--encoder", "clip:none", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("ClipCap-Chinese", "assumed", "found in the file"))
    again, features = ClipCapModel.from_pretrained(tmp_path / "out/model"), torch.randn(1, D)
    with torch.no_grad():
        first, _ = import_checkpoint(path, language_model, "clip:none")
        assert torch.equal(again.prefix(features), first.prefix(features))
    missing = CliRunner().invoke(app, ["import", "nowhere.pt", *arguments[2:]])
    assert missing.exit_code == 2
    assert "nowhere.pt" in missing.output

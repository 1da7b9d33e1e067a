"""Published checkpoints: files with the published key names, imported, against mappers and a GPT-2 in plain torch."""

import argparse
import os

import pytest
import torch
import torch.nn.functional as F
from plain_clipcap import Sizes, mapper_weights, plain_gpt2, plain_mapper, random
from torch import Tensor
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.files import read_json
from clipcap_lib.packing import pack
from clipcap_lib.published.checkpoints import import_checkpoint, read_checkpoint

SIZES = Sizes(clip=16, width=32, prefix=3, constants=2, layers=2, lm_layers=2, lm_heads=4)
D, N, P = SIZES.clip, SIZES.width, SIZES.prefix


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
        mapper = mapper_weights(kind, SIZES)
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
    prefix = plain_mapper(kind, mapper, seen, SIZES)
    expected = plain_gpt2(lm, torch.cat([prefix, lm["transformer.wte.weight"][tokens]], 1), SIZES)[:, P - 1 : -1]
    found = model(features, pack([[row.numpy()] for row in tokens], P)).view(2, 3, -1)
    assert published.mapping == kind
    assert (model.prefix(features) - prefix).abs().max() < 1e-5
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("root", "stop"), [("gpt2.", "[SEP]"), ("gpt.", "."), ("language_model.", "[SEP]")])
def test_each_family_ends_its_captions_its_own_way(publish, language_model, root, stop):
    project, kind = next((project, kind) for name, project, kind in FAMILIES if name == root)
    model, _ = import_checkpoint(publish(root, project, kind)[0], language_model, "clip:none")
    assert model.tokenizer.convert_ids_to_tokens(list(model.stop_tokens)) == [stop]


def test_sizes_are_read_off_the_file_and_the_rest_is_said_to_be_assumed(publish, language_model):
    path, _, _ = publish("gpt2.", "clip_project.", "bert")
    model, published = import_checkpoint(path, language_model, "clip:none")
    config = model.config
    assert (config.clip_size, config.prefix_length, config.clip_length, config.mapper_layers) == (
        D,
        P,
        SIZES.constants,
        SIZES.layers,
    )
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
    assert read_json(tmp_path / "out" / "params.json")["language"] == "zh"
    again, features = ClipCapModel.from_pretrained(tmp_path / "out/model").cpu(), torch.randn(1, D)
    with torch.no_grad():
        first, _ = import_checkpoint(path, language_model, "clip:none")
        assert torch.equal(again.prefix(features), first.prefix(features))
    missing = CliRunner().invoke(app, ["import", "nowhere.pt", *arguments[2:]])
    assert missing.exit_code == 2
    assert "nowhere.pt" in missing.output

"""Which folder is a run: what is said where it is not."""

from types import SimpleNamespace

import pytest

from clipcap_lib.decoding.strategies import parse_strategy
from clipcap_lib.explore.captioner import Captioner
from clipcap_lib.files import write_json


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("runs/mlp-ful-s0", "there is no such folder; did you mean 'mlp-full-s0'?"),
        ("", "holds several runs; name one of .*runs: _old, bert-full-s0, mlp-full-s0"),
        ("nowhere/else", "there is no such folder$"),
        ("runs", "it has no model/ or no params.json"),
    ],
)
def test_a_folder_that_is_no_run_is_told_from_the_runs_beside_it(tmp_path, folder, message):
    for name in ("mlp-full-s0", "bert-full-s0", "_old"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "DONE").touch()
    with pytest.raises(FileNotFoundError, match=message):
        Captioner.from_pretrained(tmp_path / folder)


@pytest.mark.parametrize("params", ["{", "{}", "[]", '{"encoder": 3}', '{"encoder": "x", "language": "fr"}'])
@pytest.mark.parametrize("config", ["{}", "{"])
def test_a_run_that_is_none_inside_is_named_in_one_line(tmp_path, params, config):
    (tmp_path / "model").mkdir()
    (tmp_path / "params.json").write_text(params)
    (tmp_path / "model/config.json").write_text(config)
    with pytest.raises(ValueError, match="cannot be loaded") as error:
        Captioner.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_weights_that_were_cut_off_are_named(make_model, tmp_path, kept):
    model = make_model("mlp", "frozen")
    model.save_pretrained(tmp_path / "model")
    write_json(tmp_path / "params.json", model.config.model_dump())
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{tmp_path.name} cannot be loaded \\(SafetensorError\\)"):
        Captioner.from_pretrained(tmp_path)


@pytest.mark.parametrize("strategy", ["magic k:2 alpha:0.1 beta:1", "best-of-n"])
def test_a_strategy_that_needs_clip_to_read_is_refused_where_it_cannot(tmp_path, strategy):
    judge = SimpleNamespace(name="clip:ViT-B/32", encode_texts=None)
    encoder = SimpleNamespace(judging={"zh": judge}.get)
    captioner = Captioner(None, encoder, {"language": "zh"}, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"but clip:ViT-B/32 does not read the language of these captions"):
        captioner.caption_all([], [], parse_strategy(strategy))

"""Saving and loading a captioner: what comes back is what was saved, and nothing is stored twice."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.fast_gpt2 import is_plain_gpt2
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.language_model import load_language_model
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import pack


def changed(model):
    with torch.no_grad():
        for weight in model.trainable().values():
            weight.add_(0.01 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
@pytest.mark.parametrize("mapping", ["mlp", "bert"])
def test_a_saved_model_comes_back(make_model, make_split, tmp_path, mapping, tuning):
    model = changed(make_model(mapping, tuning))
    model.save_pretrained(tmp_path)
    again = ClipCapModel.from_pretrained(tmp_path).cpu()
    split = make_split(model, images=3)
    packed = pack([[split.tokens.caption(i) for i in split.tokens.captions_of[image]] for image in split.images], 3)
    torch.testing.assert_close(again(split.features.tensor(), packed), model(split.features.tensor(), packed))


def test_a_frozen_language_model_is_stored_by_reference(make_model, tmp_path):
    make_model("mlp", "frozen").save_pretrained(tmp_path)
    assert all(name.startswith("mapper.") for name in load_file(tmp_path / "model.safetensors"))


def test_tied_weights_are_stored_once(make_model, tmp_path):
    make_model("mlp", "full").save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors").keys()
    assert "language_model.transformer.wte.weight" in names
    assert "language_model.lm_head.weight" not in names


def test_another_language_model_under_the_same_name_is_refused(make_model, language_model, tmp_path):
    model = make_model("mlp", "frozen")
    copy = tmp_path / "lm"
    shutil.copytree(language_model, copy)
    model.config = model.config.model_copy(update={"language_model": str(copy)})
    model.save_pretrained(tmp_path / "saved")
    other, _ = load_language_model(str(copy))
    changed_lm = {name: weight + 1 for name, weight in other.state_dict().items()}
    other.load_state_dict(changed_lm)
    other.save_pretrained(copy)
    with pytest.raises(ValueError, match="was not trained on the language model"):
        ClipCapModel.from_pretrained(tmp_path / "saved")


def test_missing_and_surplus_weights_are_named(make_model):
    model = make_model()
    weights = model.trainable() | {"surplus": torch.zeros(1)}
    weights.pop("mapper.model.0.bias")
    with pytest.raises(
        ValueError, match=r"file\.pt: missing weights \['mapper.model.0.bias'\], surplus weights \['surplus'\]"
    ):
        model.load_trainable(weights, "file.pt")


def test_unknown_configuration_keys_are_refused():
    with pytest.raises(ValueError, match="prefix_len"):
        ClipCapConfig(mapping="mlp", tuning="full", encoder="e", language_model="l", clip_size=4, prefix_len=3)


def test_lora_trains_the_mapper_and_the_adapters_only(make_model):
    names = make_model(tuning="lora").trainable()
    assert any("lora_" in name for name in names)
    assert all(name.startswith("mapper.") or "lora_" in name for name in names)


def test_steps_are_heard_and_can_stop_a_decoding(make_model):
    model, heard = make_model("mlp").eval(), []

    def hear() -> None:
        heard.append(1)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), model.on_step(hear):
        decode(model, torch.randn(1, 16), Greedy(), Constraints(min_new_tokens=9, max_new_tokens=9))
    decode(model, torch.randn(1, 16), Greedy(), Constraints(max_new_tokens=4))
    assert len(heard) == 3


def test_merged_adapters_give_the_same_captions_by_the_short_way(make_model, tmp_path):
    model, features = make_model(tuning="lora").eval(), torch.randn(12, 16)
    with torch.no_grad():
        for name, weight in model.language_model.named_parameters():
            if "lora_B" in name:  # zero before training
                weight.normal_(0, 0.1)
    model.save_pretrained(tmp_path)
    plain, merged = ClipCapModel.from_pretrained(tmp_path).cpu(), ClipCapModel.for_decoding(tmp_path).cpu()
    assert is_plain_gpt2(merged.language_model)
    assert not is_plain_gpt2(plain.language_model)
    words = torch.randint(5, 20, (3, 6))
    one, other = (each.language_model(words).logits for each in (plain, merged))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert (one - make_model().eval().language_model(words).logits).abs().max() > 0.1  # the adapters do something
    texts = [[row[0].text for row in decode(each, features, Greedy())] for each in (plain, merged)]
    assert texts[0] == texts[1]

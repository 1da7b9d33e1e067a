"""What lies behind a caption: token choices by an independent recomputation, neighbours and marks by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from clipcap_lib.analysis.states import token_choices
from clipcap_lib.analysis.intervals import interval_table
from clipcap_lib.analysis.neighbours import nearest_pictures
from clipcap_lib.decoding.decode import Caption, Constraints, decode
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.emoji.attributes import accuracy_by_factor
from clipcap_lib.emoji.language import Group, Scene, captions, score_caption, wrong_spans
from clipcap_lib.metrics.reference import DocumentFrequencies, score
from clipcap_lib.reporting import cards

SCENE = Scene("grass", (Group("cat", 1, "big"), Group("car", 2, "small")), "left", 0)


def test_choices_are_the_model_s_own_probabilities(make_model):
    model = make_model("mlp").eval()
    feature = torch.randn(16)
    caption = decode(model, feature[None], Greedy(), Constraints(max_new_tokens=6, banned_tokens=()))[0][0]
    choices = token_choices(model, feature, caption, count=3)
    found = np.log(choices["probability"]).tolist()
    assert found[: len(caption.log_probabilities)] == pytest.approx(caption.log_probabilities, abs=1e-4)
    ended = caption.stopped == "end"
    assert len(choices) == len(caption.tokens) + ended
    for row in choices.to_dict("records")[: len(caption.tokens)]:
        assert row["token"] not in dict(row["others"])
        assert row["probability"] >= max(share for _, share in row["others"])


@torch.no_grad()
def test_choices_equal_the_whole_model_run_on_prefix_and_tokens(make_model):
    model = make_model("mlp").eval()
    feature, tokens = torch.randn(16), [6, 7]
    words = model.language_model.get_input_embeddings()(torch.tensor(tokens))
    inputs = torch.cat([model.prefix(feature[None])[0], words])[None]
    expected = model.language_model(inputs_embeds=inputs).logits[0, -2].double().softmax(-1)[7].item()
    assert token_choices(model, feature, Caption(tokens=tokens))["probability"][1] == pytest.approx(expected, abs=1e-6)


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


def test_neighbours_are_ordered_by_cosine():
    pictures = pd.DataFrame({"image_id": ["a", "b", "c"]})
    features = torch.tensor([[0.0, 9.0], [1.0, 1.0], [2.0, 0.1]])
    found = nearest_pictures(torch.tensor([5.0, 0.0]), features, pictures, count=2)
    assert found["image_id"].tolist() == ["c", "b"]
    assert found["cosine"].tolist() == pytest.approx([2 / (4 + 0.01) ** 0.5, 0.5**0.5])


@pytest.mark.parametrize("language", ["zh", "en"])
def test_nothing_is_marked_in_a_true_caption(language):
    for text in captions(SCENE, language):
        assert wrong_spans(text, SCENE, language) == []


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("草地上有一只大狗，右边是两辆小汽车", [("狗", "objects")]),
        ("草地上有三只大猫，右边是两辆小汽车", [("三", "count")]),
        ("沙滩上有一只大猫，右边是两辆小汽车", [("沙滩", "background")]),
        ("草地上有一只大猫，左边是两辆小汽车", [("左边", "relation")]),
        ("草地上有一只小猫，右边是两辆小汽车", [("小", "size")]),
        ("草地上有一只大猫，右边是两辆小汽车，一只猫", [("一", "count"), ("一", "count")]),
    ],
)
def test_the_word_that_is_not_so_is_marked(text, marked):
    spans = wrong_spans(text, SCENE, "zh")
    assert [attribute for _, _, attribute in spans] == [attribute for _, attribute in marked]
    assert all(text[start:end].startswith(word) for (start, end, _), (word, _) in zip(spans, marked, strict=True))
    verdict = score_caption(text, SCENE, "zh")
    assert {attribute for _, attribute in marked} == {name for name in verdict if verdict[name] is False} - {"all"}
    assert cards._marked(text, SCENE, "zh").count("<mark") == len(marked)


def test_html_of_captions_is_escaped():
    assert cards._marked("<b>&", None, "zh") == "&lt;b&gt;&amp;"


def test_accuracy_by_factor_counts_every_picture_once_a_factor():
    single = Scene("sea", (Group("cat", 3, "big"),), None, 1)
    scored = pd.DataFrame({"image_id": ["x", "y", "z"], "all": pd.array([1, 0, 1], dtype="Float64")})
    table = accuracy_by_factor(scored, {"x": SCENE, "y": single, "z": single}).set_index(["factor", "value"])
    assert (table.groupby("factor")["pictures"].sum() == 3).all()
    assert table.loc[("relation", "left"), "right"] == 1
    assert table.loc[("kinds × largest count", "1 × 3"), "right"] == 0.5
    assert table.loc[("kinds × largest count", "2 × 2"), "right"] == 1


def test_each_protocol_has_its_own_columns():
    made, given = {"1": "一只狗"}, {"1": ["一只黑狗", "狗"]}
    frequencies = {"char": DocumentFrequencies.of([[list("一只猫")], [list("一只狗")]])}
    table = interval_table({"run": made}, given, frequencies)
    expected = score(made, given, "char", frequencies["char"])
    assert table.columns.get_level_values(0).unique().tolist() == [expected.protocol]
    assert table.loc["run"].iloc[0].startswith(f"{expected.corpus['CIDEr-D']:.3f}")

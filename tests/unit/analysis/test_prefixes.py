"""Prefix interpretation on prefixes whose meaning is known."""

import pandas as pd
import pytest
import torch

from clipcap_lib.analysis.prefixes import PrefixMeaning, interpret


def test_a_prefix_of_words_is_read_as_these_words(make_model):
    model = make_model("mlp")
    table = model.language_model.get_input_embeddings().weight.detach()
    ids = model.tokenizer.convert_tokens_to_ids(["猫", "狗", "车"])
    model.prefix = lambda features: 2 * table[ids].expand(len(features), -1, -1)
    meaning = interpret(model, torch.zeros(5, 16), count=2)
    assert [cell.split()[0] for cell in meaning.nearest["nearest 1"]] == ["猫", "狗", "车"]
    assert meaning.cosine == pytest.approx(1)
    assert meaning.shared == 1
    assert meaning.norm_ratio == pytest.approx(float(2 * table[ids].norm(dim=-1).mean() / table.norm(dim=-1).mean()))


def test_prefixes_that_depend_on_the_picture_share_less(make_model):
    model = make_model("mlp")
    table = model.language_model.get_input_embeddings().weight
    model.prefix = lambda features: table[features[:, :3].long()]
    features = torch.tensor([[5.0, 6, 7], [5, 7, 8], [5, 8, 9], [5, 9, 10]])
    assert interpret(model, features).shared == pytest.approx((1 + 0.25 + 0.25) / 3)


@pytest.mark.parametrize(("cosine", "nature"), [(0.9, "close to words"), (0.2, "no words, but a code")])
def test_the_nature_of_prefixes_in_a_sentence(cosine, nature):
    sentence = PrefixMeaning(pd.DataFrame(), cosine, norm_ratio=3.0, shared=1.0).describe("a run")
    assert sentence.startswith(f"Prefixes of a run lie at a mean cosine of {cosine:.2f} from")
    assert f"3.0 times as long as tokens: they are {nature}" in sentence

"""Beam search against transformers' `generate`, tokens and scores, and against the sum of its own log-probabilities."""

import pytest
import torch
from oracles import FEATURES, STOPS, TWELVE, VOCABULARY, Letters, captioner, families, generate, tokens, until_stop
from transformers import GPT2Config, GPT2LMHeadModel

from clipcap_lib.decoding import beam
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.kv_cache import PrefixDecoder
from clipcap_lib.decoding.strategies import Beam
from clipcap_lib.model import ClipCapModel


@families
@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@torch.inference_mode()
def test_beam_search_equals_generate_with_scores(family, width, length_penalty):
    model = captioner(family)
    ours = decode(model, FEATURES[:12], Beam(width=width, length_penalty=length_penalty, n=width), TWELVE)
    theirs = model.language_model.generate(
        inputs_embeds=model.prefix(FEATURES[:12]), max_new_tokens=12, eos_token_id=list(STOPS), pad_token_id=0,
        suppress_tokens=[0, 1], do_sample=False, num_beams=width, num_return_sequences=width,
        length_penalty=length_penalty, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    assert tokens(ours) == [until_stop(row) for row in theirs.sequences.tolist()]
    if width > 1:
        scores = [caption.score for captions in ours for caption in captions]
        assert scores == pytest.approx(theirs.sequences_scores.tolist(), abs=1e-4)
    assert all(
        caption.score
        == pytest.approx(sum(caption.log_probabilities) / len(caption.log_probabilities) ** length_penalty, abs=1e-4)
        for captions in ours
        for caption in captions
    )


@families
@pytest.mark.parametrize(("prefix_length", "batch"), [(1, 1), (4, 32), (10, 5)])
@torch.inference_mode()
def test_beam_search_equals_generate_behind_any_prefix_and_in_any_batch(family, prefix_length, batch):
    model = captioner(family, prefix_length)
    ours = decode(model, FEATURES[:batch], Beam(), TWELVE)
    assert tokens(ours) == generate(model, FEATURES[:batch], do_sample=False, num_beams=5)


@families
@pytest.mark.parametrize("steps", [1, 5])
@torch.inference_mode()
def test_what_no_beam_looks_back_at_leaves_the_cache_and_changes_nothing(family, steps, monkeypatch):
    lengths = []
    step = PrefixDecoder.step
    monkeypatch.setattr(beam, "TIDY", steps)
    monkeypatch.setattr(PrefixDecoder, "step", lambda lm, *read: (lengths.append(lm.length), step(lm, *read))[1])
    model, constraints = captioner(family), TWELVE.model_copy(update={"no_repeat_ngram": 2})
    ours = tokens(decode(model, FEATURES, Beam(), constraints))
    assert ours == generate(model, FEATURES, do_sample=False, num_beams=5, no_repeat_ngram_size=2)
    everything = [model.config.prefix_length + 5 * read for read in range(len(lengths))]
    assert all(length <= least for length, least in zip(lengths, everything, strict=True))
    assert lengths[-1] < everything[-1] - 5


def test_a_beam_that_can_go_no_further_leaves_the_others_to_go_on():
    model = captioner("gpt2")
    words = [token for token in range(3, VOCABULARY) if token not in STOPS][:4]
    banned = tuple(token for token in range(VOCABULARY) if token not in words)
    constraints = Constraints(max_new_tokens=12, stop_tokens=(), banned_tokens=banned, no_repeat_ngram=2)
    found = tokens(decode(model, FEATURES[:12], Beam(width=3), constraints))
    options = {"no_repeat_ngram_size": 2, "do_sample": False, "num_beams": 3}
    expected = model.language_model.generate(
        inputs_embeds=model.prefix(FEATURES[:12]), max_new_tokens=12, suppress_tokens=list(banned), eos_token_id=None,
        pad_token_id=0, **options,
    ).tolist()  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("length_penalty", [-10.0, -7.0, 10.0])
def test_beams_are_finished_hypotheses_whatever_the_length_penalty(length_penalty):
    for row in decode(captioner("gpt2"), FEATURES, Beam(width=3, n=3, length_penalty=length_penalty), TWELVE):
        for caption in row:
            steps = caption.log_probabilities
            assert caption.score == pytest.approx(sum(steps) / len(steps) ** length_penalty, rel=1e-4)
            assert caption.stopped == "end" or len(caption.tokens) == 12


def test_a_long_beam_is_no_worse_than_one_that_does_not_count():
    shape = GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, n_positions=600, bos_token_id=2, eos_token_id=2)
    config = captioner("gpt2").config.model_copy(update={"prefix_length": 1})
    model, limit = ClipCapModel(config, GPT2LMHeadModel(shape), Letters()).eval(), Constraints(max_new_tokens=550)
    strategy = Beam(width=2, length_penalty=-10)
    ((caption,),) = decode(model, FEATURES[:1], strategy, limit.model_copy(update={"stop_tokens": ()}))
    assert len(caption.tokens) == 550
    assert caption.score == pytest.approx(sum(caption.log_probabilities) * 550.0**10, rel=1e-4)

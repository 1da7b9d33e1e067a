"""A cache that starts small, grows, loses rows or reads only a prefix's end, against one that does none of it."""

import gc
import weakref

import pytest
import torch
from oracles import FEATURES, KEYS, STRATEGIES, TWELVE, Judge, agreement, captioner, families, tokens

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding import contrastive, kv_cache
from clipcap_lib.decoding.decode import decode
from clipcap_lib.decoding.kv_cache import FinishedRows, PrefixDecoder
from clipcap_lib.decoding.strategies import describe


@families
@torch.inference_mode()
def test_a_prefix_read_for_its_end_alone_leaves_the_same_keys_and_values(family):
    model = captioner(family)
    prefix = model.prefix(FEATURES[:3])
    whole, end = (PrefixDecoder(model.language_model, Prompt(prefix), 4, end_only=only) for only in (False, True))
    assert whole.prefix_hidden.shape == prefix.shape
    torch.testing.assert_close(end.prefix_hidden, whole.prefix_hidden[:, -1:], atol=1e-5, rtol=1e-5)
    for mine, other in zip(end.cache.layers, whole.cache.layers, strict=True):
        for name in ("keys", "values"):
            states = (getattr(layer, name)[:, :, : whole.length] for layer in (mine, other))
            torch.testing.assert_close(*states)


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_cache_that_grows_changes_nothing(family, strategy, monkeypatch):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    before = decode(model, FEATURES[:3], strategy, TWELVE, KEYS[:3], **helpers)
    for module in (kv_cache, contrastive):
        monkeypatch.setattr(module, "FIRST_ROOM", 5)
    assert tokens(decode(model, FEATURES[:3], strategy, TWELVE, KEYS[:3], **helpers)) == tokens(before)


def test_a_limit_of_many_positions_costs_no_memory_before_they_are_used():
    model = captioner("gpt2")
    prefix = model.prefix(FEATURES[:1])
    lm = PrefixDecoder(model.language_model, Prompt(prefix), 10**6)
    assert lm.cache.layers[0].keys.shape[2] < 1000
    assert contrastive._History(lm.prefix_hidden, 10**6, "all").states.shape[1] < 1000


def test_rows_that_leave_make_room_without_moving_those_that_stay():
    leaving = torch.tensor([False, True, False, True, False, False])
    finished = FinishedRows.of(leaving)
    assert finished.apply(torch.arange(6)).tolist() == [0, 4, 2, 5]


@families
def test_the_memory_of_a_search_is_free_when_it_ends(family):
    model = captioner(family)
    lm = PrefixDecoder(model.language_model, model.prompt(FEATURES[:1]), 10)
    (memory,) = map(weakref.ref, lm.memories.values())
    gc.disable()
    try:
        del lm
        assert memory() is None
    finally:
        gc.enable()

"""Packed rows give the loss and the gradients of one caption a row; the end token is never cut off."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clipcap_lib.packing import Padding, pack, tokenize_captions


def unpacked_loss(model, features, captions_per_image):
    """One caption a row through the language model's own forward, no mask, no padding."""
    total, count = 0.0, 0
    for feature, captions in zip(features, captions_per_image, strict=True):
        for caption in captions:
            prefix = model.prefix(feature[None])
            words = model.language_model.get_input_embeddings()(torch.tensor(caption[:-1].astype(np.int64)))[None]
            logits = model.language_model(inputs_embeds=torch.cat([prefix, words], dim=1)).logits
            at = prefix.shape[1] - 1
            total = total + F.cross_entropy(logits[0, at:], torch.tensor(caption.astype(np.int64)), reduction="sum")
            count += len(caption)
    return total / count


@pytest.mark.parametrize("mapping", ["mlp", "bert", "transformer"])
def test_packed_loss_and_gradients_equal_unpacked(make_model, make_split, mapping):
    model = make_model(mapping).eval()
    split = make_split(model, images=5)
    captions = [[split.tokens.caption(i) for i in split.tokens.captions_of[image]] for image in split.images]
    features = split.features.tensor()
    gradients = []
    for loss in (model.loss(features, pack(captions, 3)), unpacked_loss(model, features, captions)):
        model.zero_grad()
        loss.backward()
        gradients.append((loss.item(), {n: w.grad.clone() for n, w in model.trainable().items() if w.grad is not None}))
    (packed, packed_gradients), (plain, plain_gradients) = gradients
    assert packed == pytest.approx(plain, abs=1e-5)
    assert packed_gradients.keys() == plain_gradients.keys()
    for name, gradient in packed_gradients.items():
        torch.testing.assert_close(gradient, plain_gradients[name], atol=1e-5, rtol=1e-4, msg=name)


def test_short_images_share_a_row_and_long_ones_do_not():
    lengths = [5, 8, 30, 90, 12]
    packed = pack([[np.arange(3, 3 + length)] for length in lengths], 10)
    assert len(packed.input_ids) == 2
    assert packed.input_ids.shape[1] <= 10 + 90 - 1
    read = packed.input_ids[packed.input_ids > 0].tolist()
    assert sorted(read) == sorted(token for length in lengths for token in range(3, 3 + length - 1))
    assert len(set(zip(packed.prefix_rows.tolist(), packed.prefix_columns.tolist(), strict=True))) == 5 * 10


def padded_loss(model, features, captions, length):
    """As published: every caption filled up with zeros, the filling masked in attention and counted in the loss."""
    ids, real = torch.zeros(len(captions), length, dtype=torch.long), torch.zeros(len(captions), length)
    for row, caption in enumerate(captions):
        ids[row, : len(caption)], real[row, : len(caption)] = torch.from_numpy(caption), 1
    prefix = model.prefix(features)
    embeddings = torch.cat([prefix, model.language_model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([torch.ones(prefix.shape[:2]), real], dim=1)
    logits = model.language_model(inputs_embeds=embeddings, attention_mask=mask).logits
    return F.cross_entropy(logits[:, prefix.shape[1] - 1 : -1].flatten(0, 1), ids.flatten())


def test_published_padding_costs_what_it_costs_published(make_model):
    model = make_model().eval()
    captions = [np.array([5, 6, 7, 3]), np.array([8, 3]), np.array([9, 10, 11, 12, 13, 3])]
    features = torch.randn(3, 16)
    packed = pack([[caption] for caption in captions], 3, Padding(0, 9))
    torch.testing.assert_close(model.loss(features, packed), padded_loss(model, features, captions, 9))
    shared = pack([captions], 3, Padding(0, 9))
    torch.testing.assert_close(
        model.loss(features[:1], shared), padded_loss(model, features[:1].expand(3, -1), captions, 9)
    )


def test_captions_that_end_with_their_own_full_stop_get_no_end_token(make_model):
    tokenizer = make_model().tokenizer
    tokens = tokenize_captions(["猫狗车草", "猫，"], [0, 0], tokenizer, max_tokens=3, append_end=False)
    assert tokenizer.convert_ids_to_tokens(tokens.ids.tolist()) == ["猫", "狗", "车", "猫", "，"]
    assert tokens.truncated == 1


def test_padding_carries_no_loss(make_model):
    model = make_model().eval()
    short, long = np.array([5, 3]), np.array([5, 6, 7, 8, 9, 3])
    features = torch.randn(2, 16)
    together = model.loss(features, pack([[short], [long]], 3), reduction="none")
    alone = model.loss(features[:1], pack([[short]], 3), reduction="none")
    assert len(together) == len(short) + len(long)
    torch.testing.assert_close(together[: len(short)], alone)


def test_the_end_token_is_never_cut_off(make_model):
    tokenizer = make_model().tokenizer
    tokens = tokenize_captions(["猫狗车草地", "猫"], [0, 0], tokenizer, max_tokens=3)
    assert [len(tokens.caption(i)) for i in (0, 1)] == [3, 2]
    assert all(tokens.caption(i)[-1] == tokenizer.sep_token_id for i in (0, 1))
    assert tokens.truncated == 1


def test_captions_are_found_by_image_in_any_order(make_model):
    tokens = tokenize_captions(["猫", "狗", "车"], [2, 0, 2], make_model().tokenizer, max_tokens=5)
    assert [list(captions) for captions in tokens.captions_of] == [[1], [], [0, 2]]

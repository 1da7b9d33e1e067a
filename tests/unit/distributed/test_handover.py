"""What several processes are handed: the same captioner and the same splits, large arrays as files."""

import numpy as np
import pytest
import torch

from clipcap_lib.dataset import Split
from clipcap_lib.distributed import handover
from clipcap_lib.distributed.handover import hand_over, take_over
from clipcap_lib.features import Features, Rows
from clipcap_lib.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=1, processes=2)


@pytest.fixture
def store(tmp_path):
    """Features as the store has them: a field of records in a file, some of them in a second one."""
    record, parts = np.dtype([("check", "<u4"), ("vector", "<f2", (16,))]), []
    for number in range(2):
        records = np.zeros(9, record)
        records["vector"] = np.random.default_rng(number).standard_normal((9, 16))
        records.tofile(tmp_path / f"{number}.rows")
        parts.append(np.memmap(tmp_path / f"{number}.rows", record, "r", offset=record.itemsize * number)["vector"])
    return Features(Rows(parts, (16,)), np.arange(17)[::-1], 0.0, 17)


@pytest.mark.parametrize("large", [0, 10**9])
def test_the_same_captioner_and_splits_are_taken_over(make_model, make_split, store, tmp_path, monkeypatch, large):
    monkeypatch.setattr(handover, "LARGE", large)
    model = make_model("bert", "lora", seed=7)
    with torch.no_grad():
        next(iter(model.trainable().values())).add_(1.0)  # no weights that a configuration would lead to
    train, dev = make_split(model, images=17), make_split(model, images=3, seed=1)
    train = Split(store, train.tokens, train.images)
    hand_over(tmp_path / "place", model, (train, dev), SETTINGS, 3, tmp_path)
    found, task = take_over(tmp_path / "place")
    assert (task.settings, task.seed, task.folder, task.language) == (SETTINGS, 3, tmp_path, "en")
    for name, weight in model.trainable().items():
        assert torch.equal(found.trainable()[name], weight), name
    for split, other in ((train, task.train_split), (dev, task.dev_split)):
        captions = [split.tokens.captions_of[image] for image in split.images]
        (features, packed), (others, same) = (
            each.batch(each.images, captions, model.prefix_length) for each in (split, other)
        )
        assert torch.equal(features, others)
        assert torch.equal(packed.labels, same.labels)


def test_the_feature_store_is_not_copied(make_model, make_split, store, tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "LARGE", 0)
    model = make_model()
    train = make_split(model, images=17)
    dev = make_split(model, images=3)
    hand_over(tmp_path / "place", model, (Split(store, train.tokens, train.images), dev), SETTINGS, 3, tmp_path)
    copied = [np.load(path) for path in (tmp_path / "place").glob("*.npy")]
    assert [array for array in copied if array.dtype == np.float16 and len(array) != 3] == []
    _, task = take_over(tmp_path / "place")
    (first, second) = task.train_split.features.vectors.parts
    (tmp_path / "1.rows").write_bytes(bytes((tmp_path / "1.rows").stat().st_size))  # in place
    assert not second.any()
    assert first.any()

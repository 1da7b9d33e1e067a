"""The stream of batches: every image once an epoch, and the same from any step on as from the first."""

import numpy as np

from clipcap_lib.dataset import batches
from clipcap_lib.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=9, images_per_step=4, captions_per_image=2)


def test_an_epoch_sees_every_image_once_and_depends_on_the_seed_alone(make_model, make_split):
    split = make_split(make_model())
    stream = batches(split, SETTINGS, seed=5, first_step=0)
    epoch = [next(stream) for _ in range(3)]
    assert sorted(np.concatenate([images for images, _ in epoch])) == list(range(12))
    later = next(batches(split, SETTINGS, seed=5, first_step=2))
    assert list(later[0]) == list(epoch[2][0])
    assert [list(captions) for captions in later[1]] == [list(captions) for captions in epoch[2][1]]

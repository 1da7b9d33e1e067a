"""Pictures unlike what a run was trained on: by distances worked out by hand, and by what must hold."""

import pytest
import torch

from clipcap_lib.analysis.unlike import SeenPictures, unlike_training


def at(*places: float) -> torch.Tensor:
    """Embeddings [N, 2] at these places of a line, two beside the origin."""
    return torch.stack([torch.tensor(places), torch.full([len(places)], 2.0)], -1)


EVEN = [0.5 * number for number in range(20)]  # each half a step from the next, up to 9.5


def test_a_picture_is_unlike_where_its_nearest_is_farther_than_that_of_99_in_100():
    seen = SeenPictures.of(at(*EVEN))
    assert seen.usual == pytest.approx(0.5, abs=1e-3)
    assert seen.distance(at(14.75)[0]) == pytest.approx(5.25)
    assert unlike_training(at(9.9)[0], seen) is None
    assert unlike_training(at(14.75)[0], seen) == (
        "unlike anything this run has seen (nearest training picture: distance 5.25; 99 % of its training pictures "
        "have another one within 0.5)"
    )
    assert unlike_training(at(14.75)[0], seen, "emoji-scenes").endswith("within 0.5): this run knows drawings only")


def test_a_picture_that_points_where_others_do_may_be_unlike_by_its_length():
    seen = SeenPictures.of(at(*EVEN))
    assert unlike_training(4 * at(5.0)[0], seen)


def test_one_training_picture_in_a_hundred_may_lie_apart():
    crowd, apart = [0.001 * number for number in range(1000)], [20.0 + 5 * number for number in range(12)]
    assert SeenPictures.of(at(*crowd, *apart[:9])).usual < 1
    assert SeenPictures.of(at(*crowd, *apart)).usual == pytest.approx(5, abs=1e-2)


def test_copies_of_training_pictures_do_not_move_what_is_usual():
    copies = SeenPictures.of(at(*EVEN, *EVEN, *(place + 0.001 for place in EVEN)))
    assert copies.usual == pytest.approx(0.5, abs=2e-3)
    assert unlike_training(at(9.75)[0], copies) is None


def test_where_all_training_pictures_are_one_nothing_is_unlike():
    assert unlike_training(at(50.0)[0], SeenPictures.of(at(*[1.0] * 30))) is None


def test_a_grid_is_the_mean_of_its_tokens():
    assert SeenPictures.of(at(*EVEN)).distance(at(2.0, 4.0)) == pytest.approx(0, abs=1e-3)


def test_of_many_pictures_only_some_are_compared(monkeypatch):
    many = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("clipcap_lib.analysis.unlike.COMPARED", 150)
    some = SeenPictures.of(many).embeddings
    assert torch.equal(some, SeenPictures.of(many).embeddings)
    assert len({tuple(row) for row in some.tolist()} & {tuple(row) for row in many.tolist()}) == 150

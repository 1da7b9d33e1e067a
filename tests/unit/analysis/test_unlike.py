"""Pictures unlike what a run was trained on: by cosines worked out by hand, and by what must hold."""

import pytest
import torch

from clipcap_lib.analysis.unlike import SeenPictures, unlike_training


def fan(*degrees: float) -> torch.Tensor:
    """Embeddings [N, 2] at these angles, of different lengths."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], -1) * torch.linspace(1, 9, len(degrees))[:, None]


def cosine(degrees: float) -> float:
    return torch.tensor(degrees).deg2rad().cos().item()


def test_a_picture_is_unlike_where_its_nearest_lies_farther_than_that_of_99_in_100():
    seen = SeenPictures.of(fan(*(3.0 * number for number in range(30))))  # each 3° from the next, up to 87°
    assert seen.usual == pytest.approx(cosine(3), abs=1e-6)
    assert unlike_training(fan(89.0)[0], seen) is None
    assert seen.nearest(fan(127.0)[0]) == pytest.approx(cosine(40), abs=1e-6)
    assert unlike_training(fan(127.0)[0], seen) == (
        "unlike anything this run has seen (nearest training picture: cosine 0.77; 99 % of its training pictures have "
        "one above 1.00)"
    )
    assert unlike_training(fan(127.0)[0], seen, "emoji-scenes").endswith("1.00): this run knows drawings only")


def test_one_training_picture_in_a_hundred_may_lie_apart():
    crowd = [0.09 * number for number in range(1000)]
    assert SeenPictures.of(fan(*crowd, *(120.0 + 5 * number for number in range(9)))).usual > cosine(4)
    assert SeenPictures.of(fan(*crowd, *(120.0 + 5 * number for number in range(12)))).usual < cosine(4)


def test_copies_of_training_pictures_do_not_move_what_is_usual():
    apart = [6.0 * number for number in range(20)]
    once, thrice = SeenPictures.of(fan(*apart)), SeenPictures.of(fan(*apart, *apart, *(angle + 0.1 for angle in apart)))
    assert thrice.usual == pytest.approx(once.usual, abs=2e-3)
    assert unlike_training(fan(3.0)[0], thrice) is None  # nothing was nearer to its copy than this


def test_a_grid_is_the_mean_of_its_tokens():
    seen = SeenPictures.of(fan(*(3.0 * number for number in range(30))))
    grid = torch.stack([fan(20.0)[0], fan(40.0)[0]])
    assert seen.nearest(grid) == pytest.approx(1)


def test_of_many_pictures_only_some_are_compared(monkeypatch):
    many = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("clipcap_lib.analysis.unlike.COMPARED", 150)
    some = SeenPictures.of(many)
    assert len(some.directions) == 150
    assert torch.equal(some.directions, SeenPictures.of(many).directions)
    among = (torch.nn.functional.normalize(many, dim=-1) @ some.directions.T).amax(-1)
    assert (among > 0.99999).sum() == 150  # rows of the given ones, each once

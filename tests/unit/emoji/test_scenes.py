"""Emoji scenes: the same bytes from a seed, drawings that never overlap, and compositions that training never has."""

import hashlib
from itertools import islice
from pathlib import Path

from clipcap_lib.emoji.language import Scene, kinds
from clipcap_lib.emoji.scenes import _cells, _regions, draw, is_held_out, read_scenes, sample_scenes, write_corpus

SIZES = {"train": 6, "dev": 2, "test": 2, "test_compositional": 2}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def scenes(n: int, held_out: bool = False) -> list[Scene]:
    return list(islice(sample_scenes(7, held_out), n))


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, SIZES, seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")
    assert len(read_scenes(tmp_path / "a")) == 12


def test_held_out_compositions_are_never_trained_on():
    def compositions(scene: Scene) -> set:
        groups = {(group.kind, group.count) for group in scene.groups if group.count > 1}
        return groups | ({frozenset(group.kind for group in scene.groups)} if scene.relation else set())

    trained = set().union(*(compositions(scene) for scene in scenes(20_000)))
    assert all(compositions(scene) - trained for scene in scenes(300, held_out=True))
    assert all(is_held_out(scene) for scene in scenes(50, held_out=True))


def test_drawings_never_overlap():
    for scene in scenes(300):
        cells = [
            cell
            for group, region in zip(scene.groups, _regions(scene), strict=True)
            for cell in _cells(region, group.count)
        ]
        for i, (x, y, w, h) in enumerate(cells):
            assert w >= 42 and h >= 42  # the biggest drawing fits
            for x2, y2, w2, h2 in cells[i + 1 :]:
                assert x + w <= x2 + 1e-6 or x2 + w2 <= x + 1e-6 or y + h <= y2 + 1e-6 or y2 + h2 <= y + 1e-6


def test_there_are_80_to_150_drawable_kinds_with_measure_words():
    assert 80 <= len(kinds()) <= 150
    assert all(kind.measure and kind.zh and kind.plural for kind in kinds().values())
    assert len({kind.zh for kind in kinds().values()}) == len(kinds())
    assert draw(scenes(1)[0]).size == (128, 128)

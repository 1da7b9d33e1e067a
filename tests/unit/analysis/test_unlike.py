"""Pictures unlike what a run was trained on: by distances worked out by hand, and by what must hold."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from clipcap_lib.analysis.unlike import SeenPictures, seen_by, unlike_training
from clipcap_lib.cli import app
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features, taken
from clipcap_lib.encoders import load_encoder
from clipcap_lib.files import write_json
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.settings import Data


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


# --- of a run, and on the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(project):
    return load_encoder(f"clip:{project / 'data/models/tiny-clip.pt'}")


@pytest.fixture
def project_of_run(tmp_path, language_model, encoder):
    """A project with a run on 8 of 20 pictures, all half dark; `like.jpg` is one of the 8, `noise.jpg` like none."""
    (tmp_path / "notebooks/experiments").mkdir(parents=True)
    (tmp_path / "pictures").mkdir()
    for number in range(24):
        picture = Image.new("RGB", (96, 96), (200, 200, 180))
        picture.paste((40, 40, 20), (0, 0, 10 + 3 * number, 96))
        picture.save(tmp_path / f"pictures/{number}.png")
    (tmp_path / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{number}.png,一只猫\n" for number in range(24)), encoding="utf-8"
    )
    data = Data(corpus="files", captions_file="captions.csv", images="pictures", dev_images=2, test_images=2)
    config = ClipCapConfig(
        mapping="mlp", tuning="full", encoder=encoder.name, language_model=language_model, clip_size=512,
        prefix_length=3, clip_length=2, mapper_layers=1, mapper_heads=4,
    )  # fmt: skip
    with chdir(tmp_path):
        prepared = prepare_corpus(data)
        corpus_features(prepared, encoder, prepared.images)
    run = tmp_path / "reports/mine/runs/mlp-full-s0"
    ClipCapModel.build(config).save_pretrained(run / "model")
    write_json(run / "params.json", config.model_dump() | data.model_dump() | {"used_images": 8})
    write_json(run / "provenance.json", {"data": prepared.fingerprint})
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.jpg")
    trained = prepared.images["image_path"][taken(np.flatnonzero(prepared.images["split"] == "train"), 8, 1)[0]]
    shutil.copy(tmp_path / trained, tmp_path / "like.jpg")
    return tmp_path


def params(folder: Path) -> dict:
    return json.loads((folder / "reports/mine/runs/mlp-full-s0/params.json").read_text())


def caption(folder: Path, *options: str):
    run = folder / "reports/mine/runs/mlp-full-s0"
    return CliRunner().invoke(
        app, ["caption", *(str(folder / name) for name in ("like.jpg", "noise.jpg")), "--run", str(run), *options]
    )


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_what_a_run_has_seen_are_the_features_it_was_trained_on(project_of_run, encoder, monkeypatch, kind):
    monkeypatch.chdir(project_of_run)
    prepared = prepare_corpus(Data.of(params(project_of_run)))
    train = prepared.images[prepared.images["split"] == "train"]
    features = corpus_features(prepared, encoder, train, kind).tensor()
    seen = seen_by(Path("reports/mine/runs/mlp-full-s0"), params(project_of_run) | {"features": kind}, encoder)
    embeddings = features if kind == "pooled" else features.mean(1)
    assert len(seen.embeddings) == 8
    assert torch.cdist(seen.embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist").amin(1).max() < 1e-3


def test_caption_names_the_pictures_that_are_unlike_training(project_of_run):
    plain, rows = caption(project_of_run), caption(project_of_run, "--json")
    assert plain.exit_code == 0, plain.output
    assert [line.split("\t")[0] for line in plain.stdout.splitlines()] == ["like.jpg", "noise.jpg"]
    (alarm,) = plain.stderr.splitlines()
    assert alarm.startswith("noise.jpg: unlike anything this run has seen (nearest training picture: distance ")
    like, noise = map(json.loads, rows.stdout.splitlines())
    assert (like["unlike_training"], noise["unlike_training"]) == (False, True)
    assert like["training_distance"] < 1 < 50 < noise["training_distance"]
    assert f"distance {noise['training_distance']:.3g};" in alarm


@pytest.mark.parametrize(
    "gone", ["data/features", "data/prepared", "pictures", "reports/mine/runs/mlp-full-s0/provenance.json"]
)
def test_where_training_is_gone_captions_are_made_and_it_is_said_once(project_of_run, gone):
    before = caption(project_of_run).stdout
    place = project_of_run / gone
    place.rename(project_of_run / "elsewhere")
    after = caption(project_of_run)
    assert after.exit_code == 0, after.output
    assert after.stdout == before
    (note,) = after.stderr.splitlines()
    assert note.endswith(
        "mlp-full-s0: no picture can be told to be unlike what it was trained on: its corpus or the embeddings of its "
        "training pictures are no longer in data/; notebook 03 makes them anew"
    )
    assert not list(project_of_run.glob("data/**/*.rows")) or gone != "data/features"  # nothing was embedded
    assert not (project_of_run / "data/prepared").exists() or gone != "data/prepared"
    rows = caption(project_of_run, "--json").stdout.splitlines()
    assert {json.loads(row)["unlike_training"] for row in rows} == {None}


def test_an_imported_checkpoint_has_nothing_to_compare_with(project_of_run):
    path = project_of_run / "reports/mine/runs/mlp-full-s0/params.json"
    write_json(path, {key: value for key, value in params(project_of_run).items() if key != "corpus"})
    found = caption(project_of_run, "--json")
    assert found.stderr == ""
    assert json.loads(found.stdout.splitlines()[1])["training_distance"] is None

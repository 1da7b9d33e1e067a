"""The doctor names what is missing, where it goes, and its exit code says whether an experiment can start."""

import io
import re
import shutil
import tarfile
import time
from importlib.machinery import ModuleSpec

import numpy
import pandas
import pytest
from PIL import Image
from transformers import BertTokenizer, BloomConfig, BloomForCausalLM
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.runner import doctor
from clipcap_lib.runner.experiment import Experiment, load_experiment

EXPERIMENT = """
name: mine
title: Mine
data: {{corpus: files, language: zh, captions_file: {folder}/a.csv, images: {folder}/images,
  dev_images: 1, test_images: 1}}
models: {{encoder: "{encoder}", language_model: "{language_model}"}}
runs: {{mapping: [mlp], tuning: [frozen]}}
training: {{steps: 1, warmup_steps: 1}}
"""


@pytest.fixture
def write(tmp_path, language_model, project):
    """Write an experiment; what it needs is there unless it is told otherwise."""
    (tmp_path / "images").mkdir()
    for number in range(1, 5):
        (tmp_path / "images" / f"{number}.jpg").touch()
    (tmp_path / "a.csv").write_text("image,caption\n1,x\n1,y\n2,z\n3,u\n9,v\n")

    def write(**changed: str):
        encoder = f"clip:{project / 'data/models/tiny-clip.pt'}"
        names = {"folder": tmp_path, "encoder": encoder, "language_model": language_model} | changed
        (tmp_path / "mine.yaml").write_text(EXPERIMENT.format(**names))
        return tmp_path / "mine.yaml"

    return write


def missing(path) -> dict[str, str]:
    return {
        found.name: found.note for found in doctor.check_experiment(load_experiment(path)) if found.state != "ready"
    }


def test_what_is_there_is_ready(write):
    assert missing(write()) == {}
    result = CliRunner().invoke(app, ["doctor", str(write())])
    assert result.exit_code == 0, result.output
    assert "ready" in result.output


def test_each_missing_file_is_named_with_its_place(write, tmp_path):
    found = missing(write(folder=tmp_path / "nowhere", encoder="clip:no.pt", language_model=f"{tmp_path}/no/gpt2/x"))
    assert found.keys() == {"captions", "pictures", "encoder", "language model"}
    assert f"{tmp_path}/nowhere/a.csv" in found["captions"]
    assert f"{tmp_path}/nowhere/images" in found["pictures"]
    assert "no.pt" in found["encoder"]


def corpus_of(path, **changed) -> doctor.Finding:
    settings = load_experiment(path).model_dump(exclude_unset=True)
    settings["data"] |= changed
    (found,) = [one for one in doctor.check_experiment(Experiment.model_validate(settings)) if one.name == "corpus"]
    return found


def test_the_captions_are_read_matched_and_split(write):
    found = corpus_of(write())
    assert (found.state, found.note) == (
        "ready", "4 captions of 3 pictures, 3 of 4 matched; train 1, dev 1, test 1",
    )  # fmt: skip


SPLITS = "image_id,split\n1,train\n2,dev\n"


@pytest.mark.parametrize(
    ("content", "changed", "message"),
    [
        ("image,caption\n1,一只猫在草地上\n".encode("gbk"), {}, r"a\.csv, line 2: looks like GBK .* iconv -f GB18030"),
        ("picture,caption\n1,x\n", {}, r"a\.csv, line 1: expected one of the formats \(csv: a header"),
        ("1,x\n2,y\n", {}, r"a\.csv, line 1: expected one of the formats"),
        ("image;caption\n1;x\n", {}, r"a\.csv, line 1: expected one of the formats"),
        ("image,caption\n7,x\n8,y\n", {}, r"of 2 captions none is left"),
        (None, {"dev_images": 2, "test_images": 2}, r"the splits ask for 4 images .*, but there are 3"),
        (None, {"dev_images": 2}, r"a\.csv: no picture is in the split train"),
        (None, {"splits_file": "{folder}/splits.csv"}, r"splits\.csv: 1 images of the corpus have no split: 3\.jpg"),
    ],
)
def test_what_notebook_01_would_stop_with_is_said_and_fails(write, tmp_path, content, changed, message):
    path = write()
    (tmp_path / "splits.csv").write_text(SPLITS)
    if content:
        (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    changed = {
        key: value.format(folder=tmp_path) if isinstance(value, str) else value for key, value in changed.items()
    }
    found = corpus_of(path, **changed)
    assert found.state == "missing"
    assert re.search(message, found.note)
    data = load_experiment(path).data.model_copy(update=changed)
    for number in range(1, 5):
        Image.new("RGB", (8, 8), (50 * number, 0, 0)).save(tmp_path / f"images/{number}.jpg")
    with pytest.raises(ValueError) as error:
        prepare_corpus(data, tmp_path / "data")
    assert str(error.value) == found.note
    if not changed:
        result = CliRunner().invoke(app, ["doctor", str(path)])
        assert result.exit_code == 1
        assert "corpus" in result.output


def test_a_large_caption_file_is_read_in_a_moment(write, tmp_path):
    for number in range(1000):
        (tmp_path / f"images/{number}.jpg").touch()
    lines = "".join(f"{number},两个男人坐在长椅上聊天 {k}\n" for number in range(32_000) for k in range(5))
    (tmp_path / "a.csv").write_text(f"image,caption\n{lines}", encoding="utf-8")
    path = write()
    started = time.perf_counter()
    assert "5,000 captions of 1,000 pictures, 1,000 of 32,000 matched" in corpus_of(path).note
    assert time.perf_counter() - started < 15  # one or two seconds on a machine with nothing else to do


@pytest.mark.parametrize(("reachable", "expected"), [(True, set()), (False, {"encoder", "language model"})])
def test_a_model_by_name_needs_the_network_once(write, tmp_path, monkeypatch, reachable, expected):
    monkeypatch.setattr(doctor, "_reachable", lambda site: reachable)
    monkeypatch.setattr(doctor, "OPENAI_CACHE", tmp_path / "cache")
    path = write(encoder="clip:ViT-B/32", language_model="uer/gpt2-chinese-cluecorpussmall")
    found = missing(path)
    assert found.keys() == expected | {"strategies"}  # OpenAI's encoder reads English only
    if not reachable:
        assert "338 MB" in found["encoder"]
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "ViT-B-32.pt").touch()
        assert missing(path).keys() == {"language model", "strategies"}


def test_an_unknown_openai_model_is_not_looked_for(write):
    assert "ViT-B/32" in missing(write(encoder="clip:ViT-B/33"))["encoder"]


def test_an_experiment_that_cannot_run_is_refused_before_any_notebook(write, tmp_path, monkeypatch):
    monkeypatch.setattr("clipcap_lib.runner.warm_kernels.use_warm_kernels", lambda: None)  # it takes ten seconds
    path = write(language_model="no-such-file.gguf")
    for command, code in ((["doctor"], 1), (["run", "--reports", str(tmp_path / "reports")], 2)):
        result = CliRunner().invoke(app, [*command, str(path)])
        assert result.exit_code == code, result.output
        assert "no-such-file.gguf" in result.output
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_judge_that_cannot_read_the_captions_is_found_before_a_picture_is_read(write, project, tmp_path, language):
    """Else notebook 05 would say so, after all training."""
    published = tmp_path / "ViT-B-32.pt"
    shutil.copy(project / "data/models/tiny-clip.pt", published)
    settings = load_experiment(write(encoder=f"clip:{published}")).model_dump(exclude_unset=True)
    settings["data"]["language"] = language
    settings["decoding"] = {"strategy": "best-of-n n:3", "strategies": ["greedy", "magic k:2 alpha:0.1 beta:1"]}
    found = {one.name: one.note for one in doctor.check_experiment(Experiment.model_validate(settings))}
    assert ("strategies" in found) == (language == "zh")
    if language == "zh":
        assert "cannot judge captions for best-of-n n:3, magic k:2 alpha:0.1 beta:1" in found["strategies"]


def test_a_report_folder_that_cannot_be_made_is_refused_before_any_notebook(write, tmp_path):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["run", str(write()), "--reports", str(tmp_path / "file" / "reports")])
    assert result.exit_code == 2, result.output
    assert result.output.endswith("choose a folder you may write to with --reports\n")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("section", "setting", "expected"),
    [
        ("models", {"mapper_heads": 7}, "transformer, full: mapper_heads is 7, which does not divide"),
        ("models", {"max_caption_tokens": 56}, "max_caption_tokens is 56, but 64 positions less the prefix allow 55"),
        ("models", {"stop_token": "."}, "captions end with '.', which is no token of"),
        ("decoding", {"max_new_tokens": 55}, "max_new_tokens is 55, but 64 positions less the prefix leave 54"),
        ("decoding", {"strategies": ["contrastive k:99 alpha:0.6"]}, "99 candidates a step, but the vocabulary allows"),
        ("decoding", {"grid_k": [2, 99]}, "99 candidates a step, but the vocabulary allows"),
    ],
)
def test_what_no_captioner_can_do_is_found_before_a_picture_is_read(write, section, setting, expected):
    settings = load_experiment(write()).model_dump(exclude_unset=True)
    settings["runs"] = {"mapping": ["transformer"], "tuning": ["full"]}
    *_, good = doctor.check_experiment(Experiment.model_validate(settings))
    assert (good.name, good.state, good.note) == ("captioners", "ready", "1, each trained for a step")
    settings[section] = settings.get(section, {}) | setting
    (bad,) = [one for one in doctor.check_experiment(Experiment.model_validate(settings)) if one.state != "ready"]
    assert (bad.name, bad.state) == ("captioners", "missing")
    assert expected in bad.note


def test_a_language_model_that_cannot_share_a_prefix_is_refused_before_any_notebook(write, tmp_path, language_model):
    folder = tmp_path / "bloom"
    shutil.copytree(language_model, folder)
    vocabulary = BertTokenizer.from_pretrained(language_model).vocab_size
    BloomForCausalLM(BloomConfig(vocab_size=vocabulary, hidden_size=32, n_layer=2, n_head=4)).save_pretrained(folder)
    result = CliRunner().invoke(app, ["run", str(write(language_model=folder)), "--reports", str(tmp_path / "reports")])
    assert result.exit_code == 2, result.output
    assert "BloomForCausalLM" in result.output
    assert not (tmp_path / "reports").exists()


def test_the_clipboard_manager_is_told_from_clip(monkeypatch, tmp_path):
    spec = ModuleSpec("clip", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(doctor, "find_spec", lambda name: spec)
    found = {finding.name: finding for finding in doctor.check_environment()}
    assert found["clip"].state == "missing"
    assert "clip-anytorch" in found["clip"].note


def test_torchvision_must_be_built_for_this_torch(monkeypatch):
    assert doctor._torchvision().state == "ready"
    monkeypatch.setattr(doctor, "requires", lambda package: ["numpy", "torch==1.0.0"])
    assert doctor._torchvision().state == "missing"


@pytest.mark.parametrize(("there", "named"), [(0, False), (2, True), (4, False)])
def test_a_training_by_more_processes_than_gpus_is_refused(write, monkeypatch, there, named):
    monkeypatch.setattr("clipcap_lib.runner.devices.visible_devices", lambda: ["0", "1", "2", "3"][:there])
    experiment = load_experiment(write(), ["training.processes=4"])
    found = {one.name: one for one in doctor.check_experiment(experiment, tried=True)}
    assert ("GPUs" in found) == named
    if named:
        assert found["GPUs"].state == "missing"
        assert found["GPUs"].note == "training.processes is 4, but there are 2: one for each process is needed"
        assert "GPUs" not in {one.name for one in doctor.check_experiment(experiment, tried=True, here=False)}


# --- shards


def in_shards(path, pattern: str) -> doctor.Finding:
    settings = load_experiment(path).model_dump(exclude_unset=True)
    settings["data"] |= {"images": pattern, "captions_file": None}
    found = doctor.check_experiment(Experiment.model_validate(settings))
    assert not [one for one in found if one.name in ("pictures", "corpus", "captions")]
    (shards,) = [one for one in found if one.name == "shards"]
    return shards


def test_shards_are_counted_without_being_read(write, tmp_path):
    for number, pictures in enumerate((1000, 30)):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for name in range(pictures):
                for suffix in ("jpg", "txt"):
                    member = tarfile.TarInfo(f"{name}.{suffix}")
                    member.size = 700
                    tar.addfile(member, io.BytesIO(bytes(700)))
    found = in_shards(write(), f"{tmp_path}/{{0,1}}.tar")
    assert found.state == "ready"
    count = re.match(r"2 shards, about ([\d,]+) pictures; embeddings of 512 numbers take 0\.0011 GB", found.note)[1]
    assert int(count.replace(",", "")) == pytest.approx(1030, rel=0.05)


def test_a_shard_that_is_missing_or_no_tar_file_is_named(write, tmp_path):
    (tmp_path / "0.tar").write_bytes(b"no tar file")
    missing = in_shards(write(), f"{tmp_path}/{{0,1}}.tar")
    assert missing.state == "missing"
    assert f"1 of 2 shards are not there, such as {tmp_path}/1.tar" in missing.note
    damaged = in_shards(write(), f"{tmp_path}/0.tar")
    assert (damaged.state, "0.tar: not a tar file" in damaged.note) == ("missing", True)


def test_a_folder_of_clip_retrieval_is_read(write, tmp_path):
    numpy.save(tmp_path / "img_emb_0.npy", numpy.ones((4, 512), numpy.float16))
    table = pandas.DataFrame({"image_path": [*"abcd"], "caption": [*"efgh"]})
    table.to_parquet(tmp_path / "metadata_0.parquet")
    found = corpus_of(write(), images=None, captions_file=str(tmp_path))
    assert (found.state, found.note) == (
        "ready", "4 captions of 4 pictures, 4 of 4 matched; train 2, dev 1, test 1",
    )  # fmt: skip

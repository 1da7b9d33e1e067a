"""Experiment files: mistakes are named before any work, and folders of runs outside them tell all settings apart."""

import re
from pathlib import Path

import pytest

from clipcap_lib.runner.experiment import EXPERIMENTS, ExperimentError, adhoc_run_id, find_experiment, load_experiment
from clipcap_lib.runner.parameter_cells import notebook_parameters
from clipcap_lib.settings import Data, pick

GOOD = """
name: mine
title: Mine
data: {language: zh}
models: {}
runs: {mapping: [mlp, bert], tuning: [frozen, full], seed: [0, 1]}
training: {steps: 10, learning_rate: 1e-4}
"""


def load(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def test_scientific_notation_is_a_number(tmp_path):
    assert load(tmp_path, GOOD).training.learning_rate == 1e-4


def test_the_grid_is_every_mapping_tuning_and_seed(tmp_path):
    grid = load(tmp_path, GOOD).run_grid()
    assert len(grid) == 8
    assert {"mapping": "bert", "tuning": "frozen", "seed": 1} in grid


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 10", "step: 10", "unknown key 'training.step'; did you mean 'steps'"),
        ("steps: 10", "steps: 10, lr: fast", "unknown key 'training.lr'; did you mean 'learning_rate'"),
        ("1e-4", "fast", "training.learning_rate: .*'fast'"),
        ("[mlp, bert]", "[MLPP]", "'MLPP' is not one of mlp, bert, transformer, linear, direct; did you mean 'mlp'"),
        ("title: Mine", "epoch: 3\ntitle: Mine", "unknown key 'epoch'"),
        ("name: mine", "", "key 'name' is missing"),
        ("steps: 10", "steps: -1", "training.steps: .*greater than 0"),
        ("1e-4}", "1e-4}\ndecoding: {strategies: [beam width:3 n:4]}", "n: input should be at most the width, 3"),
        ("1e-4}", "1e-4}\ndecoding: {grid_k: [0]}", "decoding.grid_k.*greater than 0"),
        ("1e-4}", "1e-4}\ndecoding: {grid_alpha: [7.0]}", "decoding.grid_alpha.*less than or equal to 1"),
        ("{language: zh}", "{corpus: files}", "corpus: files needs captions_file"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    with pytest.raises(ExperimentError, match=r"mine\.yaml:[\s\S]*" + message):
        load(tmp_path, GOOD.replace(old, new))


def test_one_switch_sets_what_is_published_and_the_file_has_the_last_word(tmp_path):
    def switched(text):
        found = load(tmp_path, text)
        return found.data.dev_split, found.models.stop_token, found.training.padding_in_loss, found.training.keep

    published = GOOD.replace("title", "fidelity: published\ntitle")
    assert switched(GOOD) == ("image", None, False, "best")
    assert switched(published) == ("caption", None, True, "last")
    assert switched(published.replace("language: zh", "language: en")) == ("image", ".", False, "last")
    assert switched(published.replace("steps: 10", "steps: 10, keep: best")) == ("caption", None, True, "best")
    with pytest.raises(ExperimentError, match="fidelity: 'publish' is not one of .* did you mean 'published'"):
        load(tmp_path, published.replace("published", "publish"))


def test_a_missing_file_lists_what_there_is(tmp_path):
    (tmp_path / "other.yaml").write_text(GOOD)
    with pytest.raises(ExperimentError, match="no such experiment file.*other"):
        load_experiment(tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", ["name: [", "just words", ""])
def test_what_is_no_yaml_mapping_is_refused(tmp_path, text):
    with pytest.raises(ExperimentError, match=r"mine\.yaml"):
        load(tmp_path, text)


def test_every_shipped_experiment_is_valid(project):
    files = sorted((project / "notebooks" / "experiments").glob("*.yaml"))
    assert {"emoji-zh", "emoji-zh-full", "emoji-en", "emoji-tiny"} <= {load_experiment(file).name for file in files}
    assert all(load_experiment(file).name == file.stem for file in files)


def test_an_experiment_is_found_by_name_or_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_experiment(Path("emoji-zh")) == EXPERIMENTS / "emoji-zh.yaml"
    assert find_experiment(Path("mine.yaml")) == tmp_path / "mine.yaml"
    assert find_experiment(Path("folder/mine")) == tmp_path / "folder/mine"


# --- where a run outside experiments goes --------------------------------------------------------------------------


@pytest.fixture
def default(project, monkeypatch):
    """The parameters that notebook 03 has."""
    monkeypatch.chdir(project)
    return notebook_parameters(Path("notebooks/03_train.ipynb"))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "mlp-full-s0"),
        ({"mapping": "bert", "seed": 2}, "bert-full-s2"),
        ({"threads": 8, "output": ""}, "mlp-full-s0"),
        ({"learning_rate": 0.001}, "mlp-full-s0-learning_rate=0.001"),
        ({"learning_rate": 0.0015, "weight_decay": 0}, "mlp-full-s0"),
        ({"steps": 20, "warmup_steps": 2}, "mlp-full-s0-steps=20,warmup_steps=2"),
        ({"strategy": "beam width:5"}, r"mlp-full-s0-strategy=beam_width_5-[0-9a-f]{8}"),
    ],
)
def test_the_folder_says_what_differs_from_the_default_experiment(default, changed, name):
    found = adhoc_run_id(default | changed)
    assert re.fullmatch(name, found), found


def test_runs_that_differ_in_any_setting_have_folders_of_their_own(default):
    other = {"str": lambda value: "x/y", "int": lambda value: value + 1, "float": lambda value: value / 3 + 0.01}
    chosen = {
        "tuning": "lora", "mapping": "bert", "corpus": "files", "language": "en", "dev_split": "caption",
        "precision": "bf16", "keep": "last", "strategy": "beam width:3", "duplicates": "perceptual",
        "dev_captions_file": "x", "features": "grid", "bridge": "cross-attention",
    }  # fmt: skip
    names = [adhoc_run_id(default)]
    needed = {
        "corpus": {"captions_file": "a", "images": "b"}, "dev_captions_file": {"test_captions_file": "c"},
        "test_captions_file": {"dev_captions_file": "d"},
    }  # fmt: skip
    for key in default.keys() - {"threads", "output", "report_language"}:
        value = default[key]
        new = chosen.get(key) or (not value if isinstance(value, bool) else other[type(value).__name__](value))
        names.append(adhoc_run_id(default | needed.get(key, {}) | {key: new}))
    assert len(set(names)) == len(names)
    assert all(len(name) < 100 and re.fullmatch(r"[\w.=,+-]+", name) for name in names)


def test_paths_that_look_alike_once_written_as_a_name_are_kept_apart(default):
    paths = ["data/a b.csv", "data/a_b.csv", "data_a/b.csv", "数据/a.csv", "文件/a.csv"]
    files = {"corpus": "files", "images": "x"}
    names = [adhoc_run_id(default | files | {"captions_file": path}) for path in paths]
    assert len(set(names)) == len(paths)
    assert all("/" not in name and " " not in name and name.isascii() for name in names)


def test_many_changes_make_a_short_name(default):
    changed = {key: value + 1 for key, value in default.items() if type(value) is int}
    assert len(adhoc_run_id(default | changed)) < 100


# --- shipped files, and keys without effect ------------------------------------------------------------------------


def test_no_shipped_experiment_ends_in_its_warm_up(project):
    for file in (project / "notebooks/experiments").glob("*.yaml"):
        assert load_experiment(file).training.warmup_note == ""


FILES = "corpus: files, captions_file: a.csv, images: b"
MINE = """
name: mine
title: Mine
data: {{{}}}
models: {{}}
runs: {{mapping: [mlp], tuning: [full]}}
training: {{steps: 1}}
"""


@pytest.mark.parametrize(
    ("section", "key", "why"),
    [
        (FILES, "train_images: 128", "training takes"),
        (FILES, "compositional_images: 16", "only emoji scenes"),
        ("corpus: emoji-scenes", "captions_file: a.csv", "emoji scenes are drawn"),
        ("corpus: emoji-scenes", "images: b", "emoji scenes are drawn"),
        ("language: zh", "splits_file: a.csv", "emoji scenes are drawn"),
        ("language: zh", "dev_captions_file: a, test_captions_file: b", "emoji scenes are drawn"),
        ("language: zh", "duplicates: perceptual", "emoji scenes are drawn"),
    ],
)
def test_a_key_without_effect_is_refused_with_the_reason(tmp_path, section, key, why):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE.format(section))
    load_experiment(path)
    path.write_text(MINE.format(f"{section}, {key}"))
    with pytest.raises(ValueError, match=rf"mine\.yaml:\n  - data\.{key.partition(':')[0]} has no effect .*{why}"):
        load_experiment(path)


def test_notebooks_that_pass_all_keys_go_on_working(project):
    flat = load_experiment(project / find_experiment(Path("emoji-zh"))).flat()
    assert pick(Data, flat).train_images == 9000
    assert pick(Data, flat | {"corpus": "files", "captions_file": "a", "images": "b"}).corpus == "files"

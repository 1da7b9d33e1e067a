"""Experiment files: what is wrong is named, with file, key and the nearest valid choice, before any work."""

from pathlib import Path

import pytest

from clipcap_lib.runner.experiment import EXPERIMENTS, ExperimentError, find_experiment, load_experiment

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
        ("[mlp, bert]", "[MLPP]", "'MLPP' is not one of mlp, bert, transformer, linear; did you mean 'mlp'"),
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

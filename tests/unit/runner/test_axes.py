"""Any setting as an axis: the grid, its names, mistakes told before any work, and jobs that runs share."""

from pathlib import Path

import pytest

from clipcap_lib.runner.experiment import ExperimentError, load_experiment
from clipcap_lib.runner.jobs import plan_jobs

FILE = """
name: mine
title: Mine
data: {language: zh, train_images: 100}
models: {prefix_length: 4}
runs: {mapping: [mlp, bert], tuning: [frozen], RUNS}
training: {steps: 10, learning_rate: 1e-4}
"""


def load(tmp_path, runs):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("RUNS", runs), encoding="utf-8")
    return load_experiment(path)


def jobs_of(experiment, notebook, project, monkeypatch):
    monkeypatch.chdir(project)
    return [job for job in plan_jobs(experiment, Path("reports")) if job.notebook == notebook]


def test_each_value_goes_with_each(tmp_path):
    experiment = load(tmp_path, "seed: [0, 1], training.learning_rate: [5e-4, 1e-3], models.normalize: [true, false]")
    assert len(experiment.run_grid()) == 2 * 2 * 2 * 2
    names = [experiment.run_name(choice) for choice in experiment.run_grid()]
    assert len(set(names)) == 16
    assert names[0] == "mlp-frozen-s0-learning_rate=0.0005,normalize=True"


def test_what_goes_together_goes_value_by_value(tmp_path):
    together = "together: [[training.steps, training.learning_rate]]"
    experiment = load(tmp_path, f"training.steps: [10, 20], training.learning_rate: [1e-3, 2e-3], {together}")
    pairs = {(choice["training.steps"], choice["training.learning_rate"]) for choice in experiment.run_grid()}
    assert pairs == {(10, 1e-3), (20, 2e-3)}
    assert len(experiment.run_grid()) == 4


def test_long_names_say_all_and_rates_that_are_one_are_named_once(tmp_path):
    rates = "training.learning_rate: [5e-4, 1e-3], training.language_model_learning_rate: [5e-4, 1e-3]"
    together = "together: [[training.learning_rate, training.language_model_learning_rate]]"
    experiment = load(
        tmp_path, f"models.bridge: [prefix, cross-attention], models.features: [grid], {rates}, {together}"
    )
    names = [experiment.run_name(choice) for choice in experiment.run_grid()]
    assert names[-1] == "bert-frozen-s0-bridge=cross-attention,features=grid,learning_rate=0.001"
    assert len(set(names)) == 8


def test_a_run_has_its_own_settings_and_all_else_of_the_file(tmp_path):
    experiment = load(tmp_path, "training.learning_rate: [5e-4, 1e-3]")
    own = [experiment.of_run(choice) for choice in experiment.run_grid()]
    assert [one.training.learning_rate for one in own] == [5e-4, 1e-3, 5e-4, 1e-3]
    assert all(one.models.prefix_length == 4 and one.training.steps == 10 for one in own)
    assert experiment.training.learning_rate == 1e-4  # the file's own stands


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("training.learning_rat: [1e-3]", "unknown key 'training.learning_rat'; did you mean 'training.learning_rate'"),
        ("learning_rate: [1e-3]", "unknown key 'learning_rate'; did you mean 'training.learning_rate'"),
        ("training.steps: 10", r"training.steps: an axis is a list of values, such as \[10\]"),
        ("training.steps: []", "training.steps: an axis is a list of values"),
        ("training.steps: [10, many]", "training.steps: Input should be a valid integer.*, not 'many'"),
        ("models.bridge: [prefix, cross]", "models.bridge: 'cross' is not one of prefix, cross-attention"),
        ("seed: [0, 0]", "runs: two are alike: mlp-frozen-s0"),
        (
            "training.steps: [1, 2], together: [[training.steps, seed]]",
            r"training.steps, seed differ in length: \[1, 2\]",
        ),
        ("together: [[training.steps, seed]]", "together: 'training.steps' is no axis"),
        (
            "data.captions_file: [a.txt], data.corpus: [files]",
            "data: corpus: files needs captions_file and images",
        ),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path, runs, message):
    with pytest.raises(ExperimentError, match=message):
        load(tmp_path, runs)


def test_runs_share_the_preparation_that_is_the_same(tmp_path, project, monkeypatch):
    experiment = load(tmp_path, "training.learning_rate: [5e-4, 1e-3], models.encoder: ['clip:RN50', 'clip:ViT-B/32']")
    features = jobs_of(experiment, "02_feature_extraction", project, monkeypatch)
    assert len(jobs_of(experiment, "01_data_preparation", project, monkeypatch)) == 1
    assert [job.name for job in features] == ["02_feature_extraction", "02_feature_extraction-2"]
    trained = jobs_of(experiment, "03_train", project, monkeypatch)
    assert len(trained) == 8
    assert all(job.needs[1].parameters["encoder"] == job.parameters["encoder"] for job in trained)
    assert len({job.folder for job in trained}) == 8


def test_fewer_training_images_leave_dev_and_test_as_they_are(tmp_path, project, monkeypatch):
    experiment = load(tmp_path, "data.train_images: [10, 100]")
    trained = jobs_of(experiment, "03_train", project, monkeypatch)
    assert {job.parameters["train_images"] for job in trained} == {100}
    assert [job.parameters["used_images"] for job in trained] == [10, 100, 10, 100]
    assert len(jobs_of(experiment, "01_data_preparation", project, monkeypatch)) == 1


def test_an_experiment_with_further_axes_asks_what_limits(tmp_path, project, monkeypatch):
    monkeypatch.chdir(project)
    names = {job.notebook for job in plan_jobs(load(tmp_path, "training.steps: [10, 20]"), Path("reports"))}
    assert names == {"01_data_preparation", "02_feature_extraction", "03_train", "08_what_limits"}
    plain = {job.notebook for job in plan_jobs(load(tmp_path, "seed: [0]"), Path("reports"))}
    assert "08_what_limits" not in plain

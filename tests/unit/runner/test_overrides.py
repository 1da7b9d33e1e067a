"""Settings given on the command line do what the same lines in a file do, and mistakes are told as for a file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.runner.experiment import ExperimentError, load_experiment
from clipcap_lib.runner.freshness import job_hash
from clipcap_lib.runner.jobs import plan_jobs

FILE = """
name: mine
title: Mine
data: {{language: zh, train_images: 100}}
models: {{}}
runs: {{mapping: [mlp], tuning: [frozen], {runs}}}
training: {{{training}}}
"""


@pytest.fixture
def write(tmp_path, project, monkeypatch):
    monkeypatch.chdir(project)

    def write(name="mine", runs="seed: [0]", training="steps: 10"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(FILE.format(runs=runs, training=training).replace("name: mine", f"name: {name}"))
        return path

    return write


def test_a_sweep_is_the_experiment_of_a_file_with_those_values(write):
    swept = load_experiment(write(), ["training.learning_rate=1e-3,2e-3", "runs.seed=0,1,2", "training.steps=20"], "b")
    axes = "seed: [0, 1, 2], training.learning_rate: [1e-3, 2e-3]"
    written = load_experiment(write("b", axes, "steps: 20"))
    assert swept.run_grid() == written.run_grid()
    assert len(swept.run_grid()) == 6
    pairs = zip(plan_jobs(swept, Path("reports")), plan_jobs(written, Path("reports")), strict=True)
    assert all((one.folder, job_hash(one)) == (other.folder, job_hash(other)) for one, other in pairs)


def test_one_value_stands_in_place_of_the_files(write):
    experiment = load_experiment(write(), ["training.steps=7", "models.normalize=true", "title=Other words"])
    assert (experiment.training.steps, experiment.models.normalize, experiment.title) == (7, True, "Other words")
    assert not experiment.runs.further


def test_one_value_ends_an_axis_of_the_file(write):
    path = write(runs="training.learning_rate: [1e-3, 2e-3]")
    experiment = load_experiment(path, ["training.learning_rate=5e-3"])
    assert len(experiment.run_grid()) == 1
    assert experiment.training.learning_rate == 5e-3


def test_values_are_read_as_a_file_is(write):
    experiment = load_experiment(write(), ["decoding.strategy='beam width:3'", "mapping=mlp,bert"])
    assert experiment.decoding.strategy == "beam width:3"
    assert experiment.runs.mapping == ["mlp", "bert"]


def test_a_sweep_has_a_folder_of_its_own(write):
    assert load_experiment(write(), ["training.learning_rate=1e-3,2e-3", "seed=0,1"]).name == "mine-learning-rate-seed"
    assert load_experiment(write(), ["seed=0,1"], "three-seeds").name == "three-seeds"


def test_trials_of_two_values_stand_beside_one_another(write):
    names = [load_experiment(write(), [f"training.learning_rate={rate}", "seed=1"]).name for rate in ("1e-3", "2e-3")]
    assert names == ["mine-learning-rate-0-001-seed", "mine-learning-rate-0-002-seed"]


def test_a_setting_is_found_without_its_section(write):
    experiment = load_experiment(write(), ["steps=7", "learning_rate=1e-3,2e-3"])
    assert experiment.training.steps == 7
    assert experiment.runs.further == {"training.learning_rate": [1e-3, 2e-3]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1e-3,2e-3", "unknown key 'training.learning_rat'; did you mean 'training.learning"),
        ("training.learning_rat=1e-3", "unknown key 'training.learning_rat'; did you mean 'learning_rate'"),
        ("training.steps=many", "training.steps: .*'many'"),
        ("training.steps=true", "training.steps: True is no number"),
        ("training.learning_rate=inf", "training.learning_rate: Input should be a finite number"),
        ("training.learning_rate=1e-3,true", "learning_rate: True is no number"),
        ("seed=0,-1", r"runs.seed.1: Input should be greater than or equal to 0"),
        ("training.steps=5,", "write key=value"),
        ("execution.workers=1,2", "execution.workers is no axis: it has one value for all runs"),
        ("training.steps", "-S training.steps: write key=value"),
        ("=3", "-S =3: write key=value"),
        ("training.steps=[1", "cannot be read as values"),
        ("mapping=mlp,brt", "'brt' is not one of mlp, bert"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_any_work(write, override, message):
    with pytest.raises(ExperimentError, match=message):
        load_experiment(write(), [override])


def test_the_command_line_refuses_with_the_name_of_the_key(write, tmp_path):
    command = ["run", str(write()), "--reports", str(tmp_path / "r"), "-S", "training.stepz=3"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "unknown key 'training.stepz'; did you mean 'steps'" in result.output
    assert not (tmp_path / "r").exists()


def test_a_key_is_given_once(write):
    with pytest.raises(ExperimentError, match="-S training.steps is given twice; for several runs write"):
        load_experiment(write(), ["training.steps=5", "steps=6"])


def test_a_key_at_the_top_of_a_file_is_sent_to_its_section(write):
    path = write()
    path.write_text(path.read_text(encoding="utf-8") + "steps: 7\n", encoding="utf-8")
    with pytest.raises(ExperimentError, match="unknown key 'steps'; did you mean 'training.steps'"):
        load_experiment(path)

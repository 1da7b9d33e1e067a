"""What plain papermill passes to a notebook: lists as text, misspelt values, and settings that name a run's folder."""

import re
from pathlib import Path

import pytest

from clipcap_lib.runner.experiment import adhoc_run_id, find_experiment, load_experiment
from clipcap_lib.runner.pipeline import notebook_parameters
from clipcap_lib.runs import listed, read_runs, run_folders
from clipcap_lib.settings import Data, Decoding, Models, OneRun, TrainingSettings, pick


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ("reports/x/runs/y", ["reports/x/runs/y"]),
        ('["reports/a", "reports/b"]', ["reports/a", "reports/b"]),
        ("['reports/a']", ["reports/a"]),
        ("[greedy, beam width:5]", ["greedy", "beam width:5"]),
        ("beam width:5 n:3", ["beam width:5 n:3"]),
        (4, [4]),
        (0.6, [0.6]),
        ("[2, 4]", [2, 4]),
        ("[0.0, 0.6]", [0.0, 0.6]),
        ("", []),
    ],
)
def test_a_list_is_read_however_it_was_typed(value, expected):
    assert listed(value) == expected


def test_a_list_that_was_not_closed_is_named():
    with pytest.raises(ValueError, match=r"\[\"a\", \"b: expected a list such as \[\"a\", \"b\"\]"):
        listed('["a", "b')


@pytest.fixture
def reports(tmp_path):
    for name in ("one", "two", ".three.partial"):
        (tmp_path / "mine/runs" / name).mkdir(parents=True)
        (tmp_path / "mine/runs" / name / "DONE").touch()
    (tmp_path / "mine/runs/unfinished").mkdir()
    return tmp_path


def test_the_folder_of_an_experiment_stands_for_its_finished_runs(reports):
    runs = [f"{reports}/mine/runs/one", f"{reports}/mine/runs/two"]
    assert run_folders(f"{reports}/mine") == runs
    assert run_folders(f'["{reports}/mine"]') == runs
    assert run_folders(runs) == runs
    assert run_folders(runs[1]) == runs[1:]


def test_a_folder_without_a_finished_run_is_named_whole(reports):
    with pytest.raises(FileNotFoundError, match=f"no finished run in: {reports}/mine/runs/unfinished;"):
        read_runs(run_folders(f"{reports}/mine/runs/unfinished"))


@pytest.mark.parametrize(
    ("section", "parameters", "message"),
    [
        (OneRun, {"mapping": "brt", "tuning": "full"}, "mapping: 'brt' is not one of .*; did you mean 'bert'?"),
        (OneRun, {"mapping": "mlp", "tuning": "ful"}, "tuning: 'ful' is not one of .*; did you mean 'full'?"),
        (OneRun, {"mapping": "mlp", "tuning": "full", "seed": "x"}, "seed: Input should be a valid integer.*, not 'x'"),
        (TrainingSettings, {"steps": 1, "precision": "bf61"}, "precision: 'bf61' is not .*; did you mean 'bf16'?"),
        (TrainingSettings, {"steps": 0}, "steps: Input should be greater than 0, not 0"),
        (Decoding, {"strategy": "grdy"}, "strategy: decoding strategy 'grdy' is unknown; did you mean 'greedy'?"),
        (Decoding, {"strategies": ["greedy", "bem"]}, "strategies: .*'bem' is unknown; did you mean 'beam'"),
        (Decoding, {"grid_k": [0]}, "grid_k.0: Input should be greater than 0, not 0"),
        (Data, {"language": "cn"}, "language: 'cn' is not one of zh, en"),
        (Data, {"duplicates": "byte"}, "duplicates: 'byte' is not one of .*; did you mean 'bytes'?"),
        (Data, {"corpus": "files"}, "corpus: files needs captions_file and images_folder"),
        (Models, {"mapper_layers": -1}, "mapper_layers: Input should be greater than 0, not -1"),
    ],
)
def test_a_value_that_is_none_is_refused_in_one_plain_line(section, parameters, message):
    with pytest.raises(ValueError) as error:
        pick(section, parameters)
    assert type(error.value) is ValueError
    said = str(error.value)
    assert re.match(message, said), said
    assert "pydantic" not in said
    assert "\n" not in said


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
        "dev_captions_file": "x",
    }  # fmt: skip
    names = [adhoc_run_id(default)]
    needed = {
        "corpus": {"captions_file": "a", "images_folder": "b"}, "dev_captions_file": {"test_captions_file": "c"},
        "test_captions_file": {"dev_captions_file": "d"},
    }  # fmt: skip
    for key in default.keys() - {"threads", "output"}:
        value = default[key]
        new = chosen.get(key) or (not value if isinstance(value, bool) else other[type(value).__name__](value))
        names.append(adhoc_run_id(default | needed.get(key, {}) | {key: new}))
    assert len(set(names)) == len(names)
    assert all(len(name) < 100 and re.fullmatch(r"[\w.=,+-]+", name) for name in names)


def test_paths_that_look_alike_once_written_as_a_name_are_kept_apart(default):
    paths = ["data/a b.csv", "data/a_b.csv", "data_a/b.csv", "数据/a.csv", "文件/a.csv"]
    files = {"corpus": "files", "images_folder": "x"}
    names = [adhoc_run_id(default | files | {"captions_file": path}) for path in paths]
    assert len(set(names)) == len(paths)
    assert all("/" not in name and " " not in name and name.isascii() for name in names)


def test_many_changes_make_a_short_name(default):
    changed = {key: value + 1 for key, value in default.items() if type(value) is int}
    assert len(adhoc_run_id(default | changed)) < 100


# --- a warm-up that is longer than training ------------------------------------------------------------------------


def test_a_training_that_ends_in_its_warm_up_says_how_high_the_rate_gets():
    note = TrainingSettings(steps=20, warmup_steps=200).warmup_note
    assert "only 10 % of its peak" in note
    assert "warmup_steps" in note
    for steps, warmup in ((200, 200), (20, 0), (850, 200)):
        assert TrainingSettings(steps=steps, warmup_steps=warmup).warmup_note == ""


def test_no_shipped_experiment_ends_in_its_warm_up(project):
    for file in (project / "notebooks/experiments").glob("*.yaml"):
        assert load_experiment(file).training.warmup_note == ""


# --- keys without effect -------------------------------------------------------------------------------------------

FILES = "corpus: files, captions_file: a.csv, images_folder: b"
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
        ("corpus: emoji-scenes", "images_folder: b", "emoji scenes are drawn"),
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
    assert pick(Data, flat | {"corpus": "files", "captions_file": "a", "images_folder": "b"}).corpus == "files"

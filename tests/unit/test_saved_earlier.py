"""What was saved by commit 53d5c10 still loads: a run folder, its model, its settings, and an experiment file."""

import pytest
import torch

from clipcap_lib.model import ClipCapModel
from clipcap_lib.runner.experiment import load_experiment
from clipcap_lib.runs import finished_in, read_runs, summary_table
from clipcap_lib.settings import Data, Models, TrainingSettings, pick


@pytest.fixture
def saved(project, monkeypatch):
    monkeypatch.chdir(project)  # the language model is named by its path in the project
    return project / "tests" / "saved_by_53d5c10"


def test_a_model_gives_the_prefix_it_gave(saved):
    model = ClipCapModel.from_pretrained(saved / "model").cpu()
    assert model.config.clip_length == 1
    prefix = model.prefix(torch.tensor([[1.0, -2.0]]))
    assert prefix.shape == (1, 2, 160)
    assert prefix.sum().item() == pytest.approx(10.07887, rel=1e-5)  # printed by that commit


def test_a_run_is_read_with_its_settings(saved):
    assert saved in finished_in(saved.parent)
    (run,) = read_runs([str(saved)])
    assert run.summary["best_dev_loss"] == pytest.approx(0.35886, rel=1e-4)
    assert pick(Models, run.params).clip_length == 1
    assert pick(TrainingSettings, run.params).steps == 850
    assert pick(Data, run.params).train_images == 9000
    assert summary_table([run])["tuning"].tolist() == ["frozen"]


def test_an_experiment_file_with_old_keys_is_read(project, tmp_path):
    text = (project / "notebooks/experiments/emoji-zh.yaml").read_text()
    (tmp_path / "old.yaml").write_text(text.replace("clip_length: 10", "constants: 7"))
    assert load_experiment(tmp_path / "old.yaml").models.clip_length == 7

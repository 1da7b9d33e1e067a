"""ClipCap-Chinese's pickle, trained as published and without a picture, from the command to the report."""

import pickle

import nbformat
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.emoji.language import captions
from clipcap_lib.files import read_json
from clipcap_lib.tiny.quality import fresh_scenes

pytestmark = pytest.mark.notebooks
EXPERIMENT = """
name: pickled
title: "ClipCap-Chinese's pickle, as published"
fidelity: published
data: {{corpus: files, language: zh, captions_file: {file}, dev_images: 20, test_images: 6}}
models: {{prefix_length: 4}}
runs: {{mapping: [mlp, linear], tuning: [full]}}
training: {{steps: 6, images_per_step: 8, learning_rate: 1e-3, warmup_steps: 1, evaluate_every: 3, patience: 1}}
decoding: {{strategies: [greedy, "contrastive k:4 alpha:0.6"], decoding_images: 3, grid_k: [2], grid_alpha: [0.6]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of a run on a pickle of forty images."""
    root, scenes = tmp_path_factory.mktemp("pickled"), fresh_scenes(40, seed=8)
    pairs = [(str(i), text) for i, scene in enumerate(scenes) for text in captions(scene, "zh")]
    embeddings = {str(i): torch.randn(1, 512).half() for i in range(len(scenes))}
    (root / "clip_caption.pkl").write_bytes(pickle.dumps([pairs, embeddings]))
    (root / "pickled.yaml").write_text(EXPERIMENT.format(file=root / "clip_caption.pkl"), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(root / "pickled.yaml"), "--reports", str(root)])
    assert result.exit_code == 0, result.output
    return root / "pickled"


def test_every_notebook_but_the_explorer_runs_without_a_picture(folder):
    names = {path.parent.name for path in folder.glob("notebooks/*/DONE")}
    assert names == {
        "01_data_preparation", "02_feature_extraction", "04_mlp_vs_bert", "05_decoding", "06_results",
    }  # fmt: skip
    for path in folder.glob("*/*/notebook.ipynb"):
        text = nbformat.writes(nbformat.read(path, as_version=4))
        assert '"name": "stderr"' not in text, path


def test_the_run_is_the_published_one(folder):
    params, history = (
        read_json(folder / "runs/mlp-full-s0/params.json"),
        pd.read_csv(folder / "runs/mlp-full-s0/history.csv"),
    )
    assert (params["dev_split"], params["padding_in_loss"], params["keep"]) == ("caption", True, "last")
    assert set(history.loc[history["split"] == "dev", "metric"]) == {"loss", "padded_loss"}
    assert read_json(folder / "runs/mlp-full-s0/summary.json")["best_step"] == 6
    assert "as published" in (folder / "index.html").read_text(encoding="utf-8")

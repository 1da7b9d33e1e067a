"""Which folder is a run: what is said where it is not."""

import pytest

from clipcap_lib.captioning import Captioner


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("runs/mlp-ful-s0", "there is no such folder; did you mean 'mlp-full-s0'?"),
        ("", "holds several runs; name one of .*runs: bert-full-s0, mlp-full-s0"),
        ("nowhere/else", "there is no such folder$"),
        ("runs", "it has no model/ or no params.json"),
    ],
)
def test_a_folder_that_is_no_run_is_told_from_the_runs_beside_it(tmp_path, folder, message):
    for name in ("mlp-full-s0", "bert-full-s0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "DONE").touch()
    with pytest.raises(FileNotFoundError, match=message):
        Captioner.from_run(tmp_path / folder)

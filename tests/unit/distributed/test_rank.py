"""What a process sees before it imports anything."""

import os

import pytest

from clipcap_lib.distributed.rank import see_one_gpu


@pytest.mark.parametrize(
    ("visible", "seen"), [(None, "1"), ("3,5,7", "5"), ("GPU-8e0a,GPU-11ff", "GPU-11ff"), ("", "")]
)
def test_each_rank_sees_a_gpu_of_those_that_its_caller_sees(monkeypatch, visible, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    see_one_gpu(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen

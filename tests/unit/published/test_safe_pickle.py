"""Pickles as the public implementations write them, and some that try to run something."""

import builtins
import os
import pickle
from collections import OrderedDict

import pytest
import torch

from clipcap_lib.published.safe_pickle import load_pickle


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_tensors_and_plain_containers_are_read(tmp_path, protocol):
    content = [[("7", "一只猫")], OrderedDict({"7": torch.randn(1, 4).half()}), {"n": 1.5, "b": b"\xff"}]
    with (tmp_path / "a.pkl").open("wb") as file:
        pickle.dump(content, file, protocol)
    found = load_pickle(tmp_path / "a.pkl")
    assert found[0] == content[0]
    assert torch.equal(found[1]["7"], content[1]["7"])
    assert found[2] == content[2]


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"x": [evil]}, lambda evil: [torch.ones(2), evil]])
def test_what_tries_to_run_is_refused_and_does_not(tmp_path, wrap):
    for evil in (
        Evil(os.mkdir, str(tmp_path / "ran")),
        Evil(builtins.eval, f"__import__('os').mkdir('{tmp_path}/ran')"),
    ):
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps(wrap(evil)))
        with pytest.raises(ValueError, match=r"evil\.pkl: it asks for \w+\.\w+; only tensors"):
            load_pickle(tmp_path / "evil.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_inside_the_storage_of_a_tensor_is_refused_too(tmp_path):
    inner = pickle.dumps(Evil(os.mkdir, str(tmp_path / "ran")))
    outer = pickle.dumps(Evil(torch.storage._load_from_bytes, inner))
    (tmp_path / "nested.pkl").write_bytes(outer)
    with pytest.raises(ValueError, match=r"nested\.pkl"):
        load_pickle(tmp_path / "nested.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps([1, 2, 3])[:-4]])
def test_half_a_file_is_named(tmp_path, data):
    (tmp_path / "half.pkl").write_bytes(data)
    with pytest.raises(ValueError, match=r"half\.pkl"):
        load_pickle(tmp_path / "half.pkl")

"""GPUs handed out: never one to two notebooks, and none lost by a failure. They are names here: no GPU is needed."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipcap_lib.runner.devices import VISIBLE, Devices, visible_devices


@pytest.mark.parametrize(
    ("count", "named", "found"),
    [(0, None, []), (0, "", []), (2, None, ["0", "1"]), (2, "3,1", ["3", "1"]), (1, "2,-1,0", ["2"]),
     (1, "GPU-8e0a, GPU-none", ["GPU-8e0a"])],
)  # fmt: skip
def test_devices_are_those_the_user_lets_one_see(monkeypatch, count, named, found):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setenv(VISIBLE, named) if named is not None else monkeypatch.delenv(VISIBLE, raising=False)
    assert visible_devices() == found


def test_two_at_once_never_have_the_same_one_and_a_failure_gives_it_back():
    devices, in_use, most, used = Devices(["0", "1"]), Counter(), Counter(), Counter()

    def work(number: int) -> None:
        with devices.some() as environment:
            name = environment[VISIBLE]
            in_use[name] += 1
            used[name] += 1
            most[name] = max(most[name], in_use[name])
            time.sleep(0.005)
            in_use[name] -= 1
            if number % 3 == 0:
                raise RuntimeError("the notebook failed")

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, number) for number in range(24)]
    assert sum(future.exception() is not None for future in futures) == 8
    assert most == {"0": 1, "1": 1}
    assert used.total() == 24


def test_without_devices_nobody_waits():
    devices = Devices([])
    with devices.some() as first, devices.some() as second:
        assert first == second == {}


def test_one_that_wants_several_gets_them_at_once_and_two_of_them_do_not_block_each_other():
    devices, in_use, most = Devices(["0", "1", "2"]), Counter(), Counter()

    def work(number: int) -> None:
        with devices.some(1 + number % 3) as environment:
            names = environment[VISIBLE].split(",")
            assert len(set(names)) == 1 + number % 3
            in_use.update(names)
            for name in names:
                most[name] = max(most[name], in_use[name])
            time.sleep(0.002)
            in_use.subtract(names)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(48)]:
            future.result(timeout=20)
    assert most == {"0": 1, "1": 1, "2": 1}


def test_one_that_wants_more_than_there_are_gets_all():
    with Devices(["0", "1"]).some(8) as environment:
        assert environment == {VISIBLE: "0,1"}

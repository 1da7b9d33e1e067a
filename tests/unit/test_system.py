"""What a machine calls itself and computes in, on made-up machines whose answer is known."""

import pytest
import torch

from clipcap_lib import system
from clipcap_lib.system import chosen_precision


@pytest.mark.parametrize(
    ("known", "name"),
    [("processor\t: 0\nmodel name\t: AMD EPYC 9\nflags\t: fpu\n", "AMD EPYC 9"), ("Features\t: fp\n", "aarch64")],
)
def test_a_processor_is_named_as_the_system_knows_it(monkeypatch, tmp_path, known, name):
    (tmp_path / "cpuinfo").write_text(known)
    monkeypatch.setattr(system, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(system.platform, "processor", lambda: "")
    monkeypatch.setattr(system.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert system.device_name() == f"{name}, AVX2"


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_what_the_hardware_computes_and_the_rest_is_kept(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    cpu = torch.device("cpu")
    assert chosen_precision(cpu, "auto") == ("bf16" if native else "float32")
    for precision in ("bf16", "float32"):
        assert chosen_precision(cpu, precision) == precision

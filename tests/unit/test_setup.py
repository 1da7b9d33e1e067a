"""The files that describe the environment agree with each other and with what is installed."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]


def pins(lines):
    """Map each `name==version` line to canonical name → version."""
    return {canonicalize_name(name): version for name, version in (line.strip().split("==") for line in lines)}


@pytest.fixture(scope="module")
def direct():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"])
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.fixture(scope="module")
def lock_lines():
    return [line for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def lock(lock_lines):
    return pins(lock_lines)


@pytest.fixture(scope="module")
def conda():
    return YAML(typ="safe").load((ROOT / "environment.yml").read_text("utf-8"))


def test_lock_holds_only_exact_pins_in_order(lock_lines):
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;@]+", line) for line in lock_lines)
    assert [line.upper() for line in lock_lines] == sorted(line.upper() for line in lock_lines)


def test_lock_satisfies_every_direct_dependency(direct, lock):
    assert direct.keys() <= lock.keys()
    unmet = {name: lock[name] for name, wanted in direct.items() if lock[name] not in wanted.specifier}
    assert not unmet


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lock was made on 3.11")
def test_lock_is_closed(lock):
    """Everything that a locked package requires here is locked too, at a version it accepts."""
    missing = []
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        if lock.get(name) != distribution.version:
            continue  # not what the lock describes
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = lock.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                missing.append(f"{name} needs {requirement}, locked: {version}")
    assert not missing


def test_environment_yml_pins_the_direct_dependencies_as_the_lock_does(direct, lock, conda):
    *packages, pip_section = conda["dependencies"]
    assert (conda["name"], conda["channels"], packages) == ("clipcap", ["conda-forge"], ["python=3.11", "pip"])
    *listed, project = pip_section["pip"]
    assert project == "-e ."
    assert pins(listed) == {name: lock[name] for name in direct}


def test_known_traps_of_the_lock(lock):
    assert "clip-anytorch" in lock and "clip" not in lock
    assert Version(lock["setuptools"]) < Version("81")
    assert (lock["torch"], lock["torchvision"]) == ("2.14.1", "0.29.1")
    assert "pip" not in lock and "clipcap-lib" not in lock


def test_every_make_target_is_documented():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.M))
    documented = set(re.findall(r"^([a-z][\w-]*):.*## \S", makefile, re.M))
    assert targets == documented >= {"setup", "report", "test", "lab", "lint", "bench", "gallery", "lock", "clean"}


def test_ci_runs_the_tests_through_make():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.search(r"^(exec )?make test$", script.read_text("utf-8"), re.M)


def test_version_is_said_once():
    import clipcap_lib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == clipcap_lib.__version__


def test_clip_is_openai_clip():
    import clip

    assert callable(clip.load) and callable(clip.tokenize)
    assert clip.tokenize("a cat").shape == (1, 77)

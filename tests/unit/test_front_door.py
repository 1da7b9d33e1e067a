"""The public names: each leads somewhere, and the package itself imports at once."""

import json
import re
import subprocess
import sys

import pytest

import clipcap_lib as cc

PACKAGES = ["", "analysis", "metrics", "emoji", "explore"]


@pytest.mark.parametrize("room", PACKAGES)
def test_every_public_name_is_there(room):
    package = getattr(cc, room) if room else cc
    for name in package._WHERE:
        assert getattr(package, name) is not None
    assert set(dir(package)) == set(package._WHERE)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"'clipcap_lib' has no attribute 'trian'; it has .*train"):
        cc.trian  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, clipcap_lib; print([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


def test_notebooks_use_the_public_names_only(project):
    for path in sorted((project / "notebooks").glob("0[1-8]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert not re.findall(r"from clipcap_lib\S* import|import clipcap_lib\.", code), path.name
        used = set(re.findall(r"\bcc\.(\w+)", code))
        assert used
        assert used <= set(cc._WHERE), path.name
        for room in PACKAGES[1:]:
            assert set(re.findall(rf"\bcc\.{room}\.(\w+)", code)) <= set(getattr(cc, room)._WHERE), (path.name, room)

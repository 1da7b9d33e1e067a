"""What a result depends on, read off the imports: nothing is overlooked, wherever a module is moved."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipcap_lib.provenance import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """A library of rooms: trainer imports core and, in a function, words; page imports trainer."""
    root = tmp_path / "clipcap_lib"
    content = {
        "__init__.py": "", "core.py": "import torch\n", "trainer.py": "from clipcap_lib.core import x\n",
        "words/__init__.py": "", "words/nouns.py": "from clipcap_lib import core\n", "words/nouns.csv": "a,b\n",
        "pages/__init__.py": "", "pages/page.py": "import clipcap_lib.trainer\n", "pages/templates/page.j2": "<p>",
    }  # fmt: skip
    content["trainer.py"] += "def late():\n    from clipcap_lib.words.nouns import noun\n"
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(sources, "PACKAGE", root)
    return root


def behind(source: str, **options) -> set[str]:
    return {file.relative_to(sources.PACKAGE).as_posix() for file in sources.files_behind(source, **options)}


def test_imports_are_followed_through_functions_and_packages_with_the_data_of_each_room(package):
    words = {"words/__init__.py", "words/nouns.py", "words/nouns.csv"}
    assert behind("from clipcap_lib.core import x") == {"core.py"}
    assert behind("from clipcap_lib.trainer import late") == {"core.py", "trainer.py"} | words
    assert behind("from clipcap_lib import trainer as t") == {"core.py", "trainer.py"} | words
    pages = {"pages/__init__.py", "pages/page.py", "pages/templates/page.j2"}
    assert behind("from clipcap_lib.pages import page") == {"core.py", "trainer.py"} | words | pages
    assert behind("import numpy, json\nfrom os import path") == set()


def test_public_names_lead_to_what_stands_behind_them(package):
    (package / "__init__.py").write_text('_WHERE = {"run": "trainer:late", "words": "words:", "page": "pages.page"}')
    (package / "words" / "__init__.py").write_text('_WHERE = {"noun": "words.nouns"}')
    words = {"words/__init__.py", "words/nouns.py", "words/nouns.csv", "core.py"}
    front = "import clipcap_lib as cc\n"
    assert behind(front + "cc.words.noun()") == behind("from clipcap_lib.words import noun") == words
    assert behind(front + "x = cc.run") == words | {"trainer.py"}
    assert behind(front + "cc.words") == {"words/__init__.py", "words/nouns.csv"}
    assert "pages/page.py" in behind("from clipcap_lib import page")
    assert behind(front + "other.run, cc.nothing") == set()


def test_a_room_can_be_left_out_with_what_only_it_imports(package):
    both = "from clipcap_lib.core import x\nfrom clipcap_lib.pages.page import show"
    assert behind(both, without=["pages"]) == {"core.py"}


def test_the_hash_tells_content_and_place(package):
    first = sources.hash_of(sources.library_files())
    (package / "core.py").rename(package / "words" / "core.py")
    moved = sources.hash_of(sources.library_files())
    (package / "words" / "nouns.csv").write_text("a,c\n")
    assert len({first, moved, sources.hash_of(sources.library_files())}) == 3


def test_every_file_of_the_library_is_a_source():
    root = sources.PACKAGE
    held = {path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == set(sources.library_files())


@pytest.fixture
def turns_while_collecting():
    """Wherever garbage is collected, another thread gets its turn: in the middle of a tree, too."""

    def pause(*_) -> None:
        time.sleep(0.0005)

    gc.callbacks.append(pause)
    yield
    gc.callbacks.remove(pause)


def test_threads_may_ask_at_once(turns_while_collecting):
    texts = [(sources.PACKAGE / name).read_text() for name in ("model.py", "settings.py", "training.py", "bridges.py")]
    alone = [list(sources._imported(text)) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: list(sources._imported(text)), texts)) == alone

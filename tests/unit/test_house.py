"""The shape of the library: what may import what, no circle, and how much a reader of the paper has to read."""

import ast
import graphlib
from pathlib import Path

import pytest

import clipcap_lib

ROOT = Path(clipcap_lib.__file__).parent
CORE = {"decoding", "metrics"}  # and every flat file
READ = (  # by who has read the paper and wants to see it in code
    "mapping", "language_model", "model", "packing", "dataset", "training", "decoding/decode", "decoding/sampling",
    "decoding/contrastive", "metrics/reference",
)  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")


def is_core(module: str) -> bool:
    room = module.partition("/")[0] if "/" in module else None
    return room in CORE or (room is None and not (ROOT / module).is_dir())


def imports(file: Path) -> set[str]:
    """The library's modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == ROOT.name:
            base = (node.module or "").partition(".")[2].replace(".", "/")
            parts = [f"{base}/{each.name}".strip("/") for each in node.names]
            found |= {part if (ROOT / f"{part}.py").is_file() else base for part in parts}
    return found - {""}


GRAPH = {name(file): imports(file) for file in FILES if file != ROOT / "__init__.py"}


def test_the_core_imports_no_side_room():
    wrong = [f"{module} imports {other}" for module in GRAPH if is_core(module)
             for other in GRAPH[module] if not is_core(other)]  # fmt: skip
    assert not wrong


def test_no_module_imports_itself_in_the_end():
    tuple(graphlib.TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the circle


def test_no_room_imports_itself_through_another():
    rooms = {
        module.partition("/")[0]: set() for module in GRAPH if "/" in module and module.partition("/")[0] not in CORE
    }
    for module, others in GRAPH.items():
        if (room := module.partition("/")[0]) in rooms:
            rooms[room] |= {other.partition("/")[0] for other in others} & rooms.keys() - {room}
    tuple(graphlib.TopologicalSorter(rooms).static_order())


@pytest.mark.parametrize(("chosen", "most"), [
    (lambda module: module in READ, 1500), (is_core, 4660),
], ids=["the paper in code", "the core"])  # fmt: skip
def test_how_much_there_is_to_read(chosen, most):
    """3,500 were planned; what users met came on top: locks, checkpoints, bridges, grids, words, shards, checks."""
    lines = {name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert sum(count for module, count in lines.items() if chosen(module)) <= most

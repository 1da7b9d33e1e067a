"""Which of the library's files a result depends on, read off the imports, and a hash of them."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

PACKAGE = Path(__file__).parents[1]
DATA = (".csv", ".yaml", ".j2", ".css", ".js", ".po")  # belong to every module of their room
_PARSING = Lock()


def library_files() -> list[Path]:
    """Every source file of the library, data files and templates included."""
    return sorted(file for file in PACKAGE.rglob("*") if file.suffix in (".py", *DATA))


def files_behind(source: str, without: Iterable[str] = ()) -> list[Path]:
    """The library's files that some Python source imports, directly and through one another.

    Imports inside functions count. `without` names rooms (folders of the library) and modules to leave out.
    """
    left_out = {PACKAGE / name for name in without}
    found: set[Path] = set()
    waiting = list(_imported(source))
    while waiting:
        file = waiting.pop()
        if file not in found and left_out.isdisjoint([file.with_suffix(""), *file.parents]):
            found.add(file)
            waiting += _imports_of(file, file.stat().st_mtime_ns)
    return sorted(found | _data_beside(found))


def library_hash(source: str, without: tuple[str, ...] = ()) -> str:
    """A hash of the files behind some source; computed again only when a file of the library has changed."""
    stats = [(file, file.stat()) for file in library_files()]
    state = tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)
    return _library_hash(source, without, state)


@lru_cache(maxsize=256)
def _library_hash(source: str, without: tuple[str, ...], state: tuple) -> str:
    return hash_of(files_behind(source, without))


def hash_of(files: Iterable[Path]) -> str:
    """A hash of files of the library by their relative path and content."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _imports_of(file: Path, modified: int) -> list[Path]:
    # The time is in the key only so that a changed file is read again.
    return list(_imported(file.read_text(encoding="utf-8")))


def _parsed(source: str) -> ast.Module:
    # One at a time: Python 3.11 counts the depth of all threads' trees in one number and, when they mix, raises
    # "AST constructor recursion depth mismatch" (CPython's issue 106905).
    with _PARSING:
        return ast.parse(source)


def _imported(source: str) -> Iterator[Path]:
    tree = _parsed(source)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from _files_of(module)
                for name in names:  # `from room import module`, or a public name of a package
                    yield from _files_of(f"{module}.{name.name}")
                    yield from _public(module, [name.name])
            case ast.Import(names=names):
                for name in names:
                    if name.name.partition(".")[0] == PACKAGE.name:
                        yield from _files_of(name.name)
                        yield from _used(tree, name.name, name.asname)


def _used(tree: ast.AST, module: str, alias: str | None) -> Iterator[Path]:
    """The files behind the public names that are used of a package: `cc.train`, `cc.metrics.score`."""
    for node in ast.walk(tree):
        names = []
        while isinstance(node, ast.Attribute):
            names, node = [node.attr, *names], node.value
        if names and isinstance(node, ast.Name) and node.id == (alias or module):
            yield from _public(module, names)


def _public(package: str, names: list[str]) -> Iterator[Path]:
    """The files behind a public name of a package, and behind those of the room that it leads to."""
    module, colon, attribute = _where(package).get(names[0], "").partition(":")
    if module:
        yield from _files_of(f"{PACKAGE.name}.{module}")
        if colon and not attribute and names[1:]:
            yield from _public(f"{PACKAGE.name}.{module}", names[1:])


def _where(package: str) -> dict[str, str]:
    """The table of public names in a package's `__init__.py`; empty for what has none."""
    top, *parts = package.split(".")
    file = PACKAGE.joinpath(*parts, "__init__.py")
    return _public_names(file, file.stat().st_mtime_ns) if top == PACKAGE.name and file.is_file() else {}


@cache
def _public_names(file: Path, modified: int) -> dict[str, str]:
    for node in _parsed(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="_WHERE")], value=value):
                return ast.literal_eval(value)
    return {}


def _files_of(module: str) -> Iterator[Path]:
    """A module's file and those of the packages above it; nothing for what is not the library's."""
    top, *parts = module.split(".")
    if top != PACKAGE.name:
        return
    place = PACKAGE.joinpath(*parts)
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    for folder in (place, *place.parents):
        # The package's own `__init__` only names what lies elsewhere.
        if PACKAGE in folder.parents and (folder / "__init__.py").is_file():
            yield folder / "__init__.py"


def _data_beside(files: set[Path]) -> set[Path]:
    """The data files of the rooms in which these modules lie."""
    rooms = {file.parent for file in files}
    return {file for file in library_files() if file.suffix in DATA and _room_of(file) in rooms}


def _room_of(data: Path) -> Path:
    """The nearest folder above a data file that is a package: `templates/` belongs to the room it lies in."""
    return next(folder for folder in data.parents if (folder / "__init__.py").is_file())

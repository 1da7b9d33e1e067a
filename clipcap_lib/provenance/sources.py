"""Which of the library's files a result depends on, read off the imports, and a hash of them."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DATA = (".csv", ".yaml", ".j2", ".css")  # belong to every module of their room


def library_files() -> list[Path]:
    """Every source file of the library, data files and templates included."""
    return sorted(file for file in PACKAGE.rglob("*") if file.suffix in (".py", *DATA))


def files_behind(source: str, without: Iterable[str] = ()) -> list[Path]:
    """The library's files that some Python source imports, directly and through one another.

    Imports inside functions count. `without` names rooms (folders of the library) to leave out.
    """
    left_out = tuple(PACKAGE / room for room in without)
    found: set[Path] = set()
    waiting = list(_imported(source))
    while waiting:
        file = waiting.pop()
        if file not in found and not any(room in file.parents for room in left_out):
            found.add(file)
            waiting += _imports_of(file)
    return sorted(found | _data_beside(found))


def hash_of(files: Iterable[Path]) -> str:
    """A hash of files of the library by their relative path and content."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _imports_of(file: Path) -> list[Path]:
    return list(_imported(file.read_text(encoding="utf-8")))


def _imported(source: str) -> Iterator[Path]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from _files_of(module)
                for name in names:  # `from room import module`
                    yield from _files_of(f"{module}.{name.name}")
            case ast.Import(names=names):
                for name in names:
                    yield from _files_of(name.name)


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

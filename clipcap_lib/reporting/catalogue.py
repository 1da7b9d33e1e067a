"""Keeps the catalogues equal to what the code says: `python -m clipcap_lib.reporting.catalogue` writes them anew."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import nbformat
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from jinja2 import Environment

from clipcap_lib.files import replacing
from clipcap_lib.provenance.sources import PACKAGE
from clipcap_lib.wording import CATALOGUES, TERM, read_catalogue

NOTEBOOKS = PACKAGE.parent / "notebooks"


def said() -> dict[str, list[str]]:
    """Every sentence given to `say` in the library, its templates and the notebooks, with the files that say it."""
    found: dict[str, list[str]] = {}
    for file, sentences in _files():
        for sentence in sentences:
            places = found.setdefault(sentence, [])
            places += [file] if file not in places else []
    return found


def _files() -> Iterator[tuple[str, Iterator[str]]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE.parent).as_posix(), _in_python(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.j2")):
        yield path.relative_to(PACKAGE.parent).as_posix(), _in_template(path.read_text(encoding="utf-8"))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        yield path.relative_to(PACKAGE.parent).as_posix(), _in_python(code)


def _in_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="say") | ast.Attribute(attr="say"), args=[ast.Constant(value=str(text))]):
                yield text


def _in_template(source: str) -> Iterator[str]:
    reader = Environment(extensions=["jinja2.ext.i18n"])
    for _, _, text in reader.extract_translations(source, gettext_functions=("say",)):
        yield text if isinstance(text, str) else text[0]


def updated(language: str) -> Catalog:
    """A language's catalogue with an entry for each sentence that is said, empty where it was not translated yet.

    Sentences that nothing says any more are left out; terms of tables stay.
    """
    known, fresh = read_catalogue(language), Catalog(locale=language)
    for sentence, files in sorted(said().items()):
        before = known.get(sentence)
        fresh.add(sentence, before.string if before else "", locations=[(file, None) for file in files])
    for message in sorted((message for message in known if message.context == TERM), key=lambda term: term.id):
        fresh.add(message.id, message.string, context=TERM)
    return fresh


def written(catalogue: Catalog) -> bytes:
    """The file of a catalogue."""
    file = io.BytesIO()
    write_po(file, catalogue, width=0, omit_header=True)
    return b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n' + file.getvalue()


def write_catalogues() -> list[Path]:
    """Write every catalogue anew and return their files."""
    files = sorted(CATALOGUES.glob("*.po"))
    for file in files:
        content = written(updated(file.stem))
        with replacing(file) as temporary:
            temporary.write_bytes(content)
    return files


if __name__ == "__main__":
    for file in write_catalogues():
        missing = sum(not message.string for message in read_catalogue(file.stem) if message.id)
        print(f"{file}: {missing} sentences without a translation")

"""The catalogue of what reports say: complete, without leftovers, and with the same values in every language."""

import string

import pytest

from clipcap_lib import wording
from clipcap_lib.reporting import catalogue
from clipcap_lib.runner.experiment import load_experiment
from clipcap_lib.wording import CATALOGUES, TERM, read_catalogue, say, speak, term

LANGUAGES = sorted(file.stem for file in CATALOGUES.glob("*.po"))


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.fixture
def chinese():
    speak("zh")
    yield
    speak("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated_and_no_other(language):
    """Fails for a new sentence without its translation; `python -m clipcap_lib.reporting.catalogue` adds its entry."""
    sentences = {
        message.id: message.string for message in read_catalogue(language) if message.id and not message.context
    }
    assert sorted(sentences) == sorted(catalogue.said())
    assert [english for english, translated in sentences.items() if not translated] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_hold_the_same_values(language):
    messages = [message for message in read_catalogue(language) if message.id]
    assert [message.id for message in messages if fields(message.id) != fields(message.string)] == []


def test_the_file_is_as_the_command_writes_it():
    files = {name: (CATALOGUES / f"{name}.po").read_bytes() for name in LANGUAGES}
    assert files == {name: catalogue.written(catalogue.updated(name)) for name in LANGUAGES}


def test_a_sentence_is_said_in_the_readers_language(chinese):
    assert say("starting") == "开始"
    assert say("run folder: {folder}", folder="x").endswith("x")
    assert say("nobody says this") == "nobody says this"


def test_a_term_is_not_a_sentence(chinese, monkeypatch):
    monkeypatch.setattr(wording, "_sentences", lambda language: {(TERM, "seed"): "随机种子"})
    assert term("seed") == "随机种子"
    assert say("seed") == "seed"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_experiments_of_the_project_have_titles_in_every_language(language):
    titles = [load_experiment(path).title for path in sorted((catalogue.NOTEBOOKS / "experiments").glob("*.yaml"))]
    assert [title for title in titles if not read_catalogue(language).get(title, TERM)] == []


def test_sentences_are_found_wherever_they_are_said():
    assert list(catalogue._in_python("print(cc.say('one {n}', n=1)); say(other)")) == ["one {n}"]
    assert list(catalogue._in_template("<p>{{ say('two') }}</p>")) == ["two"]
    assert "starting" in catalogue.said()

"""Settings as plain papermill passes them: read, or refused in one plain line that names the key."""

import re

import pytest

from clipcap_lib.model import ClipCapConfig
from clipcap_lib.settings import Data, Decoding, Models, OneRun, TrainingSettings, pick


@pytest.mark.parametrize(
    ("section", "parameters", "message"),
    [
        (OneRun, {"mapping": "brt", "tuning": "full"}, "mapping: 'brt' is not one of .*; did you mean 'bert'?"),
        (OneRun, {"mapping": "mlp", "tuning": "ful"}, "tuning: 'ful' is not one of .*; did you mean 'full'?"),
        (OneRun, {"mapping": "mlp", "tuning": "full", "seed": "x"}, "seed: Input should be a valid integer.*, not 'x'"),
        (TrainingSettings, {"steps": 1, "precision": "bf61"}, "precision: 'bf61' is not .*; did you mean 'bf16'?"),
        (TrainingSettings, {"steps": 0}, "steps: Input should be greater than 0, not 0"),
        (TrainingSettings, {"steps": 1, "images_per_step": 3, "processes": 2, "accumulate": 2},
         "processes × accumulate is 2 × 2, but images_per_step is 3: each part needs an image"),
        (Decoding, {"strategy": "grdy"}, "strategy: decoding strategy 'grdy' is unknown; did you mean 'greedy'?"),
        (Decoding, {"strategies": ["greedy", "bem"]}, "strategies: .*'bem' is unknown; did you mean 'beam'"),
        (Decoding, {"grid_k": [0]}, "grid_k.0: Input should be greater than 0, not 0"),
        (Data, {"language": "cn"}, "language: 'cn' is not one of zh, en"),
        (Data, {"duplicates": "byte"}, "duplicates: 'byte' is not one of .*; did you mean 'bytes'?"),
        (Data, {"corpus": "files"}, "corpus: files needs captions_file and images"),
        (Models, {"mapper_layers": -1}, "mapper_layers: Input should be greater than 0, not -1"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_refused_in_one_plain_line(section, parameters, message):
    with pytest.raises(ValueError) as error:
        pick(section, parameters)
    assert type(error.value) is ValueError
    said = str(error.value)
    assert re.match(message, said), said
    assert "pydantic" not in said
    assert "\n" not in said


def test_a_training_that_ends_in_its_warm_up_says_how_high_the_rate_gets():
    note = TrainingSettings(steps=20, warmup_steps=200).warmup_note
    assert "only 10 % of its peak" in note
    assert "warmup_steps" in note
    for steps, warmup in ((200, 200), (20, 0), (850, 200)):
        assert TrainingSettings(steps=steps, warmup_steps=warmup).warmup_note == ""


def test_keys_of_earlier_versions_are_read_under_their_new_names():
    assert Models(constants=4).clip_length == pick(Models, {"constants": 4}).clip_length == 4
    config = {"mapping": "mlp", "tuning": "full", "encoder": "clip:none", "language_model": "gpt2", "clip_size": 8}
    assert ClipCapConfig.model_validate(config | {"constants": 3}).clip_length == 3


def test_pictures_may_be_named_as_before_lie_in_shards_or_be_replaced_by_embeddings():
    assert Data(corpus="files", captions_file="a.csv", images_folder="b").images == "b"
    assert Data(corpus="files", images="b/{0..9}.tar").in_shards
    for embeddings in ("a.pkl", "clip_retrieval/output"):
        assert not Data(corpus="files", captions_file=embeddings).has_pictures

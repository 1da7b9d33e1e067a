"""Small models in exactly the formats of the real ones, shared by all tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, GPT2Config, GPT2LMHeadModel

from clipcap_lib.dataset import Split
from clipcap_lib.features import Features
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import tokenize_captions

torch.set_num_threads(1)  # the models are so small that a second thread only waits
WORDS = list("猫狗车草地上有一只两辆在的左右边，")
CLIP_SIZE = 16


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one core, where tests run on several, a file's tests, and all that look at the one tiny report."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("report" if "reports" in item.fixturenames else item.path.name))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device a captioner works on."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return request.param


def save_gpt2(folder: Path, **dropout: float) -> str:
    """A random Chinese GPT-2 of two layers in a folder, with a character BertTokenizer."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "dvd", "tv"]
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokens), n_positions=64, n_embd=32, n_layer=2, n_head=4,
        bos_token_id=2, eos_token_id=3, initializer_range=0.3, **dropout,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small GPT-2."""
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), resid_pdrop=0.1)


@pytest.fixture(scope="session")
def steady_language_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same without dropout of its own."""
    return save_gpt2(tmp_path_factory.mktemp("steady"), resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


@pytest.fixture
def make_model(language_model: str):
    """Build a captioner on the small language model, on the CPU as the oracles are."""

    def make(mapping: str = "mlp", tuning: str = "full", seed: int = 0, device: str = "cpu") -> ClipCapModel:
        torch.manual_seed(seed)
        config = ClipCapConfig(
            mapping=mapping, tuning=tuning, encoder="clip:none", language_model=language_model, clip_size=CLIP_SIZE,
            prefix_length=3, clip_length=2, mapper_layers=1, mapper_heads=4,
        )  # fmt: skip
        return ClipCapModel.build(config).to(device)

    return make


@pytest.fixture(params=["prefix", "cross-attention"])
def grid_model(request, language_model) -> ClipCapModel:
    """A captioner with random weights that reads grids of 3 × 3 places and a class token, [10, 16]."""
    torch.manual_seed(2)
    config = ClipCapConfig(
        mapping="mlp", tuning="full", encoder="none", language_model=language_model, clip_size=16, features="grid",
        grid=10, bridge=request.param,
    )  # fmt: skip
    model = ClipCapModel.build(config).to("cpu").eval()
    with torch.no_grad():
        for weight in model.bridge.parameters():
            weight.normal_(0, 0.3)
    return model


@pytest.fixture
def make_split():
    """Random features with random captions, one to three an image, tokenised by a model's tokenizer."""

    def make(model: ClipCapModel, images: int = 12, seed: int = 0) -> Split:
        rng = np.random.default_rng(seed)
        owners = [image for image in range(images) for _ in range(rng.integers(1, 4))]
        captions = ["".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in owners]
        vectors = rng.standard_normal((images, CLIP_SIZE)).astype(np.float16)
        features = Features(vectors, np.arange(images), 0.0, images)
        return Split(features, tokenize_captions(captions, owners, model.tokenizer, 20), np.arange(images))

    return make


@pytest.fixture(scope="session")
def project() -> Path:
    """The top folder of the project."""
    return Path(__file__).parents[1]

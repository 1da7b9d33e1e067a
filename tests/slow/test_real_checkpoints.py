"""Published checkpoints at their real sizes: every key and shape as published, random numbers, one forward each."""

import pytest
import torch
import torch.nn.functional as F
from plain_clipcap import Sizes, mapper_weights, plain_gpt2, plain_mapper
from transformers import BertTokenizer, GPT2Config, GPT2LMHeadModel

from clipcap_lib.packing import pack
from clipcap_lib.published.checkpoints import import_checkpoint

pytestmark = pytest.mark.slow
CHINESE, ENGLISH = 21_128, 50_257
PUBLISHED = [
    # roots of the keys, mapper, vocabulary, (D, P, C), whether the embedding is normalised
    ("gpt2.", "clip_project.", "bert", CHINESE, (512, 10, 10), False),
    ("gpt2.", "clip_project.", "mlp", CHINESE, (512, 10, 10), False),
    ("gpt.", "clip_project.", "mlp", ENGLISH, (512, 10, 10), False),
    ("gpt.", "clip_project.", "transformer", ENGLISH, (640, 40, 40), True),
    ("gpt.", "clip_project.", "linear", ENGLISH, (512, 10, 10), False),
    ("language_model.", "transformer_mapper.", "transformer", ENGLISH, (640, 40, 40), False),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[int, str]:
    """GPT-2 base in both vocabularies; the tokenizers are made up but of the right size."""

    def write(vocabulary: int) -> str:
        folder = tmp_path_factory.mktemp(f"gpt2-{vocabulary}")
        GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary)).save_pretrained(folder)
        tokens = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]
        tokens += [f"t{n}" for n in range(vocabulary - len(tokens))]
        BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}).save_pretrained(folder)
        return str(folder)

    return {vocabulary: write(vocabulary) for vocabulary in (CHINESE, ENGLISH)}


@pytest.mark.parametrize(("root", "project", "kind", "vocabulary", "shape", "normalized"), PUBLISHED)
@torch.no_grad()
def test_the_imported_forward_equals_plain_torch(tmp_path, folders, root, project, kind, vocabulary, shape, normalized):
    sizes = Sizes(*shape[:1], 768, *shape[1:], layers=8, lm_layers=12, lm_heads=12)
    torch.manual_seed(1)
    mapper = {key: weight / 10 for key, weight in mapper_weights(kind, sizes).items()}
    lm = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary)).state_dict()
    content = {f"{root}{key}": weight for key, weight in lm.items()}
    content |= {f"{project}{key}": weight for key, weight in mapper.items()}
    torch.save({"state_dict": content} if root == "language_model." else content, tmp_path / "published.pt")
    model, published = import_checkpoint(tmp_path / "published.pt", folders[vocabulary], "clip:ViT-B/32")
    features, tokens = torch.randn(2, sizes.clip), torch.tensor([[500, 600, 700], [800, 900, 102]])
    prefix = plain_mapper(kind, mapper, F.normalize(features, dim=-1) if normalized else features, sizes)
    logits = plain_gpt2(lm, torch.cat([prefix, lm["transformer.wte.weight"][tokens]], 1), sizes)
    found = model(features, pack([[row.numpy()] for row in tokens], sizes.prefix)).view(2, 3, -1)
    assert published.mapping == kind
    assert (model.prefix(features) - prefix).abs().max() < 1e-5 * max(1.0, prefix.abs().max())
    expected = logits[:, sizes.prefix - 1 : -1]
    assert (found - expected).abs().max() < 1e-5 * max(1.0, expected.abs().max())

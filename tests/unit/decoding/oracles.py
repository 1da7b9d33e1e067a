"""Small captioners with random weights, and what `generate` and the formula of contrastive search make of them."""

from functools import cache
from itertools import takewhile

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from clipcap_lib.decoding.decode import Constraints
from clipcap_lib.decoding.strategies import Beam, BestOfN, Contrastive, Greedy, Magic, MinimumBayesRisk, Sample
from clipcap_lib.model import ClipCapConfig, ClipCapModel

VOCABULARY, STOP = 60, 2
STOPS = (STOP, 9, 17, 31, 44)  # several, so that random weights stop at different lengths
FEATURES = torch.randn(32, 16, generator=torch.Generator().manual_seed(3))
KEYS = [f"image {i}" for i in range(32)]
TWELVE = Constraints(max_new_tokens=12, stop_tokens=STOPS)
STRATEGIES = [
    Greedy(), Beam(width=3, n=2), Sample(top_p=0.9, seed=4), Sample(top_k=5, temperature=0.7, n=3),
    Contrastive(k=4, alpha=0.6), Contrastive(k=3, alpha=0.3, history="generated"), Magic(k=4, alpha=0.1, beta=2.0),
    BestOfN(n=4), MinimumBayesRisk(n=4), Greedy(n=3), Contrastive(k=2, alpha=0.6, n=4),
]  # fmt: skip

families = pytest.mark.parametrize("family", ["gpt2", "llama"])


class Letters:
    """A tokenizer of one character a token, whose token 2 ends a text."""

    sep_token_id, sep_token, unk_token_id, pad_token_id = STOP, None, 1, 0
    eos_token_id = mask_token_id = cls_token_id = bos_token_id = None

    def decode(self, tokens, skip_special_tokens):
        return "".join(chr(0x4E00 + token) for token in tokens)


class Judge:
    """A text side that sees how often each of 16 groups of characters occurs."""

    name, width, logit_scale = "judge", 16, 10.0

    @staticmethod
    def encode_texts(texts):
        counts = torch.zeros(len(texts), 16)
        for row, text in enumerate(texts):
            for character in text:
                counts[row, (ord(character) - 0x4E00) % 16] += 1
        return counts + 0.1


def agreement(texts):
    return [sum(len(set(text) & set(other)) for other in texts) for text in texts]


@cache
@torch.inference_mode(False)  # whichever test comes first must be able to change the weights
def captioner(family: str, prefix_length: int = 4) -> ClipCapModel:
    """Random weights, scaled so that captions differ and stop at different lengths."""
    torch.manual_seed(1)
    if family == "gpt2":
        shape = GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=2,
            tie_word_embeddings=False,
        )  # fmt: skip
        language_model = GPT2LMHeadModel(shape)
    else:
        shape = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, bos_token_id=2, eos_token_id=2,
        )  # fmt: skip
        language_model = LlamaForCausalLM(shape)
    with torch.no_grad():
        for weight in language_model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    config = ClipCapConfig(
        mapping="mlp", tuning="full", encoder="none", language_model="random", clip_size=16, prefix_length=prefix_length
    )
    model = ClipCapModel(config, language_model, Letters()).eval()
    with torch.no_grad():
        model.mapper.model[2].weight.mul_(6)
    return model


def random_model(config):
    """Any language model of transformers, with weights scaled so that its logits differ."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    return model


def generate(model, features, **options):
    """transformers on a batch: the tokens of each row up to and without the stop token."""
    output = model.language_model.generate(
        inputs_embeds=model.prefix(features), max_new_tokens=12, eos_token_id=list(STOPS), pad_token_id=0,
        suppress_tokens=[0, 1], **options,
    ).tolist()  # fmt: skip
    return [until_stop(row) for row in output]


def until_stop(row, stops=STOPS):
    return list(takewhile(lambda token: token not in stops, row))


def tokens(found):
    return [caption.tokens for captions in found for caption in captions]


@torch.inference_mode()
def naive_contrastive(model, feature, k, alpha, history, limit, scorer=None, begin=()):
    """The formula, one image at a time, every text read from its beginning, in float64; `begin` is written already."""
    double = model.language_model
    prefix = model.prefix(feature[None]).double()
    embed, written = double.get_input_embeddings(), [*begin]

    def run(*texts):
        words = embed(torch.tensor(texts, dtype=torch.long))
        return double.base_model(inputs_embeds=torch.cat([prefix.repeat(len(texts), 1, 1), words], 1)).last_hidden_state

    while len(written) < limit:
        past = run(written)[0]
        logits = double.get_output_embeddings()(past[-1])
        logits[[0, 1]] = float("-inf")
        probabilities = logits.softmax(-1)
        against = past if history == "all" else past[prefix.shape[1] :]
        scores, candidates = [], probabilities.topk(k).indices.tolist()
        for candidate, state in zip(candidates, run(*([*written, one] for one in candidates))[:, -1], strict=True):
            penalty = float(torch.cosine_similarity(state[None], against).max()) if len(against) else 0.0
            scores.append(((1 - alpha) * float(probabilities[candidate]) - alpha * penalty, candidate))
        if scorer:
            bonus = scorer(written, [candidate for _, candidate in scores])
            scores = [(score + extra, candidate) for (score, candidate), extra in zip(scores, bonus, strict=True)]
        best = max(scores)[1]
        if best in STOPS:
            return written
        written.append(best)
    return written

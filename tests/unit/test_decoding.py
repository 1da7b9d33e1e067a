"""Every strategy against transformers' `generate` or a naive re-computation in float64, alone and in batches."""

import copy
import gc
import math
import weakref
from functools import cache, reduce
from itertools import takewhile
from operator import or_

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram, WordPiece
from transformers import (
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedTokenizerFast,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

import clipcap_lib.decoding.beam
import clipcap_lib.decoding.contrastive
import clipcap_lib.decoding.fast_gpt2
import clipcap_lib.decoding.kv_cache
from clipcap_lib.decoding.decode import Constraints, decode, to_text
from clipcap_lib.decoding.fast_gpt2 import Affine, is_plain_gpt2
from clipcap_lib.decoding.kv_cache import Continuation, Departure
from clipcap_lib.decoding.sampling import draw, filtered
from clipcap_lib.decoding.strategies import (
    Beam,
    BestOfN,
    Contrastive,
    Greedy,
    Magic,
    MinimumBayesRisk,
    Sample,
    build_strategy,
    describe,
    parse_strategy,
)
from clipcap_lib.model import ClipCapConfig, ClipCapModel

VOCABULARY, STOP = 60, 2
STOPS = (STOP, 9, 17, 31, 44)  # several, so that random weights stop at different lengths
FEATURES = torch.randn(32, 16, generator=torch.Generator().manual_seed(3))
KEYS = [f"image {i}" for i in range(32)]
TWELVE = Constraints(max_new_tokens=12, stop_tokens=STOPS)


class Letters:
    """A tokenizer of one character a token, whose token 2 ends a text."""

    sep_token_id, sep_token, unk_token_id, pad_token_id = STOP, None, 1, 0
    eos_token_id = mask_token_id = cls_token_id = None

    def decode(self, tokens, skip_special_tokens):
        return "".join(chr(0x4E00 + token) for token in tokens)


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


def generate(model, features, **options):
    """transformers on a batch: the tokens of each row up to and without the stop token."""
    output = model.language_model.generate(
        inputs_embeds=model.prefix(features), max_new_tokens=12, eos_token_id=list(STOPS), pad_token_id=0,
        suppress_tokens=[0, 1], **options,
    ).tolist()  # fmt: skip
    return [_until_stop(row) for row in output]


def _until_stop(row, stops=STOPS):
    return list(takewhile(lambda token: token not in stops, row))


def tokens(found):
    return [caption.tokens for captions in found for caption in captions]


families = pytest.mark.parametrize("family", ["gpt2", "llama"])


@families
@pytest.mark.parametrize("prefix_length", [1, 4, 10])
@pytest.mark.parametrize("batch", [1, 7, 32])
@torch.inference_mode()
def test_greedy_equals_generate(family, prefix_length, batch):
    model = captioner(family, prefix_length)
    ours = decode(model, FEATURES[:batch], Greedy(), TWELVE)
    assert tokens(ours) == generate(model, FEATURES[:batch], do_sample=False)
    if batch == 32:
        assert len({len(caption) for caption in tokens(ours)}) > 2, "the captions should stop at different lengths"


@families
@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@torch.inference_mode()
def test_beam_search_equals_generate_with_scores(family, width, length_penalty):
    model = captioner(family)
    ours = decode(model, FEATURES[:12], Beam(width=width, length_penalty=length_penalty, n=width), TWELVE)
    theirs = model.language_model.generate(
        inputs_embeds=model.prefix(FEATURES[:12]), max_new_tokens=12, eos_token_id=list(STOPS), pad_token_id=0,
        suppress_tokens=[0, 1], do_sample=False, num_beams=width, num_return_sequences=width,
        length_penalty=length_penalty, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    assert tokens(ours) == [_until_stop(row) for row in theirs.sequences.tolist()]
    if width > 1:
        scores = [caption.score for captions in ours for caption in captions]
        assert scores == pytest.approx(theirs.sequences_scores.tolist(), abs=1e-4)
    assert all(
        caption.score
        == pytest.approx(sum(caption.log_probabilities) / len(caption.log_probabilities) ** length_penalty, abs=1e-4)
        for captions in ours
        for caption in captions
    )


@families
@pytest.mark.parametrize(("prefix_length", "batch"), [(1, 1), (4, 32), (10, 5)])
@torch.inference_mode()
def test_beam_search_equals_generate_behind_any_prefix_and_in_any_batch(family, prefix_length, batch):
    model = captioner(family, prefix_length)
    ours = decode(model, FEATURES[:batch], Beam(), TWELVE)
    assert tokens(ours) == generate(model, FEATURES[:batch], do_sample=False, num_beams=5)


@families
@pytest.mark.parametrize("steps", [1, 5])
@torch.inference_mode()
def test_what_no_beam_looks_back_at_leaves_the_cache_and_changes_nothing(family, steps, monkeypatch):
    lengths = []
    step = Continuation.step
    monkeypatch.setattr(clipcap_lib.decoding.beam, "TIDY", steps)
    monkeypatch.setattr(Continuation, "step", lambda lm, *read: (lengths.append(lm.length), step(lm, *read))[1])
    model, constraints = captioner(family), TWELVE.model_copy(update={"no_repeat_ngram": 2})
    ours = tokens(decode(model, FEATURES, Beam(), constraints))
    assert ours == generate(model, FEATURES, do_sample=False, num_beams=5, no_repeat_ngram_size=2)
    everything = [model.config.prefix_length + 5 * read for read in range(len(lengths))]
    assert all(length <= least for length, least in zip(lengths, everything, strict=True))
    assert lengths[-1] < everything[-1] - 5


@torch.inference_mode()
def test_the_bundled_language_models_decode_as_generate_does(project):
    """Trained weights: the tiny GPT-2 of either language behind a random mapping network."""
    for language in ("zh", "en"):
        torch.manual_seed(2)
        config = ClipCapConfig(
            mapping="mlp", tuning="frozen", encoder="none", clip_size=16,
            language_model=str(project / "data" / "models" / f"tiny-gpt2-{language}"),
        )  # fmt: skip
        model = ClipCapModel.build(config).eval()
        constraints = Constraints(max_new_tokens=15, banned_tokens=())
        options = {"max_new_tokens": 15, "eos_token_id": list(model.stop_tokens), "pad_token_id": 0, "do_sample": False}
        for strategy, beams in ((Greedy(), 1), (Beam(width=3), 3), (Beam(), 5)):
            ours = tokens(decode(model, FEATURES[:8], strategy, constraints))
            prefix = model.prefix(FEATURES[:8])
            theirs = model.language_model.generate(inputs_embeds=prefix, num_beams=beams, **options)
            assert ours == [_until_stop(row.tolist(), model.stop_tokens) for row in theirs]


@families
@torch.inference_mode()
def test_adapters_are_decoded_as_generate_does(family):
    plain, random = captioner(family), torch.Generator().manual_seed(5)
    config = plain.config.model_copy(update={"tuning": "lora"})
    with torch.inference_mode(False):
        model = ClipCapModel(config, copy.deepcopy(plain.language_model), Letters()).eval()
        model.mapper = plain.mapper
        for name, weight in model.trainable().items():
            if "lora_B" in name:  # zero before training
                weight.data = torch.randn(weight.shape, generator=random) / 10
    for strategy, options in ((Greedy(), {}), (Beam(width=3), {"num_beams": 3})):
        ours = tokens(decode(model, FEATURES[:8], strategy, TWELVE))
        assert ours == generate(model, FEATURES[:8], do_sample=False, **options)
        assert ours != tokens(decode(plain, FEATURES[:8], strategy, TWELVE)), "the adapters should matter"


PENALTIES = [{"min_new_tokens": 5}, {"repetition_penalty": 1.3}, {"no_repeat_ngram": 2}]


@pytest.mark.parametrize("constraints", [*PENALTIES, reduce(or_, PENALTIES)], ids=lambda given: "+".join(given))
@torch.inference_mode()
def test_constraints_equal_those_of_generate(constraints):
    model = captioner("gpt2")
    theirs = {
        "no_repeat_ngram_size" if name == "no_repeat_ngram" else name: given for name, given in constraints.items()
    }
    for strategy, extra in ((Greedy(), {}), (Beam(width=1), {}), (Beam(width=3), {"num_beams": 3})):
        ours = tokens(decode(model, FEATURES[:12], strategy, TWELVE.model_copy(update=constraints)))
        assert ours == generate(model, FEATURES[:12], do_sample=False, **theirs, **extra)
        assert min(map(len, ours)) >= constraints.get("min_new_tokens", 0)


STRATEGIES = [
    Greedy(), Beam(width=3, n=2), Sample(top_p=0.9, seed=4), Sample(top_k=5, temperature=0.7, n=3),
    Contrastive(k=4, alpha=0.6), Contrastive(k=3, alpha=0.3, history="generated"), Magic(k=4, alpha=0.1, beta=2.0),
    BestOfN(n=4), MinimumBayesRisk(n=4), Greedy(n=3), Contrastive(k=2, alpha=0.6, n=4),
]  # fmt: skip


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


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_batch_equals_its_rows_alone(family, strategy):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    together = decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers)
    parts = decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers, batch_size=5)
    alone = [decode(model, FEATURES[i : i + 1], strategy, TWELVE, [key], **helpers)[0] for i, key in enumerate(KEYS)]
    assert tokens(together) == tokens(parts) == tokens(alone)


# --- contrastive search --------------------------------------------------------------------------------------------


@torch.inference_mode()
def naive_contrastive(model, feature, k, alpha, history, limit, guide=None, begin=()):
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
        if guide:
            bonus = guide(written, [candidate for _, candidate in scores])
            scores = [(score + extra, candidate) for (score, candidate), extra in zip(scores, bonus, strict=True)]
        best = max(scores)[1]
        if best in STOPS:
            return written
        written.append(best)
    return written


@pytest.fixture
def doubled():
    """The same model in float64, and put back."""
    models = []

    def double(model):
        models.append(model)
        return model.double()

    yield double
    for model in models:
        model.float()


@families
@pytest.mark.parametrize("history", ["all", "generated"])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_contrastive_search_equals_its_formula(family, history, k, doubled):
    model, features, alphas = captioner(family), FEATURES[:3], (0.0, 0.1, 0.6, 0.9)
    ours = {
        alpha: tokens(decode(model, features, Contrastive(k=k, alpha=alpha, history=history), TWELVE))
        for alpha in alphas
    }
    double = doubled(model)
    for alpha in alphas:
        assert ours[alpha] == [
            naive_contrastive(double, feature.double(), k, alpha, history, 12) for feature in features
        ]
    assert len({len(caption) for caption in ours[0.6]}) > 1, "some row should stop before the others"


@families
def test_contrastive_search_without_penalty_or_choice_is_greedy(family):
    model = captioner(family)
    greedy = tokens(decode(model, FEATURES, Greedy(), TWELVE))
    assert tokens(decode(model, FEATURES, Contrastive(k=5, alpha=0), TWELVE)) == greedy
    assert tokens(decode(model, FEATURES, Contrastive(k=1, alpha=0.6), TWELVE)) == greedy


@families
@pytest.mark.parametrize(
    "strategy",
    [
        Greedy(n=5), Contrastive(k=4, alpha=0.6, n=5), Contrastive(k=6, alpha=0.9, n=3),
        Contrastive(k=6, alpha=1.0, n=3), Contrastive(k=2, alpha=1.0, n=6),
    ],
    ids=describe,
)  # fmt: skip
def test_of_several_captions_the_first_is_the_searchs_and_the_others_begin_otherwise(family, strategy, doubled):
    model, one = captioner(family), strategy.model_copy(update={"n": 1})
    alone = [caption for (caption,) in decode(model, FEATURES, one, TWELVE)]
    some = [number for number, own in enumerate(alone) if own.tokens][:3]
    found = decode(model, FEATURES[some], strategy, TWELVE)
    double, (k, alpha) = doubled(model), (getattr(strategy, "k", 1), getattr(strategy, "alpha", 0.0))
    unlikely = [number for number in some if alone[number].tokens[0] != likeliest(double, FEATURES[number].double())[0]]
    assert unlikely or alpha < 1, "without a say of the probability, some caption should not begin with the likeliest"
    for number, captions in zip(some, found, strict=True):
        feature, own = FEATURES[number].double(), alone[number].tokens
        others = [token for token in likeliest(double, feature) if token != own[0]]
        assert [caption.tokens for caption in captions] == [own] + [
            [] if token in STOPS else naive_contrastive(double, feature, k, alpha, "all", 12, begin=[token])
            for token in others[: strategy.n - 1]
        ]


@torch.inference_mode()
def likeliest(model, feature):
    """Allowed first tokens, the most probable first."""
    prefix = model.prefix(feature[None])
    logits = model.language_model(inputs_embeds=prefix).logits[0, -1]
    return [token for token in logits.argsort(descending=True).tolist() if token not in (0, 1)]


def test_a_constraint_that_forbids_nothing_changes_nothing_where_probabilities_underflow():
    model = copy.deepcopy(captioner("gpt2"))
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(100)
    free = Constraints(max_new_tokens=6, stop_tokens=())
    bound = free.model_copy(update={"no_repeat_ngram": 6})
    strategy = Contrastive(k=20, alpha=1.0)
    assert tokens(decode(model, FEATURES, strategy, bound)) == tokens(decode(model, FEATURES, strategy, free))


def test_contrastive_search_reads_each_token_once():
    """One forward a token beside the prefix's, whatever k is: each reads its tokens' embeddings once."""
    model, calls = captioner("gpt2"), []
    hook = model.language_model.get_input_embeddings().register_forward_hook(lambda *_: calls.append(1))
    decode(model, FEATURES[:3], Contrastive(k=8, alpha=0.6), Constraints(max_new_tokens=6, stop_tokens=()))
    hook.remove()
    assert len(calls) == 6


def test_magic_equals_its_formula(doubled):
    model, features = captioner("gpt2"), FEATURES[:6]
    ours = tokens(decode(model, features, Magic(k=4, alpha=0.2, beta=3.0), TWELVE, judge=Judge))
    plain = tokens(decode(model, features, Contrastive(k=4, alpha=0.2), TWELVE))
    double = doubled(model)

    def guided(feature):
        def guide(written, candidates):
            text = [Letters().decode([*written, candidate], True) for candidate in candidates]
            cosines = torch.cosine_similarity(Judge.encode_texts(text).double(), feature.double()[None])
            return (3.0 * (Judge.logit_scale * cosines).softmax(-1)).tolist()

        return guide

    naive = [naive_contrastive(double, f.double(), 4, 0.2, "all", 12, guided(f)) for f in features]
    assert ours == naive
    assert ours != plain, "the judge should change something"
    several = decode(model.float(), features, Magic(k=4, alpha=0.2, beta=3.0, n=6), TWELVE, judge=Judge)
    assert [captions[0].tokens for captions in several] == ours


# --- sampling ------------------------------------------------------------------------------------------------------


def warped(logits, strategy):
    """The distribution transformers draws from."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(strategy.temperature)])
    if strategy.top_k:
        warpers.append(TopKLogitsWarper(strategy.top_k))
    if strategy.top_p < 1:
        warpers.append(TopPLogitsWarper(strategy.top_p))
    if strategy.min_p:
        warpers.append(MinPLogitsWarper(strategy.min_p))
    if strategy.typical_p < 1:
        warpers.append(TypicalLogitsWarper(strategy.typical_p))
    return warpers(None, logits).softmax(-1)


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.8}, {"top_p": 0.3, "temperature": 1.7}, {"top_k": 7}, {"top_k": 20, "top_p": 0.6}, {"min_p": 0.1},
        {"typical_p": 0.7}, {"top_k": 30, "typical_p": 0.5}, {"top_p": 0.9, "min_p": 0.02}, {"top_k": 5000}, {},
    ],
    ids=str,
)  # fmt: skip
def test_the_filtered_distribution_is_that_of_the_library(options, scale):
    """Peaked rows are settled by the first tokens alone, flat ones need the whole vocabulary."""
    spread = scale * torch.linspace(0.2, 2, 50)[:, None]
    logits = torch.randn(50, 3000, generator=torch.Generator().manual_seed(7)) * spread
    logits[:, 5] = float("-inf")
    strategy = Sample(**options)
    ours = torch.full_like(logits, math.nan)
    for rows, scores, ids in filtered(logits.clone(), strategy):
        found = scores.softmax(-1)
        ours[rows] = found if ids is None else torch.zeros_like(logits[rows]).scatter_(1, ids, found)
    expected = warped(logits, strategy)
    assert torch.equal(ours > 0, expected > 0)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-4)


def test_ties_at_the_edge_of_top_k_stay_in_as_in_the_library():
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0, 0.0]])
    (settled, _, ids), (open_row, scores, every) = filtered(logits, Sample(top_k=2))
    assert settled.tolist() == [1]
    assert ids.tolist() == [[0, 1]]
    assert open_row.tolist() == [0]
    assert every is None
    assert torch.isfinite(scores).tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"top_k": 6}], ids=str)
def test_sampling_draws_from_the_distribution(options):
    """4,000 first tokens against the distribution: chi-square within six deviations of its mean."""
    model, n = captioner("gpt2"), 4000
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(0.1)
    try:
        strategy = Sample(n=n, **options)
        drawn = decode(model, FEATURES[:1], strategy, Constraints(max_new_tokens=1, stop_tokens=()))[0]
        with torch.inference_mode():
            logits = model.language_model(inputs_embeds=model.prefix(FEATURES[:1])).logits[:, -1].clone()
            logits[:, [0, 1]] = float("-inf")
            expected = warped(logits, strategy)[0].double() * n
    finally:
        with torch.no_grad():
            model.language_model.lm_head.weight.div_(0.1)
    observed = torch.bincount(torch.tensor([caption.tokens[0] for caption in drawn]), minlength=VOCABULARY)
    assert not observed[expected == 0].any()
    cells = expected >= 5
    statistic = ((observed[cells] - expected[cells]) ** 2 / expected[cells]).sum().item()
    freedom = int(cells.sum()) - 1
    assert freedom >= 3
    assert statistic < freedom + 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("options", [{"top_p": 0.9}, {"top_k": 7}, {"top_k": 30, "top_p": 0.6}], ids=str)
def test_a_draw_does_not_depend_on_the_other_rows(options):
    """Peaked rows are settled by their likeliest tokens; for a flat or a tied one the whole vocabulary is sorted."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(40, 3000, generator=generator) * torch.linspace(0.1, 8, 40)[:, None]
    logits[7, :40] = 30.0  # a tie at the edge of top-k and of the nucleus
    uniform, strategy = torch.rand(40, generator=generator, dtype=torch.float64), Sample(**options)
    together = draw(logits.clone(), strategy, uniform).tolist()
    alone = [draw(logits[i : i + 1].clone(), strategy, uniform[i : i + 1]).item() for i in range(40)]
    assert together == alone
    paths = {ids is None for rows, _, ids in filtered(logits.clone(), strategy) if len(rows)}
    assert paths == {True, False}, "some rows should need the whole vocabulary, and some not"


@pytest.mark.parametrize("options", [{"top_k": 50, "top_p": 0.9}, {"top_k": 50, "typical_p": 0.5}, {"top_k": 50}])
def test_ties_of_bfloat16_are_broken_alike_in_any_batch(options):
    generator = torch.Generator().manual_seed(5)
    logits = (torch.randn(1, 3000, generator=generator) * 2).bfloat16().float().repeat(200, 1)
    logits[0, :60] = 30.0  # more than k: this row needs the whole vocabulary
    uniform, strategy = torch.rand(200, generator=generator, dtype=torch.float64), Sample(**options)
    together = draw(logits.clone(), strategy, uniform)[1:].tolist()
    assert together == [draw(logits[i : i + 1].clone(), strategy, uniform[i : i + 1]).item() for i in range(1, 200)]


def test_a_beam_that_can_go_no_further_leaves_the_others_to_go_on():
    model = captioner("gpt2")
    words = [token for token in range(3, VOCABULARY) if token not in STOPS][:4]
    banned = tuple(token for token in range(VOCABULARY) if token not in words)
    constraints = Constraints(max_new_tokens=12, stop_tokens=(), banned_tokens=banned, no_repeat_ngram=2)
    found = tokens(decode(model, FEATURES[:12], Beam(width=3), constraints))
    options = {"no_repeat_ngram_size": 2, "do_sample": False, "num_beams": 3}
    expected = model.language_model.generate(
        inputs_embeds=model.prefix(FEATURES[:12]), max_new_tokens=12, suppress_tokens=list(banned), eos_token_id=None,
        pad_token_id=0, **options,
    ).tolist()  # fmt: skip
    assert found == expected


def test_a_draw_is_the_inverse_of_the_cumulative_distribution():
    logits = torch.tensor([[0.5, 0.2, 0.3]]).log().repeat(4, 1)
    uniform = torch.tensor([0.0, 0.49, 0.6, 0.999], dtype=torch.float64)
    assert draw(logits, Sample(), uniform).tolist() == [0, 0, 1, 2]


def test_captions_of_one_image_differ_and_do_not_depend_on_how_many_are_drawn():
    model = captioner("gpt2")
    three, five = (decode(model, FEATURES[:2], Sample(temperature=2.0, n=n), TWELVE, KEYS[:2]) for n in (3, 5))
    for few, many in zip(three, five, strict=True):
        assert {tuple(caption.tokens) for caption in few} <= {tuple(caption.tokens) for caption in many}
        assert len({tuple(caption.tokens) for caption in many}) > 1


# --- choosing among captions ---------------------------------------------------------------------------------------


def test_best_of_n_keeps_what_the_judge_finds_nearest():
    found = decode(captioner("gpt2"), FEATURES, BestOfN(n=5), TWELVE, judge=Judge)
    for image, captions in zip(FEATURES, found, strict=True):
        cosines = torch.cosine_similarity(Judge.encode_texts([caption.text for caption in captions]), image[None])
        assert cosines.argmax() == 0
        assert [caption.score for caption in captions] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_minimum_bayes_risk_keeps_what_the_others_agree_with():
    for captions in decode(captioner("gpt2"), FEATURES, MinimumBayesRisk(n=5), TWELVE, utility=agreement):
        scores = agreement([caption.text for caption in captions])
        assert scores[0] == max(scores)


# --- GPT-2's short way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("candidates", [1, 4])
@torch.inference_mode()
def test_the_fast_step_equals_the_models_own_forward(candidates):
    """Step by step, with and without a mask, against transformers' forward on a cache of its own."""
    model, generator = captioner("gpt2"), torch.Generator().manual_seed(0)
    prefix, embed = model.prefix(FEATURES[:3]), model.language_model.get_input_embeddings()
    lm, cache = Continuation(model.language_model, prefix, 40), DynamicCache()
    body = model.language_model.base_model
    assert lm.fast_step
    read = body(inputs_embeds=prefix, past_key_values=cache).last_hidden_state
    torch.testing.assert_close(lm.prefix_hidden, read, atol=1e-5, rtol=1e-5)
    for step in range(4):
        tokens = torch.randint(3, VOCABULARY, (3, candidates), generator=generator)
        length = lm.length + candidates
        mask = torch.zeros(1, 1, candidates, length).masked_fill(
            torch.rand(1, 1, candidates, length, generator=generator) < 0.3, torch.finfo(torch.float32).min
        )
        theirs = body(
            inputs_embeds=embed(tokens), attention_mask=mask, past_key_values=cache,
            position_ids=torch.full((1, candidates), prefix.shape[1] + step),
        ).last_hidden_state  # fmt: skip
        torch.testing.assert_close(lm.step(tokens, mask), theirs, atol=1e-5, rtol=1e-5)


@families
@torch.inference_mode()
def test_a_prefix_read_for_its_end_alone_leaves_the_same_keys_and_values(family):
    model = captioner(family)
    prefix = model.prefix(FEATURES[:3])
    whole, end = (Continuation(model.language_model, prefix, 4, end_only=only) for only in (False, True))
    assert whole.prefix_hidden.shape == prefix.shape
    torch.testing.assert_close(end.prefix_hidden, whole.prefix_hidden[:, -1:], atol=1e-5, rtol=1e-5)
    for mine, other in zip(end.cache.layers, whole.cache.layers, strict=True):
        for name in ("keys", "values"):
            states = (getattr(layer, name)[:, :, : whole.length] for layer in (mine, other))
            torch.testing.assert_close(*states)


KERNELS = {
    "addmm": {"AVX512": False, "LARGE": math.inf},
    "oneDNN": {"AVX512": False, "LARGE": 0, "LARGE_A_ROW": 0, "SHARED_A_ROW": 0},
    "oneDNN with AVX-512": {"AVX512": clipcap_lib.decoding.fast_gpt2.ONEDNN, "LARGE": 0},
    "by columns": {"AVX512": False, "LARGE": 0, "SHARED_A_ROW": math.inf},
}


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("kernel", KERNELS)
@torch.inference_mode()
def test_a_product_is_the_same_by_every_kernel(kernel, rows, monkeypatch):
    """Both layouts a weight can have: Conv1D's with a bias, and a vocabulary head's without; 5 threads divide no 96."""
    for name, value in KERNELS[kernel].items():
        monkeypatch.setattr(clipcap_lib.decoding.fast_gpt2, name, value)
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((rows, 48), (48, 96), (96,)))
    for threads in (1, 2, 3, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for laid_out, added in ((weight, bias), (weight.t().contiguous().t(), None)):
            expected = x.double() @ weight.double() + (0 if added is None else added)
            torch.testing.assert_close(Affine(laid_out, added)(x).double(), expected, atol=1e-5, rtol=1e-5)
        expected = F.gelu(x.double() @ weight.double() + bias, approximate="tanh")
        torch.testing.assert_close(Affine(weight, bias).gelu(x).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_fast_step_is_for_plain_gpt2_only(make_model):
    assert is_plain_gpt2(make_model("mlp", "full").language_model)
    assert not is_plain_gpt2(make_model("mlp", "lora").language_model)
    assert not is_plain_gpt2(captioner("llama").language_model)
    unusual = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9, scale_attn_by_inverse_layer_idx=True)
    assert not is_plain_gpt2(GPT2LMHeadModel(unusual))


# --- what a caption carries ----------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize(
    "strategy", [Greedy(), Beam(width=3), Contrastive(k=4, alpha=0.6), Sample(top_p=0.9)], ids=describe
)
@torch.inference_mode()
def test_log_probabilities_equal_an_uncached_forward(family, strategy):
    model = captioner(family)
    for feature, (caption, *_) in zip(FEATURES, decode(model, FEATURES, strategy, TWELVE), strict=True):
        ids = torch.tensor(caption.tokens, dtype=torch.long)
        prefix = model.prefix(feature[None])
        words = model.language_model.get_input_embeddings()(ids)[None]
        logits = model.language_model(inputs_embeds=torch.cat([prefix, words], dim=1)).logits[0]
        at = torch.arange(len(ids)) + prefix.shape[1] - 1
        expected = logits.log_softmax(-1)[at, ids]
        assert len(caption.log_probabilities) == len(ids) + (caption.stopped == "end")
        ours = torch.tensor(caption.log_probabilities[: len(ids)])
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("strategy", [Greedy(), Beam(width=3, n=3), Contrastive(k=4, alpha=0.6)], ids=describe)
@torch.inference_mode()
def test_log_probabilities_are_the_models_own_under_a_penalty(strategy):
    model = captioner("gpt2")
    constraints = TWELVE.model_copy(update={"repetition_penalty": 1.7, "min_new_tokens": 3})
    for feature, captions in zip(FEATURES, decode(model, FEATURES, strategy, constraints), strict=True):
        for caption in captions:
            ids = torch.tensor(caption.tokens)
            inputs = torch.cat([model.prefix(feature[None]), model.language_model.get_input_embeddings()(ids)[None]], 1)
            own = model.language_model(inputs_embeds=inputs).logits[0, 3:-1].log_softmax(-1)
            expected = own[torch.arange(len(ids)), ids].tolist()
            assert caption.log_probabilities[: len(ids)] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
@pytest.mark.parametrize("images", [0, 1])
def test_no_image_and_a_single_token(strategy, images):
    one = Constraints(max_new_tokens=1, stop_tokens=())
    helpers = {"judge": Judge, "utility": agreement}
    found = decode(captioner("gpt2"), FEATURES[:images], strategy, one, **helpers)
    assert len(found) == images
    assert all(len(caption.tokens) == 1 for captions in found for caption in captions)


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_cache_that_grows_changes_nothing(family, strategy, monkeypatch):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    before = decode(model, FEATURES[:3], strategy, TWELVE, KEYS[:3], **helpers)
    for module in (clipcap_lib.decoding.kv_cache, clipcap_lib.decoding.contrastive):
        monkeypatch.setattr(module, "FIRST_ROOM", 5)
    assert tokens(decode(model, FEATURES[:3], strategy, TWELVE, KEYS[:3], **helpers)) == tokens(before)


def test_a_limit_of_many_positions_costs_no_memory_before_they_are_used():
    model = captioner("gpt2")
    prefix = model.prefix(FEATURES[:1])
    lm = Continuation(model.language_model, prefix, 10**6)
    assert lm.cache.layers[0].keys.shape[2] < 1000
    assert clipcap_lib.decoding.contrastive._History(lm.prefix_hidden, 10**6, "all").states.shape[1] < 1000


@families
def test_the_memory_of_a_search_is_free_when_it_ends(family):
    model = captioner(family)
    lm = Continuation(model.language_model, model.prefix(FEATURES[:1]), 10)
    (memory,) = map(weakref.ref, lm.memories.values())
    gc.disable()
    try:
        del lm
        assert memory() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("length_penalty", [-10.0, -7.0, 10.0])
def test_beams_are_finished_hypotheses_whatever_the_length_penalty(length_penalty):
    for row in decode(captioner("gpt2"), FEATURES, Beam(width=3, n=3, length_penalty=length_penalty), TWELVE):
        for caption in row:
            steps = caption.log_probabilities
            assert caption.score == pytest.approx(sum(steps) / len(steps) ** length_penalty, rel=1e-4)
            assert caption.stopped == "end" or len(caption.tokens) == 12


def test_a_long_beam_is_no_worse_than_one_that_does_not_count():
    shape = GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, n_positions=600, bos_token_id=2, eos_token_id=2)
    config = captioner("gpt2").config.model_copy(update={"prefix_length": 1})
    model, limit = ClipCapModel(config, GPT2LMHeadModel(shape), Letters()).eval(), Constraints(max_new_tokens=550)
    beam = Beam(width=2, length_penalty=-10)
    ((caption,),) = decode(model, FEATURES[:1], beam, limit.model_copy(update={"stop_tokens": ()}))
    assert len(caption.tokens) == 550
    assert caption.score == pytest.approx(sum(caption.log_probabilities) * 550.0**10, rel=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_model_in_training_decodes_without_dropout_and_goes_on_training(strategy):
    model, helpers = captioner("gpt2"), {"judge": Judge, "utility": agreement}
    training = copy.deepcopy(model).train()
    assert training.language_model.config.resid_pdrop > 0
    found = decode(training, FEATURES[:4], strategy, TWELVE, **helpers)
    assert tokens(found) == tokens(decode(model, FEATURES[:4], strategy, TWELVE, **helpers))
    assert training.training
    assert training.language_model.training


def test_padding_that_the_model_does_not_know_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(Letters, "pad_token_id", VOCABULARY)
    known = TWELVE.model_copy(update={"banned_tokens": (Letters.unk_token_id,)})
    found, expected = (decode(captioner("gpt2"), FEATURES, Greedy(), given) for given in (TWELVE, known))
    assert tokens(found) == tokens(expected)


def test_what_processors_forbid_is_not_chosen_for_being_unlike():
    constraints = Constraints(max_new_tokens=4, min_new_tokens=4, stop_tokens=tuple(range(10, VOCABULARY)))
    captions = decode(captioner("gpt2"), FEATURES, Contrastive(k=20, alpha=1.0), constraints)
    assert {len(caption.tokens) for (caption,) in captions} == {4}


def test_a_prefix_that_leaves_no_position_is_refused():
    model = captioner("llama")
    model.language_model.config.sliding_window = model.config.prefix_length
    try:
        with pytest.raises(ValueError, match="the prefix takes all 4 positions"):
            decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=None))
    finally:
        del model.language_model.config.sliding_window


def test_a_window_bounds_the_caption_like_the_positions_do():
    model = captioner("llama")
    model.language_model.config.sliding_window = 14
    try:
        with pytest.raises(ValueError, match="14 positions less the prefix leave 10"):
            decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=11))
    finally:
        del model.language_model.config.sliding_window


def test_a_caption_that_never_ends_stops_at_the_limit():
    captions = decode(captioner("gpt2"), FEATURES, Greedy(), Constraints(max_new_tokens=2, stop_tokens=()))
    assert {(len(caption.tokens), caption.stopped) for (caption,) in captions} == {(2, "length")}


def test_banned_and_stop_tokens_are_kept():
    model = captioner("gpt2")
    free = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12))
    common = max(range(3, VOCABULARY), key=lambda token: sum(token in caption.tokens for (caption,) in free))
    banned = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12, banned_tokens=(common,)))
    assert not any(common in caption.tokens for (caption,) in banned)
    ended = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12, stop_tokens=(STOP, common)))
    for (before,), (after,) in zip(free, ended, strict=True):
        cut = before.tokens.index(common) if common in before.tokens else len(before.tokens)
        assert after.tokens == before.tokens[:cut]


def test_rows_that_leave_make_room_without_moving_those_that_stay():
    leaving = torch.tensor([False, True, False, True, False, False])
    departure = Departure.of(leaving)
    assert departure.apply(torch.arange(6)).tolist() == [0, 4, 2, 5]


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_every_strategy_works_in_bfloat16(family, strategy, device):
    """Log-probabilities of what was written stay near those that the float32 model gives the same tokens."""
    model, half = captioner(family), copy.deepcopy(captioner(family)).to(device, torch.bfloat16)
    captions = decode(half, FEATURES[:4], strategy, TWELVE, judge=Judge, utility=agreement)
    for feature, row in zip(FEATURES, captions, strict=False):
        for caption in row:
            ids = torch.tensor(caption.tokens, dtype=torch.long)
            words = model.language_model.get_input_embeddings()(ids)[None]
            with torch.inference_mode():
                inputs = torch.cat([model.prefix(feature[None]), words], 1)
                own = model.language_model(inputs_embeds=inputs).logits[0, 3:].log_softmax(-1)
            ours, expected = torch.tensor(caption.log_probabilities[: len(ids)]), own[torch.arange(len(ids)), ids]
            assert all(math.isfinite(value) for value in caption.log_probabilities)
            assert len(ids) == 0 or (ours - expected).abs().mean() < 1.0


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_a_gpu_writes_what_the_cpu_writes(family, strategy, device):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    on_gpu = decode(copy.deepcopy(model).to(device), FEATURES, strategy, TWELVE, KEYS, **helpers)
    assert tokens(on_gpu) == tokens(decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers))


# --- bad input -----------------------------------------------------------------------------------------------------

ALL_BUT_STOP = tuple(token for token in range(VOCABULARY) if token != STOP)
NOTHING_LEFT = Constraints(max_new_tokens=5, min_new_tokens=2, stop_tokens=(STOP,), banned_tokens=ALL_BUT_STOP)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("contrastive", {"k": 4}, "contrastive: option 'alpha' is required"),
        ("contrastive", {"k": 4, "alpha": 1.5}, "alpha: input should be less than or equal to 1"),
        ("contrastive", {"k": 4, "alfa": 0.6}, "did you mean 'alpha'"),
        ("contrastve", {}, "did you mean 'contrastive'"),
        ("greedy", {"k": 4}, "it has no option 'k'"),
        ("sample", {"top_p": 1.5}, "top_p"),
        ("sample", {"temperature": math.inf}, "temperature: input should be a finite number"),
        ("beam", {"length_penalty": math.nan}, "length_penalty: input should be a finite number"),
        ("beam", {"width": 2, "n": 3}, "beam: n: input should be at most the width, 2, not 3"),
        ("beam", {"n": 6}, "beam: n: input should be at most the width, 5, not 6"),
    ],
)
def test_impossible_strategies_are_refused_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        build_strategy(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Contrastive(k=4), "contrastive: option 'alpha' is required"),
        (lambda: Sample(temperature=1e-40), "sample: temperature: input should be greater than or equal to 0.0001"),
        (lambda: Constraints(max_new_tokens=0), "constraints: max_new_tokens: input should be greater than 0, not 0"),
        (lambda: Constraints(max_tokens=9), "it has no option 'max_tokens'; did you mean 'max_new_tokens'"),
        (lambda: Constraints(banned_tokens=(3, "x")), "banned_tokens: .* not 'x'"),
    ],
)
def test_impossible_options_are_refused_in_one_line_from_python_too(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        (Contrastive(k=61, alpha=0.6), {}, "61 candidates a step, but the vocabulary allows 58"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=None, stop_tokens=())}, "would never end"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=61)}, "64 positions less the prefix leave 60"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=5, min_new_tokens=6)}, "above the limit"),
        (Greedy(), {"constraints": Constraints(banned_tokens=(99,))}, "token 99 is not in the vocabulary"),
        ("greedy", {}, r"strategy is 'greedy'; build one, such as Greedy\(\)"),
        (Greedy(), {"keys": ["a"]}, "32 images but 1 keys"),
        (Greedy(), {"batch_size": 0}, "batch_size is 0"),
        (Greedy(), {"constraints": NOTHING_LEFT}, "1 candidates a step, but the vocabulary allows 0"),
        (Beam(width=2), {"constraints": NOTHING_LEFT}, "2 candidates a step, but the vocabulary allows"),
        (
            Contrastive(k=1, alpha=0.5),
            {"constraints": NOTHING_LEFT},
            "1 candidates a step, but the vocabulary allows 0",
        ),
        (Beam(width=61), {}, "61 candidates a step, but the vocabulary allows 58"),
        (
            Greedy(n=54),
            {"constraints": Constraints(min_new_tokens=1, stop_tokens=STOPS)},
            "n is 54, but only 53 tokens may",
        ),
        (Greedy(), {"constraints": Constraints(stop_tokens=(9,), banned_tokens=(9,))}, "is banned and ends captions"),
        (Magic(k=4, alpha=0.1, beta=1), {}, "magic needs an encoder that reads the captions"),
        (BestOfN(), {}, "best-of-n needs an encoder that reads the captions"),
        (MinimumBayesRisk(), {}, "mbr needs utility="),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_before_the_first_forward(strategy, options, message):
    model = captioner("gpt2")
    hook = model.mapper.register_forward_pre_hook(lambda *_: pytest.fail("a forward pass was made"))
    try:
        with pytest.raises(ValueError, match=message):
            decode(model, FEATURES, strategy, **options)
    finally:
        hook.remove()


@pytest.mark.parametrize(
    "strategy", [Greedy(), Sample(), Sample(top_p=0.9), Beam(), Contrastive(k=2, alpha=0.5)], ids=describe
)
def test_constraints_that_leave_no_token_are_an_error(strategy):
    """Eight tokens, none twice, for a caption of twelve."""
    constraints = Constraints(
        max_new_tokens=12, no_repeat_ngram=1, stop_tokens=(), banned_tokens=tuple(range(8, VOCABULARY))
    )
    with pytest.raises(ValueError, match="leave a caption no token to go on with"):
        decode(captioner("gpt2"), FEATURES[:3], strategy, constraints)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3, 17), r"must be \[images, 16\]"),
        (torch.zeros(16), r"must be \[images, 16\]"),
        (torch.zeros(3, 16).index_fill(0, torch.tensor(1), math.nan), "features of image 1 are not finite"),
    ],
)
def test_features_that_are_none_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        decode(captioner("gpt2"), features, Greedy(), TWELVE)


@pytest.mark.parametrize("strategy", [Greedy(), Beam(), Contrastive(k=2, alpha=0.5)], ids=describe)
def test_logits_that_are_not_numbers_are_an_error(strategy):
    model = captioner("gpt2")
    bias = model.language_model.transformer.ln_f.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(float("nan"))
    try:
        with pytest.raises(ValueError, match="not finite"):
            decode(model, FEATURES, strategy, TWELVE)
    finally:
        with torch.no_grad():
            bias.copy_(kept)


def test_a_strategy_is_written_and_read():
    for strategy in STRATEGIES:
        assert parse_strategy(describe(strategy)) == strategy
    with pytest.raises(ValueError, match="an option is given twice"):
        parse_strategy("beam width:3 width:5")
    with pytest.raises(ValueError, match="option:value"):
        parse_strategy("beam 5")
    for text in ("", "beam name:greedy"):
        with pytest.raises(ValueError, match="decoding strategy"):
            parse_strategy(text)


def test_chinese_is_joined_and_english_words_kept_apart(make_model):
    tokenizer = make_model("mlp").tokenizer
    ids = tokenizer.convert_tokens_to_ids(["一", "只", "猫", "dvd", "tv", "，", "狗", "[SEP]"])
    assert to_text(tokenizer, ids) == "一只猫dvd tv，狗"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a dog , a café bar !", "a dog, a café bar!"),
        ("a man ' s black - and - white hat : cute", "a man's black-and-white hat: cute"),
        ("“ 你 好 ” 3 只 dog , 一 只 猫", "“你好”3只dog,一只猫"),
        ("高 3 . 5 米 ， 50 % 的 人 ， 10 : 30 ， 1 , 000", "高3.5米，50%的人，10:30，1,000"),
        ("猫 … … 狗 — — t - 恤", "猫……狗——t-恤"),
        ("강아지 한 마리", "강아지 한 마리"),
    ],
)
def test_only_chinese_loses_its_spaces(written, expected):
    words = {word: number for number, word in enumerate(dict.fromkeys(["[UNK]", *written.split()]))}
    made = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece(cleanup=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")
    assert to_text(tokenizer, [words[word] for word in written.split()]) == expected


def test_text_with_spaces_of_its_own_keeps_them():
    """XGLM's tokenizer has a sep_token too, and is no WordPiece."""
    vocabulary = [("<unk>", 0.0), ("</s>", 0.0), ("▁tête", -1.0), ("▁énorme", -1.0), (",", -1.0)]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(Unigram(vocabulary, unk_id=0)), sep_token="</s>", eos_token="</s>"
    )
    tokenizer.backend_tokenizer.decoder = decoders.Metaspace()
    assert to_text(tokenizer, [2, 4, 3, 1]) == "tête, énorme"

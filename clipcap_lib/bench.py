"""`make bench`: what packing and our decoding loop save, as ratios of medians of interleaved repetitions."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from clipcap_lib.batches import pack
from clipcap_lib.decoding import Greedy, Sample, decode
from clipcap_lib.model import ClipCapConfig, ClipCapModel

SIZES = {"tiny (3 × 160)": (3, 160, 5, 1673), "GPT-2 base (12 × 768)": (12, 768, 12, 21128)}
IMAGES, CAPTIONS, TOKENS, REPETITIONS = 8, 5, 18, 5


class _Vocabulary:
    """All a captioner asks of a tokenizer when only speed is measured."""

    sep_token_id, sep_token = 2, "[SEP]"
    eos_token_id = unk_token_id = mask_token_id = pad_token_id = cls_token_id = None

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        return " ".join(map(str, tokens))


def build(layers: int, width: int, heads: int, vocabulary: int, tuning: str) -> ClipCapModel:
    """A captioner with random weights of a given size, MLP mapping."""
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=128,
        bos_token_id=2, eos_token_id=2,
    )  # fmt: skip
    language_model = GPT2LMHeadModel(shape)
    config = ClipCapConfig(mapping="mlp", tuning=tuning, encoder="none", language_model="random", clip_size=512)
    return ClipCapModel(config, language_model, _Vocabulary())


def packed_step(model: ClipCapModel, features: Tensor, captions: Tensor) -> Callable[[], None]:
    """One optimisation step's loss and gradients with an image's captions in one row."""
    packed = pack([list(rows.numpy()) for rows in captions], model.config.prefix_length)
    return lambda: model.loss(features, packed).backward()


def plain_step(model: ClipCapModel, features: Tensor, captions: Tensor) -> Callable[[], None]:
    """The same as the public implementations do it: a row a caption, the mapper and all logits computed for each."""
    repeated, rows = features.repeat_interleave(captions.shape[1], 0), captions.flatten(0, 1)
    labels = torch.cat([torch.full((len(rows), model.config.prefix_length), -100), rows], dim=1)

    def step() -> None:
        words = model.language_model.get_input_embeddings()(rows)
        model.language_model(
            inputs_embeds=torch.cat([model.prefix(repeated), words], dim=1), labels=labels
        ).loss.backward()

    return step


def generate(model: ClipCapModel, features: Tensor, **options) -> Callable[[], None]:
    """transformers' own `generate` on the same prefixes, to the same length."""
    return lambda: model.language_model.generate(
        inputs_embeds=model.prefix(features), min_new_tokens=TOKENS, max_new_tokens=TOKENS, pad_token_id=0,
        eos_token_id=2, **options,
    )  # fmt: skip


def ratio(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of ours and theirs, run in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPETITIONS + 1):
        for function, record in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            function()
            record.append(time.perf_counter() - started)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])  # the first of each warms up


def _row(
    table: Table, label: str, unit: str, amount: int, ours: Callable[[], None], theirs: Callable[[], None]
) -> None:
    mine, other = ratio(ours, theirs)
    table.add_row(label, f"{amount / mine:,.0f}", f"{amount / other:,.0f}", f"{other / mine:.2f} ×", unit)


def main() -> None:
    """Print one table: ours, theirs, and how many times as fast ours is."""
    table = Table(
        "what", "ours", "plain", "ratio", "unit", title=f"{torch.get_num_threads()} threads, medians of {REPETITIONS}"
    )
    for name, size in SIZES.items():
        for tuning in ("frozen", "full"):
            model = build(*size, tuning).train()
            features, captions = torch.randn(IMAGES, 512), torch.randint(3, size[3], (IMAGES, CAPTIONS, TOKENS))
            steps = packed_step(model, features, captions), plain_step(model, features, captions)
            _row(table, f"train {tuning}, {name}", "captions/s", IMAGES * CAPTIONS, *steps)
        model = build(*size, "full").eval()
        with torch.no_grad():
            model.language_model.lm_head.weight[2].zero_()  # a stop token that hardly ever wins: fixed length for both
        features = torch.randn(20, 512)
        pairs = {
            "greedy": (Greedy(), {"do_sample": False}),
            "top-p": (Sample(top_p=0.8), {"do_sample": True, "top_p": 0.8, "top_k": 0}),
        }
        for label, (strategy, options) in pairs.items():
            ours = partial(decode, model, features, strategy, TOKENS)
            theirs = generate(model, features, **options)
            _row(table, f"{label}, {TOKENS} tokens, {name}", "captions/s", 20, ours, theirs)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

"""`make bench`: what packing and our decoding save, as ratios of medians of interleaved repetitions in one run."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from clipcap_lib.adapters import merge_adapters
from clipcap_lib.bench.peak_memory import Peak
from clipcap_lib.decoding import kv_cache
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.fast_gpt2 import Affine
from clipcap_lib.decoding.strategies import Beam, Contrastive, Greedy, Sample, Strategy
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.packing import pack
from clipcap_lib.system import Precision, autocast, best_device, device_name

SIZES = {"tiny": (3, 160, 5, 1673), "base": (12, 768, 12, 21128)}
IMAGES, CAPTIONS, CAPTION_TOKENS = 8, 5, 18  # a training step
NATURAL, MEAN, FIXED = 60, 18, 20  # longest and mean caption where captions end by themselves; length where none ends
NUCLEUS = 0.8
DEVICE = torch.device(best_device())
COLUMNS = ("what", "ours/s", "theirs/s", "ratio", "target", "floor/s", "of it", "at floors", "MB", "theirs MB")
FLOOR = (
    "floor/s: the matrix products of our decoding alone, at their own numbers of rows; of it: how much of "
    "that speed ours has. at floors: the ratio if both took only the time of their products. MB: peak above the start."
)


class _Vocabulary:
    """All a captioner asks of a tokenizer when only speed is measured."""

    sep_token_id, sep_token = 2, "[SEP]"
    eos_token_id = unk_token_id = mask_token_id = pad_token_id = cls_token_id = bos_token_id = None

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        return " ".join(map(str, tokens))


def build(size: str, tuning: str = "full", **settings: Any) -> ClipCapModel:
    """A captioner with random weights, whose next-token distributions are about as peaked as a trained one's."""
    layers, width, heads, vocabulary = SIZES[size]
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=128, tie_word_embeddings=False,
        bos_token_id=2, eos_token_id=2,
    )  # fmt: skip
    language_model = GPT2LMHeadModel(shape)
    with torch.no_grad():
        language_model.lm_head.weight.mul_(8 * (768 / width) ** 0.5)
    settings = {"mapping": "mlp", "tuning": tuning, "clip_size": 512} | settings
    config = ClipCapConfig(encoder="none", language_model="random", **settings)
    return ClipCapModel(config, language_model, _Vocabulary()).to(DEVICE)


# --- training ------------------------------------------------------------------------------------------------------


def packed_step(model: ClipCapModel, features: Tensor, captions: Tensor, precision: Precision) -> Callable[[], None]:
    """One step's loss and gradients on features [B, D], with an image's captions, of [B, K, T], in one row."""
    packed = pack([list(rows.numpy()) for rows in captions], model.prefix_length)

    def step() -> None:
        with autocast(DEVICE, precision):
            loss = model.loss(features, packed)
        loss.backward()

    return step


def plain_step(model: ClipCapModel, features: Tensor, captions: Tensor, precision: Precision) -> Callable[[], None]:
    """The same as the public implementations do it: rows [B · K], a caption each, mapper and all logits for each."""
    repeated, rows = features.repeat_interleave(captions.shape[1], 0), captions.flatten(0, 1).to(DEVICE)

    def step() -> None:
        with autocast(DEVICE, precision):
            words = model.language_model.get_input_embeddings()(rows)
            logits = model.language_model(inputs_embeds=torch.cat([model.prefix(repeated), words], dim=1)).logits
        told = logits[:, model.prefix_length - 1 : -1].float()
        F.cross_entropy(told.flatten(0, 1), rows.flatten()).backward()

    return step


# --- decoding ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Two ways to do the same for some images; `target` is the ratio asked for.

    `alive` is how many rows our decoding reads at each step and `heads` the share of them that needs logits, what no
    code can spare; `theirs_alive` is the same of the other way where that is known.
    """

    label: str
    images: int
    ours: Callable[[], object]
    theirs: Callable[[], object]
    target: float | None = None
    alive: Sequence[int] = ()
    heads: float = 1.0
    theirs_alive: Sequence[int] = ()


def decoding_cases(model: ClipCapModel, tiny: bool) -> Iterator[Case]:
    """Ours against `generate`, and contrastive search against our own greedy."""
    few, many = (torch.randn(count, 512).to(DEVICE, next(model.parameters()).dtype) for count in (20, 64))
    stops = _natural_stops(model, many)
    nucleus = {"do_sample": True, "top_p": NUCLEUS, "top_k": 0}

    def against(label: str, features: Tensor, strategy: Strategy, stops: list[int], limit: int, target, **options):
        constraints = Constraints(max_new_tokens=limit, stop_tokens=tuple(stops))
        ours = partial(decode, model, features, strategy, constraints)
        rows = len(features) * options.get("num_beams", options.get("num_return_sequences", 1))
        lengths = [len(caption.log_probabilities) for (caption,) in ours()] if stops else [limit] * rows
        alive = [sum(length > step for length in lengths) for step in range(1, max(lengths))]
        shape = f" (mean {sum(lengths) / len(lengths):.0f}, longest {max(lengths)})" if stops else ""
        theirs = generate(model, features, stops, limit, **options)
        return Case(f"{label}{shape}", len(features), ours, theirs, target, alive)

    yield against("natural stop, greedy", many, Greedy(), stops, NATURAL, 1.5, do_sample=False)
    yield against("natural stop, top-p", many, Sample(top_p=NUCLEUS), stops, NATURAL, 1.5, **nucleus)
    yield against("20 tokens, greedy", few, Greedy(), [], FIXED, 1.5 if tiny else 1.0, do_sample=False)
    yield against("20 tokens, top-p", few, Sample(top_p=NUCLEUS), [], FIXED, 2.0 if tiny else 1.25, **nucleus)
    beams = {"do_sample": False, "num_beams": 5}
    yield against("20 tokens, beam 5", few, Beam(width=5), [], FIXED, 2.0 if tiny else 1.5, **beams)
    ten = {**nucleus, "num_return_sequences": 10}
    yield against("20 tokens, 10 samples an image", few, Sample(top_p=NUCLEUS, n=10), [], FIXED, 1.5, **ten)
    fixed = Constraints(max_new_tokens=FIXED, stop_tokens=())
    for count in (1, 4, 20):
        contrastive, greedy = (
            partial(decode, model, few[:count], strategy, fixed) for strategy in (Contrastive(k=4, alpha=0.6), Greedy())
        )
        label = f"contrastive k=4 against greedy, batch {count}"
        rows = {"alive": [4 * count] * FIXED, "heads": 0.25, "theirs_alive": [count] * (FIXED - 1)}
        yield Case(label, count, contrastive, greedy, 0.75, **rows)


def lora_case(size: str, dtype: torch.dtype) -> Case:
    """Greedy captions of a model trained by LoRA: adapters merged, as it is loaded, against adapters in place."""
    merged, beside = (build(size, "lora").to(dtype).eval() for _ in range(2))
    merge_adapters(merged.language_model)
    images, fixed = torch.randn(20, 512).to(DEVICE, dtype), Constraints(max_new_tokens=FIXED, stop_tokens=())
    work = [partial(decode, model, images, Greedy(), fixed) for model in (merged, beside)]
    return Case("LoRA, greedy, merged against adapters in place", 20, *work)


def bridge_cases(size: str, dtype: torch.dtype) -> Iterator[Case]:
    """Cross-attention to a grid of ViT-B/32: our step for it against the general path, and against a prefix."""
    grid = {"mapping": "direct", "features": "grid", "grid": 50, "clip_size": 768, "bridge": "cross-attention"}
    model, prefix = (build(size, **settings).to(dtype).eval() for settings in (grid, {}))
    images, pooled = (torch.randn(20, *shape).to(DEVICE, dtype) for shape in ((50, 768), (512,)))
    fixed = Constraints(max_new_tokens=FIXED, stop_tokens=())
    for name, strategy in (("greedy", Greedy()), ("beam 5", Beam(width=5))):
        ours = partial(decode, model, images, strategy, fixed)
        yield Case(f"cross-attention, {name}, against the general path", 20, ours, partial(_by_general_path, ours))
        yield Case(
            f"cross-attention, {name}, against a prefix", 20, ours, partial(decode, prefix, pooled, strategy, fixed)
        )


def _by_general_path(work: Callable[[], object]) -> object:
    """The same through the language model's own forward."""
    fast, kv_cache.fast_step = kv_cache.fast_step, lambda language_model: None
    try:
        return work()
    finally:
        kv_cache.fast_step = fast


def generate(model: ClipCapModel, features: Tensor, stops: list[int], limit: int, **options) -> Callable[[], object]:
    """What transformers' `generate` does with the prefixes of [N, D]; without stop tokens, to the full length."""
    ends = {"eos_token_id": stops} if stops else {"eos_token_id": None, "min_new_tokens": limit}
    # Only max_length is known to generate when the end token is taken away; the model's own one must not come back.
    model.language_model.generation_config.eos_token_id = None
    return torch.inference_mode()(
        lambda: model.language_model.generate(
            inputs_embeds=model.prefix(features), max_new_tokens=limit, pad_token_id=0, **ends, **options
        )
    )


def _natural_stops(model: ClipCapModel, features: Tensor) -> list[int]:
    """Stop tokens at which greedy captions of these images have a mean length near `MEAN` and end one by one."""
    free = decode(model, features, Greedy(), Constraints(max_new_tokens=NATURAL, stop_tokens=()))
    order = torch.rand(model.language_model.config.vocab_size, generator=torch.Generator().manual_seed(1))

    def mean_length(share: float) -> float:
        ends = [next((i for i, token in enumerate(c.tokens, 1) if order[token] < share), NATURAL) for (c,) in free]
        return sum(ends) / len(ends)

    share = min((1 / n for n in range(4, 80)), key=lambda share: abs(mean_length(share) - MEAN))
    return [token for token, place in enumerate(order.tolist()) if place < share]


# --- measuring -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Of one run: the median of its seconds, and its peak memory in MB above the start."""

    seconds: float
    megabytes: float


def interleaved(ours: Callable[[], object], theirs: Callable[[], object], repetitions: int) -> tuple[Cost, Cost]:
    """Both, timed in turn; a first run of each warms up and does not count."""
    # Memory apart from time: watching it takes time, and more of it from who calls many small operations.
    mine, other = _peak_megabytes(ours), _peak_megabytes(theirs)
    rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(repetitions)]
    median_ours, median_theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Cost(median_ours, mine), Cost(median_theirs, other)


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    if DEVICE.type == "cuda":  # it works on while Python goes on
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _peak_megabytes(function: Callable[[], object]) -> float:
    function()
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - start) / 1e6
    with Peak() as peak:
        function()
    return peak.megabytes


class Floor:
    """What our decoding cannot beat with torch's kernels: its matrix products alone, one after another.

    They run on the model's own weights at the decoding's own row counts, so memory bandwidth and matrix rate are both
    in it as this machine has them there.
    """

    def __init__(self, model: ClipCapModel) -> None:
        language_model = model.language_model
        self.prefix_length = model.prefix_length
        self.head = [Affine(language_model.get_output_embeddings().weight.t())]
        self.body = [Affine(part.weight, part.bias) for part in language_model.modules() if isinstance(part, Conv1D)]
        self._measured: dict[tuple[int, int], float] = {}

    def seconds(self, images: int, alive: Sequence[int], heads: float = 1.0) -> float:
        """Of a decoding that reads `alive` rows at each step and takes logits of the share `heads` of them."""
        steps = sum(self._step(rows, round(rows * heads)) for rows in alive)
        return self._step(images * self.prefix_length, 0) + steps

    def _step(self, rows: int, head_rows: int) -> float:
        if (rows, head_rows) not in self._measured:
            work = [_products(self.body, rows)] + [_products(self.head, head_rows)] * (head_rows > 0)
            self._measured[rows, head_rows] = _least_seconds(work)
        return self._measured[rows, head_rows]


@torch.inference_mode()
def _products(parts: list[Affine], rows: int) -> Callable[[], None]:
    inputs = {len(part.weight): torch.randn(rows, len(part.weight)).to(part.weight) for part in parts}

    def multiply() -> None:
        for part in parts:
            part(inputs[len(part.weight)])

    return multiply


@torch.inference_mode()
def _least_seconds(work: Sequence[Callable[[], None]]) -> float:
    """Of at least five repetitions: a busy moment of the machine must not pass for its floor."""
    times: list[float] = []
    while len(times) < 5 or sum(times) < (0.5 if DEVICE.type == "cpu" else 0.05):  # a GPU has nothing else to do
        times.append(_seconds(lambda: [part() for part in work]))
    return min(times)


def _rows(size: str, precision: Precision, repetitions: int) -> Iterator[tuple[str, ...]]:
    for tuning in ("frozen", "full"):
        model = build(size, tuning).train()
        features = torch.randn(IMAGES, 512)
        captions = torch.randint(3, SIZES[size][3], (IMAGES, CAPTIONS, CAPTION_TOKENS))
        steps = (make(model, features, captions, precision) for make in (packed_step, plain_step))
        yield _row(Case(f"train {tuning}, 5 captions an image", IMAGES * CAPTIONS, *steps), repetitions)
    model = build(size).to(torch.bfloat16 if precision == "bf16" else torch.float32).eval()
    floor = Floor(model)
    for case in decoding_cases(model, size == "tiny"):
        yield _row(case, repetitions, floor)
    dtype = next(model.parameters()).dtype
    for case in (lora_case(size, dtype), *bridge_cases(size, dtype)):
        yield _row(case, repetitions)


def _row(case: Case, repetitions: int, floor: Floor | None = None) -> tuple[str, ...]:
    ours, theirs = interleaved(case.ours, case.theirs, repetitions)
    return (
        case.label, f"{case.images / ours.seconds:,.1f}", f"{case.images / theirs.seconds:,.1f}",
        f"{theirs.seconds / ours.seconds:.2f} ×", f"{case.target} ×" if case.target else "",
        *(_beside_floor(case, ours.seconds, floor) if floor else ("", "", "")),
        f"{ours.megabytes:.0f}", f"{theirs.megabytes:.0f}",
    )  # fmt: skip


def _beside_floor(case: Case, seconds: float, floor: Floor) -> tuple[str, str, str]:
    least = floor.seconds(case.images, case.alive, case.heads)
    both = floor.seconds(case.images, case.theirs_alive) / least if case.theirs_alive else None
    return f"{case.images / least:,.1f}", f"{least / seconds:.0%}", f"{both:.2f} ×" if both else ""


def main(
    size: Annotated[Literal["tiny", "base"] | None, typer.Option(help="of the language model; default: both")] = None,
    precision: Annotated[Precision, typer.Option(help="of training's autocast and decoding's weights")] = "float32",
    repetitions: Annotated[int, typer.Option(help="of each measurement")] = 5,
    threads: Annotated[int, typer.Option(help="threads torch may use")] = 2,
) -> None:
    """Print a table a size: training, then decoding; ours, theirs, and how many times as fast ours is."""
    torch.set_num_threads(threads)
    console = Console(width=140)
    for measured in [size] if size else SIZES:
        place = f"{device_name()}, {threads} threads, {precision}"
        title = f"{measured}: {place}, medians of {repetitions} interleaved repetitions"
        _show(console, title, _rows(measured, precision, repetitions))


def _show(console: Console, title: str, rows: Iterator[tuple[str, ...]]) -> None:
    """Show each row as soon as it is measured, for a table takes minutes: in a terminal it grows, else lines follow."""
    if not console.is_terminal:
        print(title, "\t".join(COLUMNS), sep="\n", flush=True)
        for row in rows:
            print("\t".join(row), flush=True)
        print(FLOOR, flush=True)
        return
    table = Table(*COLUMNS, title=title, caption=FLOOR)
    # Drawn after each row and not while one is measured.
    with Live(table, console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for row in rows:
            table.add_row(*row)
            live.refresh()


if __name__ == "__main__":
    typer.run(main)

"""`make rehearse`: `flickr30k-cn` at full scale, on generated pictures and random weights of real size, stage by stage.

It tells whether a machine copes before anybody downloads anything; what the captions say means nothing.
"""

import io
import math
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import BertTokenizer, GPT2Config, GPT2LMHeadModel

from clipcap_lib.bench.peak_memory import Peak
from clipcap_lib.corpus.corpus import PreparedCorpus, prepare_corpus
from clipcap_lib.corpus.features import corpus_features, make_splits
from clipcap_lib.corpus.readers import read_captions, read_corpus
from clipcap_lib.dataset import Split
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import parse_strategy
from clipcap_lib.emoji.language import Scene, captions
from clipcap_lib.emoji.scenes import draw, sample_scenes
from clipcap_lib.encoders import Encoder, load_encoder
from clipcap_lib.features import Features
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.openai_clip import CLIP
from clipcap_lib.packing import tokenize_captions
from clipcap_lib.project import enter_project
from clipcap_lib.provenance.record import set_threads
from clipcap_lib.reporting.report import write_report
from clipcap_lib.runner.experiment import EXPERIMENTS, Experiment, load_experiment
from clipcap_lib.runner.jobs import plan_jobs
from clipcap_lib.runner.pipeline import run_jobs
from clipcap_lib.system import autocast, no_progress_bars
from clipcap_lib.training import dev_loss

ROOT = Path("data/rehearsal")
IMAGES, SIZE = 31_783, (500, 375)  # of Flickr30k
VIT_B_32 = dict(
    embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768, vision_patch_size=32,
    context_length=77, vocab_size=49408, transformer_width=512, transformer_heads=8, transformer_layers=12,
)  # fmt: skip
CHINESE_VOCABULARY = 21_128


@dataclass
class Stages:
    """The table of what was measured."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def measure(self, name: str, amount: int, unit: str) -> Iterator[None]:
        """Time a block and the memory it takes; `amount` is what it works through."""
        with Peak() as peak:
            started = time.perf_counter()
            yield
            seconds = time.perf_counter() - started
        speed = f"{amount / seconds:,.1f} {unit}/s" if unit else ""
        self.rows.append((name, f"{amount:,}", f"{seconds:,.1f}", speed, f"{peak.held:,.0f}", f"{peak.megabytes:,.0f}"))

    def table(self, title: str) -> Table:
        table = Table("stage", "amount", "seconds", "throughput", "held MB", "peak MB", title=title)
        for row in self.rows:
            table.add_row(*row)
        return table


# --- what is rehearsed with ----------------------------------------------------------------------------------------


def write_flickr30k(root: Path, images: int = IMAGES) -> None:
    """JPEG files as large as Flickr30k's, and five Chinese captions each as `flickr_caption.txt` has them."""
    folder = root / "flickr30k-images"
    folder.mkdir(parents=True, exist_ok=True)
    scenes = list(islice(sample_scenes(1), images))
    names = [str(1_000_000_007 + 97 * number) for number in range(images)]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write_photo, [folder / f"{name}.jpg" for name in names], scenes, chunksize=64))
    lines = [f"{name}\t{text}\n" for name, scene in zip(names, scenes, strict=True) for text in captions(scene, "zh")]
    (root / "flickr_caption.txt").write_text("".join(lines), encoding="utf-8")


def _write_photo(path: Path, scene: Scene) -> None:
    if path.exists():
        return
    grain = np.random.default_rng(0).normal(0, 12, (SIZE[1], SIZE[0], 1))  # a photograph's file holds as much
    pixels = np.asarray(draw(scene).resize(SIZE, Image.Resampling.BICUBIC)) + grain
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "jpeg", quality=90)
    path.write_bytes(buffer.getvalue())


def write_models(root: Path) -> tuple[Path, Path]:
    """ViT-B/32 as OpenAI's `.pt` and a Chinese GPT-2 in its folder: real sizes and formats, random weights."""
    clip_file, gpt2 = root / "ViT-B-32.pt", root / "gpt2-chinese"
    torch.manual_seed(0)
    if not clip_file.exists():
        torch.save(CLIP(**VIT_B_32).half().state_dict(), clip_file)
    if not gpt2.exists():
        shape = GPT2Config(vocab_size=CHINESE_VOCABULARY, bos_token_id=101, eos_token_id=102)
        with no_progress_bars():
            GPT2LMHeadModel(shape).save_pretrained(gpt2)
        BertTokenizer(vocab={token: number for number, token in enumerate(_vocabulary())}).save_pretrained(gpt2)
    return clip_file, gpt2


def _vocabulary() -> list[str]:
    unused = [f"[unused{number}]" for number in range(1, 100)]
    tokens = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(33, 127)), *"，。！？：；、（）"]
    return tokens + [chr(0x4E00 + number) for number in range(CHINESE_VOCABULARY - len(tokens))]


def rehearsed(root: Path, clip_file: Path, gpt2: Path, steps: int) -> Experiment:
    """`flickr30k-cn` with these files, few steps, and few captions decoded."""
    recipe = load_experiment(EXPERIMENTS / "flickr30k-cn.yaml")
    few = {"decoding_images": 4, "grid_k": [2], "grid_alpha": [0.6], "max_new_tokens": 20}
    changed = {
        "name": "rehearsal", "title": "Rehearsal: generated pictures, random weights; the captions mean nothing",
        "runs": {"mapping": ["mlp"], "tuning": ["full"]},
        "data": {"captions_file": str(root / "flickr_caption.txt"), "images": str(root / "flickr30k-images")},
        "models": {"encoder": f"clip:{clip_file}", "language_model": str(gpt2)},
        "training": {"steps": steps, "evaluate_every": steps, "warmup_steps": 1}, "decoding": few,
    }  # fmt: skip
    changed["data"] |= {"dev_images": 100, "test_images": 100}
    content = recipe.model_dump()
    return Experiment.model_validate(
        content | {key: content[key] | new if isinstance(new, dict) else new for key, new in changed.items()}
    )


# --- stages --------------------------------------------------------------------------------------------------------


def rehearse_reading(stages: Stages, experiment: Experiment) -> PreparedCorpus:
    """Captions alone; captions and tokens together; then the corpus with every picture opened."""
    file, folder = Path(experiment.data.captions_file), Path(experiment.data.images)
    lines = file.read_bytes().count(b"\n")
    with stages.measure("reading captions", lines, "captions"):
        table = read_captions(file, folder)
    del table
    tokenizer = BertTokenizer.from_pretrained(experiment.models.language_model)
    with stages.measure("reading and tokenising captions", lines, "captions"):
        table = read_captions(file, folder)
        owners = table["image_id"].factorize()[0].tolist()
        tokens = tokenize_captions(table["caption"].tolist(), owners, tokenizer, experiment.models.max_caption_tokens)
    del table, owners, tokens
    with stages.measure("opening every picture", len(list(folder.iterdir())), "pictures"):
        read_corpus(file, folder, None, 0)
    return prepare_corpus(experiment.data)


def rehearse_extraction(stages: Stages, encoder: Encoder, prepared: PreparedCorpus) -> Features:
    """The encoder alone on pixels that are there already, before and after; and all pictures from their files."""
    shutil.rmtree(Path("data/features") / encoder.fingerprint, ignore_errors=True)
    pixels = torch.randn(128, 3, encoder.input_size, encoder.input_size)
    encoder.encode_images(pixels)  # warms up
    for when in ("before", "after"):
        with torch.inference_mode(), stages.measure(f"encoder alone, {when}", 4 * len(pixels), "images"):
            for _ in range(4):
                encoder.encode_images(pixels)
        if when == "before":
            with stages.measure("extraction", len(prepared.images), "images"):
                features = corpus_features(prepared, encoder, prepared.images)
    return features


def rehearse_training(stages: Stages, model: ClipCapModel, split: Split, dev: Split, steps: int) -> None:
    """Optimiser steps of 40 captions, and the dev loss of 100 images."""
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=2e-5, fused=True)
    images = [split.images[40 * step : 40 * (step + 1)] for step in range(steps + 1)]
    step = partial(_step, model, optimizer, split)
    step(images[0])  # allocates the optimiser's state
    with stages.measure(f"training, {model.config.mapping}, {model.config.tuning}", 40 * steps, "captions"):
        for batch in images[1:]:
            step(batch)
    tokens = sum(len(dev.tokens.captions_of[image]) for image in dev.images)
    with stages.measure(f"dev loss, {model.config.mapping}", tokens, "captions"):
        dev_loss(model, dev, "auto")


def _step(model: ClipCapModel, optimizer: torch.optim.Optimizer, split: Split, images: np.ndarray) -> None:
    chosen = [split.tokens.captions_of[image][:1] for image in images]
    features, packed = split.batch(images, chosen, model.prefix_length)
    with autocast(model.device, "auto"):
        loss = model.loss(features, packed)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def rehearse_decoding(stages: Stages, model: ClipCapModel, features: Tensor) -> None:
    """Captions of embeddings [N, D], of twenty tokens each, which is about what people write."""
    limit = Constraints(max_new_tokens=20, stop_tokens=())
    for strategy in ("greedy", "sample top_p:0.8", "beam width:5", "contrastive k:4 alpha:0.6"):
        with stages.measure(f"decoding, {strategy}", len(features), "captions"):
            decode(model, features, parse_strategy(strategy), limit, list(map(str, range(len(features)))))


def rehearse_notebooks(stages: Stages, experiment: Experiment) -> Path:
    """All notebooks of the experiment through papermill, and its report. Raises RuntimeError where one fails."""
    jobs = plan_jobs(experiment, Path("reports"))
    shutil.rmtree(Path("reports") / experiment.name, ignore_errors=True)
    with stages.measure("notebooks", len(jobs), ""):
        outcomes = run_jobs(jobs)
    if failed := [f"{outcome.job.name}: {outcome.error}" for outcome in outcomes if outcome.status != "done"]:
        raise RuntimeError("; ".join(failed))
    with stages.measure("report", 1, ""):
        page = write_report(experiment, outcomes, Path("reports"))
    stages.rows += [(f"  {o.job.name}", "", f"{o.seconds:,.1f}", "", "", "") for o in outcomes]
    return page


def main(
    images: Annotated[int, typer.Option(help="pictures, at least 300; Flickr30k has 31,783")] = IMAGES,
    steps: Annotated[int, typer.Option(help="training steps of each measurement")] = 5,
    threads: Annotated[int, typer.Option(help="threads torch may use")] = 2,
) -> None:
    """Write the pictures and models, then measure every stage, then run the notebooks."""
    enter_project()
    set_threads(threads)
    console, stages = Console(width=120), Stages()
    try:
        page, megabytes = _rehearse(stages, images, steps)
        console.print(f"features: {megabytes:.0f} MB of float16, memory-mapped; report: {page}")
    finally:  # half an hour of measurements is not lost to what fails after them
        title = f"flickr30k-cn rehearsed: {images:,} pictures, {threads} threads, random weights"
        console.print(stages.table(title))


def _rehearse(stages: Stages, images: int, steps: int) -> tuple[Path, float]:
    with stages.measure("writing pictures", images, "pictures"):
        write_flickr30k(ROOT, images)
    experiment = rehearsed(ROOT, *write_models(ROOT), steps)
    prepared = rehearse_reading(stages, experiment)
    features = rehearse_extraction(stages, load_encoder(experiment.models.encoder), prepared)
    for mapping in ("mlp", "bert"):
        config = ClipCapConfig.for_features(experiment.models, mapping, "full", (512,))
        model = ClipCapModel.build(config)
        splits = make_splits(prepared, features, model.tokenizer, experiment.models.max_caption_tokens)
        rehearse_training(stages, model.train(), splits["train"], splits["dev"], steps)
    rehearse_decoding(stages, model.eval(), features.tensor(range(20)))
    del model, splits
    return rehearse_notebooks(stages, experiment), 2 * len(features) * math.prod(features.vectors.shape) / 1e6


if __name__ == "__main__":
    typer.run(main)

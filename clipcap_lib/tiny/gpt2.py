"""Trains the bundled tiny GPT-2 models: Chinese by character, English by byte-level pairs, on `tiny.text`.

They have the shape of the models of the field: a Chinese one is a `BertTokenizer` whose `[SEP]` ends a text, as with
uer/gpt2-chinese-cluecorpussmall, an English one a `GPT2Tokenizer` whose `<|endoftext|>` does.
"""

import copy
import json
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import BertTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer, PreTrainedTokenizerBase

from clipcap_lib.settings import Language
from clipcap_lib.system import no_progress_bars
from clipcap_lib.tiny.text import broad_text, chinese_characters

__all__ = ["SHAPES", "TrainState", "broad_text", "build_tokenizer", "perplexity", "save", "train_gpt2"]

SHAPES: dict[Language, tuple[int, int, int]] = {"zh": (3, 160, 5), "en": (4, 176, 4)}  # layers, width, heads
POSITIONS = 128
BLOCK = 64  # tokens a training row
ENGLISH_VOCABULARY = 2000
ENGLISH_SENTENCES = 20_000  # that the pairs of bytes are learnt from
TEXTS_AT_ONCE = 1000  # tokenised together
END_OF_TEXT = "<|endoftext|>"


@dataclass
class TrainState:
    """One line of the loss history: mean cross-entropy per token, in nats, since the line before."""

    step: int
    loss: float


# --- tokenizers ----------------------------------------------------------------------------------------------------


def build_tokenizer(language: Language) -> PreTrainedTokenizerBase:
    """The tokenizer of a bundled model; it depends on the text of `tiny.text` alone, never on a seed."""
    return _chinese_tokenizer() if language == "zh" else _english_tokenizer()


def _chinese_tokenizer() -> BertTokenizer:
    ascii_characters = string.ascii_lowercase + string.digits
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_characters, *string.punctuation]
    tokens += [f"##{character}" for character in ascii_characters]  # what follows within a word, as in "dvd"
    tokens += chinese_characters()
    return BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, model_max_length=POSITIONS)


def _english_tokenizer() -> GPT2Tokenizer:
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=ENGLISH_VOCABULARY, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(islice(broad_text("en", 0), ENGLISH_SENTENCES), trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return GPT2Tokenizer(model["vocab"], merges, pad_token=END_OF_TEXT, model_max_length=POSITIONS)


def end_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a text: `[SEP]` in Chinese, `<|endoftext|>` in English."""
    return tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids of each text and its end token; nothing stands before a text, because a prefix of embeddings will."""
    end = end_token_id(tokenizer)
    return [[*ids, end] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


# --- training ------------------------------------------------------------------------------------------------------


def _batches(language: Language, tokenizer: PreTrainedTokenizerBase, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches [batch_size, BLOCK] of token ids; each row begins with a text and goes on with others."""
    rows = _rows(language, tokenizer, seed)
    while True:
        yield torch.tensor([next(rows) for _ in range(batch_size)])


def _rows(language: Language, tokenizer: PreTrainedTokenizerBase, seed: int) -> Iterator[list[int]]:
    texts, row = broad_text(language, seed), []
    while True:
        for ids in _encode(tokenizer, list(islice(texts, TEXTS_AT_ONCE))):
            row += ids
            if len(row) >= BLOCK:
                yield row[:BLOCK]
                row = []


def _config(tokenizer: PreTrainedTokenizerBase, layers: int, width: int, heads: int) -> GPT2Config:
    end = end_token_id(tokenizer)
    return GPT2Config(
        vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=width, n_layer=layers, n_head=heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, eos_token_id=end, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=end if tokenizer.cls_token_id is None else tokenizer.cls_token_id,
    )  # fmt: skip


def train_gpt2(
    language: Language, steps: int, batch_size: int, learning_rate: float, seed: int,
    layers: int | None = None, width: int | None = None, heads: int | None = None,
    every: int = 50, on_state: Callable[[TrainState, GPT2LMHeadModel], None] = lambda state, model: None,
) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerBase]:  # fmt: skip
    """Train a tiny GPT-2 from nothing on `steps` batches of fresh text; `on_state` hears of every `every`-th step.

    A batch is [batch_size, 64] tokens. What is left out of `layers`, `width`, `heads` is as in `SHAPES`. AdamW with
    one cycle of the learning rate, in bfloat16 where autocast allows; the same arguments, threads and machine give the
    same weights. Raises ValueError where `width` is not a multiple of `heads`.
    """
    tokenizer = build_tokenizer(language)
    chosen = zip((layers, width, heads), SHAPES[language], strict=True)
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(_config(tokenizer, *(given or usual for given, usual in chosen))).train()
    model.set_attn_implementation("eager")  # a quarter faster than sdpa at this length, forward and back
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.05)
    losses: list[Tensor] = []
    for step, ids in zip(range(1, steps + 1), _batches(language, tokenizer, batch_size, seed), strict=False):
        losses.append(_step(model, ids, optimizer))
        schedule.step()
        if step % every == 0 or step == steps:
            on_state(TrainState(step, torch.stack(losses).mean().item()), model)
            losses.clear()
    model.set_attn_implementation("sdpa")
    return model.eval(), tokenizer


def _step(model: GPT2LMHeadModel, ids: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, :-1]
    loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


# --- what comes of it ----------------------------------------------------------------------------------------------


@torch.no_grad()
def perplexity(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], batch_size: int = 64
) -> float:
    """Exponential of the mean cross-entropy per token, each text read alone and followed by its end token.

    The first token of a text is predicted from nothing and does not count; the end token does. So a text of n tokens
    adds n predictions. Raises ValueError for an empty text, for one longer than the model's positions, and for no text.
    """
    rows = _encode(tokenizer, list(texts))
    limit = model.config.n_positions
    lengths = [len(row) - 1 for row in rows]
    if not lengths or min(lengths) < 1 or max(lengths) >= limit:
        raise ValueError(f"perplexity needs texts of 1 to {limit - 1} tokens, not of {sorted(set(lengths)) or 'none'}")
    was_training, total = model.training, 0.0
    model.eval()
    for start in range(0, len(rows), batch_size):
        total += _negative_log_likelihood(model, rows[start : start + batch_size])
    model.train(was_training)
    return float(torch.tensor(total / sum(lengths)).exp())


def _negative_log_likelihood(model: GPT2LMHeadModel, rows: list[list[int]]) -> float:
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-100)
    real = (ids >= 0).long()
    logits = model(input_ids=ids.clamp_min(0), attention_mask=real, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum").item()


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the model as float16 safetensors and its tokenizer beside it, as `from_pretrained(folder)` reads them.

    The head is tied to the embedding, which is written once. The model given is left as it is. transformers loads the
    weights in the dtype they are stored in; `.float()` restores float32.
    """
    with no_progress_bars():
        copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)

"""Decoding with a cache of keys and values: one forward pass a token, written in place."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin

from clipcap_lib.bridges import Prompt
from clipcap_lib.language_model import lm_head

try:
    from clipcap_lib.decoding.fast_gpt2 import fast_head, fast_step
except ModuleNotFoundError:  # optional: without that file the general path does all work

    def fast_head(language_model: nn.Module) -> None: ...
    def fast_step(language_model: nn.Module) -> None: ...


@dataclass(frozen=True)
class FinishedRows:
    """Finished rows of a batch, whose places the last unfinished rows take; all others keep their place."""

    gaps: Tensor
    movers: Tensor
    left: int

    @classmethod
    def of(cls, done: Tensor) -> "FinishedRows":
        """From a boolean [rows], true where a row is finished."""
        left = len(done) - int(done.sum())
        return cls(done[:left].nonzero()[:, 0], (~done[left:]).nonzero()[:, 0] + left, left)

    def apply(self, rows: Tensor) -> Tensor:
        """The rows that stay, of a tensor [rows, …] that is changed in place."""
        if len(self.gaps):
            rows[self.gaps] = rows[self.movers]
        return rows[: self.left]


FIRST_ROOM = 128  # positions a cache has room for at first: enough for most captions, and doubled where it is not


class _Storage:
    """Storage for all keys and values of one shape: one tensor [parts, rows, heads, room, head width].

    Rows are moved, dropped and copied in one operation for all layers; each layer holds views.
    """

    def __init__(self, parts: int, room: int, like: Tensor) -> None:
        rows, heads, _, width = like.shape
        self.allocated = self.states = like.new_empty(parts, rows, heads, room, width)  # all rows, those of the batch
        self.parts: list[tuple[_InPlaceLayer, str]] = []

    def allocate(self, layer: "_InPlaceLayer", name: str) -> None:
        """Allocate the next part to a layer, for its `keys` or its `values`."""
        setattr(layer, name, self.states[len(self.parts)])
        self.parts.append((layer, name))

    def move(self, copies: int, room: int, length: int) -> None:
        """Copy the `length` written positions into a new tensor with `copies` of each row and `room` positions."""
        parts, rows, heads, _, width = self.states.shape
        new = self.states.new_empty(parts, rows, copies, heads, room, width)
        new[:, :, :, :, :length] = self.states[:, :, None, :, :length]
        self.allocated = new.flatten(1, 2)
        self._become(self.allocated)

    def drop_finished(self, finished: FinishedRows, length: int) -> None:
        finished.apply(self.states[:, :, :, :length].transpose(0, 1))
        self._become(self.states[:, : finished.left])

    def keep(self, start: int, places: Tensor) -> None:
        """Of what stands from `start` on, keep what is at `places` [rows, n] behind it, in that order."""
        parts, rows, heads, room, width = self.allocated.shape
        firsts = torch.arange(start, parts * rows * heads * room, room, device=places.device)
        at = firsts.view(parts, rows, heads, 1)[:, : len(places)] + places[:, None]
        # As vectors of a table: a gather along the positions takes three times as long.
        kept = self.allocated.view(-1, width).index_select(0, at.flatten()).view(*at.shape, width)
        self.states[:, :, :, start : start + places.shape[1]] = kept

    def _become(self, states: Tensor) -> None:
        self.states = states
        # Where layers differ in shape, each shape has more parts than are allocated.
        for (layer, name), part in zip(self.parts, states.unbind(), strict=False):
            setattr(layer, name, part)


class _InPlaceLayer(CacheLayerMixin):
    """Keys and values of one layer [rows, heads, room, head width]: a token costs one write, never a copy.

    `allocate(layer, name, states)` gives it storage for its `keys` or `values`, by the shape of their first states.
    """

    is_sliding = False

    def __init__(self, allocate: Callable[["_InPlaceLayer", str, Tensor], None], capacity: int) -> None:
        super().__init__()
        self.allocate, self.capacity, self.length = allocate, capacity, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.allocate(self, "keys", key_states)
        self.allocate(self, "values", value_states)
        del self.allocate  # break the reference cycle, or the memory is never freed
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, read = self.length, key_states.shape[2]
        self.length += read
        self.keys.narrow(2, start, read).copy_(key_states)
        self.values.narrow(2, start, read).copy_(value_states)
        return self.keys.narrow(2, 0, self.length), self.values.narrow(2, 0, self.length)

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0


class PrefixDecoder:
    """Decodes the rows of one batch behind their prompts with a language model.

    The prefixes [B, P, n] are read once. `beside` bounds the positions kept beside it, candidates and beams included.
    `prefix_hidden` [B, P, n] are its last hidden states; with `end_only`, that of the last position, [B, 1, n].
    """

    def __init__(self, language_model: nn.Module, prompt: Prompt, beside: int, end_only: bool = False) -> None:
        self.prompt, prefix = prompt, prompt.prefix
        self.embed, self.head = (
            language_model.get_input_embeddings(),
            lm_head(language_model, fast_head(language_model)),
        )
        self.body = language_model.base_model
        self.fast_step = fast_step(language_model)
        layers = language_model.config.get_text_config().num_hidden_layers
        self.capacity, self.dtype = prefix.shape[1] + beside, self.embed.weight.dtype
        self.room = min(self.capacity, max(FIRST_ROOM, prefix.shape[1]))
        self.memories: dict[torch.Size, _Storage] = {}  # one for most models; layers of some differ in width
        self.cache = Cache(layers=[_InPlaceLayer(self._allocate, self.capacity) for _ in range(layers)])
        self.position = 0  # of the next token, as the model counts; a candidate or a beam takes none of its own
        self.prefix_hidden = self._forward(prefix.to(self.dtype), None, end_only)

    def _allocate(self, layer: _InPlaceLayer, name: str, states: Tensor) -> None:
        if states.shape not in self.memories:
            self.memories[states.shape] = _Storage(2 * len(self.cache.layers), self.room, states)
        self.memories[states.shape].allocate(layer, name)

    @property
    def length(self) -> int:
        """Positions in the cache."""
        return self.cache.layers[0].length

    def step(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read tokens [rows, k], all at the next position, and return their last hidden states [rows, k, n].

        `mask` is additive, broadcast to [rows, 1, k, length + k]; without one, everything in the cache is seen.
        """
        if (needed := self.length + tokens.shape[1]) > self.room:
            self._move(1, max(2 * self.room, needed))
        return self._forward(self.embed(tokens), mask)

    def _forward(self, inputs: Tensor, mask: Tensor | None, end_only: bool = False) -> Tensor:
        # A prefix takes a position a token; after it, all tokens of a step stand side by side at one.
        after_prefix, k = self.position > 0, inputs.shape[1]
        positions = slice(self.position, self.position + (1 if after_prefix else k))
        self.position = positions.stop
        if self.fast_step:
            mask = mask if after_prefix else _causal(inputs)
            return self.fast_step(inputs, positions, mask, self.cache, end_only, self.prompt.look)
        if after_prefix and mask is None:
            mask = inputs.new_zeros(1, 1, 1, self.length + k)
        if mask is not None:
            # XGLM wants a mask for every row; kernels of a GPU want it to begin where memory is aligned.
            mask = mask.contiguous().expand(len(inputs), -1, -1, -1)
        with self.prompt.reading():
            hidden = self.body(
                inputs_embeds=inputs, attention_mask=mask, past_key_values=self.cache, use_cache=True,
                position_ids=torch.arange(positions.start, positions.stop, device=inputs.device).expand(1, k),
            ).last_hidden_state  # fmt: skip
        return hidden[:, -1:] if end_only else hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits [rows, V] of hidden states [rows, n]."""
        return self.head(hidden).float()

    def expand(self, copies: int) -> None:
        """Repeat each row `copies` times behind the same prefix."""
        if copies > 1:
            self._move(copies, self.room)
            self.prompt = self.prompt.repeat(copies)

    def _move(self, copies: int, room: int) -> None:
        self.room = min(self.capacity, room)
        for memory in self.memories.values():
            memory.move(copies, self.room, self.length)

    def drop_finished(self, finished: FinishedRows) -> None:
        """Remove finished rows from the batch."""
        for memory in self.memories.values():
            memory.drop_finished(finished, self.length)
        self.prompt = self.prompt.drop_finished(finished.apply)

    def keep(self, start: int, places: Tensor) -> None:
        """Of the positions from `start` on, keep those at `places` [rows, kept] behind it, in that order."""
        for memory in self.memories.values():
            memory.keep(start, places)
        for layer in self.cache.layers:
            layer.length = start + places.shape[1]


def _causal(inputs: Tensor) -> Tensor:
    """The additive mask [1, 1, P, P] under which each of the inputs [rows, P, n] sees itself and those before it."""
    size = inputs.shape[1]
    return inputs.new_full((1, 1, size, size), torch.finfo(inputs.dtype).min).triu(1)

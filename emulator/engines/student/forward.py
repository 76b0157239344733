# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The forward pass of batched decoding: prefill of the prompts, then one token for each row at a time.

`TransformersBatch` uses the model's own forward pass and works for every architecture. For a model as small as the
embedded base, four fifths of that time is spent between the modules, not in them. `Lfm2Batch` computes the same numbers
for the Lfm2 architecture (short convolutions and attention, Liquid AI's LFM2 as in Transformers) with about a quarter
of the operations: fused projections and one buffer for keys and values. It prefills prompts without padding, and a
prefix that all prompts of a batch share (an instruction, examples) only once. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

LFM2_PARAMETERS = 50_000_000  # above, arithmetic dominates, and a second copy of the weights costs memory
_ROOM = 64  # tokens by which the buffers of keys and values grow
Prompts = Sequence[list[int]]
Rotation = tuple[torch.Tensor, torch.Tensor]


class TransformersBatch:
    """The model's own forward pass with its cache; prompts are padded on the left."""

    def __init__(self, model: Any, cache: Any, mask: torch.Tensor) -> None:
        self._model, self._cache, self._mask = model, cache, mask

    @classmethod
    def prefill(cls, model: Any, prompts: Prompts) -> tuple[TransformersBatch, torch.Tensor]:
        """A row for each prompt, and the logits after it."""
        length = max(map(len, prompts))
        ids = torch.tensor([[0] * (length - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
        return cls(model, out.past_key_values, mask), out.logits[:, -1]

    def select(self, index: torch.Tensor) -> None:
        """Continue with these rows (by number, in this order, possibly repeated)."""
        self._cache.reorder_cache(index)
        self._mask = self._mask[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """The logits after one more token of each row: (rows, vocabulary)."""
        self._mask = torch.cat([self._mask, torch.ones(len(tokens), 1, dtype=self._mask.dtype)], 1)
        out = self._model(
            input_ids=torch.tensor(tokens)[:, None],
            attention_mask=self._mask,
            position_ids=self._mask.sum(-1, keepdim=True) - 1,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = out.past_key_values
        logits: torch.Tensor = out.logits[:, -1]
        return logits


def prefill_of(model: Any) -> Callable[[Prompts], tuple[TransformersBatch | Lfm2Batch, torch.Tensor]]:
    """The fastest prefill for a model: a function of prompts that returns a batch and the logits after each prompt."""
    config = model.config
    supported = (
        config.model_type == "lfm2"
        and not config.conv_bias
        and config.rope_parameters["rope_type"] == "default"
        and model.lm_head.weight.dtype == torch.float32
        and sum(p.numel() for p in model.parameters()) <= LFM2_PARAMETERS
    )
    if not supported:
        return lambda prompts: TransformersBatch.prefill(model, prompts)
    weights = Lfm2Weights(model)
    return lambda prompts: Lfm2Batch.prefill(weights, prompts)


def _rms_norm(x: torch.Tensor, norm: tuple[torch.Tensor, float]) -> torch.Tensor:
    weight, epsilon = norm
    return functional.rms_norm(x, weight.shape, weight, epsilon)


def _norm_of(module: Any) -> tuple[torch.Tensor, float]:
    return module.weight, module.variance_epsilon


class _Layer:
    """A layer: it mixes tokens, which are rows of a matrix, and has a gated feed-forward of fused input projections."""

    out_proj: torch.Tensor

    def __init__(self, layer: Any) -> None:
        self.norm, self._feed_norm = _norm_of(layer.operator_norm), _norm_of(layer.ffn_norm)
        self._up = torch.cat([layer.feed_forward.w1.weight, layer.feed_forward.w3.weight])
        self._down = layer.feed_forward.w2.weight

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = functional.linear(_rms_norm(x, self._feed_norm), self._up).chunk(2, -1)
        return x + functional.linear(functional.silu(gate) * value, self._down)

    def prefill(self, x: torch.Tensor, packed: _PackedPrompts, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        """Prompts' tokens mixed, and the state of each prompt after its last token."""
        raise NotImplementedError

    def next(self, x: torch.Tensor, state: Any, mask: torch.Tensor, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        """One more token of each row mixed, and the new state; `mask` has a column for each token up to this one."""
        raise NotImplementedError


class _Convolution(_Layer):
    """A layer with a short convolution; its state is the last inputs of each row."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._in_proj, self.out_proj = layer.conv.in_proj.weight, layer.conv.out_proj.weight
        self.kernel = layer.conv.conv.weight[:, 0].T.contiguous()  # (size, hidden), the newest token last

    def _gated(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(input of the convolution, gate of its output)."""
        before, after, value = functional.linear(x, self._in_proj).chunk(3, -1)
        return before * value, after

    def prefill(self, x: torch.Tensor, packed: _PackedPrompts, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        inputs, gate = self._gated(x)
        inputs = _with_zero_row(inputs)
        size = len(self.kernel)
        convolved = sum(inputs[packed.before[k]] * self.kernel[size - 1 - k] for k in range(size))
        return gate * convolved, inputs[packed.last[:, -size:]]

    def next(self, x: torch.Tensor, state: Any, mask: torch.Tensor, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        newest, gate = self._gated(x)
        state = torch.cat([state[:, 1:], newest[:, None]], 1)
        return gate * (state * self.kernel).sum(1), state


class _Attention(_Layer):
    """A layer with attention, its projections fused; its state is the buffers of keys and values."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        attention = layer.self_attn
        self._in_proj = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        self.out_proj = attention.out_proj.weight
        self._size, self._scale = attention.head_dim, attention.scaling
        self._queries = attention.q_proj.weight.shape[0] // self._size
        self._keys = attention.k_proj.weight.shape[0] // self._size
        (query_norm, self._head_epsilon), (key_norm, _) = map(_norm_of, (attention.q_layernorm, attention.k_layernorm))
        self._head_norm = torch.cat([query_norm.expand(self._queries, -1), key_norm.expand(self._keys, -1)])

    def _heads(self, x: torch.Tensor, rotation: Rotation) -> tuple[torch.Tensor, ...]:
        """(queries, keys, values), each (tokens, heads, size), with rotary positions."""
        rotated = self._queries + self._keys
        heads = functional.linear(x, self._in_proj).view(len(x), rotated + self._keys, self._size)
        both = functional.rms_norm(heads[:, :rotated], (self._size,), None, self._head_epsilon) * self._head_norm
        both = both * rotation[0] + both.roll(self._size // 2, -1) * rotation[1]
        return both[:, : self._queries], both[:, self._queries :], heads[:, rotated:]

    def _attend(self, parts: Sequence[torch.Tensor], mask: torch.Tensor | None) -> torch.Tensor:
        """Attention of queries, keys and values, each (rows, heads, tokens, size); causal without a mask."""
        queries, keys, values = parts
        grouped = self._keys != self._queries
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, scale=self._scale, enable_gqa=grouped
        )

    def prefill(self, x: torch.Tensor, packed: _PackedPrompts, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        queries, keys, values = self._heads(x, rotation)
        shared = packed.shared
        parts = []
        if shared:
            mixed = self._attend([part[:shared].transpose(0, 1)[None] for part in (queries, keys, values)], None)
            parts.append(mixed[0].transpose(0, 1).reshape(shared, -1))
        columns = packed.prompts[:, -(shared + packed.longest) :]
        keys, values = (_with_zero_row(part)[columns].transpose(1, 2) for part in (keys, values))
        rest_queries = _with_zero_row(queries)[packed.places].transpose(1, 2)
        # padding is at the end, which no token of a prompt attends to
        mask = torch.ones(packed.longest, shared + packed.longest, dtype=torch.bool).tril(shared)
        mixed = self._attend([rest_queries, keys, values], mask).transpose(1, 2)[packed.real]
        parts.append(mixed.reshape(len(mixed), -1))
        return torch.cat(parts), (keys, values)

    def next(self, x: torch.Tensor, state: Any, mask: torch.Tensor, rotation: Rotation) -> tuple[torch.Tensor, Any]:
        (queries, new_keys, new_values), (keys, values), length = self._heads(x, rotation), state, mask.shape[-1]
        keys[:, :, length - 1], values[:, :, length - 1] = new_keys, new_values
        mixed = self._attend([queries[:, :, None], keys[:, :, :length], values[:, :, :length]], mask)
        return mixed.reshape(len(x), -1), state


class Lfm2Weights:
    """The weights of an Lfm2 model as `Lfm2Batch` uses them, shared by all batches."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        with torch.no_grad():
            self.layers = [
                _Attention(layer) if layer.is_attention_layer else _Convolution(layer) for layer in inner.layers
            ]
        self._embedding, self._head = inner.embed_tokens.weight, model.lm_head.weight
        self._norm, self._frequencies = _norm_of(inner.embedding_norm), inner.rotary_emb.inv_freq.float()

    def rotation(self, positions: torch.Tensor) -> Rotation:
        """The rotary embedding of each position: cosines, and sines with the sign for swapped halves."""
        angles = positions[:, None] * self._frequencies
        sine = angles.sin()
        return torch.cat([angles, angles], -1).cos()[:, None], torch.cat([-sine, sine], -1)[:, None]

    def forward(
        self, tokens: list[int], state: list[Any], mix: Callable[[_Layer, torch.Tensor, Any], tuple[torch.Tensor, Any]]
    ) -> torch.Tensor:
        """Tokens after all layers; `mix` is `prefill` or `next` of a layer, whose states are changed in `state`."""
        x: torch.Tensor = self._embedding[tokens]
        for n, layer in enumerate(self.layers):
            mixed, state[n] = mix(layer, _rms_norm(x, layer.norm), state[n])
            x = layer.feed_forward(x + functional.linear(mixed, layer.out_proj))
        return x

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of the next token."""
        return functional.linear(_rms_norm(x, self._norm), self._head)


class _PackedPrompts:
    """Prompts as one row of tokens: the shared prefix once, then the rest of each prompt.

    `before[k]` has for each token the place of the token k before it in its prompt; the place after the last token
    means that there is none and holds zeros.
    """

    def __init__(self, prompts: Prompts, kernel_size: int) -> None:
        self.shared = _shared_length(prompts)
        rests = [list(prompt[self.shared :]) for prompt in prompts]
        self.lengths = torch.tensor([len(rest) for rest in rests])
        self.longest = int(self.lengths.max())
        self.ids = [*prompts[0][: self.shared], *(token for rest in rests for token in rest)]
        count = len(self.ids)
        offset = torch.arange(self.longest)
        self.real = offset < self.lengths[:, None]  # (prompts, longest): False for padding
        starts = self.shared + self.lengths.cumsum(0) - self.lengths
        self.places = torch.where(self.real, starts[:, None] + offset, count)  # of the rests' tokens
        self.positions = torch.cat([torch.arange(self.shared), (self.shared + offset).expand_as(self.real)[self.real]])
        # whole prompts as places: `kernel_size` empty places, the shared prefix, the rest
        prefix = torch.arange(self.shared).expand(len(rests), -1)
        empty = torch.full((len(rests), kernel_size), count)
        self.prompts = torch.cat([empty, prefix, self.places], 1)
        first = torch.cat([empty[0], torch.arange(self.shared)])
        self.before = []
        for k in range(kernel_size):
            start = kernel_size + self.shared - k
            rest_places = self.prompts[:, start : start + self.longest][self.real]
            self.before.append(torch.cat([first[kernel_size - k : kernel_size - k + self.shared], rest_places]))
        ends = kernel_size + self.shared + self.lengths
        last_columns = ends[:, None] - kernel_size + torch.arange(kernel_size)
        self.last = self.prompts[torch.arange(len(rests))[:, None], last_columns]


def _shared_length(prompts: Prompts) -> int:
    """The number of tokens all prompts begin with, leaving at least one token of each; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    limit = min(map(len, prompts)) - 1
    low, high = min(prompts), max(prompts)  # a prefix of the first and the last in order is a prefix of all
    return next((n for n in range(limit) if low[n] != high[n]), limit)


def _with_zero_row(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


class Lfm2Batch:
    """Lfm2's forward pass for one token per row; keys and values grow in place."""

    def __init__(self, weights: Lfm2Weights, state: list[Any], mask: torch.Tensor, positions: torch.Tensor) -> None:
        self._weights, self._state, self._positions = weights, state, positions
        self._length = mask.shape[1]
        self._mask = mask[:, None, None, :]
        self._grow()

    @classmethod
    def prefill(cls, weights: Lfm2Weights, prompts: Prompts) -> tuple[Lfm2Batch, torch.Tensor]:
        """A row for each prompt, and the logits after it."""
        sizes = [len(layer.kernel) for layer in weights.layers if isinstance(layer, _Convolution)]
        packed = _PackedPrompts(prompts, max(sizes, default=1))
        rotation, state = weights.rotation(packed.positions), [None] * len(weights.layers)
        x = weights.forward(packed.ids, state, lambda layer, x, _: layer.prefill(x, packed, rotation))
        mask = torch.cat([torch.ones(len(prompts), packed.shared, dtype=torch.bool), packed.real], 1)
        logits = weights.logits(x[packed.last[:, -1]])
        return cls(weights, state, mask, packed.shared + packed.lengths), logits

    def _grow(self) -> None:
        """Extend the buffers of keys and values; the new places are masked until they are used."""
        self._mask = functional.pad(self._mask, (0, _ROOM))
        for n, state in enumerate(self._state):
            if isinstance(state, tuple):
                self._state[n] = tuple(functional.pad(part, (0, 0, 0, _ROOM)) for part in state)

    def select(self, index: torch.Tensor) -> None:
        """See `TransformersBatch`."""
        self._positions, self._mask = self._positions[index], self._mask[index]
        for n, state in enumerate(self._state):
            self._state[n] = tuple(part[index] for part in state) if isinstance(state, tuple) else state[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """See `TransformersBatch`."""
        if self._length == self._mask.shape[-1]:
            self._grow()
        self._mask[..., self._length] = True
        self._length += 1
        rotation, mask = self._weights.rotation(self._positions), self._mask[..., : self._length]
        self._positions = self._positions + 1
        x = self._weights.forward(tokens, self._state, lambda layer, x, state: layer.next(x, state, mask, rotation))
        return self._weights.logits(x)

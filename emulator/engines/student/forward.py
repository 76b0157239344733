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
from typing import Any, Protocol

import torch
from torch.nn import functional

LFM2_PARAMETERS = 50_000_000  # above, arithmetic dominates, and a second copy of the weights costs memory
_ROOM = 64  # tokens by which the buffers of keys and values grow
Prompts = Sequence[list[int]]


class Batch(Protocol):
    """The state of rows that are being decoded."""

    def select(self, index: torch.Tensor) -> None:
        """Continue with these rows (by number, in this order, possibly repeated)."""
        ...

    def next(self, tokens: list[int]) -> torch.Tensor:
        """The logits after one more token of each row: (rows, vocabulary)."""
        ...


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
        """See `Batch`."""
        self._cache.reorder_cache(index)
        self._mask = self._mask[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """See `Batch`."""
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


def prefill_of(model: Any) -> Callable[[Prompts], tuple[Batch, torch.Tensor]]:
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


class _FeedForward:
    """The gated feed-forward of a layer, its two input projections fused."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.ffn_norm.weight, layer.ffn_norm.variance_epsilon
        self.up = torch.cat([layer.feed_forward.w1.weight, layer.feed_forward.w3.weight])
        self.down = layer.feed_forward.w2.weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        projected = functional.linear(functional.rms_norm(x, self.norm.shape, self.norm, self.eps), self.up)
        gate, value = projected.chunk(2, -1)
        return x + functional.linear(functional.silu(gate) * value, self.down)


class _Convolution:
    """A layer with a short convolution; tokens are rows of a matrix."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.operator_norm.weight, layer.operator_norm.variance_epsilon
        self.in_proj, self.out_proj = layer.conv.in_proj.weight, layer.conv.out_proj.weight
        self.kernel = layer.conv.conv.weight[:, 0].T.contiguous()  # (size, hidden), the newest token last
        self.feed_forward = _FeedForward(layer)

    def gated(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(input of the convolution, gate of its output)."""
        before, after, value = functional.linear(x, self.in_proj).chunk(3, -1)
        return before * value, after


class _Attention:
    """A layer with attention; queries, keys and values are one projection."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.operator_norm.weight, layer.operator_norm.variance_epsilon
        attention = layer.self_attn
        self.in_proj = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        self.out_proj = attention.out_proj.weight
        self.size, self.scale = attention.head_dim, attention.scaling
        self.queries = attention.q_proj.weight.shape[0] // self.size
        self.keys = attention.k_proj.weight.shape[0] // self.size
        norms = (
            attention.q_layernorm.weight.expand(self.queries, -1),
            attention.k_layernorm.weight.expand(self.keys, -1),
        )
        self.head_norm = torch.cat(norms)
        self.head_eps = attention.q_layernorm.variance_epsilon
        self.feed_forward = _FeedForward(layer)

    def heads(self, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """(queries, keys, values), each (tokens, heads, size), with rotary positions."""
        rotated = self.queries + self.keys
        heads = functional.linear(x, self.in_proj).view(len(x), rotated + self.keys, self.size)
        both = functional.rms_norm(heads[:, :rotated], (self.size,), None, self.head_eps) * self.head_norm
        both = both * rotation[0] + both.roll(self.size // 2, -1) * rotation[1]
        return both[:, : self.queries], both[:, self.queries :], heads[:, rotated:]

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention over (rows, heads, tokens, size); causal without a mask."""
        return functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=self.scale,
            enable_gqa=self.keys != self.queries,
        )


class Lfm2Weights:
    """The weights of an Lfm2 model as `Lfm2Batch` uses them, shared by all batches."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        with torch.no_grad():
            self.layers = [
                _Attention(layer) if layer.is_attention_layer else _Convolution(layer) for layer in inner.layers
            ]
        self.embedding, self._head = inner.embed_tokens.weight, model.lm_head.weight
        self._norm, self._eps = inner.embedding_norm.weight, inner.embedding_norm.variance_epsilon
        self._frequencies = inner.rotary_emb.inv_freq.float()

    def rotation(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotary embedding of each position: cosines, and sines with the sign for swapped halves."""
        angles = positions[:, None] * self._frequencies
        sine = angles.sin()
        return torch.cat([angles, angles], -1).cos()[:, None], torch.cat([-sine, sine], -1)[:, None]

    def normed(self, x: torch.Tensor, layer: _Attention | _Convolution) -> torch.Tensor:
        """A layer's input."""
        return functional.rms_norm(x, layer.norm.shape, layer.norm, layer.eps)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of the next token."""
        normed = functional.rms_norm(x, self._norm.shape, self._norm, self._eps)
        logits: torch.Tensor = functional.linear(normed, self._head)
        return logits


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
        kernel_size = max([len(layer.kernel) for layer in weights.layers if isinstance(layer, _Convolution)], default=1)
        packed = _PackedPrompts(prompts, kernel_size)
        rotation = weights.rotation(packed.positions)
        state: list[Any] = []
        x = weights.embedding[packed.ids]
        for layer in weights.layers:
            normed = weights.normed(x, layer)
            mixed, layer_state = (
                _prefill_attention(layer, normed, packed, rotation)
                if isinstance(layer, _Attention)
                else _prefill_convolution(layer, normed, packed)
            )
            state.append(layer_state)
            x = layer.feed_forward(x + functional.linear(mixed, layer.out_proj))
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
        """See `Batch`."""
        self._positions, self._mask = self._positions[index], self._mask[index]
        for n, state in enumerate(self._state):
            self._state[n] = tuple(part[index] for part in state) if isinstance(state, tuple) else state[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """See `Batch`."""
        if self._length == self._mask.shape[-1]:
            self._grow()
        weights = self._weights
        self._mask[..., self._length] = True
        self._length += 1
        rotation = weights.rotation(self._positions)
        self._positions = self._positions + 1
        x = weights.embedding[tokens]
        for n, layer in enumerate(weights.layers):
            normed = weights.normed(x, layer)
            mixed = (
                self._attend(n, layer, normed, rotation)
                if isinstance(layer, _Attention)
                else self._convolve(n, layer, normed)
            )
            x = layer.feed_forward(x + functional.linear(mixed, layer.out_proj))
        return weights.logits(x)

    def _convolve(self, n: int, layer: _Convolution, x: torch.Tensor) -> torch.Tensor:
        newest, gate = layer.gated(x)
        state: torch.Tensor = torch.cat([self._state[n][:, 1:], newest[:, None]], 1)
        self._state[n] = state
        result: torch.Tensor = gate * (state * layer.kernel).sum(1)
        return result

    def _attend(
        self, n: int, layer: _Attention, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        queries, new_keys, new_values = layer.heads(x, rotation)
        keys, values = self._state[n]
        keys[:, :, self._length - 1], values[:, :, self._length - 1] = new_keys, new_values
        filled = keys[:, :, : self._length], values[:, :, : self._length]
        return layer.attend(queries[:, :, None], *filled, self._mask[..., : self._length]).reshape(len(x), -1)


def _with_zero_row(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


def _prefill_convolution(
    layer: _Convolution, x: torch.Tensor, packed: _PackedPrompts
) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, gate = layer.gated(x)
    inputs = _with_zero_row(inputs)
    size = len(layer.kernel)
    convolved = sum(inputs[packed.before[k]] * layer.kernel[size - 1 - k] for k in range(size))
    return gate * convolved, inputs[packed.last[:, -size:]]


def _prefill_attention(
    layer: _Attention, x: torch.Tensor, packed: _PackedPrompts, rotation: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    queries, keys, values = layer.heads(x, rotation)
    shared = packed.shared
    parts = []
    if shared:
        prefix = [part[:shared].transpose(0, 1)[None] for part in (queries, keys, values)]
        mixed = layer.attend(prefix[0], prefix[1], prefix[2], None)
        parts.append(mixed[0].transpose(0, 1).reshape(shared, -1))
    columns = packed.prompts[:, -(shared + packed.longest) :]
    keys, values = (_with_zero_row(part)[columns].transpose(1, 2) for part in (keys, values))
    rest_queries = _with_zero_row(queries)[packed.places].transpose(1, 2)
    # padding is at the end, which no token of a prompt attends to
    mask = torch.ones(packed.longest, shared + packed.longest, dtype=torch.bool).tril(shared)
    mixed = layer.attend(rest_queries, keys, values, mask).transpose(1, 2)[packed.real]
    parts.append(mixed.reshape(len(mixed), -1))
    return torch.cat(parts), (keys, values)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One more token for each row of a batch, after the prompts were read.

`FrameworkSteps` asks the model as it is and works for every architecture. A model as small as the embedded base spends
four fifths of such a step between its modules, not in them; `LeanSteps` computes the same numbers for the Lfm2
architecture (short convolutions and attention, Liquid AI's LFM2 as in Transformers) in about a quarter of the
operations: fused projections, one buffer for keys and values. A test holds the two side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.nn import functional

LEAN_PARAMETERS = 50_000_000  # above, arithmetic outweighs the rest and a second copy of the weights costs memory
_ROOM = 64  # tokens by which the buffers of keys and values grow


class Steps(Protocol):
    """The rows of a batch in the making."""

    def keep(self, index: torch.Tensor) -> None:
        """Go on with these rows (by number, in this order, repeated ones too)."""
        ...

    def next(self, tokens: list[int]) -> torch.Tensor:
        """The logits that follow one more token of each row: (rows, vocabulary)."""
        ...


class FrameworkSteps:
    """The model's own forward pass over the cache of its prompts; `mask` is 1 for tokens and 0 for padding."""

    def __init__(self, model: Any, cache: Any, mask: torch.Tensor) -> None:
        self._model, self._cache, self._mask = model, cache, mask

    def keep(self, index: torch.Tensor) -> None:
        """See `Steps`."""
        self._cache.reorder_cache(index)
        self._mask = self._mask[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """See `Steps`."""
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


def steps_for(model: Any) -> Callable[[Any, torch.Tensor], Steps]:
    """What makes the steps of a model from the cache and the mask of its prompts."""
    config = model.config
    lean = (
        config.model_type == "lfm2"
        and not config.conv_bias
        and config.rope_parameters["rope_type"] == "default"
        and model.lm_head.weight.dtype == torch.float32
        and sum(p.numel() for p in model.parameters()) <= LEAN_PARAMETERS
    )
    if not lean:
        return lambda cache, mask: FrameworkSteps(model, cache, mask)
    weights = LeanWeights(model)
    return lambda cache, mask: LeanSteps(weights, cache, mask)


class _Feed:
    """The gated feed-forward of a layer, its two input projections in one."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.ffn_norm.weight, layer.ffn_norm.variance_epsilon
        self.up = torch.cat([layer.feed_forward.w1.weight, layer.feed_forward.w3.weight])
        self.down = layer.feed_forward.w2.weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        both = functional.linear(functional.rms_norm(x, self.norm.shape, self.norm, self.eps), self.up)
        gate, value = both.chunk(2, -1)
        return x + functional.linear(functional.silu(gate) * value, self.down)


class _Convolution:
    """The weights of a layer with a short convolution."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.operator_norm.weight, layer.operator_norm.variance_epsilon
        self.into, self.out = layer.conv.in_proj.weight, layer.conv.out_proj.weight
        self.kernel = layer.conv.conv.weight[:, 0].T.contiguous()  # (reach, hidden)
        self.feed = _Feed(layer)


class _Attention:
    """The weights of a layer with attention; queries, keys and values are one projection."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.operator_norm.weight, layer.operator_norm.variance_epsilon
        own = layer.self_attn
        self.into = torch.cat([own.q_proj.weight, own.k_proj.weight, own.v_proj.weight])
        self.out = own.out_proj.weight
        self.size, self.scale = own.head_dim, own.scaling
        self.queries = own.q_proj.weight.shape[0] // self.size
        self.keys = own.k_proj.weight.shape[0] // self.size
        norms = own.q_layernorm.weight.expand(self.queries, -1), own.k_layernorm.weight.expand(self.keys, -1)
        self.head_norm = torch.cat(norms)
        self.head_eps = own.q_layernorm.variance_epsilon
        self.feed = _Feed(layer)


class LeanWeights:
    """The weights of an Lfm2 model as `LeanSteps` reads them; made once for many batches."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        with torch.no_grad():
            self.layers = [
                _Attention(layer) if layer.is_attention_layer else _Convolution(layer) for layer in inner.layers
            ]
        self.embedding, self.head = inner.embed_tokens.weight, model.lm_head.weight
        self.norm, self.eps = inner.embedding_norm.weight, inner.embedding_norm.variance_epsilon
        self.frequencies = inner.rotary_emb.inv_freq.float()


class LeanSteps:
    """Lfm2's forward pass for one token a row, from the framework's cache on."""

    def __init__(self, weights: LeanWeights, cache: Any, mask: torch.Tensor) -> None:
        self._weights = weights
        self._length = mask.shape[1]
        self._positions = mask.sum(-1)  # of the next token of each row
        self._state: list[Any] = []
        for layer, kept in zip(weights.layers, cache.layers, strict=True):
            if isinstance(layer, _Convolution):
                self._state.append(kept.conv_states[0].transpose(1, 2).contiguous())  # (rows, reach, hidden)
            else:
                self._state.append((kept.keys, kept.values))
        self._mask = mask.bool()[:, None, None, :]
        self._grow()

    def _grow(self) -> None:
        """Make room for more keys and values; the room is masked until it is used."""
        self._mask = functional.pad(self._mask, (0, _ROOM))
        for n, kept in enumerate(self._state):
            if isinstance(kept, tuple):
                self._state[n] = tuple(functional.pad(part, (0, 0, 0, _ROOM)) for part in kept)

    def keep(self, index: torch.Tensor) -> None:
        """See `Steps`."""
        self._positions, self._mask = self._positions[index], self._mask[index]
        for n, kept in enumerate(self._state):
            self._state[n] = tuple(part[index] for part in kept) if isinstance(kept, tuple) else kept[index]

    def next(self, tokens: list[int]) -> torch.Tensor:
        """See `Steps`."""
        if self._length == self._mask.shape[-1]:
            self._grow()
        weights = self._weights
        self._mask[..., self._length] = True
        self._length += 1
        angles = self._positions[:, None] * weights.frequencies
        sine = angles.sin()
        # a half turn of the halves with the first one's sign changed, as signs of the sine
        turn = torch.cat([angles, angles], -1).cos()[:, None], torch.cat([-sine, sine], -1)[:, None]
        x = weights.embedding[tokens]
        for n, layer in enumerate(weights.layers):
            normed = functional.rms_norm(x, layer.norm.shape, layer.norm, layer.eps)
            mixed = (
                self._attend(n, layer, normed, turn) if isinstance(layer, _Attention) else self._roll(n, layer, normed)
            )
            x = layer.feed(x + functional.linear(mixed, layer.out))
        self._positions = self._positions + 1
        last = functional.rms_norm(x, weights.norm.shape, weights.norm, weights.eps)
        logits: torch.Tensor = functional.linear(last, weights.head)
        return logits

    def _roll(self, n: int, layer: _Convolution, x: torch.Tensor) -> torch.Tensor:
        before, after, value = functional.linear(x, layer.into).chunk(3, -1)
        state = torch.cat([self._state[n][:, 1:], (before * value)[:, None]], 1)
        self._state[n] = state
        rolled: torch.Tensor = after * (state * layer.kernel).sum(1)
        return rolled

    def _attend(
        self, n: int, layer: _Attention, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        rows, size, turned = len(x), layer.size, layer.queries + layer.keys
        heads = functional.linear(x, layer.into).view(rows, turned + layer.keys, size)
        both = functional.rms_norm(heads[:, :turned], (size,), None, layer.head_eps) * layer.head_norm
        both = both * turn[0] + both.roll(size // 2, -1) * turn[1]
        keys, values = self._state[n]
        keys[:, :, self._length - 1] = both[:, layer.queries :]
        values[:, :, self._length - 1] = heads[:, turned:]
        mixed = functional.scaled_dot_product_attention(
            both[:, : layer.queries, None],
            keys[:, :, : self._length],
            values[:, :, : self._length],
            attn_mask=self._mask[..., : self._length],
            scale=layer.scale,
            enable_gqa=layer.keys != layer.queries,
        )
        return mixed.reshape(rows, -1)

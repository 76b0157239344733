# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts read together, then one more token for each row of the batch.

`FrameworkSteps` asks the model as it is and works for every architecture. A model as small as the embedded base spends
four fifths of such a step between its modules, not in them; `LeanSteps` computes the same numbers for the Lfm2
architecture (short convolutions and attention, Liquid AI's LFM2 as in Transformers) in about a quarter of the
operations: fused projections, one buffer for keys and values. It reads prompts without padding, and what all prompts of
a batch begin with (an instruction, examples) once. A test holds the two side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional

LEAN_PARAMETERS = 50_000_000  # above, arithmetic outweighs the rest and a second copy of the weights costs memory
_ROOM = 64  # tokens by which the buffers of keys and values grow
Prompts = Sequence[list[int]]


class Steps(Protocol):
    """The rows of a batch in the making."""

    def keep(self, index: torch.Tensor) -> None:
        """Go on with these rows (by number, in this order, repeated ones too)."""
        ...

    def next(self, tokens: list[int]) -> torch.Tensor:
        """The logits that follow one more token of each row: (rows, vocabulary)."""
        ...


class FrameworkSteps:
    """The model's own forward pass over the cache of its prompts, which are padded on the left."""

    def __init__(self, model: Any, cache: Any, mask: torch.Tensor) -> None:
        self._model, self._cache, self._mask = model, cache, mask

    @classmethod
    def read(cls, model: Any, prompts: Prompts) -> tuple[FrameworkSteps, torch.Tensor]:
        """A row for each prompt, and the logits that follow it."""
        length = max(map(len, prompts))
        ids = torch.tensor([[0] * (length - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1)
        return cls(model, out.past_key_values, mask), out.logits[:, -1]

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


def reader_of(model: Any) -> Callable[[Prompts], tuple[Steps, torch.Tensor]]:
    """What reads a batch of prompts with a model: the rows to go on with, and the logits that follow each prompt."""
    config = model.config
    lean = (
        config.model_type == "lfm2"
        and not config.conv_bias
        and config.rope_parameters["rope_type"] == "default"
        and model.lm_head.weight.dtype == torch.float32
        and sum(p.numel() for p in model.parameters()) <= LEAN_PARAMETERS
    )
    if not lean:
        return lambda prompts: FrameworkSteps.read(model, prompts)
    weights = LeanWeights(model)
    return lambda prompts: LeanSteps.read(weights, prompts)


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
    """A layer with a short convolution; tokens are rows of a matrix."""

    def __init__(self, layer: Any) -> None:
        self.norm, self.eps = layer.operator_norm.weight, layer.operator_norm.variance_epsilon
        self.into, self.out = layer.conv.in_proj.weight, layer.conv.out_proj.weight
        self.kernel = layer.conv.conv.weight[:, 0].T.contiguous()  # (reach, hidden), the newest token last
        self.feed = _Feed(layer)

    def gated(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(what goes into the convolution, the gate of what comes out)."""
        before, after, value = functional.linear(x, self.into).chunk(3, -1)
        return before * value, after


class _Attention:
    """A layer with attention; queries, keys and values are one projection."""

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

    def heads(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """(queries, keys, values), each (tokens, heads, size); positions are turned in."""
        turned = self.queries + self.keys
        heads = functional.linear(x, self.into).view(len(x), turned + self.keys, self.size)
        both = functional.rms_norm(heads[:, :turned], (self.size,), None, self.head_eps) * self.head_norm
        both = both * turn[0] + both.roll(self.size // 2, -1) * turn[1]
        return both[:, : self.queries], both[:, self.queries :], heads[:, turned:]

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


class LeanWeights:
    """The weights of an Lfm2 model as `LeanSteps` reads them; made once for many batches."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        with torch.no_grad():
            self.layers = [
                _Attention(layer) if layer.is_attention_layer else _Convolution(layer) for layer in inner.layers
            ]
        self.embedding, self._head = inner.embed_tokens.weight, model.lm_head.weight
        self._norm, self._eps = inner.embedding_norm.weight, inner.embedding_norm.variance_epsilon
        self._frequencies = inner.rotary_emb.inv_freq.float()

    def turn(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotation of each position: cosines, and sines with the sign that a half turn of the halves asks for."""
        angles = positions[:, None] * self._frequencies
        sine = angles.sin()
        return torch.cat([angles, angles], -1).cos()[:, None], torch.cat([-sine, sine], -1)[:, None]

    def normed(self, x: torch.Tensor, layer: _Attention | _Convolution) -> torch.Tensor:
        """A layer's input."""
        return functional.rms_norm(x, layer.norm.shape, layer.norm, layer.eps)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of the next token."""
        found: torch.Tensor = functional.linear(
            functional.rms_norm(x, self._norm.shape, self._norm, self._eps), self._head
        )
        return found


class _Packed:
    """Prompts as one row of tokens: what all begin with, once, then the rest of each.

    `before[k]` is for each token the place of the token k before it in its prompt; the place behind the last token
    stands for what is not there and holds zeros.
    """

    def __init__(self, prompts: Prompts, reach: int) -> None:
        self.shared = _shared(prompts)
        rests = [list(prompt[self.shared :]) for prompt in prompts]
        self.lengths = torch.tensor([len(rest) for rest in rests])
        self.longest = int(self.lengths.max())
        self.ids = [*prompts[0][: self.shared], *(token for rest in rests for token in rest)]
        count = len(self.ids)
        offset = torch.arange(self.longest)
        self.real = offset < self.lengths[:, None]  # (prompts, longest): what is no padding
        starts = self.shared + self.lengths.cumsum(0) - self.lengths
        self.places = torch.where(self.real, starts[:, None] + offset, count)  # of the rest's tokens
        self.positions = torch.cat([torch.arange(self.shared), (self.shared + offset).expand_as(self.real)[self.real]])
        # whole prompts as places, the shared part in front; and `reach` places of nothing before it
        common = torch.arange(self.shared).expand(len(rests), -1)
        nothing = torch.full((len(rests), reach), count)
        self.whole = torch.cat([nothing, common, self.places], 1)
        first = torch.cat([nothing[0], torch.arange(self.shared)])
        self.before = []
        for k in range(reach):
            own = self.whole[:, reach + self.shared - k : reach + self.shared - k + self.longest][self.real]
            self.before.append(torch.cat([first[reach - k : reach - k + self.shared], own]))
        ends = reach + self.shared + self.lengths
        self.last = self.whole[torch.arange(len(rests))[:, None], ends[:, None] - reach + torch.arange(reach)]


def _shared(prompts: Prompts) -> int:
    """How many tokens all prompts begin with, at least one token of each left over; none for a single prompt."""
    if len(prompts) == 1:
        return 0
    most = min(map(len, prompts)) - 1
    low, high = min(prompts), max(prompts)  # what the first and the last in order share, all share
    return next((n for n in range(most) if low[n] != high[n]), most)


class LeanSteps:
    """Lfm2's forward pass for one token a row; keys and values grow in place."""

    def __init__(self, weights: LeanWeights, state: list[Any], mask: torch.Tensor, positions: torch.Tensor) -> None:
        self._weights, self._state, self._positions = weights, state, positions
        self._length = mask.shape[1]
        self._mask = mask[:, None, None, :]
        self._grow()

    @classmethod
    def read(cls, weights: LeanWeights, prompts: Prompts) -> tuple[LeanSteps, torch.Tensor]:
        """A row for each prompt, and the logits that follow it."""
        reach = max([len(layer.kernel) for layer in weights.layers if isinstance(layer, _Convolution)], default=1)
        packed = _Packed(prompts, reach)
        turn = weights.turn(packed.positions)
        state: list[Any] = []
        x = weights.embedding[packed.ids]
        for layer in weights.layers:
            normed = weights.normed(x, layer)
            mixed, kept = (_read_attention if isinstance(layer, _Attention) else _read_convolution)(
                layer, normed, packed, turn
            )
            state.append(kept)
            x = layer.feed(x + functional.linear(mixed, layer.out))
        mask = torch.cat([torch.ones(len(prompts), packed.shared, dtype=torch.bool), packed.real], 1)
        logits = weights.logits(x[packed.last[:, -1]])
        return cls(weights, state, mask, packed.shared + packed.lengths), logits

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
        turn = weights.turn(self._positions)
        self._positions = self._positions + 1
        x = weights.embedding[tokens]
        for n, layer in enumerate(weights.layers):
            normed = weights.normed(x, layer)
            mixed = (
                self._attend(n, layer, normed, turn) if isinstance(layer, _Attention) else self._roll(n, layer, normed)
            )
            x = layer.feed(x + functional.linear(mixed, layer.out))
        return weights.logits(x)

    def _roll(self, n: int, layer: _Convolution, x: torch.Tensor) -> torch.Tensor:
        entering, gate = layer.gated(x)
        state: torch.Tensor = torch.cat([self._state[n][:, 1:], entering[:, None]], 1)
        self._state[n] = state
        rolled: torch.Tensor = gate * (state * layer.kernel).sum(1)
        return rolled

    def _attend(
        self, n: int, layer: _Attention, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        asked, new_keys, new_values = layer.heads(x, turn)
        keys, values = self._state[n]
        keys[:, :, self._length - 1], values[:, :, self._length - 1] = new_keys, new_values
        seen = keys[:, :, : self._length], values[:, :, : self._length]
        return layer.attend(asked[:, :, None], *seen, self._mask[..., : self._length]).reshape(len(x), -1)


def _with_nothing(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


def _read_convolution(
    layer: Any, x: torch.Tensor, packed: _Packed, turn: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, Any]:
    entering, gate = layer.gated(x)
    entering = _with_nothing(entering)
    reach = len(layer.kernel)
    rolled = sum(entering[packed.before[k]] * layer.kernel[reach - 1 - k] for k in range(reach))
    return gate * rolled, entering[packed.last[:, -reach:]]


def _read_attention(
    layer: Any, x: torch.Tensor, packed: _Packed, turn: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, Any]:
    asked, keys, values = layer.heads(x, turn)
    shared = packed.shared
    found = []
    if shared:
        first = (part[:shared].transpose(0, 1)[None] for part in (asked, keys, values))
        found.append(layer.attend(*first, None)[0].transpose(0, 1).reshape(shared, -1))
    columns = packed.whole[:, -(shared + packed.longest) :]
    kept = tuple(_with_nothing(part)[columns].transpose(1, 2) for part in (keys, values))
    own = _with_nothing(asked)[packed.places].transpose(1, 2)
    # padding stands at the end, where no token of a prompt looks
    mask = torch.ones(packed.longest, shared + packed.longest, dtype=torch.bool).tril(shared)
    mixed = layer.attend(own, *kept, mask).transpose(1, 2)[packed.real]
    found.append(mixed.reshape(len(mixed), -1))
    return torch.cat(found), kept

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`Lfm2Batch` computes the same as the model's own forward pass, for any Lfm2 model and any batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engines.student.forward import Lfm2Batch, Lfm2Weights, TransformersBatch, _PackedPrompts, prefill_of


def small_model(keys: int, reach: int, layers: list[str]) -> Any:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(len(layers))
    config = Lfm2Config(
        vocab_size=97, hidden_size=32, intermediate_size=48, block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(layers), num_attention_heads=4, num_key_value_heads=keys, conv_L_cache=reach,
        layer_types=layers, max_position_embeddings=512, initializer_range=0.3,
    )  # fmt: skip
    return Lfm2ForCausalLM(config).eval()


def prompts(lengths: list[int], shared: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(1)
    common = torch.randint(3, 97, (shared,), generator=draw).tolist()
    return [common + torch.randint(3, 97, (n,), generator=draw).tolist() for n in lengths]


@pytest.mark.parametrize(
    ("keys", "reach", "shared", "lengths", "count"),
    [
        (4, 4, 0, [9, 2, 5, 1], 68),  # 68 steps are past the room that the buffers begin with
        (2, 3, 1, [1, 2, 7, 1], 9),
        (1, 2, 11, [3, 3, 1, 6], 9),
        (4, 4, 2, [1, 4, 2, 9], 9),
        (4, 4, 5, [4], 5),
    ],
)
def test_lfm2_batch_equals_transformers_batch(
    keys: int, reach: int, shared: int, lengths: list[int], count: int
) -> None:
    model = small_model(keys, reach, ["conv", "full_attention", "conv"])
    tokens_of_prompts = prompts(lengths, shared)
    with torch.inference_mode():
        reference, logits = TransformersBatch.prefill(model, tokens_of_prompts)
        batch, fast_logits = Lfm2Batch.prefill(Lfm2Weights(model), tokens_of_prompts)
        assert torch.allclose(fast_logits, logits, atol=2e-4, rtol=1e-4)
        for step in range(count):
            if step == 3:  # candidates of one prompt
                chosen = torch.tensor([len(tokens_of_prompts) - 1, *range(len(tokens_of_prompts)), 0, 0, 0])
                for steps in (reference, batch):
                    steps.select(chosen)
                logits = logits[chosen]
            if step == 6:  # one row has ended
                for steps in (reference, batch):
                    steps.select(torch.tensor([0, 1, 3, 4]))
                logits = logits[[0, 1, 3, 4]]
            tokens = logits.argmax(-1).tolist()
            logits = reference.next(tokens)
            assert torch.allclose(batch.next(tokens), logits, atol=2e-4, rtol=1e-4), step


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=5), st.integers(0, 4))
def test_packed_prompts_keep_all_tokens(rests: list[list[int]], reach: int) -> None:
    whole = [[5, 6, 5, *rest] for rest in rests]
    packed = _PackedPrompts(whole, reach + 1)
    ids = torch.tensor([*packed.ids, -1])
    columns = packed.prompts[:, reach + 1 :]
    for n, prompt in enumerate(whole):
        assert ids[columns[n]].tolist()[: len(prompt)] == prompt
        before = ids[packed.last[n]].tolist()
        assert before == ([-1] * (reach + 1) + prompt)[-reach - 1 :]
    assert len(packed.ids) <= sum(map(len, whole))
    assert len(packed.ids) == len(packed.positions) == len(packed.before[reach])
    assert packed.shared == 0 or len(whole) > 1


def test_prefill_of_other_models_is_transformers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    with torch.inference_mode():
        steps, _ = prefill_of(LlamaForCausalLM(config).eval())([[3, 4], [5]])
        assert isinstance(steps, TransformersBatch)
        steps, _ = prefill_of(small_model(2, 3, ["conv", "full_attention"]))([[3, 4], [5]])
        assert isinstance(steps, Lfm2Batch)

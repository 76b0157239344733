# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The lean step computes what the framework's forward pass computes, for any Lfm2 model and any batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from emulator.student_steps import FrameworkSteps, LeanSteps, LeanWeights, steps_for


def small_model(keys: int, reach: int, layers: list[str]) -> Any:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(len(layers))
    config = Lfm2Config(
        vocab_size=97, hidden_size=32, intermediate_size=48, block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(layers), num_attention_heads=4, num_key_value_heads=keys, conv_L_cache=reach,
        layer_types=layers, max_position_embeddings=512, initializer_range=0.3,
    )  # fmt: skip
    return Lfm2ForCausalLM(config).eval()


def read(model: Any, lengths: list[int], kind: Any) -> tuple[Any, torch.Tensor]:
    """Steps over left-padded prompts, and the logits after the prompts."""
    width = max(lengths)
    ids = torch.randint(3, 97, (len(lengths), width), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[0] * (width - n) + [1] * n for n in lengths])
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=True)
    return kind(out.past_key_values, mask), out.logits[:, -1]


@pytest.mark.parametrize(("keys", "reach", "count"), [(4, 4, 68), (2, 3, 9), (1, 2, 9)])
def test_lean_steps_are_the_frameworks(keys: int, reach: int, count: int) -> None:
    model = small_model(keys, reach, ["conv", "full_attention", "conv"])
    weights = LeanWeights(model)
    with torch.inference_mode():
        plain, logits = read(model, [9, 2, 5, 1], lambda *given: FrameworkSteps(model, *given))
        lean, _ = read(model, [9, 2, 5, 1], lambda *given: LeanSteps(weights, *given))
        for step in range(count):  # 68 is past the room the buffers begin with
            if step == 3:  # candidates of one prompt
                for steps in (plain, lean):
                    steps.keep(torch.tensor([3, 0, 1, 2, 2]))
                logits = logits[[3, 0, 1, 2, 2]]
            if step == 6:  # one row has ended
                for steps in (plain, lean):
                    steps.keep(torch.tensor([0, 1, 3, 4]))
                logits = logits[[0, 1, 3, 4]]
            tokens = logits.argmax(-1).tolist()
            logits = plain.next(tokens)
            assert torch.allclose(lean.next(tokens), logits, atol=2e-4, rtol=1e-4), step


def test_other_models_take_their_own_step() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    with torch.inference_mode():
        steps, _ = read(model, [2, 3], steps_for(model))
    assert isinstance(steps, FrameworkSteps)
    with torch.inference_mode():
        lean, _ = read(
            small_model(2, 3, ["conv", "full_attention"]),
            [2, 3],
            steps_for(small_model(2, 3, ["conv", "full_attention"])),
        )
    assert isinstance(lean, LeanSteps)

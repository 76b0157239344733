# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a model: one per row, as its prompt renders it, with the longest answer that the prompt allows."""

from __future__ import annotations

from collections.abc import Sequence

from gemtune.config import ModelVariant, Prompt, Task
from gemtune.data.example import Example
from gemtune.inference import few_shot
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import render


def build_requests(
    task: Task, variant: ModelVariant, examples: Sequence[Example], train: Sequence[Example]
) -> list[GenerateRequest]:
    """The requests of one variant, a row each, in the order of the rows."""
    shown = few_shot.select_shots(variant.prompt, train, examples)
    rendered = (render(task, variant.prompt, e, s) for e, s in zip(examples, shown, strict=True))
    version = f"{variant.tuned_model}#{variant.checkpoint_id}".strip("#")
    longest = answer_token_limit(variant.prompt)
    return [
        GenerateRequest(example.id, variant.model, one.system, one.contents, version, max_output_tokens=longest)
        for example, one in zip(examples, rendered, strict=True)
    ]


def answer_token_limit(prompt: Prompt) -> int | None:
    """Tokens that an answer to this prompt may have; None: as configured."""
    # Reasoning that is cut off before its answer would lose the opponent by a setting, not by its worth.
    return prompt.max_output_tokens or (1024 if prompt.chain_of_thought else None)

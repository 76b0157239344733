# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a model: one per row, rendered by the prompt of the variant, with its limit of output tokens."""

from __future__ import annotations

from collections.abc import Sequence

from gemtune.config import JsonObject, ModelVariant, Prompt, Task
from gemtune.data.example import Example
from gemtune.inference import few_shot
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import render


def build_requests(
    task: Task, variant: ModelVariant, examples: Sequence[Example], train: Sequence[Example]
) -> list[GenerateRequest]:
    """The requests of one variant, one per row, in the order of the rows."""
    shots = few_shot.select_shots(variant.prompt, train, examples)
    rendered = (render(task, variant.prompt, e, s) for e, s in zip(examples, shots, strict=True))
    version = f"{variant.tuned_model}#{variant.checkpoint_id}".strip("#")
    token_limit, schema = answer_token_limit(variant.prompt), response_schema(task, variant.prompt)
    return [
        GenerateRequest(
            example.id,
            variant.model,
            prompt.system,
            prompt.contents,
            version,
            max_output_tokens=token_limit,
            response_schema=schema,
            fields=prompt.fields,
        )
        for example, prompt in zip(examples, rendered, strict=True)
    ]


def response_schema(task: Task, prompt: Prompt) -> JsonObject | None:
    """The response schema of a prompt with constrained output: one of the labels, or a list of them; else None."""
    if not prompt.constrained_output:
        return None
    label = {"type": "STRING", "enum": task.labels}
    return {"type": "ARRAY", "items": label} if task.label_separator else label


def answer_token_limit(prompt: Prompt) -> int | None:
    """Maximum output tokens of this prompt; None: the configured value."""
    # Chain of thought that is truncated before its answer would fail because of a setting, not of the prompt.
    return prompt.max_output_tokens or (1024 if prompt.chain_of_thought else None)

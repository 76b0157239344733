# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a tuning job with the id of their example, rendered exactly as the tuned model will be prompted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gemtune.config import JsonObject, Task
from gemtune.contents import text_turn
from gemtune.data.example import Example
from gemtune.inference import prompts

Row = tuple[str, JsonObject]


def supervised_rows(task: Task, examples: Sequence[Example]) -> list[Row]:
    """A row per example; of an example with pairs a row per preferred answer, each once."""
    prompt, rows = prompts.tuned_prompt(task), []
    for example in examples:
        answers = dict.fromkeys(pair.chosen for pair in example.pairs)
        variants = [replace(example, target=answer, answer=None) for answer in answers] or [example]
        rows += [(example.id, prompts.training_row(task, prompt, variant)) for variant in variants]
    return rows


def preference_rows(task: Task, examples: Sequence[Example]) -> list[Row]:
    """A row per pair, the better answer with score 1, the worse with 0."""
    rows = []
    for example in examples:
        prompt = prompts.training_prompt(task, prompts.tuned_prompt(task), example)
        for pair in example.pairs:
            completions = [
                {"score": score, "completion": text_turn("model", text)}
                for score, text in ((1, pair.chosen), (0, pair.rejected))
            ]
            rows.append((example.id, {**prompt, "completions": completions}))
    return rows

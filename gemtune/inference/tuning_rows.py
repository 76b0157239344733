# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a tuning job with the id of their example, rendered exactly as the tuned model will be prompted."""

from __future__ import annotations

from collections.abc import Sequence

from gemtune.config import JsonObject, Task
from gemtune.data.example import Example
from gemtune.inference import prompts

Row = tuple[str, JsonObject]


def supervised_rows(task: Task, examples: Sequence[Example]) -> list[Row]:
    """A row per example; of an example with pairs a row per preferred answer, each once."""
    rows = []
    for example in examples:
        prompt = _prompt(task, example)
        answers = dict.fromkeys(pair.chosen for pair in example.pairs) or [example.target]
        for answer in answers:
            turns = [*prompt["contents"], {"role": "model", "parts": [{"text": answer}]}]
            rows.append((example.id, {**prompt, "contents": turns}))
    return rows


def preference_rows(task: Task, examples: Sequence[Example]) -> list[Row]:
    """A row per pair, the better answer with score 1, the worse with 0."""
    rows = []
    for example in examples:
        prompt = _prompt(task, example)
        for pair in example.pairs:
            completions = [
                {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
                for score, text in ((1, pair.chosen), (0, pair.rejected))
            ]
            rows.append((example.id, {**prompt, "completions": completions}))
    return rows


def _prompt(task: Task, example: Example) -> JsonObject:
    rendered = prompts.render(task, prompts.tuned_prompt(task), example)
    system = {"systemInstruction": {"role": "system", "parts": [{"text": rendered.system}]}} if rendered.system else {}
    return {**system, "contents": rendered.contents}

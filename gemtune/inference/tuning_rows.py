# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a tuning job, rendered exactly as the tuned model will be prompted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gemtune.config import Task
from gemtune.data.example import Example
from gemtune.data.pairs import Pair, by_prompt
from gemtune.inference import prompts


def preference_rows(task: Task, examples: Sequence[Example], pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Gemini's preference tuning rows, with the same request that is sent to the tuned model later."""
    pairs_by_id = by_prompt(pairs)
    rows = []
    for example in examples:
        request = _request(task, example)
        for pair in pairs_by_id.get(example.id, []):
            completions = [
                {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
                for score, text in ((1, pair.chosen), (0, pair.rejected))
            ]
            rows.append({**request, "completions": completions})
    return rows


def chosen_rows(task: Task, examples: Sequence[Example], pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Supervised tuning rows of the chosen answers; an answer chosen in several pairs of a prompt appears once."""
    pairs_by_id = by_prompt(pairs)
    rows = []
    for example in examples:
        request = _request(task, example)
        for answer in dict.fromkeys(pair.chosen for pair in pairs_by_id.get(example.id, [])):
            turns = [*request["contents"], {"role": "model", "parts": [{"text": answer}]}]
            rows.append({**request, "contents": turns})
    return rows


def _request(task: Task, example: Example) -> dict[str, Any]:
    rendered = prompts.render(task, prompts.tuned_prompt(task), example)
    system = {"systemInstruction": {"role": "system", "parts": [{"text": rendered.system}]}} if rendered.system else {}
    return {**system, "contents": rendered.contents}

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning rows: rendered as the tuned model will be prompted, with the id of their example."""

from __future__ import annotations

from gemtune.config import Task
from gemtune.data.example import Example, Pair
from gemtune.inference.prompts import preference_rows, supervised_rows

TASK = Task(kind="generation", instruction="Answer.", text_name="Request", target_name="Answer")


def test_tuning_rows_of_pairs_use_the_serving_prompt() -> None:
    example = Example("p", "help me", "kind", pairs=(Pair("p", "kind", "rude"), Pair("p", "kind", "curt")))
    prompt = {
        "systemInstruction": {"role": "system", "parts": [{"text": "Answer."}]},
        "contents": [{"role": "user", "parts": [{"text": "Request: help me\nAnswer:"}]}],
    }
    answer = {"role": "model", "parts": [{"text": "kind"}]}
    assert supervised_rows(TASK, [example]) == [("p", {**prompt, "contents": [*prompt["contents"], answer]})]
    rows = preference_rows(TASK, [example])
    assert [identity for identity, _ in rows] == ["p", "p"]
    assert [{name: row[name] for name in prompt} for _, row in rows] == [prompt, prompt]
    assert rows[0][1]["completions"][0] == {"score": 1, "completion": answer}
    assert [completion["score"] for completion in rows[1][1]["completions"]] == [1, 0]

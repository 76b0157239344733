# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A bounded prompt search, so that the prompt gets a fair chance against tuning.

The base model proposes other wordings of the instruction, seeing the task and a few labelled training rows (as in APE,
Zhou et al. 2022, arXiv 2211.01910); each is one more contestant on validation rows, where the best prompt is chosen.
The bound is `Prompt.rewrites`; what the search costs stands in the report. Test rows are never seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from gemtune.config import Contestant, Prompt, Task
from gemtune.data import Example
from gemtune.prompting.asking import Given, Question
from gemtune.prompting.shots import choose

SHOWN = 12
LONGEST = 1500


def proposal(task: Task, contestant: Contestant, train: Sequence[Example], model: str) -> Question:
    """Asks `model` for other instructions; rows are quoted as JSON data."""
    wanted = contestant.prompt.rewrites
    system = (
        f"You write instructions for a language model. Write {wanted} other instructions for the task in the JSON "
        "object below, each on a line of its own that begins with a number. Differ in approach: point out what is "
        "easily mixed up, say how to decide in doubt, be shorter, be more precise. Do not answer the rows."
    )
    sample = Prompt.of({"shots": SHOWN, "seed": contestant.prompt.seed})
    rows = choose(sample, train, [Example("", "", "")])[0]
    shown = {
        "instruction": contestant.prompt.instruction or task.instruction,
        "labels": task.labels,
        "rows": [{"text": row.text[:500], "answer": row.target} for row in rows],
    }
    turn = {"role": "user", "parts": [{"text": json.dumps(shown, ensure_ascii=False)}]}
    return Question(f"{contestant.name} rewrites", model, system, [turn], max_output_tokens=2048)


def instructions(answer: str | None, limit: int) -> list[str]:
    """The numbered lines of a reply, without numbers, repetitions and what is too short or too long to be one."""
    lines = re.findall(r"^\s*(?:[-*]\s*)?\d+\s*[.):]\s*(.+?)\s*$", answer or "", re.MULTILINE)
    plain = (line.strip("*\"'“” ") for line in lines)
    return list(dict.fromkeys(line for line in plain if 8 <= len(line) <= LONGEST))[:limit]


def variants(contestant: Contestant, given: Given) -> list[Contestant]:
    """The contestant itself and one more for each proposed instruction, none of which is searched again."""
    settled = contestant.prompt.model_copy(update={"rewrites": 0})
    own = settled.instruction
    found = [text for text in instructions(given.text, contestant.prompt.rewrites) if text != own]
    others = [
        settled.model_copy(update={"name": f"{settled.name}_r{i}", "instruction": text})
        for i, text in enumerate(found, 1)
    ]
    return [
        contestant.model_copy(update={"prompt": settled}),
        *(
            contestant.model_copy(update={"name": f"{contestant.name}_r{i}", "prompt": prompt})
            for i, prompt in enumerate(others, 1)
        ),
    ]

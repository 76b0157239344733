# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A bounded prompt search, so that the prompt gets a fair chance against tuning.

Varied are the number and choice of shots, and the wording: the base model proposes other instructions, seeing the task
and a few labelled training rows (as in APE, Zhou et al. 2022, arXiv 2211.01910). Each variant is one more variant on
validation rows, where the best prompt is chosen. Wordings and shots are not tried all with all: that is the bound. What
the proposals cost stands in the report, the answers of each variant in its own line. Test rows are never seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from gemtune.config import ModelVariant, Prompt, Task
from gemtune.data.example import Example
from gemtune.inference.few_shot import select_shots
from gemtune.inference.generate import GenerateRequest, ModelOutput

SHOWN = 12
LONGEST = 1500


def rewrite_request(task: Task, variant: ModelVariant, train: Sequence[Example], model: str) -> GenerateRequest:
    """Asks `model` for other instructions; rows are quoted as JSON data."""
    wanted = variant.prompt.rewrites
    system = (
        f"You write instructions for a language model. Write {wanted} other instructions for the task in the JSON "
        "object below, each on a line of its own that begins with a number. Differ in approach: point out what is "
        "easily mixed up, say how to decide in doubt, be shorter, be more precise. Do not answer the rows."
    )
    sample = Prompt.of({"shots": SHOWN, "seed": variant.prompt.seed})
    rows = select_shots(sample, train, [Example("", "", "")])[0]
    shown = {
        "instruction": variant.prompt.instruction or task.instruction,
        "labels": task.labels,
        "rows": [{"text": row.text[:500], "answer": row.target} for row in rows],
    }
    turn = {"role": "user", "parts": [{"text": json.dumps(shown, ensure_ascii=False)}]}
    return GenerateRequest(f"{variant.name} rewrites", model, system, [turn], max_output_tokens=2048)


def parse_instructions(answer: str | None, limit: int) -> list[str]:
    """The numbered lines of a reply, without numbers, repetitions and what is too short or too long to be one."""
    lines = re.findall(r"^\s*(?:[-*]\s*)?\d+\s*[.):]\s*(.+?)\s*$", answer or "", re.MULTILINE)
    plain = (line.strip("*\"'“” ") for line in lines)
    return list(dict.fromkeys(line for line in plain if 8 <= len(line) <= LONGEST))[:limit]


def grid(variant: ModelVariant) -> list[ModelVariant]:
    """One more variant for each other number of shots and choice of them, none of which is searched again."""
    own = _settled(variant.prompt)
    counts = [own.shots, *variant.prompt.try_shots]
    selections = [own.selection, *variant.prompt.try_selections]
    found: dict[tuple[int, str], ModelVariant] = {}
    for count in counts:
        # without shots there is nothing to choose
        for selection in selections if count else [own.selection]:
            if (count, selection) != (own.shots, own.selection):
                suffix = f"k{count}_{selection}" if count else "k0"
                told = {"name": f"{own.name}_{suffix}", "shots": count, "selection": selection}
                prompt = own.model_copy(update=told)
                found[count, selection] = variant.model_copy(
                    update={"name": f"{variant.name}_{suffix}", "prompt": prompt}
                )
    return list(found.values())


def _settled(prompt: Prompt) -> Prompt:
    return prompt.model_copy(update={"rewrites": 0, "try_shots": [], "try_selections": []})


def rewritten(variant: ModelVariant, given: ModelOutput) -> list[ModelVariant]:
    """The variant itself and one more for each proposed instruction, none of which is searched again."""
    settled = _settled(variant.prompt)
    own = settled.instruction
    found = [text for text in parse_instructions(given.text, variant.prompt.rewrites) if text != own]
    others = [
        settled.model_copy(update={"name": f"{settled.name}_r{i}", "instruction": text})
        for i, text in enumerate(found, 1)
    ]
    return [
        variant.model_copy(update={"prompt": settled}),
        *(
            variant.model_copy(update={"name": f"{variant.name}_r{i}", "prompt": prompt})
            for i, prompt in enumerate(others, 1)
        ),
    ]

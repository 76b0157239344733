# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A bounded prompt search, so that prompting gets a fair chance against tuning.

The search varies the number and selection of shots, and the instruction: the base model proposes rewrites, given the
task and a few labelled training rows (as in APE, Zhou et al. 2022, arXiv 2211.01910). Each result is one more variant,
evaluated on validation rows; `searched_from` names the variant it was derived from. Instructions and shots are not
combined, which bounds the search. The report states the tokens of the proposals separately. The best prompt is also
tried with constrained output, so that no prompt loses by the form of its answers. Test rows are never used.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, ModelVariant, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.inference.few_shot import select_shots
from gemtune.inference.generate import GenerateRequest

EXAMPLE_ROWS = 12
MAX_INSTRUCTION_CHARS = 1500


def rewrite_request(task: Task, variant: ModelVariant, train: Sequence[Example], model: str) -> GenerateRequest:
    """The request to `model` for other instructions; rows are quoted as JSON data."""
    count = variant.prompt.rewrites
    system = (
        f"You write instructions for a language model. Write {count} other instructions for the task in the JSON "
        "object below, each on a line of its own that begins with a number. Differ in approach: point out what is "
        "easily mixed up, say how to decide in doubt, be shorter, be more precise. Do not answer the rows."
    )
    sample = Prompt.of({"shots": EXAMPLE_ROWS, "seed": variant.prompt.seed})
    rows = select_shots(sample, train, [Example("", "", "")])[0]
    content = {
        "instruction": variant.prompt.instruction or task.instruction,
        "labels": task.labels,
        "rows": [{"text": row.text[:500], "answer": row.target} for row in rows],
    }
    turn = {"role": "user", "parts": [{"text": json.dumps(content, ensure_ascii=False)}]}
    return GenerateRequest(f"{variant.name} rewrites", model, system, [turn], max_output_tokens=2048)


def parse_instructions(answer: str | None, limit: int) -> list[str]:
    """The numbered lines of an answer that have a plausible length."""
    return [line for line in numbered_lines(answer) if 8 <= len(line) <= MAX_INSTRUCTION_CHARS][:limit]


def numbered_lines(answer: str | None) -> list[str]:
    """The numbered lines of an answer, without numbers, quotes and duplicates."""
    lines = re.findall(r"^\s*(?:[-*]\s*)?\d+\s*[.):]\s*(.+?)\s*$", answer or "", re.MULTILINE)
    return list(dict.fromkeys(line.strip("*\"'“” ") for line in lines))


def grid(variant: ModelVariant) -> list[ModelVariant]:
    """One more variant for each other combination of number and selection of shots."""
    base = _without_search(variant.prompt)
    variants = {}
    for count in [base.shots, *variant.prompt.try_shots]:
        # without shots there is nothing to select
        for selection in [base.selection, *variant.prompt.try_selections] if count else [base.selection]:
            if (count, selection) != (base.shots, base.selection):
                suffix = f"k{count}_{selection}" if count else "k0"
                variants[count, selection] = _derived(variant, base, suffix, shots=count, selection=selection)
    return list(variants.values())


def rewritten(variant: ModelVariant, output: ModelOutput) -> list[ModelVariant]:
    """The variant itself and one more for each proposed instruction, none of which is searched again."""
    base = _without_search(variant.prompt)
    texts = [text for text in parse_instructions(output.text, variant.prompt.rewrites) if text != base.instruction]
    derived = [_derived(variant, base, f"r{i}", instruction=text) for i, text in enumerate(texts, 1)]
    return [variant.model_copy(update={"prompt": base}), *derived]


def constrainable(task: Task, variants: Sequence[ModelVariant]) -> list[ModelVariant]:
    """The variants of which the best is also tried with constrained output; [] where the configuration has some."""
    if not task.is_labelled or any(v.prompt.constrained_output for v in variants):
        return []
    return [variant for variant in variants if not variant.prompt.chain_of_thought]


def constraint_problem(task: Task, evaluate: Evaluate, catalogue: Catalogue) -> str:
    """Why the best prompt is not tried with constrained output though the setting is on; empty where it is not."""
    if not evaluate.constrain_best_prompt or not task.is_labelled:
        return ""
    problem = catalogue.enumeration_problem(evaluate.base_model, len(task.labels))
    return problem and f"the best prompt was not tried with constrained output: {problem}"


def constrained(variant: ModelVariant) -> ModelVariant:
    """The same prompt with constrained output."""
    return _derived(variant, _without_search(variant.prompt), "constrained", constrained_output=True)


def _derived(variant: ModelVariant, base: Prompt, suffix: str, **changes: Any) -> ModelVariant:
    prompt = base.model_copy(update={"name": f"{base.name}_{suffix}", **changes})
    name = f"{variant.name}_{suffix}"
    return variant.model_copy(update={"name": name, "prompt": prompt, "searched_from": variant.name})


def _without_search(prompt: Prompt) -> Prompt:
    return prompt.model_copy(update={"rewrites": 0, "try_shots": [], "try_selections": []})

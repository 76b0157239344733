# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How rows become requests: one place for baselines, tuning rows and serving, so that they cannot diverge.

The system instruction holds the task (what to do, the allowed labels, the output format); the user turn holds the row,
after the shots if there are any, and ends with the cue before the answer (`Intent:`). A prompt with level `instance`
has everything in the user turn. A tuned model gets the exact text of its training rows. Pure: no files, no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gemtune.config import JsonObject, Prompt, Task
from gemtune.data.example import Example
from gemtune.data.labels import labels_of
from gemtune.errors import UserError
from gemtune.inference.parsing import Parsed, parse

__all__ = ["Parsed", "Rendered", "parse", "render", "resolve", "training_row", "tuned_prompt"]


@dataclass(frozen=True)
class Rendered:
    """The system instruction and Gemini's `contents`, ending in a user turn."""

    system: str | None
    contents: list[JsonObject]


def tuned_prompt(task: Task) -> Prompt:
    """The prompt of tuning rows, and of every request to a tuned model. Labels are learned, so they are not listed."""
    return Prompt.of({"name": "tuned", "list_labels": False})


def resolve(task: Task, examples: Iterable[Example]) -> Task:
    """The task with its labels (sorted) from the data if the configuration has none; other kinds are unchanged."""
    if task.labels or task.kind not in ("classification", "sentiment"):
        return task
    labels: set[str] = set()
    for example in examples:
        labels.update(labels_of(example.target, task))
    if len(labels) < 2:
        raise UserError(f"{task.kind} needs two labels or more, got {sorted(labels)}", remedy="check target_column")
    return task.model_copy(update={"labels": sorted(labels)})


def render(task: Task, prompt: Prompt, example: Example, shots: Sequence[Example] = ()) -> Rendered:
    """The request for one row. Shots precede the row in the same user turn, each with its reference answer."""
    blocks = [f"{_row_text(task, shot)}\n{task.target_name}: {shot.target}" for shot in shots]
    text = _row_text(task, example)
    blocks.append(text if prompt.chain_of_thought else f"{text}\n{task.target_name}:")
    instruction = _instruction(task, prompt, example)
    if prompt.level == "instance":
        return Rendered(None, _contents(example, "\n\n".join([instruction, *blocks] if instruction else blocks)))
    return Rendered(instruction, _contents(example, "\n\n".join(blocks)))


def training_row(task: Task, prompt: Prompt, example: Example) -> JsonObject:
    """One line of Gemini's supervised tuning JSONL: the request as `render` makes it, then the model's turn."""
    rendered = render(task, prompt, example)
    turns = [*rendered.contents, {"role": "model", "parts": [{"text": example.target}]}]
    system = {"systemInstruction": {"role": "system", "parts": [{"text": rendered.system}]}} if rendered.system else {}
    return {**system, "contents": turns}


def _row_text(task: Task, example: Example) -> str:
    return f"{task.text_name}: {example.text}"


def _instruction(task: Task, prompt: Prompt, example: Example) -> str | None:
    """Instruction (of the prompt, else of the row, else of the task), allowed values, output format."""
    parts = [prompt.instruction or example.system or task.instruction]
    if prompt.list_labels:
        parts.append(_allowed_values(task))
    parts.append(_output_format(task, prompt))
    return "\n".join(part for part in parts if part) or None


def _allowed_values(task: Task) -> str:
    if task.kind == "extraction":
        # sorted: a pipeline parameter does not keep the order of keys, and each step would send another prompt
        schema = json.dumps(task.output_schema, ensure_ascii=False, sort_keys=True)
        return f"JSON schema: {schema}" if task.output_schema else ""
    if not task.labels:
        return ""
    if task.label_descriptions or any("," in label for label in task.labels):
        descriptions = task.label_descriptions
        return "\n".join(
            f"- {label}: {descriptions[label]}" if label in descriptions else f"- {label}" for label in task.labels
        )
    return f"Labels: {', '.join(task.labels)}"


def _output_format(task: Task, prompt: Prompt) -> str:
    if prompt.chain_of_thought:
        return f'Think step by step. Then write the answer on a last line that begins with "{task.target_name}:".'
    if not prompt.list_labels:
        return ""
    if task.kind in ("classification", "sentiment"):
        multi_label = f"Answer with all labels that apply, separated by {task.label_separator.strip()!r}."
        return multi_label if task.label_separator else "Answer with the label only."
    return "Answer with the JSON object only." if task.kind == "extraction" else ""


def _contents(example: Example, text: str) -> list[JsonObject]:
    """Earlier turns and attached parts stay; the text of the last user turn becomes `text`."""
    turn: JsonObject = {"role": "user", "parts": [{"text": text}]}
    turns = list(example.contents or ())
    if not turns or turns[-1].get("role", "user") == "model":
        return [*turns, turn]
    attached = [part for part in turns[-1].get("parts", []) if "text" not in part]
    return [*turns[:-1], {"role": "user", "parts": [*attached, {"text": text}]}]

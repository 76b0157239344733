# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How rows become requests: one place for baselines, tuning rows and serving, so that they cannot diverge.

The system instruction holds the task (what to do, the allowed labels, the output format); the user turn holds the row,
after the shots if there are any, and ends with the cue before the answer (`Intent:`). A prompt with level `instance`
has everything in the user turn. A tuned model gets the exact text of its training rows. Pure: no files, no network.

A row that is a prompt already (`Example.contents`) is sent as it is: its turns, parts, system instruction and tools.
Only a baseline adds to it: the allowed labels and the answer format after the row's own system instruction (the task's,
if it has none), and shots as turns before its own. A prompt's `instruction` replaces the row's.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gemtune.config import JsonObject, ModelVariant, Prompt, Task
from gemtune.contents import text_turn
from gemtune.data.example import Example
from gemtune.data.labels import labels_of
from gemtune.errors import UserError
from gemtune.inference import few_shot
from gemtune.inference.field_values import as_written
from gemtune.inference.generate import GenerateRequest


@dataclass(frozen=True)
class Rendered:
    """The system instruction and Gemini's `contents`, ending in a user turn; `fields` are other fields of the request
    that the row has (tools).
    """

    system: str | None
    contents: list[JsonObject]
    fields: JsonObject = field(default_factory=dict)


def tuned_prompt(task: Task) -> Prompt:
    """The prompt of tuning rows, and of every request to a tuned model. Labels are learned, so they are not listed."""
    return Prompt.of({"name": "tuned", "list_labels": False})


def resolve(task: Task, examples: Iterable[Example]) -> Task:
    """The task with its labels (sorted) from the data if the configuration has none; other kinds are unchanged."""
    if task.labels or not task.is_labelled:
        return task
    labels: set[str] = set()
    for example in examples:
        labels.update(labels_of(example.target, task))
    if len(labels) < 2:
        raise UserError(f"{task.kind} needs two labels or more, got {sorted(labels)}", remedy="check target_column")
    return task.model_copy(update={"labels": sorted(labels)})


def render(task: Task, prompt: Prompt, example: Example, shots: Sequence[Example] = ()) -> Rendered:
    """The request for one row. Shots precede the row in the same user turn, each with its reference answer."""
    if example.contents is not None:
        return _render_prompt(task, prompt, example, shots)
    blocks = [f"{_row_text(task, shot)}\n{task.target_name}: {shot.target}" for shot in shots]
    text = _row_text(task, example)
    blocks.append(text if prompt.chain_of_thought else f"{text}\n{task.target_name}:")
    instruction = _instruction(task, prompt, example)
    if prompt.level == "instance":
        return Rendered(None, [text_turn("user", "\n\n".join([instruction, *blocks] if instruction else blocks))])
    return Rendered(instruction, [text_turn("user", "\n\n".join(blocks))])


def _render_prompt(task: Task, prompt: Prompt, example: Example, shots: Sequence[Example]) -> Rendered:
    """The request for a row that is a prompt already, its turns unchanged."""
    shown = [turn for shot in shots for turn in (*shot.turns, shot.answer_turn)]
    turns = [*shown, *example.turns]
    instruction = _instruction(task, prompt, example)
    fields = {name: value for name, value in example.request.items() if name != "systemInstruction"}
    if prompt.level == "instance" and instruction:
        first = {**turns[0], "parts": [{"text": instruction}, *turns[0]["parts"]]}
        return Rendered(None, [first, *turns[1:]], fields)
    return Rendered(instruction, turns, fields)


def training_prompt(task: Task, prompt: Prompt, example: Example) -> JsonObject:
    """A line of Gemini's tuning JSONL without the answer: the request as `render` makes it, a row's own fields as they
    are in the row.
    """
    rendered = render(task, prompt, example)
    system = {"systemInstruction": text_turn("system", rendered.system)} if rendered.system else {}
    return {**system, "contents": rendered.contents, **example.request}


def training_row(task: Task, prompt: Prompt, example: Example) -> JsonObject:
    """One line of Gemini's supervised tuning JSONL: the request, then the model's turn."""
    row = training_prompt(task, prompt, example)
    return {**row, "contents": [*row["contents"], example.answer_turn]}


def _row_text(task: Task, example: Example) -> str:
    return f"{task.text_name}: {example.text}"


def _instruction(task: Task, prompt: Prompt, example: Example) -> str | None:
    """Instruction (of the prompt, else of the row, else of the task), allowed values, output format.

    The task's instruction is not added to a row that is a prompt already, where the prompt lists no labels either: that
    is the request that a tuned model is trained on.
    """
    is_own = example.contents is not None and not prompt.list_labels
    parts = [prompt.instruction or example.system or ("" if is_own else task.instruction)]
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
    if task.is_labelled:
        multi_label = f"Answer with all labels that apply, separated by {task.label_separator.strip()!r}."
        return multi_label if task.label_separator else "Answer with the label only."
    return "Answer with the JSON object only." if task.kind == "extraction" else ""


# -- requests ---------------------------------------------------------------------------------------------------------


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
            variant.base_model,
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


# -- rows of tuning jobs, with the id of their example -----------------------------------------------------------------


def supervised_rows(task: Task, examples: Sequence[Example]) -> list[tuple[str, JsonObject]]:
    """A row per example; of an example with pairs a row per preferred answer, each once."""
    prompt, rows = tuned_prompt(task), []
    for example in examples:
        answers = dict.fromkeys(pair.chosen for pair in example.pairs)
        variants = [replace(example, target=answer, answer=None) for answer in answers] or [example]
        rows += [(example.id, training_row(task, prompt, variant)) for variant in variants]
    return rows


def preference_rows(task: Task, examples: Sequence[Example]) -> list[tuple[str, JsonObject]]:
    """A row per pair, the better answer with score 1, the worse with 0."""
    rows = []
    for example in examples:
        prompt = training_prompt(task, tuned_prompt(task), example)
        for pair in example.pairs:
            completions = [
                {"score": score, "completion": text_turn("model", text)}
                for score, text in ((1, pair.chosen), (0, pair.rejected))
            ]
            rows.append((example.id, {**prompt, "completions": completions}))
    return rows


def reinforcement_rows(task: Task, examples: Sequence[Example]) -> list[tuple[str, JsonObject]]:
    """A row per example: the prompt and its references, `target` and, of an object, each field as text."""
    prompt = tuned_prompt(task)
    return [
        (example.id, {**training_prompt(task, prompt, example), "references": references(task, example)})
        for example in examples
    ]


def references(task: Task, example: Example) -> dict[str, str]:
    """What rewards compare the answers to an example with."""
    fields = json.loads(example.target) if task.kind == "extraction" else {}
    absent = dict.fromkeys(task.output_schema.get("properties", {}), "")
    return {
        **{name: as_written(value) for name, value in {**absent, **fields}.items()},
        "target": example.target.strip(),
    }


def tuning_rows(task: Task, examples: Sequence[Example], method: str) -> list[tuple[str, JsonObject]]:
    """The rows that a job of this tuning method trains on."""
    rows = {"preference": preference_rows, "reinforcement": reinforcement_rows}.get(method, supervised_rows)
    return rows(task, examples)

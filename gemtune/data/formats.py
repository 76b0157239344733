# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parsers of all accepted row formats.

The format is recognized per row from its keys: Gemini `contents`, `messages` (legacy roles system/user/model, or
chat roles with assistant), AutoML Text's import rows (`textContent` with annotations, `ML_USE` as the split), or plain
columns. Guarantees: a row becomes an example or a `RejectedRow` with a reason. A row of turns is a prompt already: its
turns, parts, system instruction and tools are kept as they are, without thoughts and training weights; what the tuning
service would refuse is rejected here.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from gemtune import contents
from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data.example import Example, RejectedRow, example_id
from gemtune.data.labels import label_set, label_text, parse_container
from gemtune.data.segments import read_segments, spans_as_segments, unit_evidence
from gemtune.errors import UserError, did_you_mean

_CHAT_ROLES = {
    **{"system": "system", "developer": "system", "user": "user", "human": "user"},
    **{"model": "model", "assistant": "model", "gpt": "model"},
}
_TURN_KEYS = dict.fromkeys(("contents", "messages", "conversations", "conversation"))  # the last two are ShareGPT's
_FORMAT_KEYS = {"text_snippet", "textContent", "textGcsUri", *_TURN_KEYS}
_SYSTEM_KEYS = ("systemInstruction", "system_instruction", "system", "system_prompt")  # Anthropic, Bedrock: system
_REASONING = ("reasoning_content", "reasoning", "thinking")  # of a message, beside its content
_LEFT_OUT = ("generationConfig", "safetySettings", "cachedContent")  # the section evaluate sets these
_SPLIT_ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "validate", "valid", "val", "dev"),
    "test": ("test", "testing"),
    None: ("", "unassigned"),
}
_SPLITS = {name: split for split, names in _SPLIT_ALIASES.items() for name in names}
_MAX_INTERNED_CHARS = 2000  # characters
_NO_SLICES: dict[str, str] = {}
_NOTHING: JsonObject = {}


class _InvalidRow(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def parse_example(
    line: int, row: JsonObject, task: Task, config: Preprocess, row_notes: Counter[str] | None = None
) -> Example | RejectedRow:
    """The example in a raw row, its text unchanged; or the rejected row.

    `row_notes` counts rows by what to report of them: what is left out, offsets that look wrong.
    """
    notes = Counter[str]() if row_notes is None else row_notes
    try:
        if _FORMAT_KEYS.isdisjoint(row):
            return _columns(line, row, task, config, notes)
        if isinstance(row.get("text_snippet"), dict):
            row = _upgraded(row)
        if any(isinstance(row.get(key), str) for key in ("textContent", "textGcsUri")):
            return _automl(line, row, task, config, notes)
        if is_prompt(prompt := as_prompt(row)):
            return _prompt(line, prompt, task, config, notes)
        return _columns(line, row, task, config, notes)
    except _InvalidRow as error:
        return RejectedRow(line, error.reason, error.detail, row)


OPENAI_PAIR = ("input", "preferred_output", "non_preferred_output")  # fields of its preference files


def is_split_name(name: str) -> bool:
    """Whether rows may name their split so."""
    return bool(name) and name.lower() in _SPLITS


def is_prompt(row: JsonObject) -> bool:
    """Whether a row is a prompt already: turns in `contents` or `messages`."""
    return isinstance(row.get("contents"), list) or isinstance(row.get("messages"), list)


def as_prompt(row: JsonObject) -> JsonObject:
    """The row with its turns as `contents` or `messages`, from whichever field or notation has them."""
    if _TURN_KEYS.keys().isdisjoint(row) or is_prompt(row):
        return row
    for key in _TURN_KEYS:
        if turns := chat_turns(row.get(key)):
            others = {name: value for name, value in row.items() if name != key}
            return {**others, "contents" if "parts" in turns[0] else "messages": turns}
    return row


def chat_turns(value: Any) -> list[JsonObject]:
    """The turns in a value: objects with a role, or `from` as ShareGPT has it, also as JSON or Python notation in a
    cell; empty for anything else.
    """
    if isinstance(value, str):
        value = parse_container(value.strip(), is_exact=True) if value.lstrip().startswith("[") else None
    is_chat = isinstance(value, list) and all(isinstance(turn, dict) and {"role", "from"} & {*turn} for turn in value)
    return value if is_chat else []


def parse_request(row: JsonObject) -> Example:
    """The example, without a reference, in a request: a row of turns that ends before the answer.

    Raises `UserError` for what the service would refuse.
    """
    try:
        if not is_prompt(row):
            raise _InvalidRow("wrong_turns", "it has no contents")
        system, turns, fields = _turns_of(row, set())
        if not turns or contents.role_of(turns[-1]) != "user":
            raise _InvalidRow("wrong_turns", "its last turn is the model's" if turns else "it has no turns")
        return _of_turns(0, [_without_weight(turn) for turn in turns], "", None, system, fields)
    except _InvalidRow as error:
        raise UserError(f"not a request: {error.detail}", remedy="pass contents that end with a user turn") from None


def _columns(line: int, row: JsonObject, task: Task, config: Preprocess, row_notes: Counter[str]) -> Example:
    text = _cell(row, config.text_column, "text")
    if not isinstance(text, str):
        raise _InvalidRow("wrong_type", f"{config.text_column!r} is {text!r:.80}, not a string")
    if config.added_columns:
        added = [str(row[name]) for name in config.added_columns if row.get(name) not in (None, "")]
        text = "\n\n".join([text, *added])
    value = _cell(row, config.target_column, "target")
    if "_task_hash" in row and row.get("answer") in ("reject", "ignore") and config.target_column != "answer":
        raise _InvalidRow("not_selected", f"its annotator did not accept it: Prodigy's answer is {row['answer']!r}")
    if task.kind == "extraction" and (segments := spans_as_segments(value)) is not None:
        target = _segmented(text, segments, config, row_notes)
    else:
        target = _target(value, config.target_column, task)
    names = (config.text_column, config.target_column)
    if target.strip().casefold() == names[1].casefold() and text.strip().casefold() == names[0].casefold():
        raise _InvalidRow("repeated_header", "the row names the columns: files were joined here")
    system = row.get("systemInstruction") or row.get("system_prompt")
    if "instruction" in row and "output" in row:  # Alpaca, as it was extended
        system = system or row.get("system")
        row_notes.update(["earlier turns in `history` are not read: write messages"] if row.get("history") else [])
    return _example(line, row, text, target, config, system if isinstance(system, str) and system else None)


def _prompt(line: int, row: JsonObject, task: Task, config: Preprocess, row_notes: Counter[str]) -> Example:
    """A row of turns: the last model turn to be trained on is the reference, the turns before it are the prompt."""
    left_out = set[str]()
    system, turns, fields = _turns_of(row, left_out)
    roles = " ".join(map(contents.role_of, turns)) or "none"
    if not roles.endswith("user model"):
        raise _InvalidRow("wrong_turns", f"the turns must end with user, model; they are: {roles}")
    while turns and (contents.role_of(turns[-1]) != "model" or turns[-1].get("weight") == 0):
        turns.pop()
    if len(turns) < 2:
        raise _InvalidRow("missing_target", "every model turn has weight 0, so none is trained on")
    if any(turn.get("weight") == 0 for turn in turns):
        left_out.add(_CONTEXT_WEIGHT)
    *before, last = [_without_weight(turn) for turn in turns]
    target = _target(contents.text_of(last["parts"]), "the answer", task)
    row_notes.update(left_out)
    split, group, slices = _of_columns(row, config)
    return replace(_of_turns(line, before, target, last, system, fields), split=split, group=group, slices=slices)


_THOUGHTS = "thoughts of the model are left out"
_CONTEXT_WEIGHT = (
    "earlier model turns with weight 0 stay as context: the tuning service has no field that excludes a turn"
)


def _turns_of(row: JsonObject, left_out: set[str]) -> tuple[JsonObject | None, list[JsonObject], JsonObject]:
    """System instruction, turns, and the other fields of a request in a row, as it has them but for thoughts."""
    system = _system(row)
    if isinstance(row.get("contents"), list):
        turns = [_turn(turn, left_out) for turn in row["contents"]]
    else:
        messages = [_message(message, left_out) for message in row["messages"]]
        turns = [message for message in messages if message["role"] != "system"]
        if systems := [message for message in messages if message["role"] == "system"]:
            texts = [contents.text_of(turn["parts"]) for turn in (system, *systems) if turn]
            system = contents.text_turn("system", "\n".join(texts))
    for number, turn in enumerate(turns, 1):
        if not any(len(part) > 1 or part.get("text", "-").strip() for part in turn["parts"]):
            is_answer = number == len(turns) and contents.role_of(turn) == "model"
            raise _InvalidRow("empty_target" if is_answer else "empty_text", f"turn {number} is empty")
    return system, turns, _request_fields(row, left_out)


def _request_fields(row: JsonObject, left_out: set[str]) -> JsonObject:
    """Tools, their configuration and the resolution of media."""
    named = {contents.camel(key): value for key, value in row.items() if value}
    if problem := contents.tools_problem(named.get("tools") or named.get("functions", [])):
        raise _InvalidRow("unsupported_part", problem)
    fields: JsonObject = {name: _shared(json.dumps(named[name])) for name in ("tools", "toolConfig") if name in named}
    generation = named.get("generationConfig")
    if isinstance(generation, dict) and "mediaResolution" in generation:
        fields["generationConfig"] = {"mediaResolution": generation["mediaResolution"]}
    left_out.update(
        f"{name} is left out: the section evaluate sets it" for name in _LEFT_OUT if named.get(name) != fields.get(name)
    )
    return fields


@lru_cache(maxsize=1024)
def _shared(value: str) -> Any:
    """A JSON value, with one copy for all rows: tools and instructions repeat."""
    return json.loads(value)


def _of_turns(
    line: int,
    before: list[JsonObject],
    target: str,
    answer: JsonObject | None,
    system: JsonObject | None,
    fields: JsonObject,
) -> Example:
    """The example of turns before an answer; what plain fields can say is stored once, in plain fields."""
    target = _interned(target.strip())
    if system is not None:
        text = contents.text_of(system["parts"])
        if system != contents.text_turn("system", text):
            fields = {"systemInstruction": _shared(json.dumps(system)), **fields}
    own = _interned(text) if system is not None else None
    spoken = [turn["parts"] for turn in reversed(before) if contents.role_of(turn) == "user"]
    texts = ("\n".join(part["text"] for part in parts if isinstance(part.get("text"), str)) for parts in spoken)
    text = next(filter(None, texts), "")
    kept = tuple(before)
    return Example(
        id=example_id(text, target, own, kept, fields),
        text=text,
        target=target,
        line=line,
        system=own,
        contents=kept,
        answer=None if answer == contents.text_turn("model", target) else answer,
        request=fields or _NOTHING,
    )


def _of_columns(row: JsonObject, config: Preprocess) -> tuple[str | None, str | None, dict[str, str]]:
    """The split, group and slices of a row."""
    named = [name for name in config.slice_columns if row.get(name) not in (None, "")] if config.slice_columns else ()
    slices = {name: _interned(str(row[name])) for name in named} if named else _NO_SLICES
    group = row.get(config.group_column) if config.group_column else None
    return _split(row, config), None if group in (None, "") else _interned(str(group)), slices


def _example(
    line: int, row: JsonObject, text: str, target: str, config: Preprocess, system: str | None = None
) -> Example:
    target, own = _interned(target.strip()), system and _interned(system)
    # by position, in half the time
    return Example(
        example_id(text, target, own), text, target, line, own, None, None, _NOTHING, *_of_columns(row, config)
    )


def _interned(value: str) -> str:
    """The value, with one copy for all rows: labels, groups and instructions repeat."""
    return sys.intern(value) if len(value) <= _MAX_INTERNED_CHARS else value


def _split(row: JsonObject, config: Preprocess) -> str | None:
    column = config.split_column if config.split_column in row else "ml_use" if "textContent" in row else ""
    value = row.get(column) if column else None  # the index of a data frame is a column named ""
    if value is None and isinstance(labels := row.get("dataItemResourceLabels"), dict):
        value = labels.get("aiplatform.googleapis.com/ml_use")
    if value is None:
        return None
    name = str(value).strip().lower()
    if name not in _SPLITS:
        raise _InvalidRow("unknown_split", f"{column!r} is {value!r:.80}, not train, validation or test")
    return _SPLITS[name]


def _automl(line: int, row: JsonObject, task: Task, config: Preprocess, row_notes: Counter[str]) -> Example:
    """AutoML Text: one label, several labels, a sentiment, or segments (a JSON object of lists)."""
    text = row.get("textContent")
    if not isinstance(text, str):
        raise _InvalidRow("missing_text", "no 'textContent'")
    if isinstance(annotation := row.get("classificationAnnotation"), dict):
        target = _annotated([annotation], task)
    elif isinstance(annotations := row.get("classificationAnnotations"), list):
        target = _annotated(annotations, task)
    elif isinstance(sentiment := row.get("sentimentAnnotation"), dict):
        target = _target(_cell(sentiment, "sentiment", "target"), "sentiment", task)
    elif isinstance(segments := row.get("textSegmentAnnotations"), list):
        target = _segmented(text, segments, config, row_notes)
    else:
        raise _InvalidRow("missing_target", "no classification, sentiment or textSegment annotation")
    return _example(line, row, text, target, config)


def _segmented(text: str, segments: Sequence[Any], config: Preprocess, row_notes: Counter[str]) -> str:
    """The reference of segments: a JSON object with a list of values for each name."""
    try:
        spans = [_object(segment) for segment in segments]
        values, note = read_segments(text, spans, config.offset_unit)
    except ValueError as error:
        raise _InvalidRow("wrong_type", str(error)) from None
    row_notes.update([note] if note else unit_evidence(text, spans) if config.offset_unit == "characters" else [])
    return json.dumps(values, ensure_ascii=False)


def _annotated(annotations: list[Any], task: Task) -> str:
    """The reference of AutoML's annotations: a list is one label, unless the task has several."""
    names = [_cell(_object(annotation), "displayName", "target") for annotation in annotations]
    value = names if task.label_separator or len(names) > 1 else next(iter(names), "")
    return _target(value, "displayName", task)


def _upgraded(row: JsonObject) -> JsonObject:
    """A row of AutoML Natural Language's entity extraction in the format of AutoML Text."""
    annotations = row.get("annotations")
    segments = [
        {
            "displayName": annotation.get("display_name"),
            "startOffset": span.get("start_offset"),
            "endOffset": span.get("end_offset"),
        }
        for annotation in map(_object, annotations if isinstance(annotations, list) else [])
        for span in [_object(_object(annotation.get("text_extraction")).get("text_segment"))]
    ]
    return {**row, "textContent": row["text_snippet"].get("content"), "textSegmentAnnotations": segments}


def _object(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise _InvalidRow("wrong_type", f"{value!r:.80} is not an object")
    return value


def _cell(row: JsonObject, column: str, field: str) -> Any:
    value = row.get(column)
    if value is None:
        columns = ", ".join(sorted(map(str, row))[:12])
        similar = did_you_mean(column, tuple(name for name in map(str, row) if name != column))
        raise _InvalidRow(f"missing_{field}", f"no {column!r}; the row has {columns or 'nothing'}{similar}")
    return value


def _target(value: Any, name: str, task: Task) -> str:
    if task.kind == "classification" and task.label_separator:
        try:
            return label_set(value, task.label_separator)
        except ValueError as error:
            raise _InvalidRow("wrong_type", f"{name!r}: {error}") from None
    if task.kind == "classification" and isinstance(value, list):
        detail = f"{name!r} is {value!r:.80}, a list, and task.label_separator is empty"
        raise _InvalidRow("wrong_type", detail)
    if task.kind == "extraction" and isinstance(value, str) and value.lstrip().startswith("{'"):
        value = parse_container(value.strip(), is_exact=True) or value  # Python's notation, as a data frame writes it
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if (label := label_text(value)) is None:
        raise _InvalidRow("wrong_type", f"{name!r} is {value!r:.80}, not a string, a whole number or an object")
    return label


def _system(row: JsonObject) -> JsonObject | None:
    """The system instruction of a row as a turn; a plain text, or its parts, are accepted too."""
    value = next((row[key] for key in _SYSTEM_KEYS if row.get(key)), None)
    if not value:
        return None
    if isinstance(value, str):
        return contents.text_turn("system", value)
    value = value if isinstance(value, dict) else {"role": "system", "parts": value}
    parts = _parts(value.get("parts"), _message_problem)
    if any(set(contents.fields_of(part)) != {"text"} for part in parts):
        raise _InvalidRow("unsupported_part", "systemInstruction has a part that is not text: move it to a user turn")
    return {**value, "parts": parts} if contents.text_of(parts) else None


def _turn(turn: Any, left_out: set[str]) -> JsonObject:
    """A turn of `contents` as it is, without thoughts; its role in the service's spelling."""
    if not isinstance(turn, dict) or not isinstance(role := turn.get("role") or "user", str):
        raise _InvalidRow("wrong_turns", f"a turn is {turn!r:.80}, not an object with role and parts")
    name = {"assistant": "model"}.get(role, role.lower())
    if name not in contents.ROLES:
        remedy = "write it as systemInstruction" if name in _CHAT_ROLES else f"one of {', '.join(contents.ROLES)}"
        raise _InvalidRow("wrong_turns", f"a turn has the role {role!r:.40}: {remedy}")
    if unknown := [key for key in turn if key not in ("role", "parts", "weight")]:
        raise _InvalidRow("unsupported_part", f"a turn has {unknown[0]!r:.40}, which tuning does not accept: remove it")
    own = {"role": name} if "role" in turn else {}
    return {**turn, **own, "parts": _kept_parts(turn, turn.get("parts"), left_out, contents.part_problem)}


def _kept_parts(
    turn: JsonObject, value: Any, left_out: set[str], problem_of: Callable[[Any], str | None]
) -> list[JsonObject]:
    """The parts of a turn or message that has this weight, without thoughts."""
    if turn.get("weight") not in (None, 0, 1):
        raise _InvalidRow("wrong_turns", f"a turn has the weight {turn['weight']!r:.40}: write 0 or 1")
    parts = _parts(value, problem_of)
    if len(kept := [part for part in parts if not contents.is_thought(part)]) < len(parts):
        left_out.add(_THOUGHTS)
    if not kept:
        raise _InvalidRow("unsupported_part", "a turn has only thoughts, which are not trained on: add the answer")
    return kept


def _message(message: Any, left_out: set[str]) -> JsonObject:
    """A turn in Gemini's form of a message, whose role is model or user; system for an instruction."""
    role = message.get("role", message.get("from", "user")) if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in _CHAT_ROLES:  # a list is not hashable
        roles = ", ".join(_CHAT_ROLES)
        detail = f"a message has the role {role!r:.40}: one of {roles}; write calls and results as Gemini contents"
        raise _InvalidRow("wrong_turns", detail)
    if calls := [key for key in ("tool_calls", "function_call", "audio") if message.get(key)]:
        detail = f"a message has {calls[0]!r}: write calls and results as Gemini contents, with functionCall parts"
        raise _InvalidRow("unsupported_part", detail)
    if any(message.get(key) for key in _REASONING):
        left_out.add(_THOUGHTS)
    parts = _kept_parts(message, content_of(message), left_out, _message_problem)
    weight = {} if message.get("weight") is None else {"weight": message["weight"]}
    return {"role": _CHAT_ROLES[role], "parts": parts, **weight}


def content_of(message: JsonObject) -> Any:
    """The content of a chat message: `content`, or `value` as ShareGPT has it."""
    return message.get("content", message.get("value"))


def _message_problem(part: Any) -> str | None:
    if isinstance(part, dict) and part.get("type") not in (None, "text"):
        return contents.part_problem({key: value for key, value in part.items() if key != "type"})
    return contents.part_problem(part)


def _parts(value: Any, problem_of: Callable[[Any], str | None]) -> list[JsonObject]:
    """The parts of a turn; a text, or a single part, is accepted too."""
    if isinstance(value, str):
        return [{"text": value}]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise _InvalidRow("wrong_type", f"the parts of a turn are {value!r:.80}, not a list with a part")
    parts = [
        {"text": part["text"]} if isinstance(part, dict) and part.get("type") == "text" and "text" in part else part
        for part in value
    ]
    for part in parts:
        if not contents.is_thought(part) and (problem := problem_of(part)):
            raise _InvalidRow("unsupported_part" if isinstance(part, dict) else "wrong_type", problem)
    return parts


def _without_weight(turn: JsonObject) -> JsonObject:
    return {key: value for key, value in turn.items() if key != "weight"} if "weight" in turn else turn

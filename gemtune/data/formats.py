# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parsers of all accepted row formats.

The format is recognized per row from its keys: Gemini `contents`, `messages` (legacy roles system/user/model, or
chat roles with assistant), AutoML Text's import rows (`textContent` with annotations, `ML_USE` as the split), or plain
columns. Guarantees: a row becomes an example or a `RejectedRow` with a reason; parts that are not text (`fileData`,
`inlineData`) and earlier turns are kept untouched in `Example.contents`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data.example import Example, RejectedRow, example_id
from gemtune.data.labels import label_set, label_text

_ROLES = {"system": "system", "developer": "system", "user": "user", "model": "model", "assistant": "model"}
_SPLIT_ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "validate", "valid", "val", "dev"),
    "test": ("test", "testing"),
    None: ("", "unassigned"),
}
_SPLITS = {name: split for split, names in _SPLIT_ALIASES.items() for name in names}
_MAX_INTERNED_CHARS = 2000  # characters
_NO_SLICES: dict[str, str] = {}
Parts = list[JsonObject]


class _InvalidRow(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def parse_example(line: int, row: JsonObject, task: Task, config: Preprocess) -> Example | RejectedRow:
    """The example in a raw row, its text unchanged; or the rejected row."""
    try:
        if isinstance(row.get("text_snippet"), dict):
            row = _upgraded(row)
        if any(isinstance(row.get(key), str) for key in ("textContent", "textGcsUri")):
            return _automl(line, row, task, config)
        if isinstance(row.get("contents"), list):
            system, turns = _system(row), [_turn(turn, "parts") for turn in row["contents"]]
            return _conversation(line, row, system, turns, task, config)
        if isinstance(row.get("messages"), list):
            turns = [_turn(turn, "content") for turn in row["messages"]]
            systems = [_plain(parts) for role, parts in turns if role == "system"]
            rest = [turn for turn in turns if turn[0] != "system"]
            return _conversation(line, row, "\n".join(systems) or None, rest, task, config)
        return _columns(line, row, task, config)
    except _InvalidRow as error:
        return RejectedRow(line, error.reason, error.detail, row)


def _columns(line: int, row: JsonObject, task: Task, config: Preprocess) -> Example:
    text = _cell(row, config.text_column, "text")
    if not isinstance(text, str):
        raise _InvalidRow("wrong_type", f"{config.text_column!r} is {text!r:.80}, not a string")
    target = _target(_cell(row, config.target_column, "target"), config.target_column, task)
    return _example(line, row, text, target, None, None, config)


def _conversation(
    line: int, row: JsonObject, system: str | None, turns: list[tuple[str, Parts]], task: Task, config: Preprocess
) -> Example:
    if len(turns) < 2 or turns[-1][0] != "model" or turns[-2][0] != "user":
        roles = " ".join(role for role, _ in turns) or "none"
        raise _InvalidRow("wrong_turns", f"the turns must end with user, model; they are: {roles}")
    *earlier, (_, answer) = turns
    target = _target(_plain(answer), "the answer", task)
    is_single_turn = len(earlier) == 1 and len(earlier[0][1]) == 1 and set(earlier[0][1][0]) == {"text"}
    text = "\n".join(part["text"] for part in earlier[-1][1] if isinstance(part.get("text"), str))
    contents = None if is_single_turn else tuple({"role": role, "parts": parts} for role, parts in earlier)
    return _example(line, row, text, target, system, contents, config)


def _example(
    line: int,
    row: JsonObject,
    text: str,
    target: str,
    system: str | None,
    contents: tuple[JsonObject, ...] | None,
    config: Preprocess,
) -> Example:
    slices = {name: _interned(str(row[name])) for name in config.slice_columns if row.get(name) not in (None, "")}
    group = row.get(config.group_column) if config.group_column else None
    target = _interned(target.strip())
    return Example(
        id=example_id(text, target, system, contents),
        text=text,
        target=target,
        line=line,
        system=system and _interned(system),
        contents=contents,
        split=_split(row, config),
        group=None if group in (None, "") else _interned(str(group)),
        slices=slices or _NO_SLICES,
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


def _automl(line: int, row: JsonObject, task: Task, config: Preprocess) -> Example:
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
        target = json.dumps(_segments(text, segments), ensure_ascii=False)
    else:
        raise _InvalidRow("missing_target", "no classification, sentiment or textSegment annotation")
    return _example(line, row, text, target, None, None, config)


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


def _segments(text: str, segments: list[Any]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for segment in sorted(map(_object, segments), key=_begin):
        name, begin, end = (segment.get(key) for key in ("displayName", "startOffset", "endOffset"))
        begin = 0 if begin is None else begin
        if not (isinstance(name, str) and type(begin) is type(end) is int and 0 <= begin < end <= len(text)):
            raise _InvalidRow(
                "wrong_type", f"a segment is {segment!r:.120}, outside the text of {len(text)} characters"
            )
        values.setdefault(name, []).append(text[begin:end])
    return values


def _begin(segment: JsonObject) -> int:
    begin = segment.get("startOffset")
    return begin if isinstance(begin, int) else 0


def _object(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise _InvalidRow("wrong_type", f"{value!r:.80} is not an object")
    return value


def _cell(row: JsonObject, column: str, field: str) -> Any:
    value = row.get(column)
    if value is None:
        columns = ", ".join(sorted(map(str, row))[:12])
        raise _InvalidRow(f"missing_{field}", f"no {column!r}; the row has {columns or 'nothing'}")
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
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if (label := label_text(value)) is None:
        raise _InvalidRow("wrong_type", f"{name!r} is {value!r:.80}, not a string, a whole number or an object")
    return label


def _system(row: JsonObject) -> str | None:
    value = row.get("systemInstruction", row.get("system_instruction"))
    if value is None:
        return None
    return value if isinstance(value, str) else _plain(_parts(value, "parts")) or None


def _turn(turn: Any, key: str) -> tuple[str, Parts]:
    role = turn.get("role", "user") if isinstance(turn, dict) else None
    if not isinstance(role, str) or role not in _ROLES:  # a list is not hashable
        raise _InvalidRow("wrong_turns", f"a turn has the role {role!r:.40}; expected one of {', '.join(_ROLES)}")
    return _ROLES[role], _parts(turn, key)


def _parts(turn: Any, key: str) -> Parts:
    value = turn.get(key) if isinstance(turn, dict) else None
    if isinstance(value, str):
        return [{"text": value}]
    if not isinstance(value, list) or not value:
        raise _InvalidRow("wrong_type", f"{key!r} of a turn is {value!r:.80}")
    for part in value:
        if not isinstance(part, dict) or not part or not isinstance(part.get("text", ""), str):
            raise _InvalidRow("wrong_type", f"a part of a turn is {part!r:.80}")
    return [{"text": part["text"]} if part.get("type") == "text" and "text" in part else part for part in value]


def _plain(parts: Parts) -> str:
    """The text of parts that must all be text."""
    texts = [part.get("text") for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _InvalidRow("wrong_type", "an answer or instruction has parts other than text")
    return "".join(text for text in texts if text is not None)

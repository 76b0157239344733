# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Writers of examples and preference pairs: Gemini `contents`, legacy `messages`, chat with role assistant, columns.

Guarantees: what is written and read back by `formats` (or `pairs`) is the same example (text, answer, system, turns,
parts) or pair; a format that cannot represent an example rejects it instead of losing a part. Split, group and slices
are written as columns only: the other formats are the service's and have no such fields.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from gemtune.artifacts.base import open_atomic
from gemtune.config import JsonObject
from gemtune.contents import text_turn
from gemtune.data.example import Example
from gemtune.errors import UserError


def gemini(example: Example) -> JsonObject:
    """A Gemini supervised-tuning row: `systemInstruction`, `contents` ending in the model's turn, tools."""
    return {**_system(example), "contents": [*example.turns, example.answer_turn], **example.request}


def _system(example: Example) -> JsonObject:
    return {} if example.system is None else {"systemInstruction": text_turn("system", example.system)}


def messages(example: Example, model_role: str = "model") -> JsonObject:
    """A `messages` row; earlier answers and the last one have the role `answerer`."""
    return {"messages": [*_prompt(example, model_role), {"role": model_role, "content": example.target}]}


def _prompt(example: Example, model_role: str) -> list[dict[str, str]]:
    """The turns before the answer, the system instruction first."""
    rows = [] if example.system is None else [{"role": "system", "content": example.system}]
    turns = example.turns
    has_more = example.request or example.answer or any(turn.keys() != {"role", "parts"} for turn in turns)
    for turn in turns:
        if has_more or any(set(part) != {"text"} for part in turn["parts"]) or len(turn["parts"]) != 1:
            raise UserError("this format has plain text turns only", line=example.line, file="row", remedy="use gemini")
        role = model_role if turn["role"] == "model" else turn["role"]
        rows.append({"role": role, "content": turn["parts"][0]["text"]})
    return rows


def chat(example: Example) -> JsonObject:
    """The same with the role assistant."""
    return messages(example, "assistant")


def columns(example: Example) -> JsonObject:
    """Text and label, with split, group and slices if any."""
    if example.system is not None:
        raise UserError("columns have no system instruction", line=example.line, file="row", remedy="use gemini")
    return {"text": _plain_text(example), "label": example.target, **_optional_columns(example)}


def _plain_text(example: Example) -> str:
    if example.turns != (text_turn("user", example.text),) or example.request or example.answer:
        raise UserError("columns have a single plain text", line=example.line, file="row", remedy="use gemini")
    return example.text


def _optional_columns(example: Example) -> dict[str, str]:
    extra = {"split": example.split, "group": example.group, **example.slices}
    return {name: value for name, value in extra.items() if value is not None}


def gemini_pair(example: Example, rejected: str) -> JsonObject:
    """A Gemini preference-tuning row: `contents` end in the user's turn, two `completions` have the scores 1 and 0."""
    scored = ((1, example.target), (0, rejected))
    completions = [{"score": score, "completion": text_turn("model", text)} for score, text in scored]
    return {**_system(example), "contents": list(example.turns), "completions": completions, **example.request}


def messages_pair(example: Example, rejected: str, model_role: str = "model") -> JsonObject:
    """Prompt and both answers as lists of turns."""
    sides = {"chosen": example.target, "rejected": rejected}
    answers = {name: [{"role": model_role, "content": text}] for name, text in sides.items()}
    return {"prompt": _prompt(example, model_role), **answers}


def chat_pair(example: Example, rejected: str) -> JsonObject:
    """The same with the role assistant."""
    return messages_pair(example, rejected, "assistant")


def columns_pair(example: Example, rejected: str) -> JsonObject:
    """Prompt, chosen, rejected, with system, split, group and slices if any."""
    system = {} if example.system is None else {"system": example.system}
    sides = {"prompt": _plain_text(example), "chosen": example.target, "rejected": rejected}
    return {**sides, **system, **_optional_columns(example)}


FORMATS: dict[str, Callable[[Example], JsonObject]] = {
    "gemini": gemini,
    "messages": messages,
    "chat": chat,
    "columns": columns,
}


PAIR_FORMATS: dict[str, Callable[[Example, str], JsonObject]] = {
    "gemini": gemini_pair,
    "messages": messages_pair,
    "chat": chat_pair,
    "columns": columns_pair,
}


def write(path: str | Path, examples: Iterable[Example], format_name: str) -> int:
    """Write examples as a stream in a format (a key of FORMATS) as JSONL, or columns as CSV or TSV by the file's name;
    a name that ends in .gz is compressed. Returns their number.
    """
    _require_format(format_name)
    return _write(path, map(FORMATS[format_name], examples), format_name)


def write_pairs(path: str | Path, pairs: Iterable[tuple[Example, str]], format_name: str) -> int:
    """The same for pairs: a prompt whose target is the chosen answer, and the rejected answer."""
    _require_format(format_name)
    return _write(path, (PAIR_FORMATS[format_name](*pair) for pair in pairs), format_name)


def _require_format(format_name: str) -> None:
    if format_name not in FORMATS:
        raise UserError(f"unknown format {format_name!r}", remedy=f"one of {', '.join(FORMATS)}")


def _write(path: str | Path, rows: Iterable[JsonObject], format_name: str) -> int:
    name = Path(path).name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv") and format_name != "columns":
        raise UserError(f"{suffix} supports columns only, not {format_name}", file=path, remedy="name the file .jsonl")
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ""):
        extensions = ".jsonl, .csv or .tsv, also .gz"
        raise UserError(f"cannot determine the format of {name!r}", file=path, remedy=f"name it {extensions}")
    with open_atomic(path, compress=name.endswith(".gz")) as file:
        return (
            _write_lines(file, rows)
            if suffix not in (".csv", ".tsv")
            else _write_cells(file, rows, "," if suffix == ".csv" else "\t")
        )


def _write_lines(file: TextIO, rows: Iterable[JsonObject]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_cells(file: TextIO, rows: Iterable[JsonObject], delimiter: str) -> int:
    """The header needs the columns of all rows, so the rows are buffered in a temporary file."""
    header: dict[str, None] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="\n") as buffer:
        count = _write_lines(buffer, (row for row in rows if header.update(dict.fromkeys(row)) is None))
        buffer.seek(0)
        writer = csv.DictWriter(
            file, list(header), delimiter=delimiter, lineterminator="\n", restval="", quoting=csv.QUOTE_ALL
        )
        writer.writeheader()
        writer.writerows(map(json.loads, buffer))
    return count

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Writers of examples and preference pairs: Gemini `contents`, legacy `messages`, chat with role assistant, columns.

Guarantees: what is written and read back by `formats` (or `pairs`) is the same example (text, answer, system, turns,
parts) or pair; a format that cannot represent an example rejects it instead of losing a part. Split, group and slices
are written as columns only: the other formats are the service's and have no such fields.
"""

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
    """A Gemini tuning row: `systemInstruction`, `contents` that end in the model's turn, tools.

    For a pair `contents` end in the user's turn, and two `completions` have the scores 1 and 0.
    """
    system = {} if example.system is None else {"systemInstruction": text_turn("system", example.system)}
    if not example.pairs:
        return {**system, "contents": [*example.turns, example.answer_turn], **example.request}
    scored = zip((1, 0), _answers(example).values(), strict=True)
    completions = [{"score": score, "completion": text_turn("model", text)} for score, text in scored]
    return {**system, "contents": list(example.turns), "completions": completions, **example.request}


def _answers(example: Example) -> dict[str, str]:
    (pair,) = example.pairs
    return {"chosen": pair.chosen, "rejected": pair.rejected}


def messages(example: Example, model_role: str = "model") -> JsonObject:
    """A `messages` row whose answers have the role `model_role`; of a pair prompt and answers as lists of turns."""
    prompt = _prompt(example, model_role)
    if not example.pairs:
        return {"messages": [*prompt, {"role": model_role, "content": example.target}]}
    answers = _answers(example).items()
    return {"prompt": prompt, **{name: [{"role": model_role, "content": text}] for name, text in answers}}


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
    """Text and label, with split, group and slices if any; of a pair prompt, chosen, rejected, and system if any."""
    if example.system is not None and not example.pairs:
        raise UserError("columns have no system instruction", line=example.line, file="row", remedy="use gemini")
    if example.turns != (text_turn("user", example.text),) or example.request or example.answer:
        raise UserError("columns have a single plain text", line=example.line, file="row", remedy="use gemini")
    extra = {"split": example.split, "group": example.group, **example.slices}
    own: JsonObject = {"text": example.text, "label": example.target}
    if example.pairs:
        own, extra = {"prompt": example.text, **_answers(example)}, {"system": example.system, **extra}
    return {**own, **{name: value for name, value in extra.items() if value is not None}}


FORMATS: dict[str, Callable[[Example], JsonObject]] = {
    "gemini": gemini,
    "messages": messages,
    "chat": chat,
    "columns": columns,
}


def write(path: str | Path, examples: Iterable[Example], format_name: str) -> int:
    """Write examples, or pairs (examples with a pair each), as a stream in a format (a key of FORMATS) as JSONL, or
    columns as CSV or TSV by the file's name; a name that ends in .gz is compressed. Returns their number.
    """
    if format_name not in FORMATS:
        raise UserError(f"unknown format {format_name!r}", remedy=f"one of {', '.join(FORMATS)}")
    rows = map(FORMATS[format_name], examples)
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

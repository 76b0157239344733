# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples to the shapes others read: Gemini `contents`, legacy `messages`, chat with role assistant, plain columns.

Promise: what is written here and read again by `shapes` is the same example (text, answer, system, turns, parts); a
shape that cannot hold an example refuses it rather than lose something.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from gemtune.data import Example, whole_file
from gemtune.errors import UserError


def gemini(example: Example) -> dict[str, Any]:
    """A Gemini supervised-tuning row: `systemInstruction`, `contents` ending in the model's turn."""
    turns = [*_turns(example), {"role": "model", "parts": [{"text": example.target}]}]
    if example.system is None:
        return {"contents": turns}
    return {"systemInstruction": {"role": "system", "parts": [{"text": example.system}]}, "contents": turns}


def messages(example: Example, answerer: str = "model") -> dict[str, Any]:
    """A `messages` row; earlier answers and the last one have the role `answerer`."""
    rows = [] if example.system is None else [{"role": "system", "content": example.system}]
    for turn in _turns(example):
        if any(set(part) != {"text"} for part in turn["parts"]) or len(turn["parts"]) != 1:
            raise UserError(
                "this shape holds plain text turns only", line=example.line, file="row", remedy="use gemini"
            )
        role = answerer if turn["role"] == "model" else turn["role"]
        rows.append({"role": role, "content": turn["parts"][0]["text"]})
    return {"messages": [*rows, {"role": answerer, "content": example.target}]}


def chat(example: Example) -> dict[str, Any]:
    """The same with the role assistant."""
    return messages(example, "assistant")


def columns(example: Example) -> dict[str, Any]:
    """Text and label, with split, group and slices where there are any."""
    if example.contents is not None or example.system is not None:
        raise UserError(
            "columns cannot hold turns or a system instruction", line=example.line, file="row", remedy="use gemini"
        )
    extra = {"split": example.split, "group": example.group, **example.slices}
    return {"text": example.text, "label": example.target, **{k: v for k, v in extra.items() if v is not None}}


SHAPES: dict[str, Callable[[Example], dict[str, Any]]] = {
    "gemini": gemini,
    "messages": messages,
    "chat": chat,
    "columns": columns,
}


def write(path: str | Path, examples: Iterable[Example], shape: str) -> int:
    """Write examples, one at a time, in a shape (a key of SHAPES) as JSONL, or columns as CSV or TSV by the file's
    name; a name that ends in .gz is packed. Returns their number.
    """
    if shape not in SHAPES:
        raise UserError(f"unknown shape {shape!r}", remedy=f"known are {', '.join(SHAPES)}")
    name = Path(path).name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    rows = (SHAPES[shape](example) for example in examples)
    with whole_file(path, packed=name.endswith(".gz")) as out:
        if suffix not in (".csv", ".tsv"):
            return _write_lines(out, rows)
        if shape != "columns":
            raise UserError(f"{suffix} holds columns only, not {shape}", file=path, remedy="name the file .jsonl")
        return _write_cells(out, rows, "," if suffix == ".csv" else "\t")


def _write_lines(out: TextIO, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_cells(out: TextIO, rows: Iterable[dict[str, Any]], delimiter: str) -> int:
    """The header needs the columns of all rows, so these wait in a file of their own."""
    header: dict[str, None] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as waiting:
        count = _write_lines(waiting, (row for row in rows if header.update(dict.fromkeys(row)) is None))
        waiting.seek(0)
        writer = csv.DictWriter(
            out, list(header), delimiter=delimiter, lineterminator="\n", restval="", quoting=csv.QUOTE_ALL
        )
        writer.writeheader()
        writer.writerows(map(json.loads, waiting))
    return count


def _turns(example: Example) -> list[dict[str, Any]]:
    return list(example.contents or ({"role": "user", "parts": [{"text": example.text}]},))

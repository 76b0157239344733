# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples, and pairs of answers, to the shapes others read: Gemini `contents`, legacy `messages`, chat with role
assistant, plain columns.

Promise: what is written here and read again by `shapes` (or `pairs`) is the same example (text, answer, system, turns,
parts) or pair; a shape that cannot hold an example refuses it rather than lose something. Split, group and slices are
held by columns alone: the others are the service's own, which knows no such fields.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from gemtune.artifacts.base import open_atomic
from gemtune.data.example import Example
from gemtune.errors import UserError


def gemini(example: Example) -> dict[str, Any]:
    """A Gemini supervised-tuning row: `systemInstruction`, `contents` ending in the model's turn."""
    return {**_instruction(example), "contents": [*_turns(example), _said(example.target)]}


def _instruction(example: Example) -> dict[str, Any]:
    if example.system is None:
        return {}
    return {"systemInstruction": {"role": "system", "parts": [{"text": example.system}]}}


def _said(answer: str) -> dict[str, Any]:
    return {"role": "model", "parts": [{"text": answer}]}


def messages(example: Example, answerer: str = "model") -> dict[str, Any]:
    """A `messages` row; earlier answers and the last one have the role `answerer`."""
    return {"messages": [*_prompt(example, answerer), {"role": answerer, "content": example.target}]}


def _prompt(example: Example, answerer: str) -> list[dict[str, str]]:
    """The turns before the answer, the system instruction first."""
    rows = [] if example.system is None else [{"role": "system", "content": example.system}]
    for turn in _turns(example):
        if any(set(part) != {"text"} for part in turn["parts"]) or len(turn["parts"]) != 1:
            raise UserError(
                "this shape holds plain text turns only", line=example.line, file="row", remedy="use gemini"
            )
        role = answerer if turn["role"] == "model" else turn["role"]
        rows.append({"role": role, "content": turn["parts"][0]["text"]})
    return rows


def chat(example: Example) -> dict[str, Any]:
    """The same with the role assistant."""
    return messages(example, "assistant")


def columns(example: Example) -> dict[str, Any]:
    """Text and label, with split, group and slices where there are any."""
    if example.system is not None:
        raise UserError("columns hold no system instruction", line=example.line, file="row", remedy="use gemini")
    return {"text": _plain_text(example), "label": example.target, **_further(example)}


def _plain_text(example: Example) -> str:
    if example.contents is not None:
        raise UserError("columns hold one plain text", line=example.line, file="row", remedy="use gemini")
    return example.text


def _further(example: Example) -> dict[str, str]:
    extra = {"split": example.split, "group": example.group, **example.slices}
    return {name: value for name, value in extra.items() if value is not None}


def gemini_pair(example: Example, rejected: str) -> dict[str, Any]:
    """A Gemini preference-tuning row: `contents` end in the user's turn, two `completions` have the scores 1 and 0."""
    scored = ((1, example.target), (0, rejected))
    completions = [{"score": score, "completion": _said(text)} for score, text in scored]
    return {**_instruction(example), "contents": _turns(example), "completions": completions}


def messages_pair(example: Example, rejected: str, answerer: str = "model") -> dict[str, Any]:
    """Prompt and both answers as lists of turns."""
    sides = {"chosen": example.target, "rejected": rejected}
    answers = {name: [{"role": answerer, "content": text}] for name, text in sides.items()}
    return {"prompt": _prompt(example, answerer), **answers}


def chat_pair(example: Example, rejected: str) -> dict[str, Any]:
    """The same with the role assistant."""
    return messages_pair(example, rejected, "assistant")


def columns_pair(example: Example, rejected: str) -> dict[str, Any]:
    """Prompt, chosen, rejected, with system, split, group and slices where there are any."""
    system = {} if example.system is None else {"system": example.system}
    sides = {"prompt": _plain_text(example), "chosen": example.target, "rejected": rejected}
    return {**sides, **system, **_further(example)}


SHAPES: dict[str, Callable[[Example], dict[str, Any]]] = {
    "gemini": gemini,
    "messages": messages,
    "chat": chat,
    "columns": columns,
}


PAIRS: dict[str, Callable[[Example, str], dict[str, Any]]] = {
    "gemini": gemini_pair,
    "messages": messages_pair,
    "chat": chat_pair,
    "columns": columns_pair,
}


def write(path: str | Path, examples: Iterable[Example], shape: str) -> int:
    """Write examples, one at a time, in a shape (a key of SHAPES) as JSONL, or columns as CSV or TSV by the file's
    name; a name that ends in .gz is packed. Returns their number.
    """
    _known(shape)
    return _write(path, map(SHAPES[shape], examples), shape)


def write_pairs(path: str | Path, pairs: Iterable[tuple[Example, str]], shape: str) -> int:
    """The same for pairs: a prompt whose target is the better answer, and the worse answer."""
    _known(shape)
    return _write(path, (PAIRS[shape](*pair) for pair in pairs), shape)


def _known(shape: str) -> None:
    if shape not in SHAPES:
        raise UserError(f"unknown shape {shape!r}", remedy=f"known are {', '.join(SHAPES)}")


def _write(path: str | Path, rows: Iterable[dict[str, Any]], shape: str) -> int:
    name = Path(path).name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv") and shape != "columns":
        raise UserError(f"{suffix} holds columns only, not {shape}", file=path, remedy="name the file .jsonl")
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ""):
        known = ".jsonl, .csv or .tsv, also .gz"
        raise UserError(f"cannot tell the format of {name!r}", file=path, remedy=f"name it {known}")
    with open_atomic(path, compress=name.endswith(".gz")) as out:
        return (
            _write_lines(out, rows)
            if suffix not in (".csv", ".tsv")
            else _write_cells(out, rows, "," if suffix == ".csv" else "\t")
        )


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

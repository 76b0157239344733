# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples and rejected rows, the records of all steps, and their JSONL files.

Guarantees: a file is written completely or not at all, and what was written is read back as equal records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from gemtune.artifacts.base import open_atomic
from gemtune.config import JsonObject
from gemtune.contents import text_of, text_turn
from gemtune.errors import UserError

SCHEMA_VERSION = 1
# created once: they encode every row
_CONTENT, _ROW = json.JSONEncoder(sort_keys=True, ensure_ascii=False), json.JSONEncoder(ensure_ascii=False)

_UNESCAPED = bytes(code for code in range(256) if code >= ord(" ") and chr(code) not in '"\\')
Row = tuple[int, JsonObject]
"""A raw row: its first line, and its fields."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A better and a worse answer to the prompt with the id `prompt`; `line` is where the pair is in its source."""

    prompt: str
    chosen: str
    rejected: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row.

    `id` is a hash of the row's content, independent of its position. `text` is the last user turn (compared in
    deduplication), `target` the reference answer. `contents` is set for rows that are prompts already: all turns before
    the answer, as the row has them. `system` is the text of the row's own system instruction, `answer` its answer turn
    if that is more than `target`, and `request` the other fields of its request (tools; systemInstruction if that is
    more than `system`). `split` is the split that the source names; rows of one `group` are never split apart; `slices`
    are named properties to report metrics by. `line` is where the row begins in its source (1-based). `pairs` are the
    ranked answers of a prompt in preference tuning.
    """

    id: str
    text: str
    target: str
    line: int = 0
    system: str | None = None
    contents: tuple[JsonObject, ...] | None = None
    answer: JsonObject | None = None
    request: JsonObject = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    slices: dict[str, str] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()

    @property
    def turns(self) -> tuple[JsonObject, ...]:
        """The turns before the answer, without a prompt around them."""
        return self.contents or (text_turn("user", self.text),)

    @property
    def prompt_text(self) -> str:
        """The text before the answer; of a prompt its instruction and all turns, each after its role."""
        if self.contents is None:
            return self.text
        turns = [text_turn("system", self.system), *self.contents] if self.system else self.contents
        lines = [(turn.get("role", "user"), text_of(turn["parts"])) for turn in turns]
        return lines[0][1] if len(lines) == 1 else "\n".join(f"{role}: {text}" for role, text in lines)

    @property
    def answer_turn(self) -> JsonObject:
        """The model's turn as the row has it, else the reference as text."""
        return self.answer or text_turn("model", self.target)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not used: `reason` is a code, `detail` a sentence, `row` the raw row, or its example's fields.

    `kept_id` is the example kept instead, `similarity` the Jaccard similarity of both and `compared` what was compared
    of this row.
    """

    line: int
    reason: str
    detail: str
    row: Any
    kept_id: str | None = None
    similarity: float | None = None
    compared: str | None = None


def example_id(
    text: str,
    target: str,
    system: str | None = None,
    contents: Iterable[Any] | None = None,
    request: JsonObject | None = None,
) -> str:
    """16 hex digits that identify a row by its content alone."""
    if contents or request:
        listed: list[Any] = [
            system,
            list(contents) if contents else None,
            text,
            target,
            *([request] if request else []),
        ]
        content = _CONTENT.encode(listed)
    else:  # the same in a third of the time
        own = "null" if system is None else quoted(system)
        content = f"[{own}, null, {quoted(text)}, {quoted(target)}]"
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:16]


def quoted(text: str) -> str:
    """The text as a JSON string."""
    if text.encode(errors="surrogatepass").translate(None, _UNESCAPED):
        return encode_basestring(text)
    return f'"{text}"'  # the same in a fifth of the time


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Write examples as JSONL, keys in a fixed order."""
    write_rows(path, map(to_row, examples))


def to_row(record: Example | RejectedRow) -> JsonObject:
    """The record's fields by name."""
    row = {name: getattr(record, name) for name in record.__slots__}
    if row.get("pairs"):
        row["pairs"] = [asdict(pair) for pair in row["pairs"]]
    return row


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSONL with their schema version; empty fields are left out."""
    with open_atomic(path) as file:
        for row in rows:
            filled = {k: v for k, v in row.items() if v is not None and v != {} and v != ()}
            file.write(_ROW.encode({"schema_version": SCHEMA_VERSION, **filled}) + "\n")


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a report: indented JSON with its schema version."""
    with open_atomic(path) as file:
        json.dump({"schema_version": SCHEMA_VERSION, **value}, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_examples(path: str | Path) -> Iterator[Example]:
    """Read what `write_examples` wrote; raises `UserError` naming the line that is something else."""
    with open(path, "rb") as rows:
        for number, line in enumerate(rows, 1):
            try:
                row = json.loads(line)
                if (version := row.pop("schema_version")) != SCHEMA_VERSION:
                    raise ValueError(f"schema_version {version!r}, expected {SCHEMA_VERSION}")
                if "contents" in row:
                    row["contents"] = tuple(row["contents"])
                if "pairs" in row:
                    row["pairs"] = tuple(Pair(**pair) for pair in row["pairs"])
                yield Example(**row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"not an example: {error}", file=path, line=number, remedy="rerun preprocess") from None


def read_before_gate(path: str | Path) -> list[Example]:
    """Rows that prompts, hyperparameters and checkpoints are tuned or selected on; raises `UserError` for test rows."""
    rows = list(read_examples(path))
    if any(row.split == "test" for row in rows):
        raise UserError(
            "these are test rows: prompts and checkpoints are selected on validation rows",
            file=path,
            remedy="pass the training or validation split; only the evaluation before the gate reads the test split",
        )
    return rows

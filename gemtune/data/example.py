# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one record every step works on, what becomes of a row that leaves, and their file forms.

Promise: a file is written whole or not at all, and reading what was written gives back equal records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gemtune.artifacts.base import open_atomic
from gemtune.errors import UserError

SCHEMA_VERSION = 1
_CONTENT = json.JSONEncoder(sort_keys=True, ensure_ascii=False)  # made once: it is asked about every row


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row.

    `id` is stable: a hash of the row's content, the same wherever the row stands. `text` is what the user says last
    (the part compared in deduplication), `target` the reference answer. `contents` is set only when the row is more
    than one plain user text: then it holds *all* turns before the answer in Gemini's form, the last user turn
    included. `system` is the row's own system instruction. `split` is the split the source asked for; `group` rows
    never part; `slices` are named properties to report by. `line` is where the row began in its source (1 is the
    first line).
    """

    id: str
    text: str
    target: str
    line: int = 0
    system: str | None = None
    contents: tuple[dict[str, Any], ...] | None = None
    split: str | None = None
    group: str | None = None
    slices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that left, and why: `reason` is a fixed word, `detail` a sentence, `row` the row as it came, or as the
    example it had become.

    `kept_id` is the example that stays in its place, `cluster` the near-duplicate cluster it belongs to.
    """

    line: int
    reason: str
    detail: str
    row: Any
    cluster: int | None = None
    kept_id: str | None = None


def example_id(text: str, target: str, system: str | None = None, contents: Iterable[Any] | None = None) -> str:
    """16 hex digits naming a row by its content alone."""
    content = [system, list(contents) if contents else None, text, target]
    return hashlib.sha256(_CONTENT.encode(content).encode()).hexdigest()[:16]


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Write examples as JSONL, one row a line, keys in a fixed order."""
    write_rows(path, map(plain, examples))


def plain(record: Example | RejectedRow) -> dict[str, Any]:
    """The record's fields by name, values as they are."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSONL with their schema version; empty fields are left out."""
    with open_atomic(path) as out:
        for row in rows:
            kept = {k: v for k, v in row.items() if v is not None and v != {} and v != ()}
            out.write(json.dumps({"schema_version": SCHEMA_VERSION, **kept}, ensure_ascii=False) + "\n")


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a report: indented JSON with its schema version."""
    with open_atomic(path) as out:
        json.dump({"schema_version": SCHEMA_VERSION, **value}, out, ensure_ascii=False, indent=1)
        out.write("\n")


def read_examples(path: str | Path) -> Iterator[Example]:
    """Read what `write_examples` wrote; raises `UserError` naming the line that is something else."""
    with open(path, encoding="utf-8") as rows:
        for number, line in enumerate(rows, 1):
            try:
                row = json.loads(line)
                row.pop("schema_version")
                if "contents" in row:
                    row["contents"] = tuple(row["contents"])
                yield Example(**row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"not an example: {error}", file=path, line=number, remedy="rerun preprocess") from None

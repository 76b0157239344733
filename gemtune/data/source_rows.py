# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a source and of the test file, one after another, and the error when none is usable."""

from __future__ import annotations

import logging
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from gemtune.config import Preprocess, Task
from gemtune.data import sources
from gemtune.data.duplicates import FilterResult
from gemtune.data.example import Example, RejectedRow, Row
from gemtune.data.labels import is_flag, merge_spellings
from gemtune.data.row_validation import ReadStats, of_source, read, validate_row, with_target
from gemtune.data.text_files import Note
from gemtune.errors import UserError

log = logging.getLogger("gemtune")
T = TypeVar("T")

_REMEDIES = {
    "unsupported_part": "correct the turns of these rows, or leave the rows out",
    "wrong_turns": "correct the turns of these rows, or leave the rows out",
    "wrong_cells": "put cells that contain the delimiter into double quotes, or set preprocess.delimiter",
    "not_a_pair": "give each pair a better and a worse answer: completions of score 1 and 0, or chosen and rejected",
    "too_long": "shorten the texts, or raise preprocess.max_chars",
    "unknown_label": "correct task.labels; where only the spelling differs set preprocess.label_spellings: merge",
    "not_selected": "correct preprocess.labels, or the rows",
    "unknown_split": "name the column of the splits in preprocess.split_column; '' if there is none",
    "personal_data": "set preprocess.pii: mask, or report",
}
SAMPLE_ROWS = 5000  # that are checked before a run
FIRST_PROGRESS_S, PROGRESS_EVERY_S = 5.0, 2.0  # shorter work logs no progress
ONE_COLUMN = "write the names of those that apply into one column, joined by ';'"
"""What to do about a column for each label."""


def stream(data: str, task: Task, config: Preprocess, stats: ReadStats) -> Iterator[Example | RejectedRow]:
    """All rows of the source, then of the test file: an example, or the rejected row.

    With a test file, its rows are the test split (see `of_source`).
    """
    for source in filter(None, (data, config.test_data)):
        is_test = source == config.test_data
        for item in with_progress(read(source, task, config, stats), source):
            yield of_source(item, is_test, config)
    stats.note_findings(task, config)


def with_progress(items: Iterator[T], source: str) -> Iterator[T]:
    """The same items; logs the progress of a long read."""
    start = logged = time.monotonic()
    for count, item in enumerate(items, 1):
        if (
            count % 1000 == 0
            and (now := time.monotonic()) - start > FIRST_PROGRESS_S
            and now - logged > PROGRESS_EVERY_S
        ):
            logged = now
            log.info("progress: %d rows of %s read, %.0f/s", count, source, count / (now - start))
        yield item


def read_all(data: str, task: Task, config: Preprocess, stats: ReadStats) -> FilterResult:
    """The rows of `stream` in memory: examples and rejected rows."""
    examples, rejected = divide(stream(data, task, config, stats))
    return _merged(examples, task, config, stats), rejected


def divide(items: Iterable[Example | RejectedRow]) -> FilterResult:
    """The examples and the rejected rows among these."""
    listed = list(items)
    examples = [item for item in listed if isinstance(item, Example)]
    return examples, [item for item in listed if isinstance(item, RejectedRow)]


def _merged(examples: list[Example], task: Task, config: Preprocess, stats: ReadStats) -> list[Example]:
    """The rows with labels in one spelling, if that is configured."""
    if config.label_spellings != "merge" or not stats.label_spellings:
        return examples
    # the id remains that of the row as it was read: reviewed and recorded rows are found by it
    return [with_target(item, merge_spellings(item.target, task, stats.label_spellings)) for item in examples]


def sample(
    data: str, task: Task, config: Preprocess, stats: ReadStats | None = None
) -> tuple[list[Example], list[RejectedRow], int]:
    """The examples and the rejected rows among SAMPLE_ROWS rows of the whole source, sampled by seed; all its rows.

    Raises `UserError` when the source cannot be read.
    """
    stats = stats or ReadStats()
    rows, count = drawn(data, task, config, stats.note)
    checked = (row if isinstance(row, RejectedRow) else validate_row(*row, task, config, stats) for row in rows)
    examples, rejected = divide(of_source(row, False, config) for row in checked)
    if config.label_spellings == "merge":
        stats.note_findings(task, config)
    return _merged(examples, task, config, stats), rejected, count


def drawn(data: str, task: Task, config: Preprocess, note: Note) -> tuple[list[Row | RejectedRow], int]:
    """SAMPLE_ROWS raw rows of the whole source, sampled by seed, and the number of all its rows."""
    rng, rows, count = random.Random(config.seed), list[Row | RejectedRow](), 0
    for count, item in enumerate(with_progress(sources.rows(data, task, config, note), data), 1):
        if count <= SAMPLE_ROWS:  # reservoir sampling
            rows.append(item)
        elif (place := rng.randrange(count)) < SAMPLE_ROWS:
            rows[place] = item
    return rows, count


def no_usable_rows(data: str, rejected: Sequence[RejectedRow]) -> UserError:
    """The error for a source without a usable row."""
    return no_usable_rows_among(data, Counter(row.reason for row in rejected), rejected[0] if rejected else None)


def no_usable_rows_among(data: str, reasons: Counter[str], first: RejectedRow | None) -> UserError:
    """The same error from counts and the first rejected row, whose likely cause is the remedy."""
    if first is None:
        return UserError("the file has no rows", file=data, remedy="provide labelled rows, one per line")
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return UserError(
        f"no usable row among {reasons.total()}: {counts}; the first: {first.detail}",
        file=data,
        line=first.line,
        remedy=suggest_remedy(first),
    )


def suggest_remedy(first: RejectedRow) -> str:
    """The likely fix for a source whose rows are all like this one."""
    row, columns = first.row, set(first.row) if isinstance(first.row, dict) else set[str]()
    if first.reason in _REMEDIES:
        return _REMEDIES[first.reason]
    if isinstance(row, list) and len(row) > 1 and isinstance(row[0], str):
        spans = ".entities" if isinstance(row[1], dict) and "entities" in row[1] else ""
        return f"name the fields: jq -c '.[] | {{text: .[0], label: .[1]{spans}}}' FILE > rows.jsonl"
    if (isinstance(row, str) and row.lstrip().startswith("[")) or isinstance(row, list):
        return "write one row per line, not one JSON list: jq -c '.[]' FILE > rows.jsonl"
    if isinstance(row, str) and re.match(r"\s*\{\s*['\w]", row):
        return "write names and texts in double quotes, as json.dumps does: this is Python's or JavaScript's notation"
    if isinstance(row, str) and row.startswith("{") and first.reason == "wrong_type":
        return "each row is a string of JSON: jq -c fromjson FILE > rows.jsonl"
    if first.reason == "invalid_json" and "is not JSON" in first.detail:
        return "write null where a value is missing, as pandas' to_json does"
    if first.reason == "invalid_json" and not str(row).lstrip().startswith(("{", '"')):
        return "name a table .csv, .tsv or .xlsx; else write one JSON object per line"
    if first.reason == "invalid_json":
        return "write one JSON object per line: jq -c . FILE > rows.jsonl; name a table .csv, .tsv or .xlsx"
    if columns & {"messages", "contents", "conversations"}:
        return "write turns as Gemini contents or messages, with role and content (docs/reference/input-formats.md)"
    if len(columns) == 1 and isinstance(first.row[name := columns.copy().pop()], list):
        return f"write one row per line: jq -c '.{name}[]' FILE > rows.jsonl"
    if "completions" in columns or {"chosen", "rejected"} <= columns:
        return "these look like preference pairs: --method preference, or method: preference"
    if "task.label_separator" in first.detail:
        return "set task.label_separator, such as '; ', when rows have several labels"
    flags = sorted(name for name in columns if is_flag(str(first.row[name])))
    if first.reason == "missing_target" and len(flags) > 2:
        return f"if {', '.join(flags[:5])} say of one label each whether it applies, {ONE_COLUMN}"
    if first.reason in ("missing_text", "missing_target"):
        columns_remedy = "name the columns: --set preprocess.text_column=... --set preprocess.target_column=..."
        without = "without a header --set preprocess.header=false and column_1, column_2"
        return f"{columns_remedy}, as `gemtune init` suggests them; {without}"
    return "check preprocess.text_column and preprocess.target_column"

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to sound examples: read, clean, settle conflicts, drop duplicates, draw; nothing leaves without a reason.

Promise: every row of the source is in `examples` or in `dropped`, once. Which row of a set of duplicates stays is
decided by content, never by the order of rows.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np

from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import sources
from gemtune.data.audit import read_review_file
from gemtune.data.cleaning import export_rules
from gemtune.data.dataflow_job import Volume, checked, dropped_before, measured
from gemtune.data.duplicates import (
    FilterResult,
    RepeatedPassages,
    check_removal_limits,
    drop_near_duplicates,
    drop_semantic_duplicates,
    enforce_removal_limits,
    near_conflicts,
    reject,
    remove_repeated_passages,
    resolve_exact_duplicates,
)
from gemtune.data.embedders import load_embedder
from gemtune.data.example import Example, RejectedRow, plain, write_examples, write_json, write_rows
from gemtune.data.label_issues import LabelIssue, rank_label_issues
from gemtune.data.label_issues import told as label_errors_told
from gemtune.data.profile import profile_rows
from gemtune.data.row_validation import LABELLED_KINDS, ReadStats, read
from gemtune.errors import UserError

log = logging.getLogger("gemtune")
T = TypeVar("T")

MOST_AUDITED, MOST_AUDITED_CHARS = 20_000, 4_000_000  # the search for label errors takes 40 bytes a character
GLANCED = 1000
QUIET_S, SAID_EVERY_S, MANY_ROWS = 5.0, 2.0, 50_000  # who works shorter, or on less, need not say how far it is
RULES: dict[str, Callable[[Sequence[Example], Task, Preprocess, Vertex], FilterResult]] = {
    "exact deduplication": lambda rows, task, config, _: resolve_exact_duplicates(rows, task, config),
    "near-deduplication": lambda rows, task, config, _: drop_near_duplicates(rows, task, config),
    "semantic deduplication": lambda rows, task, config, place: drop_semantic_duplicates(
        rows, task, config, load_embedder(config.embedder, place, config.seed)
    ),
}


def stream(data: str, task: Task, config: Preprocess, stats: ReadStats) -> Iterator[Example | RejectedRow]:
    """All rows of the source, and of the given test file, one after the other: an example, or the row dropped.

    With a test file its rows are the test split, and no row of the source joins them.
    """
    for source in filter(None, (data, config.test_data)):
        given = source == config.test_data
        for item in with_progress(read(source, task, config, stats), source):
            if isinstance(item, RejectedRow):
                yield replace(item, detail=f"in test_data: {item.detail}") if given else item
            else:
                home = "test" if given else item.split or ("train" if config.test_data else None)
                yield item if home == item.split else replace(item, split=home)


def with_progress(items: Iterator[T], source: str) -> Iterator[T]:
    """The same items; long reading says now and then how far it is."""
    start = said = time.monotonic()
    for count, item in enumerate(items, 1):
        if count % 1000 == 0 and (now := time.monotonic()) - start > QUIET_S and now - said > SAID_EVERY_S:
            said = now
            log.info("progress: %d rows of %s read, %.0f/s", count, source, count / (now - start))
        yield item


def require_rows(rows: Iterator[T], none: Callable[[], UserError]) -> Iterator[T]:
    """The same rows; raises `none()` at their end when there was not one."""
    for row in rows:
        yield row
        break
    else:
        raise none()
    yield from rows


def read_all(data: str, task: Task, config: Preprocess, stats: ReadStats) -> FilterResult:
    """What `stream` gives, in memory: examples, and rows that cannot be one."""
    examples: list[Example] = []
    dropped: list[RejectedRow] = []
    for item in stream(data, task, config, stats):
        if isinstance(item, RejectedRow):
            dropped.append(item)
        else:
            examples.append(item)
    return examples, dropped


def peek(data: str, task: Task, config: Preprocess, labelled: bool = True) -> None:
    """Look at the beginning of a source before anything is started for it.

    Raises `UserError` when it cannot be read, or, for `labelled` rows, when none of the first is usable.
    """
    stats, lost = ReadStats(), list[RejectedRow]()
    rows = read(data, task, config, stats) if labelled else sources.rows(data, config)
    for item in itertools.islice(rows, GLANCED):
        if not isinstance(item, RejectedRow):
            return
        lost.append(item)
    raise no_usable_rows(data, lost)


def sample_rows(examples: Sequence[Example], config: Preprocess) -> FilterResult:
    """At most so many rows of a label and in all, drawn by a hash of seed and id: the draw is stable as data grows."""
    # a hash of its own: with the split's, the rows drawn first would be the rows of the test split
    ranked = sorted(examples, key=lambda example: hashlib.sha256(f"draw {config.seed} {example.id}".encode()).digest())
    per_label: Counter[str] = Counter()
    kept: list[Example] = []
    dropped: list[RejectedRow] = []
    for example in ranked:
        if config.max_per_label and per_label[example.target] >= config.max_per_label:
            dropped.append(reject(example, "not_sampled", f"beyond preprocess.max_per_label={config.max_per_label}"))
        elif config.max_rows and len(kept) >= config.max_rows:
            dropped.append(reject(example, "not_sampled", f"beyond preprocess.max_rows={config.max_rows}"))
        else:
            per_label[example.target] += 1
            kept.append(example)
    return sorted(kept, key=lambda example: example.line), dropped


def measure(data: str, task: dict[str, Any], config: dict[str, Any], vertex: dict[str, Any]) -> Volume:
    """Whether the source goes through Dataflow first, and what the job is told."""
    found = measured(data, Task.of(task), Preprocess.of(config), Vertex.of(vertex))
    log.info("done: %s", "more than one machine should hold: Dataflow first" if found.large else "one machine will do")
    return found


def settled(data: str, dropped: str) -> tuple[str, str]:
    """The source that is read from here on, after a branch that may have replaced it, and what left before ("" for
    nothing).
    """
    log.info("done: %s", data)
    return data, dropped


def run(
    data: str,
    task: dict[str, Any],
    config: dict[str, Any],
    examples: str,
    dropped: str,
    report: str,
    vertex: dict[str, Any] | None = None,
    thinned: str = "",
) -> dict[str, Any]:
    """Preprocess the file `data`; writes `examples`, `dropped` and `report`, returns the counts.

    `thinned` are the rows that Dataflow dropped before, if it did: they are counted and listed with the others. Raises
    `UserError` when nothing usable is left, or one class only.
    """
    asked, settings, place = Task.of(task), Preprocess.of(config), Vertex.of(vertex or {})
    settings = inspected_in(settings, place)
    stats = ReadStats(read_review_file(settings.corrections) if settings.corrections else {})
    with sources.local(thinned) if thinned else nullcontext() as gone_before:
        rows, lost = read_all(data, asked, settings, stats)
        missing = len(stats.corrections) - len(stats.looked_at)
        if missing and not thinned:
            log.warning(
                "%d rows of the audit sheet are no rows of the data: it was made of other data or settings", missing
            )
        before = checked(gone_before, len(rows) + len(lost), settings) if gone_before else Counter[str]()
        read_count, seen = len(rows) + len(lost) + before.total(), len(rows) + before.total()
        rows, lost, repetition = _compared(rows, lost, data, asked, settings, place)
        summary = {
            "rows": read_count,
            "examples": len(rows),
            "dropped": dict((before + Counter(d.reason for d in lost)).most_common()),
        }
        write_examples(examples, rows)
        earlier = dropped_before(gone_before) if gone_before else ()
        write_rows(dropped, map(plain, itertools.chain(lost, earlier)))
    wrong = find_label_issues(rows, asked, settings)
    unclear = near_conflicts(rows, asked, settings)
    told = {
        "valid_rows": seen,
        **stats.told(),
        **profile_rows(rows, asked.kind in LABELLED_KINDS),
        "repeated_passages": asdict(repetition),
        "near_conflicts": {"rows": len(unclear), "lines": [[a.line, b.line] for a, b in unclear[:20]]},
        "label_issues": label_errors_told(wrong),
        "cleaning": export_rules(settings),
        "dropped_on_dataflow": {"rows": before.total(), "file": thinned},
    }
    write_json(report, {**summary, **told, "settings": settings.model_dump(), "data": data})
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items())  # type: ignore[attr-defined]
    log.info("done: %s", f"{len(rows)} of {read_count} rows kept" + (f"; dropped: {reasons}" if reasons else ""))
    return summary


def _compared(
    rows: list[Example], lost: list[RejectedRow], data: str, task: Task, config: Preprocess, place: Vertex
) -> tuple[list[Example], list[RejectedRow], RepeatedPassages]:
    """The rows that stay after every rule, those that left in their order, and what passages repeat."""
    if not rows:
        raise no_usable_rows(data, lost)
    for what, rule in RULES.items():
        before = len(rows)
        log_if_long(what, before)
        rows, gone = rule(rows, task, config, place)
        check_removal_limits(before, len(rows), what, config, gone)
        lost = lost + gone
    before = len(rows)
    log_if_long("repeated passages", before)
    rows, gone, repetition = remove_repeated_passages(rows, config)
    if gone:
        told = f"repeat {repetition.commonest!r:.80}"
        enforce_removal_limits(before, len(rows), "dropping repeated passages", config, repetition.most_rows, told)
    drawn, undrawn = sample_rows(rows, config)
    lost = sorted([*lost, *gone, *undrawn], key=lambda d: d.line)
    if not drawn:
        raise no_usable_rows(data, lost)
    labels = {example.target for example in drawn}
    if task.kind in LABELLED_KINDS and len(labels) < 2:
        first = lost[0] if lost else None
        also = f"; {len(lost)} rows were dropped, the first at line {first.line}: {first.detail}" if first else ""
        raise UserError(
            f"only one label is left: {next(iter(labels))!r}{also}", file=data, remedy="give rows of two labels or more"
        )
    return drawn, lost, repetition


def inspected_in(config: Preprocess, place: Vertex) -> Preprocess:
    """The settings with the project that Sensitive Data Protection is asked in, where only `vertex.project` says it."""
    if config.pii_detector != "dlp" or config.pii_parent or not place.project:
        return config
    return config.model_copy(update={"pii_parent": f"projects/{place.project}/locations/global"})


def log_if_long(what: str, rows: int) -> None:
    """Say what is done now, where it is done to many rows."""
    if rows >= MANY_ROWS:
        log.info("progress: %s", what)


def find_label_issues(examples: Sequence[Example], task: Task, config: Preprocess) -> list[LabelIssue]:
    """Likely label errors, where the task has labels; of so many rows, drawn by the seed, as memory allows."""
    if not config.find_label_issues or task.kind not in LABELLED_KINDS:
        return []
    some = _drawn(examples, config.seed)
    if len(some) < len(examples):
        log.warning("likely label errors are looked for among %d of %d rows, drawn evenly", len(some), len(examples))
    log_if_long("likely label errors", 10 * len(some))  # ten times the work of other rules
    return rank_label_issues(some, config.seed)


def _drawn(examples: Sequence[Example], seed: int) -> list[Example]:
    """As many rows, in their order, as the search for label errors may hold."""
    order = np.random.default_rng(seed).permutation(len(examples))[:MOST_AUDITED]
    held = np.cumsum([len(examples[i].text) for i in order])
    return [examples[i] for i in np.sort(order[: np.searchsorted(held, MOST_AUDITED_CHARS, side="right")])]


def no_usable_rows(data: str, lost: Sequence[RejectedRow]) -> UserError:
    """What is said of a source without a usable row."""
    return no_usable_rows_among(data, Counter(row.reason for row in lost), lost[0] if lost else None)


def no_usable_rows_among(data: str, reasons: Counter[str], first: RejectedRow | None) -> UserError:
    """The same from the counts and the first row: why, and what to do about it as far as that row shows."""
    if first is None:
        return UserError("the file holds no rows", file=data, remedy="give labelled rows, one a line")
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return UserError(
        f"no usable row among {reasons.total()}: {told}; the first: {first.detail}",
        file=data,
        line=first.line,
        remedy=suggest_remedy(first),
    )


def suggest_remedy(first: RejectedRow) -> str:
    """What most likely ails a source whose rows are all like this one."""
    row, columns = first.row, set(first.row) if isinstance(first.row, dict) else set[str]()
    if (isinstance(row, str) and row.lstrip().startswith("[")) or isinstance(row, list):
        return "a row a line is wanted, not one JSON list: jq -c '.[]' FILE > rows.jsonl"
    if "completions" in columns or {"chosen", "rejected"} <= columns:
        return "these look like pairs of answers: --method preference, or pipeline: preference_tuning"
    if len(columns) == 1 and (mark := next((mark for mark in ";\t|" if mark in next(iter(columns))), "")):
        return f"the cells look separated by {mark!r}: save them with commas, or with tabs as .tsv"
    if first.reason in ("missing_text", "missing_target"):
        return "name the columns: --set preprocess.text_column=... --set preprocess.target_column=..."
    return "check preprocess.text_column and preprocess.target_column"

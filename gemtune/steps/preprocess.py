# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to examples: read, clean, resolve conflicts, drop duplicates, sample; every dropped row has a reason.

Guarantees: every row of the source is in `examples` or in `dropped`, once. Which row of a set of duplicates is kept is
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
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from gemtune.artifacts.data import DataflowCount, DataReport, LabelIssue, NearConflicts, RepeatedPassages
from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import sources
from gemtune.data.audit import read_review_file
from gemtune.data.cleaning import export_rules
from gemtune.data.dataflow_job import DataflowJob, count_dropped, dataflow_parameters, read_dropped
from gemtune.data.duplicates import (
    FilterResult,
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
from gemtune.data.example import Example, RejectedRow, to_row, write_examples, write_rows
from gemtune.data.label_issues import rank_label_issues, summarize
from gemtune.data.profile import profile_rows
from gemtune.data.row_validation import LABELLED_KINDS, ReadStats, read
from gemtune.errors import UserError

log = logging.getLogger("gemtune")
T = TypeVar("T")

MAX_AUDITED, MAX_AUDITED_CHARS = 20_000, 4_000_000  # the search for label issues takes 40 bytes a character
PEEK_ROWS = 1000
# shorter or smaller work logs no progress
FIRST_PROGRESS_S, PROGRESS_EVERY_S, MANY_ROWS = 5.0, 2.0, 50_000
RULES: dict[str, Callable[[Sequence[Example], Task, Preprocess, Vertex], FilterResult]] = {
    "exact deduplication": lambda rows, task, config, _: resolve_exact_duplicates(rows, task, config),
    "near-deduplication": lambda rows, task, config, _: drop_near_duplicates(rows, task, config),
    "semantic deduplication": lambda rows, task, config, vertex: drop_semantic_duplicates(
        rows, task, config, load_embedder(config.embedder, vertex, config.seed)
    ),
}


def stream(data: str, task: Task, config: Preprocess, stats: ReadStats) -> Iterator[Example | RejectedRow]:
    """All rows of the source, then of the test file: an example, or the rejected row.

    With a test file, its rows are the test split, and no row of the source is assigned to it.
    """
    for source in filter(None, (data, config.test_data)):
        is_test = source == config.test_data
        for item in with_progress(read(source, task, config, stats), source):
            if isinstance(item, RejectedRow):
                yield replace(item, detail=f"in test_data: {item.detail}") if is_test else item
            else:
                split = "test" if is_test else item.split or ("train" if config.test_data else None)
                yield item if split == item.split else replace(item, split=split)


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


def require_rows(rows: Iterator[T], error: Callable[[], UserError]) -> Iterator[T]:
    """The same rows; raises `error()` after an empty iterator."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise error()


def read_all(data: str, task: Task, config: Preprocess, stats: ReadStats) -> FilterResult:
    """The rows of `stream` in memory: examples and rejected rows."""
    examples: list[Example] = []
    rejected: list[RejectedRow] = []
    for item in stream(data, task, config, stats):
        if isinstance(item, RejectedRow):
            rejected.append(item)
        else:
            examples.append(item)
    return examples, rejected


def peek(data: str, task: Task, config: Preprocess, labelled: bool = True) -> None:
    """Check the first rows of a source before anything is started for it.

    Raises `UserError` when it cannot be read, or, for `labelled` rows, when none of the first is usable.
    """
    rejected: list[RejectedRow] = []
    rows = read(data, task, config, ReadStats()) if labelled else sources.rows(data, config)
    for item in itertools.islice(rows, PEEK_ROWS):
        if not isinstance(item, RejectedRow):
            return
        rejected.append(item)
    raise no_usable_rows(data, rejected)


def sample_rows(examples: Sequence[Example], config: Preprocess) -> FilterResult:
    """At most `max_per_label` rows of a label and `max_rows` in all, by a hash of seed and id: stable as data grows."""
    # not the hash of the split: with that, the rows sampled first would be the rows of the test split
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


def prepare_dataflow_job(
    data: str, task: dict[str, Any], config: dict[str, Any], vertex: dict[str, Any]
) -> DataflowJob:
    """Place, template and parameters of the Dataflow job that deduplicates the source."""
    job = dataflow_parameters(data, Task.of(task), Preprocess.of(config), Vertex.of(vertex))
    log.info("done: %s", f"Dataflow deduplicates {data} into {job.kept}")
    return job


def run(
    data: str,
    task: dict[str, Any],
    config: dict[str, Any],
    examples: str,
    dropped: str,
    report: str,
    vertex: dict[str, Any] | None = None,
    dataflow_dropped: str = "",
) -> dict[str, Any]:
    """Preprocess the file `data`; writes `examples`, `dropped` and `report` (a `DataReport`), returns the counts.

    `dataflow_dropped` lists the rows that a Dataflow job dropped from the source of `data` before ("": no job ran);
    they are counted and listed with the others. Raises `UserError` when no usable row is left, or a single label only.
    """
    task_section, settings, vertex_section = Task.of(task), Preprocess.of(config), Vertex.of(vertex or {})
    settings = with_pii_parent(settings, vertex_section)
    stats = ReadStats(read_review_file(settings.corrections) if settings.corrections else {})
    with sources.local_path(dataflow_dropped) if dataflow_dropped else nullcontext() as dropped_file:
        rows, rejected = read_all(data, task_section, settings, stats)
        unmatched = len(stats.corrections) - len(stats.matched_corrections)
        if unmatched and not dataflow_dropped:
            log.warning("%d rows of the review file are not in the data; was it made from other data or settings?",
                        unmatched)  # fmt: skip
        reasons = count_dropped(dropped_file, len(rows) + len(rejected), settings) if dropped_file else Counter[str]()
        by_dataflow = reasons.total()
        read_rows, valid_rows = len(rows) + len(rejected) + by_dataflow, len(rows) + by_dataflow
        rows, rejected, passages = _deduplicate(rows, rejected, data, task_section, settings, vertex_section)
        reasons += Counter(row.reason for row in rejected)
        summary = {"rows": read_rows, "examples": len(rows), "dropped": dict(reasons.most_common())}
        write_examples(examples, rows)
        earlier = read_dropped(dropped_file) if dropped_file else ()
        write_rows(dropped, map(to_row, itertools.chain(rejected, earlier)))
    label_issues = find_label_issues(rows, task_section, settings)
    conflicts = near_conflicts(rows, task_section, settings)
    lines = tuple((first.line, second.line) for first, second in conflicts[:20])
    DataReport(
        data=data,
        settings=settings.model_dump(),
        **summary,
        **dict(stats.to_report()),
        **dict(profile_rows(rows, task_section.kind in LABELLED_KINDS)),
        valid_rows=valid_rows,
        repeated_passages=passages,
        near_conflicts=NearConflicts(rows=len(conflicts), lines=lines),
        label_issues=summarize(label_issues),
        cleaning=dict(export_rules(settings)),
        dataflow=DataflowCount(rows=by_dataflow, file=dataflow_dropped),
    ).write(report)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    log.info("done: %s", f"{len(rows)} of {read_rows} rows kept" + (f"; dropped: {counts}" if counts else ""))
    return summary


def _deduplicate(
    rows: list[Example], rejected: list[RejectedRow], data: str, task: Task, config: Preprocess, vertex: Vertex
) -> tuple[list[Example], list[RejectedRow], RepeatedPassages]:
    """The rows kept by every rule, all rejected rows by line, and the repeated passages."""
    if not rows:
        raise no_usable_rows(data, rejected)
    for name, rule in RULES.items():
        before = len(rows)
        log_if_long(name, before)
        rows, dropped = rule(rows, task, config, vertex)
        check_removal_limits(before, len(rows), name, config, dropped)
        rejected = rejected + dropped
    before = len(rows)
    log_if_long("repeated passages", before)
    rows, dropped, passages = remove_repeated_passages(rows, config)
    if dropped:
        detail = f"repeat {passages.commonest!r:.80}"
        enforce_removal_limits(before, len(rows), "dropping repeated passages", config, passages.commonest_rows, detail)
    sampled, unsampled = sample_rows(rows, config)
    rejected = sorted([*rejected, *dropped, *unsampled], key=lambda row: row.line)
    if not sampled:
        raise no_usable_rows(data, rejected)
    labels = {example.target for example in sampled}
    if task.kind in LABELLED_KINDS and len(labels) < 2:
        first = rejected[0] if rejected else None
        dropped_note = (
            f"; {len(rejected)} rows were dropped, the first at line {first.line}: {first.detail}" if first else ""
        )
        raise UserError(
            f"only one label is left: {next(iter(labels))!r}{dropped_note}",
            file=data,
            remedy="provide rows of two labels or more",
        )
    return sampled, rejected, passages


def with_pii_parent(config: Preprocess, vertex: Vertex) -> Preprocess:
    """The settings with `pii_parent` filled in from `vertex.project`, where Sensitive Data Protection is used."""
    if config.pii_detector != "dlp" or config.pii_parent or not vertex.project:
        return config
    return config.model_copy(update={"pii_parent": f"projects/{vertex.project}/locations/global"})


def log_if_long(rule: str, rows: int) -> None:
    """Log the rule that runs next, when it has many rows to process."""
    if rows >= MANY_ROWS:
        log.info("progress: %s", rule)


def find_label_issues(examples: Sequence[Example], task: Task, config: Preprocess) -> list[LabelIssue]:
    """Likely label issues of a task with labels, most suspicious first, searched in a sample that fits into memory."""
    if not config.find_label_issues or task.kind not in LABELLED_KINDS:
        return []
    sample = _sample_for_audit(examples, config.seed)
    if len(sample) < len(examples):
        log.warning("label issues are searched in a random sample of %d of %d rows", len(sample), len(examples))
    log_if_long("label issues", 10 * len(sample))  # ten times the work of other rules
    return rank_label_issues(sample, config.seed)


def _sample_for_audit(examples: Sequence[Example], seed: int) -> list[Example]:
    """As many rows, in their order, as the search for label issues may hold."""
    order = np.random.default_rng(seed).permutation(len(examples))[:MAX_AUDITED]
    total_chars = np.cumsum([len(examples[i].text) for i in order])
    return [examples[i] for i in np.sort(order[: np.searchsorted(total_chars, MAX_AUDITED_CHARS, side="right")])]


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
    if (isinstance(row, str) and row.lstrip().startswith("[")) or isinstance(row, list):
        return "write one row per line, not one JSON list: jq -c '.[]' FILE > rows.jsonl"
    if "completions" in columns or {"chosen", "rejected"} <= columns:
        return "these look like preference pairs: --method preference, or pipeline: preference_tuning"
    if len(columns) == 1 and (mark := next((mark for mark in ";\t|" if mark in next(iter(columns))), "")):
        return f"the cells look separated by {mark!r}: save them with commas, or with tabs as .tsv"
    if first.reason in ("missing_text", "missing_target"):
        return "name the columns: --set preprocess.text_column=... --set preprocess.target_column=..."
    return "check preprocess.text_column and preprocess.target_column"

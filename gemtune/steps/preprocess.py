# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to examples: read, clean, resolve conflicts, drop duplicates, sample; every dropped row has a reason.

Guarantees: every row of the source is in `examples` or in `dropped`, once. Which row of a set of duplicates is kept is
decided by content, never by the order of rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import nullcontext
from typing import Any

from gemtune.artifacts.data import DataflowCount, DataReport, RepeatedPassages
from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import sources
from gemtune.data.cleaning import export_rules
from gemtune.data.compared_text import Remainders
from gemtune.data.csv_safe import read_review_file
from gemtune.data.dataflow_job import DataflowJob, count_dropped, dataflow_parameters, read_dropped
from gemtune.data.duplicates import (
    borderline_duplicates,
    deduplicate,
    enforce_removal_limits,
    log_if_long,
    remove_repeated_passages,
    sample_rows,
)
from gemtune.data.example import Example, RejectedRow, to_row, write_examples, write_rows
from gemtune.data.label_issues import find_label_issues
from gemtune.data.profile import profile_rows
from gemtune.data.row_validation import ReadStats
from gemtune.data.source_rows import no_usable_rows, read_all
from gemtune.errors import UserError
from gemtune.steps.context import Section, StepContext, log


def prepare_dataflow_job(data: str, name: str, **sections: Section) -> DataflowJob:
    """The Dataflow job that deduplicates the source.

    Reads the sections task, preprocess, vertex.
    """
    context = StepContext(sections)
    job = dataflow_parameters(data, name, context.task, context.preprocess, context.vertex)
    log.info("done: %s", f"Dataflow deduplicates {data} into {job.kept}")
    return job


def run(
    data: str, examples: str, dropped: str, report: str, dataflow_dropped: str = "", **sections: Section
) -> dict[str, Any]:
    """Preprocess the file `data`; writes `examples`, `dropped` and `report` (a `DataReport`), returns the counts.

    `dataflow_dropped` lists the rows that a Dataflow job dropped from the source of `data` before ("": no job ran);
    they are counted and listed with the others. Reads the sections task, preprocess, vertex. Raises `UserError` when no
    usable row is left, or a single label only.
    """
    context = StepContext(sections)
    task_section, vertex_section = context.task, context.vertex
    settings = context.preprocess
    if settings.pii_detector == "dlp" and not settings.pii_parent and vertex_section.project:
        parent = f"projects/{vertex_section.project}/locations/global"
        settings = settings.model_copy(update={"pii_parent": parent})
    stats, remainders = ReadStats(read_review_file(settings.corrections) if settings.corrections else {}), Remainders()
    with sources.local_path(dataflow_dropped) if dataflow_dropped else nullcontext() as dropped_file:
        rows, rejected = read_all(data, task_section, settings, stats)
        unmatched = len(stats.corrections) - len(stats.matched_corrections)
        if unmatched and not dataflow_dropped:
            log.warning("%d rows of the review file are not in the data; was it made from other data or settings?",
                        unmatched)  # fmt: skip
        reasons = count_dropped(dropped_file, len(rows) + len(rejected), settings) if dropped_file else Counter[str]()
        by_dataflow = reasons.total()
        read_rows, valid_rows = len(rows) + len(rejected) + by_dataflow, len(rows) + by_dataflow
        rows, rejected, passages = _deduplicate(
            rows, rejected, data, task_section, settings, vertex_section, remainders
        )
        reasons += Counter(row.reason for row in rejected)
        summary = {"rows": read_rows, "examples": len(rows), "dropped": dict(reasons.most_common())}
        write_examples(examples, rows)
        earlier = read_dropped(dropped_file) if dropped_file else ()
        write_rows(dropped, map(to_row, itertools.chain(rejected, earlier)))
    label_issues = find_label_issues(rows, task_section, settings, remainders)
    DataReport(
        data=data,
        settings=settings.model_dump(),
        **summary,
        **dict(stats.to_report()),
        **dict(profile_rows(rows, task_section.is_labelled)),
        valid_rows=valid_rows,
        repeated_passages=passages,
        borderline_duplicates=borderline_duplicates(rejected),
        label_issues=label_issues.summary(),
        cleaning=dict(export_rules(settings, task_section)),
        dataflow=DataflowCount(rows=by_dataflow, file=dataflow_dropped),
    ).write(report)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    log.info("done: %s", f"{len(rows)} of {read_rows} rows kept" + (f"; dropped: {counts}" if counts else ""))
    return summary


def _deduplicate(
    rows: list[Example],
    rejected: list[RejectedRow],
    data: str,
    task: Task,
    config: Preprocess,
    vertex: Vertex,
    remainders: Remainders,
) -> tuple[list[Example], list[RejectedRow], RepeatedPassages]:
    """The rows kept by every rule, all rejected rows by line, and the repeated passages."""
    if not rows:
        raise no_usable_rows(data, rejected)
    rows, duplicates = deduplicate(rows, task, config, vertex, remainders)
    before = len(rows)
    log_if_long("repeated passages", before)
    rows, dropped, passages = remove_repeated_passages(rows, config)
    if dropped:
        detail = f"repeat {passages.commonest!r:.80}"
        enforce_removal_limits(before, len(rows), "dropping repeated passages", config, passages.commonest_rows, detail)
    sampled, unsampled = sample_rows(rows, config)
    rejected = sorted([*rejected, *duplicates, *dropped, *unsampled], key=lambda row: row.line)
    if not sampled:
        raise no_usable_rows(data, rejected)
    labels = {example.target for example in sampled}
    if task.is_labelled and len(labels) < 2:
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

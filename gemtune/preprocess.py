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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import Dropped, Example, plain, write_examples, write_json, write_rows
from gemtune.dedup.duplicates import (
    Outcome,
    guard,
    left,
    near_conflicts,
    same_meaning,
    settle,
    thin_out,
    without_repetition,
)
from gemtune.errors import UserError
from gemtune.rows import sources
from gemtune.rows.accept import LABELLED, Tally, read
from gemtune.rows.audit import read_sheet
from gemtune.rows.clean import exported
from gemtune.rows.embedders import embedder
from gemtune.rows.label_errors import Suspect, suspects
from gemtune.rows.portrait import portrait
from gemtune.rows.volume import Volume, measured

log = logging.getLogger("gemtune")

MOST_AUDITED = 20_000
GLANCED = 1000
QUIET_S, SAID_EVERY_S, MANY_ROWS = 5.0, 2.0, 50_000  # who works shorter, or on less, need not say how far it is
RULES: dict[str, Callable[[Sequence[Example], Task, Preprocess], Outcome]] = {
    "exact deduplication": settle,
    "near-deduplication": thin_out,
    "semantic deduplication": lambda rows, task, config: same_meaning(
        rows, task, config, embedder(config.embedder, seed=config.seed)
    ),
}


def stream(data: str, task: Task, config: Preprocess, tally: Tally) -> Iterator[Example | Dropped]:
    """All rows of the source, and of the given test file, one after the other: an example, or the row dropped.

    With a test file its rows are the test split, and no row of the source joins them.
    """
    for source in filter(None, (data, config.test_data)):
        given = source == config.test_data
        for item in _watched(read(source, task, config, tally), source):
            if isinstance(item, Dropped):
                yield replace(item, detail=f"in test_data: {item.detail}") if given else item
            else:
                home = "test" if given else item.split or ("train" if config.test_data else None)
                yield item if home == item.split else replace(item, split=home)


def _watched(items: Iterator[Example | Dropped], source: str) -> Iterator[Example | Dropped]:
    """The same items; long reading says now and then how far it is."""
    start = said = time.monotonic()
    for count, item in enumerate(items, 1):
        if count % 1000 == 0 and (now := time.monotonic()) - start > QUIET_S and now - said > SAID_EVERY_S:
            said = now
            log.info("progress: %d rows of %s read, %.0f/s", count, source, count / (now - start))
        yield item


def gather(data: str, task: Task, config: Preprocess, tally: Tally) -> Outcome:
    """What `stream` gives, in memory: examples, and rows that cannot be one."""
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for item in stream(data, task, config, tally):
        if isinstance(item, Dropped):
            dropped.append(item)
        else:
            examples.append(item)
    return examples, dropped


def glance(data: str, task: Task, config: Preprocess, labelled: bool = True) -> None:
    """Look at the beginning of a source before anything is started for it.

    Raises `UserError` when it cannot be read, or, for `labelled` rows, when none of the first is usable.
    """
    tally, lost = Tally(), list[Dropped]()
    rows = read(data, task, config, tally) if labelled else sources.rows(data, config)
    for item in itertools.islice(rows, GLANCED):
        if not isinstance(item, Dropped):
            return
        lost.append(item)
    raise _nothing_left(data, lost)


def draw(examples: Sequence[Example], config: Preprocess) -> Outcome:
    """At most so many rows of a label and in all, drawn by a hash of seed and id: the draw is stable as data grows."""
    # a hash of its own: with the split's, the rows drawn first would be the rows of the test split
    ranked = sorted(examples, key=lambda example: hashlib.sha256(f"draw {config.seed} {example.id}".encode()).digest())
    per_label: Counter[str] = Counter()
    kept: list[Example] = []
    dropped: list[Dropped] = []
    for example in ranked:
        if config.max_per_label and per_label[example.target] >= config.max_per_label:
            dropped.append(left(example, "not_drawn", f"beyond preprocess.max_per_label={config.max_per_label}"))
        elif config.max_rows and len(kept) >= config.max_rows:
            dropped.append(left(example, "not_drawn", f"beyond preprocess.max_rows={config.max_rows}"))
        else:
            per_label[example.target] += 1
            kept.append(example)
    return sorted(kept, key=lambda example: example.line), dropped


def measure(data: str, config: dict[str, Any], vertex: dict[str, Any]) -> Volume:
    """Whether the source goes through Dataflow first, and what the job is told."""
    found = measured(data, Preprocess.of(config), Vertex.of(vertex))
    log.info("done: %s", "more than one machine should hold: Dataflow first" if found.large else "one machine will do")
    return found


def settled(data: str) -> str:
    """The source that is read from here on, after a branch that may have replaced it."""
    log.info("done: %s", data)
    return data


def run(
    data: str, task: dict[str, Any], config: dict[str, Any], examples: str, dropped: str, report: str
) -> dict[str, Any]:
    """Preprocess the file `data`; writes `examples`, `dropped` and `report`, returns the counts.

    Raises `UserError` when nothing usable is left, or one class only.
    """
    asked, settings = Task.of(task), Preprocess.of(config)
    tally = Tally(read_sheet(settings.corrections) if settings.corrections else {})
    rows, lost = gather(data, asked, settings, tally)
    read_count, seen = len(rows) + len(lost), len(rows)
    if not rows:
        raise _nothing_left(data, lost)
    for what, rule in RULES.items():
        before = len(rows)
        if before >= MANY_ROWS:
            log.info("progress: %s of %d rows", what, before)
        rows, gone = rule(rows, asked, settings)
        guard(before, len(rows), what, settings, gone)
        lost += gone
    if len(rows) >= MANY_ROWS:
        log.info("progress: repeated passages in %d rows", len(rows))
    rows, gone, repetition = without_repetition(rows, settings)
    lost += gone
    rows, gone = draw(rows, settings)
    lost += gone
    if not rows:
        raise _nothing_left(data, lost)
    labels = Counter(example.target for example in rows)
    if asked.kind in LABELLED and len(labels) < 2:
        first = min(lost, key=lambda d: d.line, default=None)
        also = f"; {len(lost)} rows were dropped, the first at line {first.line}: {first.detail}" if first else ""
        raise UserError(
            f"only one label is left: {next(iter(labels))!r}{also}", file=data, remedy="give rows of two labels or more"
        )
    lost.sort(key=lambda d: d.line)
    summary = {
        "rows": read_count,
        "examples": len(rows),
        "dropped": dict(Counter(d.reason for d in lost).most_common()),
    }
    write_examples(examples, rows)
    write_rows(dropped, map(plain, lost))
    wrong = doubtful(rows, asked, settings)
    unclear = near_conflicts(rows, asked, settings)
    told = {
        "readable": seen,
        **tally.told(),
        **portrait(rows, asked.kind in LABELLED),
        "repeated_passages": asdict(repetition),
        "near_conflicts": {"rows": len(unclear), "lines": [[a.line, b.line] for a, b in unclear[:20]]},
        "likely_label_errors": {"rows": len(wrong), "worst": [asdict(row) for row in wrong[:20]]},
        "cleaning": exported(settings),
    }
    write_json(report, {**summary, **told, "settings": settings.model_dump(), "data": data})
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items())  # type: ignore[attr-defined]
    log.info("done: %s", f"{len(rows)} of {read_count} rows kept" + (f"; dropped: {reasons}" if reasons else ""))
    return summary


def doubtful(examples: Sequence[Example], task: Task, config: Preprocess) -> list[Suspect]:
    """Likely label errors, where the task has labels and the rows are not too many."""
    if not config.find_label_errors or task.kind not in LABELLED or len(examples) > MOST_AUDITED:
        return []
    return suspects(examples, config.seed)


def _nothing_left(data: str, lost: Iterable[Dropped]) -> UserError:
    lost = list(lost)
    if not lost:
        return UserError("the file holds no rows", file=data, remedy="give labelled rows, one a line")
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(d.reason for d in lost).most_common())
    first = lost[0]
    return UserError(
        f"no usable row among {len(lost)}: {reasons}; the first: {first.detail}",
        file=data,
        line=first.line,
        remedy="check preprocess.text_column and preprocess.target_column",
    )

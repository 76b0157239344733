# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `gemtune data check` counts of rows: in one pass, and those of a long source in several processes.

Guarantees: the counts are those of one process, whatever the number of processes; few rows are in memory at a time.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice

from gemtune.config import Preprocess, Task
from gemtune.data import sources
from gemtune.data.example import Example, RejectedRow, Row
from gemtune.data.injection_phrases import InjectionCounter
from gemtune.data.row_validation import ReadStats, of_source, require_columns, validated
from gemtune.data.service_limits import LimitChecker
from gemtune.data.source_rows import with_progress
from gemtune.inference.data_fit import RowProfile

FIRST_BATCHES = 4  # that are counted before other processes are started
BATCH_CHARS, _CHARS_PER_ROW = 2**18, 64  # of texts that are in memory together, and of all else in a row
_UNKNOWN_CHARS = 4096  # of a row whose text is not in a column
_MAX_PROCESSES = 8
Batch = Sequence[Row | RejectedRow]


@dataclass
class RowCounts:
    """Counts of rows: what was read, how the configuration fits, the limits of the service, attacks on prompts."""

    task: Task
    config: Preprocess
    stats: ReadStats
    checker: LimitChecker
    injections: InjectionCounter = field(default_factory=InjectionCounter)
    rejected: list[RejectedRow] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    """Of a part the text of each row, None for one that is not valid; [] where groups are complete."""

    def __post_init__(self) -> None:
        self.profile = RowProfile(self.task)

    def add(self, rows: Iterable[tuple[Example, str]]) -> None:
        """Count usable rows with their answers."""
        examples = list[Example]()
        for example, answer in rows:
            self.profile.add(example)
            self.checker.add(example, answer)
            examples.append(example)
        self.injections.add(examples)

    def read(self, data: str, reject: Callable[[RejectedRow], None]) -> None:
        """Count all rows of the source, then of the test file; rejected rows are passed on, in their order."""
        for source in filter(None, (data, self.config.test_data)):
            rows = with_progress(sources.rows(source, self.task, self.config, self.stats.note), source)
            for batch, part in self._counted(_batches(rows, self.config.text_column), source == self.config.test_data):
                self._extend(batch, part)
                for row in part.rejected:
                    reject(row)
            require_columns(source, self.config, self.stats)
        self.stats.note_findings(self.task, self.config)

    def _counted(self, batches: Iterator[Batch], is_test: bool) -> Iterator[tuple[Batch, RowCounts]]:
        yield from ((batch, self.part(batch, is_test)) for batch in islice(batches, FIRST_BATCHES))
        processes = min(_MAX_PROCESSES, len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
        # a process is forked in no time, but not beside threads; a paid detector has its own limits
        if processes == 1 or threading.active_count() > 1 or self.config.pii_detector != "rules":
            yield from ((batch, self.part(batch, is_test)) for batch in batches)
        elif batch := next(batches, None):
            yield from self._counted_in(processes, chain([batch], batches), is_test)

    def _counted_in(self, processes: int, batches: Iterator[Batch], is_test: bool) -> Iterator[tuple[Batch, RowCounts]]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing.context import ForkContext

        gc.freeze()  # what is loaded is not searched again for cycles, here and in the processes
        sent: deque[tuple[Batch, Future[RowCounts]]] = deque()
        with ProcessPoolExecutor(processes, ForkContext(), _own.append, (self,)) as pool:
            for batch in batches:
                sent.append((batch, pool.submit(_count, batch, is_test, self.stats.counts_groups(self.config))))
                if len(sent) > 2 * processes:
                    yield sent[0][0], sent.popleft()[1].result()
            yield from ((batch, future.result()) for batch, future in sent)

    def part(self, batch: Batch, is_test: bool, with_texts: bool = True) -> RowCounts:
        """The counts of these rows."""
        part = RowCounts(self.task, self.config, self.stats.emptied(self.config), self.checker.emptied())

        def usable() -> Iterator[tuple[Example, str]]:
            for valid in validated(batch, self.task, self.config, part.stats):
                item = of_source(valid, is_test, self.config)
                if isinstance(item, Example):
                    yield item, item.target
                else:
                    part.rejected.append(item)
                if with_texts:
                    part.texts.append(item.text if isinstance(item, Example) else None)

        part.add(usable())
        return part

    def _extend(self, batch: Batch, part: RowCounts) -> None:
        self.stats.extend(part.stats)
        self.checker.extend(part.checker)
        self.profile.extend(part.profile)
        self.injections.extend(part.injections)
        for item, text in zip(batch, part.texts, strict=False):
            if text is not None and isinstance(item, tuple):
                self.stats.add_to_groups(item[1], text, self.config)


def _batches(rows: Iterator[Row | RejectedRow], column: str) -> Iterator[Batch]:
    """The rows, so many at a time that their texts have about BATCH_CHARS characters."""
    batch, chars = list[Row | RejectedRow](), 0
    for item in rows:
        text = item[1].get(column) if isinstance(item, tuple) else None
        batch.append(item)
        chars += _CHARS_PER_ROW + (len(text) if isinstance(text, str) else _UNKNOWN_CHARS)
        if chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


_own: list[RowCounts] = []  # of a process that counts


def _count(batch: Batch, is_test: bool, with_texts: bool) -> RowCounts:
    return _own[0].part(batch, is_test, with_texts)

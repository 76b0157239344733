# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `gemtune data check` counts of rows: in one pass, and those of a long source in several processes.

Guarantees: the counts are those of one process, whatever the number of processes; few rows are in memory at a time.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice

from gemtune.config import Preprocess, Task
from gemtune.data import sources
from gemtune.data.example import Example, RejectedRow
from gemtune.data.injection_phrases import InjectionCounter
from gemtune.data.readers import Row
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
class RowCensus:
    """Counts of rows: what was read, how the configuration fits, the limits of the service, attacks on prompts."""

    task: Task
    config: Preprocess
    stats: ReadStats
    checker: LimitChecker
    profile: RowProfile = field(init=False)
    injections: InjectionCounter = field(default_factory=InjectionCounter)

    def __post_init__(self) -> None:
        self.profile = RowProfile(self.task)

    def add(self, example: Example, answer: str) -> None:
        """Count a usable row."""
        self.profile.add(example)
        self.checker.add(example, answer)
        self.injections.add(example)

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

    def _counted(self, batches: Iterator[Batch], is_test: bool) -> Iterator[tuple[Batch, _Part]]:
        """Each batch with its counts."""
        yield from ((batch, self.part(batch, is_test)) for batch in islice(batches, FIRST_BATCHES))
        if (batch := next(batches, None)) is None:
            return
        batches = chain([batch], batches)
        processes = min(_MAX_PROCESSES, len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
        # a process is forked in no time, but not beside threads; a paid detector has its own limits
        if processes == 1 or threading.active_count() > 1 or self.config.pii_detector != "rules":
            yield from ((batch, self.part(batch, is_test)) for batch in batches)
        else:
            yield from self._counted_in(processes, batches, is_test)

    def _counted_in(self, processes: int, batches: Iterator[Batch], is_test: bool) -> Iterator[tuple[Batch, _Part]]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing.context import ForkContext

        begun: deque[tuple[Batch, Future[_Part]]] = deque()
        with ProcessPoolExecutor(processes, ForkContext(), _start, (self, is_test)) as pool:
            for batch in batches:
                begun.append((batch, pool.submit(_count, batch, self.stats.groups_wanted(self.config))))
                if len(begun) > 2 * processes:
                    yield begun[0][0], begun.popleft()[1].result()
            yield from ((batch, future.result()) for batch, future in begun)

    def part(self, batch: Batch, is_test: bool, with_texts: bool = True) -> _Part:
        """The counts of these rows."""
        stats = self.stats.emptied(self.config)
        census, rejected, texts = RowCensus(self.task, self.config, stats, self.checker.emptied()), [], []
        for valid in validated(batch, self.task, self.config, stats):
            item = of_source(valid, is_test, self.config)
            if with_texts:
                texts.append(item.text if isinstance(item, Example) else None)
            if isinstance(item, Example):
                census.add(item, item.target)
            else:
                rejected.append(item)
        return _Part(stats, census.checker, census.profile, census.injections, rejected, texts)

    def _extend(self, batch: Batch, part: _Part) -> None:
        self.stats.extend(part.stats)
        self.checker.extend(part.checker)
        self.profile.extend(part.profile)
        self.injections.extend(part.injections)
        for item, text in zip(batch, part.texts, strict=False):
            if text is not None and isinstance(item, tuple):
                self.stats.add_to_groups(item[1], text, self.config)


@dataclass
class _Part:
    """The counts of some rows, those rejected, and, if wanted, the text of each valid one."""

    stats: ReadStats
    checker: LimitChecker
    profile: RowProfile
    injections: InjectionCounter
    rejected: list[RejectedRow]
    texts: list[str | None]


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


_of_this_process: list[tuple[RowCensus, bool]] = []


def _start(census: RowCensus, is_test: bool) -> None:
    _of_this_process.append((census, is_test))


def _count(batch: Batch, with_texts: bool) -> _Part:
    census, is_test = _of_this_process[0]
    return census.part(batch, is_test, with_texts)

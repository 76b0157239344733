# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One raw row in; an example, cleaned and checked, or the row dropped with a reason; and a tally of what was done.

Promise: personal data is masked in every text that leaves here when the setting says so, in earlier turns too.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gemtune.config import Preprocess, Task
from gemtune.data import pii_detectors, sources
from gemtune.data.cleaning import clean, rule_changes
from gemtune.data.example import Example, RejectedRow, example_id
from gemtune.data.formats import parse_example
from gemtune.data.pii_detectors import PiiDetector
from gemtune.data.readers import Row
from gemtune.errors import UserError

log = logging.getLogger("gemtune")

LABELLED_KINDS = ("classification", "sentiment")
BATCH = 256  # rows read ahead, so that texts can be asked about together
_SAMPLES = 3


@dataclass
class ReadStats:
    """Counts of what was met and changed while rows were read; `corrections` are labels by row id from an audit
    sheet, `looked_at` the ids of it that were met.
    """

    corrections: Mapping[str, str] = field(default_factory=dict)
    looked_at: set[str] = field(default_factory=set)
    corrected: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    cleaned: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    personal: Counter[str] = field(default_factory=Counter)
    personal_rows: list[int] = field(default_factory=list)
    _inspector: PiiDetector | None = None

    def pii_detector(self, config: Preprocess) -> PiiDetector:
        """Who looks for personal data, made once."""
        if self._inspector is None:
            self._inspector = pii_detectors.pii_detector(config)
        return self._inspector

    def told(self) -> dict[str, Any]:
        """The tally as part of a report."""
        return {
            "cleaned": {name: {"rows": n, "samples": self.samples[name]} for name, n in self.cleaned.items()},
            "corrected": self.corrected,
            "corrections_without_row": len(self.corrections) - len(self.looked_at),
            "personal_data": {"findings": dict(self.personal), "lines": self.personal_rows[:20]},
        }


def read(source: str | Path, task: Task, config: Preprocess, stats: ReadStats) -> Iterator[Example | RejectedRow]:
    """All rows of a source as examples or dropped rows; raises `UserError` when no row has a column that decides."""
    rows = sources.rows(str(source), config)
    while batch := list(islice(rows, BATCH)):
        if config.pii != "off" and config.pii_detector != "rules":
            stats.pii_detector(config).prefetch(_texts_of(batch, config))
        for item in batch:
            if isinstance(item, RejectedRow):
                yield item
            else:
                line, row = item
                stats.columns.update(map(str, row))
                yield validate_row(line, row, task, config, stats)
    missing = [name for name in _asked_for(config) if stats.columns and not stats.columns[name]]
    known = ", ".join(sorted(stats.columns)[:20])
    for name in missing:
        if name not in config.slice_columns:
            raise UserError(f"no row has the column {name!r}", file=source, remedy=f"the rows have {known}")
        log.warning("no row has the column %r, so nothing is reported by it; the rows have %s", name, known)


def _asked_for(config: Preprocess) -> list[str]:
    """Columns that somebody named; the split's own name is only looked for."""
    default = Preprocess.model_fields["split_column"].default
    asked = [config.group_column, "" if config.split_column == default else config.split_column]
    return [name for name in [*asked, *config.slice_columns] if name]


def validate_row(
    line: int, row: dict[str, Any], task: Task, config: Preprocess, stats: ReadStats
) -> Example | RejectedRow:
    """The example in a raw row, cleaned; or the row dropped."""
    made = parse_example(line, row, config)
    if isinstance(made, RejectedRow):
        return made
    as_read, text = made, made.text
    for name, before, text in rule_changes(made.text, config):
        stats.cleaned[name] += 1
        if len(stats.samples[name]) < _SAMPLES:
            stats.samples[name].append({"line": line, "before": before[:200], "after": text[:200]})
    if text != made.text:
        made = replace(made, text=text)
    if config.pii != "off" and (kinds := list(_kinds(made, stats.pii_detector(config)))):
        found = Counter(kinds)
        stats.personal.update(found)
        stats.personal_rows.append(line)
        if config.pii == "drop":
            return RejectedRow(
                line, "personal_data", ", ".join(f"{n} {kind}" for kind, n in sorted(found.items())), row
            )
        if config.pii == "mask":
            made = _masked(made, stats.pii_detector(config))
    if made is not as_read:
        made = _named(made)
    if (corrected := stats.corrections.get(made.id)) is not None:
        stats.looked_at.add(made.id)
        if not corrected:
            return RejectedRow(line, "audited", "the audit sheet drops this row", row)
        if corrected != made.target:
            stats.corrected += 1
            made = _named(replace(made, target=corrected))
    unfit = _unfit(made, task, config)
    return RejectedRow(line, *unfit, row) if unfit else made


def _named(made: Example) -> Example:
    return replace(made, id=example_id(made.text, made.target, made.system, made.contents))


def _unfit(made: Example, task: Task, config: Preprocess) -> tuple[str, str] | None:
    if not made.text and made.contents is None:
        return "empty_text", "the text is empty"
    if not made.target:
        return "empty_target", "the reference answer is empty"
    if len(made.text) > config.max_chars:
        return "too_long", f"{len(made.text)} characters, at most {config.max_chars} are allowed"
    if config.labels and made.target not in config.labels:
        return "not_selected", f"the label {made.target!r:.80} is not in preprocess.labels"
    if task.labels and task.kind in LABELLED_KINDS and made.target not in task.labels:
        return "unknown_label", f"the label {made.target!r:.80} is not in task.labels"
    return None


def _texts(made: Example) -> Iterable[str]:
    yield from (made.text, made.target, made.system or "")
    for turn in (made.contents or ())[:-1]:
        yield from (part["text"] for part in turn["parts"] if "text" in part)


def _texts_of(batch: Iterable[Row | RejectedRow], config: Preprocess) -> Iterator[str]:
    """The texts that will be looked at for personal data when these rows are accepted."""
    for item in batch:
        made = item if isinstance(item, RejectedRow) else parse_example(*item, config)
        if isinstance(made, Example):
            yield from _texts(replace(made, text=clean(made.text, config)))


def _kinds(made: Example, pii_detector: PiiDetector) -> Iterator[str]:
    for text in _texts(made):
        yield from (finding.kind for finding in pii_detector.findings(text))


def _masked(made: Example, pii_detector: PiiDetector) -> Example:
    return replace(
        made,
        text=pii_detector.mask(made.text),
        target=pii_detector.mask(made.target),
        system=made.system and pii_detector.mask(made.system),
        contents=made.contents and tuple(_masked_turn(turn, pii_detector) for turn in made.contents),
    )


def _masked_turn(turn: dict[str, Any], pii_detector: PiiDetector) -> dict[str, Any]:
    parts = [{**part, "text": pii_detector.mask(part["text"])} if "text" in part else part for part in turn["parts"]]
    return {**turn, "parts": parts}

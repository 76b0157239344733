# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to clean, valid examples or rejected rows, with statistics of what reading changed.

Guarantees: with `pii: mask`, personal data is masked in every text of an example, in earlier turns too.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from gemtune import contents
from gemtune.artifacts.data import CleaningCount, CleaningSample, LabelSpellings, PersonalData, ReadReport
from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data import sources
from gemtune.data.cleaning import PiiDetector, Rule, clean, is_mojibake, load_pii_detector, rule_changes, rules
from gemtune.data.example import Example, RejectedRow, Row, example_id
from gemtune.data.formats import parse_example
from gemtune.data.group_columns import MAX_ROWS, GroupColumns
from gemtune.data.labels import find_spellings, label_set, labels_of, spelling_key
from gemtune.data.segments import unit_notes
from gemtune.errors import UserError, did_you_mean, without_values

log = logging.getLogger("gemtune")

BATCH_ROWS = 256  # read ahead, so that a detector can send many texts in one request
LEFT_OUT = ("not_selected", "audited", "personal_data")
"""Reasons of rows that are left out because a setting, or a person who reviewed them, says so."""
MISSING_MARKS = {
    *("nan", "NaN", "NaT", "None", "null", "NULL", "<NA>", "N/A", "undefined", "(null)", "-"),
    *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#ERROR!"),  # of spreadsheet programs
}
MAX_LABELS = 10_000  # with more, the references are no labels, and spellings are not compared
_MAX_COMPARED = 100  # labels, and characters of a label, in the search for the most similar one
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # categories; a character of a later Unicode than Python's has none of them
_MAX_SAMPLES, _MAX_LINES, _MAX_SPELLINGS = 3, 20, 10


@dataclass
class ReadStats:
    """Counts of what was read and changed. `corrections` are labels by row id, from a review file.

    `matched_corrections` are the ids among them that were read. `logs_values` is for the terminal of a person: notes
    are logged with what they quote of the rows.
    """

    corrections: Mapping[str, str] = field(default_factory=dict)
    logs_values: bool = False
    matched_corrections: set[str] = field(default_factory=set)
    corrected: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    cleaned: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[CleaningSample]] = field(default_factory=lambda: defaultdict(list))
    pii_findings: Counter[str] = field(default_factory=Counter)
    pii_lines: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    label_spellings: tuple[LabelSpellings, ...] = ()
    mojibake: int = 0
    group_columns: GroupColumns = field(default_factory=GroupColumns)
    row_notes: Counter[str] = field(default_factory=Counter)
    _pii_detector: PiiDetector | None = None
    rules: list[Rule] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Log what was assumed or found, once, and keep it for the report."""
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text if self.logs_values else without_values(text))

    def note_findings(self, task: Task, config: Preprocess) -> None:
        """Note texts in a wrong encoding, labels that differ in spelling only, rows that may belong together."""
        if self.mojibake:
            self.note(f"{self.mojibake} texts were decoded with a wrong encoding before (such as 'Ã©' for 'é')")
        self.row_notes.update(unit_notes(self.row_notes))
        for what, rows in self.row_notes.items():
            self.note(f"{rows} row{'s' * (rows > 1)}: {what}")
        if len(self.labels) < MAX_LABELS:
            self.label_spellings = find_spellings(self.labels, task.labels or config.labels)
        merged = "merged" if config.label_spellings == "merge" else "preprocess.label_spellings: merge makes them one"
        for group in self.label_spellings[:_MAX_SPELLINGS]:
            counts = ", ".join(f"{spelled!r} {rows}" for spelled, rows in group.rows.items())
            self.note(f"rows by spelling of the label {group.label!r}: {counts}; {merged}")
        for text in self.group_columns.notes():
            self.note(text)

    def add_to_groups(self, row: JsonObject, text: str, config: Preprocess) -> None:
        """Look for signs that a valid row belongs together with others, unless the settings name its group."""
        if self.counts_groups(config):
            named = {config.text_column, config.target_column, config.split_column}
            named.update(config.slice_columns, config.added_columns)
            raw = row.get(config.text_column)  # with its lines
            self.group_columns.add(row, raw if isinstance(raw, str) else text, named)

    def counts_groups(self, config: Preprocess) -> bool:
        """Whether `add_to_groups` counts further rows."""
        return not config.group_column and self.group_columns.rows < MAX_ROWS

    def emptied(self, config: Preprocess) -> ReadStats:
        """Statistics with the same corrections and detector that have counted nothing."""
        detector = None if config.pii == "off" else self.pii_detector(config)
        return ReadStats(self.corrections, _pii_detector=detector)

    def extend(self, part: ReadStats) -> None:
        """Add what was counted of further rows, groups aside."""
        for name in ("matched_corrections", "columns", "cleaned", "pii_findings", "row_notes"):
            getattr(self, name).update(getattr(part, name))
        if len(self.labels) < MAX_LABELS:
            self.labels.update(part.labels)
        for rule, samples in part.samples.items():
            self.samples[rule] += samples[: _MAX_SAMPLES - len(self.samples[rule])]
        self.pii_lines += part.pii_lines
        self.corrected += part.corrected
        self.mojibake += part.mojibake

    def __getstate__(self) -> JsonObject:
        """What another process counted, for `extend`."""
        return {**self.__dict__, "corrections": {}, "rules": [], "_pii_detector": None}

    def pii_detector(self, config: Preprocess) -> PiiDetector:
        """The detector of personal data, created once."""
        if self._pii_detector is None:
            self._pii_detector = load_pii_detector(config)
        return self._pii_detector

    def to_report(self) -> ReadReport:
        """The statistics as part of a report."""
        return ReadReport(
            notes=tuple(self.notes),
            mojibake=self.mojibake,
            label_spellings=self.label_spellings,
            cleaned={
                rule: CleaningCount(rows=rows, samples=tuple(self.samples[rule])) for rule, rows in self.cleaned.items()
            },
            corrected=self.corrected,
            corrections_without_row=len(self.corrections) - len(self.matched_corrections),
            personal_data=PersonalData(findings=dict(self.pii_findings), lines=tuple(self.pii_lines[:_MAX_LINES])),
        )


def read(source: str | Path, task: Task, config: Preprocess, stats: ReadStats) -> Iterator[Example | RejectedRow]:
    """All rows of a source as examples or rejected rows.

    Raises `UserError` when no row has the group or split column that the settings name.
    """
    rows = sources.rows(str(source), task, config, stats.note)
    while batch := list(islice(rows, BATCH_ROWS)):
        for item, valid in zip(batch, validated(batch, task, config, stats), strict=True):
            if isinstance(valid, Example) and isinstance(item, tuple):
                stats.add_to_groups(item[1], valid.text, config)
            yield valid
    require_columns(source, config, stats)


def validated(
    batch: Sequence[Row | RejectedRow], task: Task, config: Preprocess, stats: ReadStats
) -> Iterator[Example | RejectedRow]:
    """The example or the rejected row for each of these raw rows."""
    if config.pii != "off" and config.pii_detector != "rules":
        stats.pii_detector(config).prefetch(_texts_of(batch, task, config))
    stats.columns.update(chain.from_iterable(item[1] for item in batch if isinstance(item, tuple)))
    for item in batch:
        yield item if isinstance(item, RejectedRow) else validate_row(*item, task, config, stats)


def require_columns(source: str | Path, config: Preprocess, stats: ReadStats) -> None:
    """Raise `UserError` when no row has the group or split column that the settings name."""
    missing = [name for name in _configured_columns(config) if stats.columns and not stats.columns[name]]
    available = ", ".join(sorted(stats.columns)[:20])
    for name in missing:
        have = f"the rows have {available}{did_you_mean(name, tuple(stats.columns))}"
        if name not in config.slice_columns:
            raise UserError(f"no row has the column {name!r}", file=source, remedy=have)
        log.warning("no row has the column %r, so no slice is reported for it; %s", name, have)


def _configured_columns(config: Preprocess) -> list[str]:
    """Columns that the settings name; the split column's default is optional."""
    default = Preprocess.model_fields["split_column"].default
    split_column = "" if config.split_column == default else config.split_column
    named = [config.group_column, split_column, *config.added_columns, *config.slice_columns]
    return [name for name in named if name]


def validate_row(line: int, row: JsonObject, task: Task, config: Preprocess, stats: ReadStats) -> Example | RejectedRow:
    """The example in a raw row, cleaned; or the rejected row."""
    parsed = parse_example(line, row, task, config, stats.row_notes)
    if isinstance(parsed, RejectedRow):
        return parsed
    example, text = parsed, parsed.text
    stats.mojibake += is_mojibake(text)
    if (mark := text.strip()) in MISSING_MARKS:
        stats.row_notes[_missing("text", mark)] += 1
    if task.is_labelled and (mark := parsed.target) in MISSING_MARKS:
        stats.row_notes[_missing("label", mark)] += 1
    stats.rules = stats.rules or rules(config, task)  # created once
    changes = rule_changes(text, stats.rules) if parsed.contents is None else ()  # a prompt is kept as it is
    for rule, before, text in changes:
        stats.cleaned[rule] += 1
        if len(stats.samples[rule]) < _MAX_SAMPLES:
            stats.samples[rule].append(CleaningSample(line=line, before=before[:200], after=text[:200]))
    if text != example.text:
        example = replace(example, text=text)
    texts = filter(None, _texts(example)) if config.pii != "off" else ()
    if kinds := [finding.kind for text in texts for finding in stats.pii_detector(config).findings(text)]:
        findings = Counter(kinds)
        stats.pii_findings.update(findings)
        stats.pii_lines.append(line)
        if config.pii == "drop":
            detail = ", ".join(f"{count} {kind}" for kind, count in sorted(findings.items()))
            return RejectedRow(line, "personal_data", detail, row)
        if config.pii == "mask":
            example = masked(example, stats.pii_detector(config).mask)
    if example is not parsed:
        example = _with_new_id(example)
    if (label := stats.corrections.get(example.id)) is not None:
        stats.matched_corrections.add(example.id)
        if not label:
            return RejectedRow(line, "audited", "the review file drops this row", row)
        label = label_set(label, task.label_separator) if task.label_separator else label
        if label != example.target:
            stats.corrected += 1
            example = _with_new_id(with_target(example, label))
    if task.is_labelled and example.target and len(stats.labels) < MAX_LABELS:
        for label in labels_of(example.target, task):
            stats.labels[label] += 1
    problem = _problem(example, task, config)
    return RejectedRow(line, *problem, row) if problem else example


def _missing(name: str, mark: str) -> str:
    return f"the {name} is {mark!r}, as programs write a missing value"


def of_source(item: Example | RejectedRow, is_test: bool, config: Preprocess) -> Example | RejectedRow:
    """The row as one of the test file, whose rows are the test split, or of the source: with a test file, no row of
    the source is assigned to that split.
    """
    if isinstance(item, RejectedRow):
        return replace(item, detail=f"in test_data: {item.detail}") if is_test else item
    split = "test" if is_test else item.split or ("train" if config.test_data else None)
    return item if split == item.split else replace(item, split=split)


def with_target(example: Example, target: str) -> Example:
    """The example with this reference answer; its id remains."""
    return example if target == example.target else replace(example, target=target, answer=None)


def _with_new_id(example: Example) -> Example:
    identity = example_id(example.text, example.target, example.system, example.contents, example.request)
    return replace(example, id=identity)


def _problem(example: Example, task: Task, config: Preprocess) -> tuple[str, str] | None:
    """Reason and detail of a row that cannot be used; None when it can."""
    if (not example.text or example.text.isspace()) and example.contents is None:
        return "empty_text", "the text is empty"
    is_unseen = task.is_labelled and all(unicodedata.category(sign) in _UNSEEN for sign in example.target)
    if not example.target or is_unseen:
        return "empty_target", "the reference answer is empty"
    length = len(example.text) if example.contents is None else sum(map(len, contents.texts_of(example.contents)))
    if length > config.max_chars:
        return "too_long", f"{length} characters, at most {config.max_chars} are allowed"
    if config.labels and (other := _other_label(example, task, config, config.labels)):
        return "not_selected", _not_among(other, config.labels, "preprocess.labels")
    if task.labels and task.is_labelled and (other := _other_label(example, task, config, task.labels)):
        return "unknown_label", _not_among(other, task.labels, "task.labels")
    return None


def _not_among(label: str, allowed: Sequence[str], setting: str) -> str:
    similar = did_you_mean(label[:_MAX_COMPARED], tuple(allowed[:_MAX_COMPARED]))
    return f"the label {label!r:.80} is not in {setting}{similar}"


def _other_label(example: Example, task: Task, config: Preprocess, allowed: Sequence[str]) -> str | None:
    """The first label that is not allowed, in any spelling if spellings are merged."""
    labels = [label for label in labels_of(example.target, task) if label not in allowed]
    if labels and config.label_spellings == "merge":
        keys = set(map(spelling_key, allowed))
        labels = [label for label in labels if spelling_key(label) not in keys]
    return labels[0] if labels else None


def _texts(example: Example) -> list[str]:
    texts = [example.text] if example.contents is None else [*contents.texts_of(example.contents)]
    return [example.target, *([example.system] if example.system else []), *texts]


def _texts_of(batch: Iterable[Row | RejectedRow], task: Task, config: Preprocess) -> Iterator[str]:
    """The texts that `validate_row` will search for personal data."""
    for item in batch:
        example = item if isinstance(item, RejectedRow) else parse_example(*item, task, config)
        if isinstance(example, Example):
            is_plain = example.contents is None
            yield from _texts(replace(example, text=clean(example.text, config, task)) if is_plain else example)


def masked(example: Example, mask: Callable[[str], str]) -> Example:
    """The example with every text masked."""
    return replace(
        example,
        text=mask(example.text),
        target=mask(example.target),
        system=example.system and mask(example.system),
        contents=contents.map_texts(example.contents, mask),
        answer=contents.map_texts(example.answer, mask),
        request=contents.map_texts(example.request, mask),
    )

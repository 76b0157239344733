# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples to train, validation and test splits: exact label shares, recorded assignments, and a leakage report.

Assignments (`split_assignment`) are recorded in the bucket under the run's name, so that a row stays in its split as
the data grows: a model tuned last month never saw this month's test rows. The alternative is to assign by time. When
near-duplicates still fall into different splits, the test row is kept, else the validation row, and the
others are excluded; a split that the source names is respected. Guarantees: no group and no near-duplicate pair crosses
splits, and `leakage_report` counts that on the finished splits.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gemtune.artifacts.data import ExcludedRow, SplitReport
from gemtune.artifacts.records import SplitRecord
from gemtune.config import Split, Task
from gemtune.data.compared_text import Remainders
from gemtune.data.embedders import load_embedder
from gemtune.data.example import Example, read_examples, to_row, write_rows
from gemtune.data.leakage import find_overlaps, leakage_report
from gemtune.data.split_assignment import SPLITS, SplitAssignments, assign_splits, group_key, split_by_hash
from gemtune.data.times import parse_times
from gemtune.errors import TooFewRowsError, without_values
from gemtune.inference import data_fit
from gemtune.steps.context import Section, StepContext, log

MAX_TIME_SLICES = 20  # with more distinct times, metrics by time would be one row each
MAX_REPORTED_LABELS = 1000
Splits = dict[str, list[Example]]
Excluded = list[tuple[Example, str]]  # with the reason


def split_examples(
    examples: Sequence[Example],
    config: Split,
    recorded: SplitAssignments | None = None,
    task: Task | None = None,
    remainders: Remainders | None = None,
) -> tuple[Splits, Excluded]:
    """Every example in one split, or excluded with the reason; `recorded` are assignments of earlier runs."""
    task, remainders = task or Task(), remainders or Remainders()
    splits: Splits = {name: [] for name in SPLITS}
    excluded: Excluded = []
    recorded = recorded if recorded and not config.time_column else SplitAssignments()
    if config.time_column:
        assigned = _assign_by_time(examples, config)
    else:
        assigned = assign_splits(examples, config, recorded, task, remainders)
    for example in examples:
        split = assigned[group_key(example)]
        earlier = recorded.rows.get(example.id)
        if example.split not in (None, split) and not (split == "validation" and example.split == "train"):
            excluded.append((example, f"its group {example.group!r} is in {split}"))
        elif example.split is None and earlier not in (None, split):
            reason = f"was in {earlier} in an earlier run, but its group {example.group!r} is now in {split}"
            excluded.append((example, reason))
        else:
            splits[split].append(example)
    return _exclude_near_duplicates(splits, excluded, config, task, remainders)


def _assign_by_time(examples: Sequence[Example], config: Split) -> dict[str, str]:
    """Split of every key: as the source says (test before validation before train), else by its time.

    The newest keys are test, those before them validation; a key is as old as its newest row; equal times stay so.
    """
    by_source: dict[str, set[str | None]] = defaultdict(set)
    for example in examples:
        by_source[group_key(example)].add(example.split)
    newest: dict[str, float] = {}
    for example, time in zip(examples, _times(examples, config.time_column), strict=True):
        newest[group_key(example)] = max(time, newest.get(group_key(example), time))
    ordered = sorted(newest.values())
    first_test = ordered[min(len(ordered) - 1, round(len(ordered) * (1 - config.test)))]
    first_validation = ordered[round(len(ordered) * (1 - config.test - config.validation))]
    assigned = {}
    for key, splits in by_source.items():
        named = next((split for split in ("test", "validation", "train") if split in splits), None)
        time = newest[key]
        by_time = "test" if time >= first_test else "validation" if time >= first_validation else "train"
        assigned[key] = named or by_time
    if "validation" not in assigned.values() and any(splits != {None} for splits in by_source.values()):
        share = config.validation / (1 - config.test)
        carved = config.model_copy(update={"validation": share / 2, "test": share / 2})
        assigned = {
            key: "validation" if split == "train" and split_by_hash(key, carved) != "train" else split
            for key, split in assigned.items()
        }
    return assigned


def _times(examples: Sequence[Example], column: str) -> list[float]:
    line_by_value = {example.slices.get(column, ""): example.line for example in reversed(examples)}
    times = parse_times(line_by_value, column)
    return [times[example.slices.get(column, "")] for example in examples]


def _exclude_near_duplicates(
    splits: Splits, excluded: Excluded, config: Split, task: Task, remainders: Remainders
) -> tuple[Splits, Excluded]:
    """Exclude validation rows that are near test rows, and training rows that are near either."""
    if not config.jaccard_threshold:
        return splits, excluded
    held_out = list(splits["test"])
    for name in ("validation", "train"):
        near = find_overlaps(splits[name], held_out, config.jaccard_threshold, task, remainders)
        excluded += [
            (splits[name][i], f"near-duplicate of line {held_out[j].line} in a held-out split") for i, j in near.items()
        ]
        splits[name] = [example for i, example in enumerate(splits[name]) if i not in near]
        held_out += splits[name]
    return splits, excluded


def _time_ranges(splits: Splits, column: str) -> dict[str, tuple[str, str]]:
    """The oldest and the newest time of every split; {} when rows are not split by time."""
    if not column:
        return {}
    rows = [(name, example.slices[column]) for name in SPLITS for example in splits[name]]
    times = _times([example for name in SPLITS for example in splits[name]], column)
    ranges = {}
    for name in SPLITS:
        ordered = sorted((time, value) for time, (split, value) in zip(times, rows, strict=True) if split == name)
        ranges[name] = (ordered[0][1], ordered[-1][1])
    return ranges


def _without_time_slices(splits: Splits, column: str) -> Splits:
    """The splits without the time among the rows' slices, when it has too many values to report metrics by."""
    if not column or len({example.slices[column] for name in SPLITS for example in splits[name]}) <= MAX_TIME_SLICES:
        return splits
    return {
        name: [replace(row, slices={k: v for k, v in row.slices.items() if k != column}) for row in rows]
        for name, rows in splits.items()
    }


def _require_usable(splits: Splits, context: StepContext) -> list[str]:
    """Notes about these splits; raises `UserError` when one is too small, or the configuration does not fit them."""
    config = context.split
    for name in SPLITS:
        if len(splits[name]) < config.min_rows:
            sizes = ", ".join(f"{n} {len(splits[n])}" for n in SPLITS)
            groups = len({example.group for own in splits.values() for example in own if example.group})
            remedy = "provide more rows, or change the shares or split.min_rows"
            if groups:
                remedy = f"rows of a group stay together, and preprocess.group_column has {groups} groups: {remedy}"
            raise TooFewRowsError(
                f"too few rows for a run: {name} has {len(splits[name])} rows, split.min_rows requires "
                f"{config.min_rows} ({sizes})",
                remedy=remedy,
            )
    if not context.has("task"):
        return []
    rows = (replace(example, split=name) for name in SPLITS for example in splits[name])
    profile = data_fit.RowProfile.of(context.task, rows)
    return data_fit.require_fit(context.task, context.evaluate, config, profile)


def run(
    examples: str,
    splits: tuple[str, str, str],
    report: str,
    leakage: str,
    name: str,
    keep: bool = True,
    **sections: Section,
) -> dict[str, Any]:
    """Split the file `examples` into the three files `splits` and write `report` (a `SplitReport`); returns the counts.

    With the section `vertex`, assignments are read from the record of the run's `name` in the bucket, and new ones
    added to it (`keep`). `leakage` is a file for the `LeakageReport` alone, which is kept with the model ("": none).
    Reads the sections split, vertex, and task, evaluate for a check before anything is recorded. Raises `UserError` for
    a split that is too small, and for a configuration that does not fit the rows.
    """
    context = StepContext(sections)
    settings = context.split
    rows, remainders = list(read_examples(examples)), Remainders()
    if sections.get("vertex") is not None and name and not settings.time_column:
        divided, excluded, recorded = _split_by_record(rows, context, name, keep, remainders)
    else:
        recorded = SplitAssignments()
        divided, excluded = split_examples(rows, settings, task=context.task, remainders=remainders)
    notes = _require_usable(divided, context)
    assignments_kept = sum(example.id in recorded.rows for name in SPLITS for example in divided[name])
    embedder = load_embedder(settings.embedder, context.vertex, settings.seed)
    overlaps = leakage_report(divided, settings, embedder, context.task, remainders)
    times = _time_ranges(divided, settings.time_column)
    divided = _without_time_slices(divided, settings.time_column)
    for split, path in zip(SPLITS, splits, strict=True):
        write_rows(path, ({**to_row(example), "split": split} for example in divided[split]))
    SplitReport(
        settings=settings.model_dump(),
        rows=overlaps.rows,
        excluded=tuple(ExcludedRow(id=row.id, line=row.line, reason=reason) for row, reason in excluded),
        labels=_rows_per_label(divided),
        slices=_rows_per_slice(divided),
        times=times,
        assignments_kept=assignments_kept,
        notes=tuple(notes),
        leakage_report=overlaps,
    ).write(report)
    if leakage:
        overlaps.write(leakage)
    for note in notes:
        log.warning("%s", without_values(note))
    overlap_rows = sum(overlap.rows for overlap in overlaps.overlaps)
    sizes = " / ".join(f"{overlaps.rows[split]} {split}" for split in SPLITS)
    log.info("done: %s", f"{sizes}, {len(excluded)} excluded, {overlap_rows} rows overlap across splits")
    return {**overlaps.rows, "excluded": len(excluded), "overlapping": overlap_rows}


def _split_by_record(
    rows: list[Example], context: StepContext, name: str, keep: bool, remainders: Remainders
) -> tuple[Splits, Excluded, SplitAssignments]:
    """Split by the assignments in the run's record, and add the new ones to it (`keep`); also the earlier assignments.

    Concurrent runs cannot assign a row differently: the second one splits again by the record that the first wrote.
    """
    from gemtune.state import store

    config = context.split
    outcomes: list[tuple[Splits, Excluded, SplitAssignments]] = []

    def updated(record: SplitRecord | None) -> SplitRecord:
        recorded = SplitAssignments.of(record, config)
        splits, excluded = split_examples(rows, config, recorded, context.task, remainders)
        _require_usable(splits, context)
        outcomes.append((splits, excluded, recorded))
        return recorded.with_rows(splits).record(config)

    if keep:
        store.update(context.client, SplitRecord, name, updated)
    else:
        updated(store.read(context.client, SplitRecord, name))
    return outcomes[-1]


def _rows_per_label(splits: Splits) -> dict[str, dict[str, int]]:
    counts = {name: Counter(example.target for example in splits[name]) for name in SPLITS}
    labels = sorted(set().union(*counts.values()))
    if len(labels) > MAX_REPORTED_LABELS:
        return {}
    return {label: {name: counts[name][label] for name in SPLITS} for label in labels}


def _rows_per_slice(splits: Splits) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(SPLITS, 0)))
    for name in SPLITS:
        for example in splits[name]:
            for column, value in example.slices.items():
                counts[column][value][name] += 1
    return {column: dict(values) for column, values in counts.items()}

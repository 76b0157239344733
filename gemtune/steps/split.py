# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Train, validation and test: exact shares of every label, places that are remembered, and proof that nothing leaks.

Rows are divided by `rows.placing`; where they stand is recorded in the bucket under the run's name, beside the
champion, so that a row stays put as data grows: a model tuned last month never saw this month's test rows. Two other
ways divide by a row's hash alone, or by time. Where near-duplicates still fall into different splits, the test row
stays, then the validation row, and the others are left out; a split the source asked for is respected. Promise: no
group, and no near-duplicate pair, ever crosses, and `certificate` counts that on the finished splits.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gemtune.config import Split, Vertex, fingerprint
from gemtune.data.embedders import load_embedder
from gemtune.data.example import Example, read_examples, write_examples, write_json
from gemtune.data.leakage import LeakageConfig, find_overlaps, leakage_report
from gemtune.data.split_assignment import SPLITS, SplitAssignments, assign_splits, group_key, split_by_hash
from gemtune.errors import UserError

log = logging.getLogger("gemtune")

MOST_TIMES = 20  # with more of them a time is no slice to report by
Splits = dict[str, list[Example]]
Left = list[tuple[Example, str]]


def split_examples(
    examples: Sequence[Example], config: Split, known: SplitAssignments | None = None
) -> tuple[Splits, Left]:
    """Every example in one split, or left out with the reason; `known` is where rows stood before."""
    splits: Splits = {name: [] for name in SPLITS}
    left: Left = []
    known = known if known is not None and remembers(config) else SplitAssignments()
    found = assign_splits(examples, config, known) if remembers(config) else _homes(examples, config)
    for example in examples:
        home = found[group_key(example)]
        stood = known.rows.get(example.id)
        if example.split not in (None, home) and not (home == "validation" and example.split == "train"):
            left.append((example, f"its group {example.group!r} stands in {home}"))
        elif example.split is None and stood not in (None, home):
            left.append((example, f"it stood in {stood} before, and its group {example.group!r} stands in {home}"))
        else:
            splits[home].append(example)
    return _apart(splits, left, config)


def remembers(config: Split) -> bool:
    """Whether rows are divided by shares, so that their places must be remembered."""
    return config.method == "stratified" and not config.time_column


def _homes(examples: Sequence[Example], config: Split) -> dict[str, str]:
    """Split of every key: what the source asked for (test before validation before train), else its time or hash."""
    asked: dict[str, set[str | None]] = defaultdict(set)
    for example in examples:
        asked[group_key(example)].add(example.split)
    drawn = _by_time(examples, config) if config.time_column else {key: split_by_hash(key, config) for key in asked}
    found = {}
    for key, names in asked.items():
        given = next((name for name in ("test", "validation", "train") if name in names), None)
        found[key] = given or drawn[key]
    if "validation" not in found.values() and any(asked_for != {None} for asked_for in asked.values()):
        share = config.validation / (1 - config.test)
        carved = config.model_copy(update={"validation": share / 2, "test": share / 2})
        found = {
            k: "validation" if v == "train" and split_by_hash(k, carved) != "train" else v for k, v in found.items()
        }
    return found


def _by_time(examples: Sequence[Example], config: Split) -> dict[str, str]:
    """The newest keys are test, those before them validation; a key is as old as its newest row; equal times stay
    together.
    """
    newest: dict[str, float] = {}
    for example in examples:
        moment = _moment(example, config.time_column)
        newest[group_key(example)] = max(moment, newest.get(group_key(example), moment))
    ordered = sorted(newest.values())
    first_test = ordered[min(len(ordered) - 1, round(len(ordered) * (1 - config.test)))]
    first_validation = ordered[round(len(ordered) * (1 - config.test - config.validation))]
    return {
        key: "test" if moment >= first_test else "validation" if moment >= first_validation else "train"
        for key, moment in newest.items()
    }


def _moment(example: Example, column: str) -> float:
    value = example.slices.get(column, "")
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UserError(
            f"line {example.line}: {column!r} is {value!r}, not a time",
            remedy="give ISO 8601 times or numbers, and name the column in preprocess.slice_columns",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _apart(splits: Splits, left: Left, config: Split) -> tuple[Splits, Left]:
    """Leave out of validation what is too near to test, and of train what is too near to either."""
    if not config.jaccard_threshold:
        return splits, left
    guarded = list(splits["test"])
    for name in ("validation", "train"):
        near = find_overlaps(splits[name], guarded, config.jaccard_threshold)
        left += [
            (splits[name][i], f"near-duplicate of line {guarded[j].line} in a held-out split") for i, j in near.items()
        ]
        splits[name] = [example for i, example in enumerate(splits[name]) if i not in near]
        guarded += splits[name]
    return splits, left


def _times(splits: Splits, column: str) -> dict[str, list[str]]:
    """The oldest and the newest time of every split; {} where rows were not divided by time."""
    if not column:
        return {}
    found = {}
    for name in SPLITS:
        ordered = sorted(splits[name], key=lambda example: _moment(example, column))
        found[name] = [ordered[0].slices[column], ordered[-1].slices[column]]
    return found


def _without_times(splits: Splits, column: str) -> Splits:
    """The splits, their rows without the time when it is one of many: nothing is reported by each moment."""
    if not column or len({example.slices[column] for name in SPLITS for example in splits[name]}) <= MOST_TIMES:
        return splits

    def timeless(example: Example) -> Example:
        return replace(example, slices={name: value for name, value in example.slices.items() if name != column})

    return {name: [timeless(example) for example in rows] for name, rows in splits.items()}


def _enough(splits: Splits, config: Split) -> None:
    for name in SPLITS:
        if len(splits[name]) < config.min_rows:
            sizes = ", ".join(f"{n} {len(splits[n])}" for n in SPLITS)
            raise UserError(
                f"{name} has {len(splits[name])} rows, split.min_rows asks for {config.min_rows} ({sizes})",
                remedy="give more rows, other shares or a smaller split.min_rows",
            )


def run(
    examples: str,
    config: dict[str, Any],
    train: str,
    validation: str,
    test: str,
    report: str,
    vertex: dict[str, Any] | None = None,
    name: str = "",
    proven: str = "",
    keep: bool = True,
) -> dict[str, Any]:
    """Split the file `examples` into three; `report` holds counts, label balance, what was left out and the
    certificate, which is also written to `proven`, to travel with the model.

    With a run's `name` and section `vertex`, places are read from its record in the bucket and (`keep`) kept there.
    """
    settings = Split.of(config)
    rows = list(read_examples(examples))
    if vertex is not None and name and remembers(settings):
        splits, left, known = _remembered(rows, settings, Vertex.of(vertex), name, keep)
    else:
        (splits, left), known = split_examples(rows, settings), SplitAssignments()
    _enough(splits, settings)
    stayed = sum(example.id in known.rows for name in SPLITS for example in splits[name])
    looked = LeakageConfig(
        settings.jaccard_threshold, settings.passage_chars, settings.semantic_threshold, seed=settings.seed
    )
    proof = leakage_report(splits, looked, load_embedder(settings.embedder, Vertex.of(vertex or {}), settings.seed))
    times = _times(splits, settings.time_column)
    splits = _without_times(splits, settings.time_column)
    for name, path in zip(SPLITS, (train, validation, test), strict=True):
        write_examples(path, (replace(example, split=name) for example in splits[name]))
    counts = {name: len(splits[name]) for name in SPLITS}
    write_json(report, {"rows": counts, "excluded": _told(left), "labels": _balance(splits), "slices": _slices(splits),
                        "times": times, "assignments_kept": stayed, "leakage_report": proof,
                        "settings": settings.model_dump()})  # fmt: skip
    if proven:
        write_json(proven, {**proof, "rows": counts, "splits": fingerprint(*(_ids(splits[name]) for name in SPLITS))})
    for split, labels in labels_without_rows(splits).items():
        said = ", ".join(labels[:10]) + (" ..." if len(labels) > 10 else "")
        log.warning("%d labels have no %s row, so nothing is measured about them: %s", len(labels), split, said)
    overlaps = sum(pair["rows"] for pair in proof["overlaps"])
    sizes = " / ".join(f"{counts[name]} {name}" for name in SPLITS)
    log.info("done: %s", f"{sizes}, {len(left)} left out, {overlaps} rows overlap across splits")
    return {**counts, "excluded": len(left), "overlapping": overlaps}


def _remembered(
    rows: list[Example], config: Split, vertex: Vertex, name: str, keep: bool
) -> tuple[Splits, Left, SplitAssignments]:
    """Divide by the places in the run's record, and add the new ones to it (`keep`); also the places known before.

    Two runs at once cannot place a row differently: whoever is second divides again by what the first wrote.
    """
    from gemtune.state import store
    from gemtune.vertex import connect

    outcome: list[tuple[Splits, Left, SplitAssignments]] = []

    def divided(record: store.Record) -> store.Record:
        known = SplitAssignments.of(record, config)
        splits, left = split_examples(rows, config, known)
        _enough(splits, config)
        outcome.append((splits, left, known))
        return known.with_rows(splits).record(config)

    client, key = connect(vertex), f"splits/{name}.json"
    if keep:
        store.change(client, key, divided)
    else:
        divided(store.read(client, key))
    return outcome[-1]


def labels_without_rows(splits: Splits) -> dict[str, list[str]]:
    """Labels that training has and validation or test has not; {} where targets are free text (mostly different)."""
    known = {example.target for example in splits["train"]}
    if 5 * len(known) > len(splits["train"]):
        return {}
    missing = {name: sorted(known - {e.target for e in splits[name]}) for name in ("validation", "test")}
    return {name: labels for name, labels in missing.items() if labels}


def _ids(examples: Sequence[Example]) -> list[str]:
    return sorted(example.id for example in examples)


def _told(left: Left) -> list[Mapping[str, Any]]:
    return [{"id": example.id, "line": example.line, "reason": reason} for example, reason in left]


def _balance(splits: Splits) -> dict[str, dict[str, int]]:
    counts = {name: Counter(example.target for example in splits[name]) for name in SPLITS}
    labels = sorted(set().union(*counts.values()))
    if len(labels) > 1000:
        return {}
    return {label: {name: counts[name][label] for name in SPLITS} for label in labels}


def _slices(splits: Splits) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(SPLITS, 0)))
    for name in SPLITS:
        for example in splits[name]:
            for column, value in example.slices.items():
                found[column][value][name] += 1
    return {column: dict(values) for column, values in found.items()}

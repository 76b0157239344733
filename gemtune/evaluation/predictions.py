# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Reading the predictions file back: every variant's answers, row beside row.

Comparisons are paired, so all variants must have answered the same rows, each once; anything else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemtune.config import ModelVariant, Task
from gemtune.errors import UserError
from gemtune.evaluation import metrics
from gemtune.evaluation.metrics import Row
from gemtune.inference.prompts import split_labels


@dataclass(frozen=True)
class Scored:
    """A variant with its test answers, in the same row order as every other's."""

    variant: ModelVariant
    rows: list[Row]
    outcomes: list[str]
    latency_s: list[float | None]
    input_tokens: list[int]
    output_tokens: list[int]
    slices: list[dict[str, str]] = field(default_factory=list)
    confidence: list[float | None] = field(default_factory=list)


def read_predictions(path: str, task: Task) -> tuple[Task, dict[str, list[dict[str, Any]]]]:
    """Prediction rows by variant, each in the order of the file, and the task with the labels the rows hold."""
    answers: dict[str, list[dict[str, Any]]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"cannot read the predictions: {error.strerror}", file=path) from None
    for row in map(json.loads, lines):
        answers.setdefault(row["variant"], []).append(row)
    if task.kind in metrics.LABELLED and not task.labels:
        # answered labels too, as the evaluation counts them: one that no reference bears is a false alarm of its own
        written = {row[key] for rows in answers.values() for row in rows for key in ("reference", "parsed")}
        labels = {label for value in written if value is not None for label in split_labels(task, value)}
        task = task.model_copy(update={"labels": sorted(labels)})
    return task, answers


def scored_of(path: str, variant: ModelVariant, answers: Mapping[str, list[dict[str, Any]]]) -> Scored:
    """One variant's answers in the order of the first variant's rows; raises `UserError` unless all match."""
    rows = answers.get(variant.name)
    if rows is None:
        raise UserError(f"no predictions of {variant.name!r}, there are {sorted(answers)}", file=path)
    ids = [row["id"] for row in next(iter(answers.values()))]
    by_id = {row["id"]: row for row in rows}
    if len(by_id) != len(rows) or set(by_id) != set(ids):
        raise UserError(f"{variant.name!r} was not asked the others' rows", file=path, remedy="evaluate again")
    rows = [by_id[i] for i in ids]
    return Scored(
        variant,
        [Row(r["reference"], r["parsed"], r["answer"], r["target"], r["scores"]) for r in rows],
        [r["outcome"] for r in rows],
        [r["latency_s"] for r in rows],
        [r["input_tokens"] for r in rows],
        [r["output_tokens"] for r in rows],
        [r.get("slices") or {} for r in rows],
        [r.get("confidence") for r in rows],
    )


def groups_of(answers: Mapping[str, list[dict[str, Any]]]) -> list[str | None]:
    """Each row's group, in the order of the rows."""
    return [row.get("group") for row in next(iter(answers.values()), [])]

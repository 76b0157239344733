# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The predictions file: every variant's answers on one or more datasets, a JSON object per line.

Comparisons are paired, so all variants must have answered the same rows, each once; anything else is refused.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemtune.artifacts.base import open_atomic
from gemtune.config import ModelVariant, Task
from gemtune.data.labels import labels_of
from gemtune.errors import UserError
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.scorers import SampleScore, prediction_row

CHAMPION_TEST_SET = "champion_test_set"
"""The dataset of the rows that the champion was tested on."""

Prediction = dict[str, Any]
SCHEMA_VERSION = 1
OUTCOMES = {"ok", "invalid", "refusal", "blocked", "truncated", "error"}


@dataclass(frozen=True)
class ScoredVariant:
    """A variant with its scored answers, in the same row order as every other's.

    `pairwise` holds, by the other variant's name, the result of each row where the two were compared.
    """

    variant: ModelVariant
    rows: list[Row]
    outcomes: list[str]
    latency_s: list[float | None]
    input_tokens: list[int]
    output_tokens: list[int]
    slices: list[dict[str, str]] = field(default_factory=list)
    confidence: list[float | None] = field(default_factory=list)
    pairwise: dict[str, list[PairwiseResult]] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """The answers to one dataset by variant, each in the order of the file; `path` is for error messages."""

    path: str
    answers: Mapping[str, list[Prediction]]

    def task(self, task: Task) -> Task:
        """The task with the labels of the rows, if it names none."""
        if not task.is_labelled or task.labels:
            return task
        # predicted labels too, as the evaluation counts them: one that no reference has is a false positive of its own
        written = {row[key] for rows in self.answers.values() for row in rows for key in ("reference", "parsed")}
        labels = {label for value in written if value is not None for label in labels_of(value, task)}
        return task.model_copy(update={"labels": sorted(labels)})

    def of(self, variant: ModelVariant) -> ScoredVariant:
        """A variant's answers in the order of the first variant's rows; raises `UserError` unless all match."""
        rows = self.answers.get(variant.name)
        if rows is None:
            raise UserError(f"no predictions of {variant.name!r}, only of {sorted(self.answers)}", file=self.path)
        ids = self.ids
        by_id = {row["id"]: row for row in rows}
        if len(by_id) != len(rows) or set(by_id) != set(ids):
            problem = f"{variant.name!r} answered other rows than the other variants"
            raise UserError(problem, file=self.path, remedy="evaluate again")
        for row in rows:
            outcome, scores = row.get("outcome"), row.get("scores")
            if outcome not in OUTCOMES or not isinstance(scores, dict) or not all(map(_is_score, scores.values())):
                problem = f"row {row['id']} of {variant.name!r} is damaged: {outcome}, {scores}"
                raise UserError(problem, file=self.path, remedy="evaluate again")
        rows = [by_id[i] for i in ids]
        first = next(iter(self.answers.values()))
        for own, other in zip(rows, first, strict=True):
            if (own["reference"], own["target"]) != (other["reference"], other["target"]):
                problem = f"row {own['id']} has another reference for {variant.name!r} than for the other variants"
                raise UserError(problem, file=self.path, remedy="evaluate again")
        others = rows[0].get("pairwise", {}) if rows else {}
        return ScoredVariant(
            variant,
            [Row(r["reference"], r["parsed"], r["answer"], r["target"], r["scores"]) for r in rows],
            [r["outcome"] for r in rows],
            [r["latency_s"] for r in rows],
            [r["input_tokens"] for r in rows],
            [r["output_tokens"] for r in rows],
            [r.get("slices") or {} for r in rows],
            [r.get("confidence") for r in rows],
            {other: [PairwiseResult(**r["pairwise"][other]) for r in rows] for other in others},
        )

    @property
    def ids(self) -> list[str]:
        """Each row's id, in the order of the rows."""
        return [row["id"] for row in next(iter(self.answers.values()), [])]

    @property
    def groups(self) -> list[str | None]:
        """Each row's group, in the order of the rows."""
        return [row.get("group") for row in next(iter(self.answers.values()), [])]

    @property
    def size(self) -> int:
        """How many rows were answered."""
        return len(next(iter(self.answers.values()), []))


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def read_predictions(path: str, dataset: str | None = None) -> Predictions:
    """The predictions on one dataset of a file, or all of them; raises `UserError` when it cannot be read."""
    answers: dict[str, list[Prediction]] = {}
    try:
        with open(path, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row["schema_version"] != SCHEMA_VERSION:
                    raise ValueError(f"schema_version {row['schema_version']!r}, expected {SCHEMA_VERSION}")
                if dataset is None or row["dataset"] == dataset:
                    answers.setdefault(row["variant"], []).append(row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the predictions: {error!r}", file=path, remedy="evaluate again") from None
    return Predictions(path, answers)


def write_predictions(path: str, rows: Iterable[Prediction]) -> None:
    """Write prediction rows as JSON lines."""
    with open_atomic(path) as out:
        for row in rows:
            out.write(json.dumps({"schema_version": SCHEMA_VERSION, **row}, ensure_ascii=False) + "\n")


def prediction_rows(
    dataset: str,
    variant: ModelVariant,
    scores: Sequence[SampleScore],
    pairwise: Mapping[tuple[str, str], Sequence[PairwiseResult]],
) -> list[Prediction]:
    """A variant's rows of the predictions file, with the results of its comparisons."""
    own = {other: results for (name, other), results in pairwise.items() if name == variant.name}
    rows = []
    for number, score in enumerate(scores):
        row = {**prediction_row(variant, score), "dataset": dataset}
        if own:
            row["pairwise"] = {
                other: {"winner": results[number].winner, "flipped": results[number].flipped}
                for other, results in own.items()
            }
        rows.append(row)
    return rows

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a model that was tuned on has forgotten: candidate against champion on the rows the champion was tested on.

New rows may teach a model the new and take the old from it (catastrophic forgetting: McCloskey and Cohen 1989). Both
are asked the champion's own test rows, less those that are trained on now, and compared row by row. Pure but for
reading the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation import intervals, metrics
from gemtune.evaluation.predictions import groups_of, read_predictions, scored_of

FEWEST = 10  # fewer old rows show nothing


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Candidate minus champion on the champion's old test rows, with the interval of the paired difference."""

    metric: str
    rows: int
    candidate: float
    champion: float
    delta: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """The finding in words."""
        word = "has forgotten" if self.high < 0 else "is not shown to have forgotten"
        return (
            f"the candidate {word} what the champion was tested on: {self.metric} {self.candidate:.3f} against "
            f"{self.champion:.3f} on its {self.rows} old test rows, difference {self.delta:+.3f} "
            f"(between {self.low:+.3f} and {self.high:+.3f})"
        )

    def passes(self, allowed: float) -> bool:
        """Whether a loss of more than `allowed` is ruled out by the interval."""
        return self.low >= -allowed


def measured(predictions: str, variants: Sequence[ModelVariant], task: Task, config: Gate) -> Forgetting | None:
    """The comparison on the old rows; None when nobody was asked about them, or they are too few."""
    by_role = {one.role: one for one in variants}
    if not predictions or not Path(predictions).read_text(encoding="utf-8").strip():
        return None
    resolved, answers = read_predictions(predictions, task)
    metric = config.metric or metrics.primary_metric(resolved)
    now, before = (
        metrics.measure(resolved, metric, scored_of(predictions, by_role[role], answers).rows)
        for role in ("candidate", "champion")
    )
    rows = len(answers[by_role["candidate"].name])
    if rows < FEWEST:
        return None
    found = intervals.paired(
        now,
        before,
        level=config.confidence_level,
        resamples=config.resamples,
        seed=config.seed,
        groups=groups_of(answers),
    )
    return Forgetting(metric, rows, now.value(), before.value(), found.delta, found.low, found.high)

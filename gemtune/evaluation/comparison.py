# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A variant compared with another on the same rows: by the task's metric, or by recorded pairwise results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gemtune.artifacts.decision import Comparison
from gemtune.artifacts.evaluation import PairedDifference
from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation import intervals, metrics, pairwise
from gemtune.evaluation.intervals import Measure
from gemtune.evaluation.predictions import ScoredVariant


@dataclass(frozen=True)
class CompareByMetric:
    """Compares by the task's metric, paired row by row; `groups` names rows that count as one observation."""

    task: Task
    gate: Gate
    metric: str
    groups: Sequence[str | None] | None = None
    measures: dict[str, Measure] = field(default_factory=dict)

    def measure(self, scored: ScoredVariant) -> Measure:
        """The metric on all rows of a variant; computed once for a name."""
        name = scored.variant.name
        if name not in self.measures:
            self.measures[name] = metrics.measure(self.task, self.metric, scored.rows)
        return self.measures[name]

    def __call__(
        self, candidate: ScoredVariant, baseline: ScoredVariant, part: Sequence[int] | None = None
    ) -> Comparison:
        """Compare on all rows, or on those of `part`."""
        if part is None:
            part = range(len(candidate.rows))
            left, right = self.measure(candidate), self.measure(baseline)
        else:
            left, right = (
                metrics.measure(self.task, self.metric, [scored.rows[i] for i in part])
                for scored in (candidate, baseline)
            )
        paired = intervals.paired(
            left,
            right,
            level=self.gate.confidence_level,
            resamples=self.gate.resamples,
            seed=self.gate.seed,
            groups=[self.groups[i] for i in part] if self.groups else None,
        )
        return _comparison(baseline.variant, self.metric, left.value(), right.value(), paired)


@dataclass(frozen=True)
class ComparePairwise:
    """Compares by the share of rows won (ties half), from the results that the evaluation recorded."""

    gate: Gate
    groups: Sequence[str | None]
    metric: str = field(default=pairwise.WIN_RATE)

    def __call__(
        self, candidate: ScoredVariant, baseline: ScoredVariant, part: Sequence[int] | None = None
    ) -> Comparison:
        """Compare on all rows, or on those of `part`."""
        results = candidate.pairwise[baseline.variant.name]
        part = range(len(results)) if part is None else part
        won = pairwise.rate([results[i] for i in part], [self.groups[i] for i in part], self.gate)
        return _comparison(baseline.variant, self.metric, won.value, 1 - won.value, won.lift)


def _comparison(
    other: ModelVariant, metric: str, value: float, baseline: float, difference: PairedDifference
) -> Comparison:
    compared = {"versus": other.name, "role": other.role, "metric": metric, "candidate": value, "baseline": baseline}
    return Comparison(**compared, **dict(difference))


Compare = CompareByMetric | ComparePairwise
"""Compares two variants on the same rows, or on those of `part`; `metric` is the name of what is compared."""
Comparing = Callable[[Gate, Sequence[str | None]], Compare]
"""Makes the comparison by a gate's level and the groups of the rows."""

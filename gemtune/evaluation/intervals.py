# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals, paired comparisons, and statistical power of a test set.

A metric is a `Measure`: per row a short vector of sums (hits and rows, n-gram counts, ...), and a formula on their
total. Accuracy, macro F1, corpus BLEU and calibration error all have this form, so one bootstrap serves them all, and
rows that share a group are resampled together by adding their vectors first. Rows with equal vectors are pooled:
drawing n rows with replacement is one multinomial draw over the distinct vectors, the same law at a fraction of the
cost. Sources: Efron & Tibshirani 1993 (bootstrap), Wilson 1927, McNemar 1947 (exact form), Miller 2024
(arXiv 2411.00640: paired differences, clusters, power), Holm 1979. Randomness only from `seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MCNEMAR, PERMUTATION = "exact McNemar", "paired permutation"


@dataclass(frozen=True)
class Measure:
    """A metric of n rows: `sums` (n, k) per row, `formula` maps totals (..., k) to values (...)."""

    sums: Floats
    formula: Callable[[Floats], Floats]

    def value(self) -> float:
        """The metric on all rows."""
        return float(self.formula(self.sums.sum(axis=0)))


@dataclass(frozen=True)
class Interval:
    """A value with its confidence bounds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Candidate minus baseline on the same rows: the difference, its interval, and its p-value.

    `p_value` is two-sided and comes from the test named `test`: exact McNemar for right/wrong rows, else a paired
    permutation test. `disagreement` is the share of rows on which the two scores differ.
    """

    delta: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    disagreement: float
    test: str


def mean(scores: Sequence[float] | Floats) -> Measure:
    """The measure of a plain average."""
    column = np.asarray(scores, dtype=np.float64)
    return Measure(np.column_stack([column, np.ones_like(column)]), _ratio)


def _ratio(totals: Floats) -> Floats:
    return np.divide(totals[..., 0], totals[..., 1], out=np.zeros(totals.shape[:-1]), where=totals[..., 1] > 0)


def wilson(successes: int, rows: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion; (0, 1) when there are no rows."""
    from scipy.stats import binomtest

    if rows == 0:
        return Interval(0.0, 0.0, 1.0)
    share, bounds = successes / rows, binomtest(successes, rows).proportion_ci(level, method="wilson")
    return Interval(share, min(float(bounds.low), share), max(float(bounds.high), share))


def bootstrap(
    measure: Measure,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 7,
    groups: Sequence[str | None] | None = None,
) -> Interval:
    """Percentile bootstrap interval of a measure; rows of one group (None: a group of its own) stay together."""
    vectors, counts = _pooled(_grouped(measure.sums, groups))
    if not len(vectors):
        return Interval(0.0, 0.0, 0.0)
    draws = np.concatenate([measure.formula(drawn @ vectors) for drawn in _draws(counts, resamples, seed)])
    low, high = np.quantile(draws, _tails(level))
    return Interval(measure.value(), float(low), float(high))


def interval(
    measure: Measure,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 7,
    groups: Sequence[str | None] | None = None,
) -> Interval:
    """Wilson interval for a proportion of independent rows, else the bootstrap."""
    if not _is_share(measure) or len(_grouped(measure.sums, groups)) < len(measure.sums):
        return bootstrap(measure, level=level, resamples=resamples, seed=seed, groups=groups)
    return wilson(int(measure.sums[:, 0].sum()), len(measure.sums), level)


def _is_share(measure: Measure) -> bool:
    """Whether every row is a plain 0 or 1 out of 1."""
    sums = measure.sums
    return sums.shape[1] == 2 and bool((sums[:, 1] == 1).all() and np.isin(sums[:, 0], (0.0, 1.0)).all())


def paired(
    candidate: Measure,
    baseline: Measure,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 7,
    groups: Sequence[str | None] | None = None,
) -> PairedDifference:
    """The difference of two measures whose row i is the same example, with interval and p-value."""
    if candidate.sums.shape != baseline.sums.shape:
        raise ValueError(f"paired measures need equal rows, got {candidate.sums.shape} and {baseline.sums.shape}")
    width = candidate.sums.shape[1]
    both = _grouped(np.hstack([candidate.sums, baseline.sums]), groups)
    vectors, counts = _pooled(both)
    left, right = vectors[:, :width], vectors[:, width:]
    draws = np.concatenate(
        [candidate.formula(drawn @ left) - baseline.formula(drawn @ right) for drawn in _draws(counts, resamples, seed)]
    )
    low, high = np.quantile(draws, _tails(level))
    delta = candidate.value() - baseline.value()
    wins, losses, differing = _wins_and_losses(candidate, baseline)
    disagreement = differing / max(1, len(candidate.sums))
    if len(both) == len(candidate.sums) and _is_share(candidate) and _is_share(baseline):
        p_value, test = mcnemar(wins, losses), MCNEMAR
    else:
        p_value, test = _permuted(candidate, vectors, counts, delta, resamples, seed), PERMUTATION
    return PairedDifference(delta, float(low), float(high), p_value, wins, losses, disagreement, test)


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided McNemar p-value: could a fair coin have split the rows the two disagree on like this."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def smallest_detectable_lift(rows: int, disagreement: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true lift that a paired test of `rows` rows detects with `power`, at this share of disagreement.

    Normal approximation with the variance of the difference bounded by the disagreement (Miller 2024, section 5).
    """
    if rows <= 0:
        return 1.0
    return min(1.0, (_z(level) + _normal_quantile(power)) * sqrt(disagreement / rows))


def rows_needed(lift: float, disagreement: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """The number of test rows that detect a true lift of this size with `power`."""
    if lift <= 0:
        raise ValueError(f"lift must be above 0, got {lift}")
    return int(np.ceil((_z(level) + _normal_quantile(power)) ** 2 * disagreement / lift**2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in input order; they control the family-wise error."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


# -- resampling ------------------------------------------------------------------------------------------------------


def _grouped(sums: Floats, groups: Sequence[str | None] | None) -> Floats:
    """Rows, or the sums of each group's rows."""
    if groups is None or all(group is None for group in groups):
        return sums
    names = [f"g{group}" if group is not None else f"row{i}" for i, group in enumerate(groups)]
    _, index = np.unique(np.asarray(names), return_inverse=True)
    totals = np.zeros((int(index.max()) + 1, sums.shape[1]))
    np.add.at(totals, index, sums)
    return totals


def _pooled(sums: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The distinct vectors and how often each occurs."""
    if not len(sums):
        return sums, np.zeros(0, dtype=np.int64)
    vectors, counts = np.unique(sums, axis=0, return_counts=True)
    return vectors, counts.astype(np.int64)


def _draws(counts: NDArray[np.int64], resamples: int, seed: int, cells: int = 4_000_000) -> Iterator[Floats]:
    """Resampled multiplicities (b, distinct), in blocks that bound memory."""
    rng = np.random.default_rng(seed)
    block = max(1, cells // len(counts))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield rng.multinomial(counts.sum(), counts / counts.sum(), size=size).astype(np.float64)


def _permuted(
    measure: Measure, vectors: Floats, counts: NDArray[np.int64], delta: float, resamples: int, seed: int
) -> float:
    """Share of random swaps of the two sides that make a difference at least as large (Monte Carlo, +1 rule)."""
    rng = np.random.default_rng([seed, 1])
    width = vectors.shape[1] // 2
    left, right = vectors[:, :width], vectors[:, width:]
    extreme, done, block = 0, 0, max(1, 4_000_000 // len(counts))
    while done < resamples:
        size = min(block, resamples - done)
        kept = rng.binomial(counts, 0.5, size=(size, len(counts))).astype(np.float64)
        swapped = counts - kept
        gap = measure.formula(kept @ left + swapped @ right) - measure.formula(kept @ right + swapped @ left)
        extreme += int((np.abs(gap) >= abs(delta) - 1e-12).sum())
        done += size
    return (extreme + 1) / (resamples + 1)


def _wins_and_losses(candidate: Measure, baseline: Measure) -> tuple[int, int, int]:
    """Rows won, rows lost (by the measure on the single row), and rows that differ."""
    left, right = candidate.formula(candidate.sums), baseline.formula(baseline.sums)
    differing = int((candidate.sums != baseline.sums).any(axis=1).sum())
    return int((left > right + 1e-12).sum()), int((right > left + 1e-12).sum()), differing


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


def _z(level: float) -> float:
    return _normal_quantile((1 + level) / 2)


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)

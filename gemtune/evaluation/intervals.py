# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals, paired comparisons, and statistical power of a test set.

A metric is a `Measure`: per row a short vector of sums (hits and rows, n-gram counts, ...), and a formula on their
total. Accuracy, macro F1, corpus BLEU and calibration error all have this form, so one jackknife serves them all, and
rows that share a group are left out together by adding their vectors first. Rows with equal vectors are left out once.
Proportions and paired rows that are won, tied or lost have score intervals and exact tests instead. Sources: Wilson
1927, Clopper & Pearson 1934, McNemar 1947 (exact form), Tukey 1958 (jackknife, Student's t), Tango 1998 (paired
proportions), Agresti & Coull 1998, Lloyd & Moldovan 2008 (exact test of non-inferiority), Miller 2024 (arXiv
2411.00640: paired differences, clusters, power), Holm 1979. Randomness only from `seed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gemtune.artifacts.evaluation import PairedDifference, Score

Floats = NDArray[np.float64]
_normal_quantile = NormalDist().inv_cdf
MCNEMAR, SIGN_TEST, PERMUTATION = "exact McNemar", "exact sign test", "paired permutation"


@dataclass(frozen=True)
class Measure:
    """A metric of n rows: `sums` (n, k) per row, `formula` maps totals (..., k) to values (...) within `bounds`."""

    sums: Floats
    formula: Callable[[Floats], Floats]
    bounds: tuple[float, float] = (0.0, 1.0)

    def value(self) -> float:
        """The metric on all rows."""
        return float(self.formula(self.sums.sum(axis=0)))


def mean(scores: Sequence[float] | Floats) -> Measure:
    """The measure of a plain average."""
    column = np.asarray(scores, dtype=np.float64)
    bounds = float(column.min(initial=0.0)), float(column.max(initial=1.0))
    return Measure(np.column_stack([column, np.ones_like(column)]), _ratio, bounds)


def _ratio(totals: Floats) -> Floats:
    return np.divide(totals[..., 0], totals[..., 1], out=np.zeros(totals.shape[:-1]), where=totals[..., 1] > 0)


def wilson(successes: int, rows: int, level: float = 0.95) -> Score:
    """Wilson score interval of a proportion; (0, 1) when there are no rows."""
    return _proportion(successes, rows, level, "wilson")


def _proportion(successes: int, rows: int, level: float, method: Literal["wilson", "exact"]) -> Score:
    from scipy.stats import binomtest

    if rows == 0:
        return Score(value=0.0, low=0.0, high=1.0)
    share, bounds = successes / rows, binomtest(successes, rows).proportion_ci(level, method=method)
    return Score(value=share, low=min(float(bounds.low), share), high=max(float(bounds.high), share))


def interval(
    measure: Measure, *, level: float = 0.95, groups: Sequence[str | None] | None = None, exact: bool = False
) -> Score:
    """Wilson's interval for a proportion of independent rows (`exact`: Clopper-Pearson), else the jackknife's.

    Rows of one group (None: a group of its own) count as one observation.
    """
    units = _grouped(measure.sums, groups)
    if not len(units):
        return Score(value=0.0, low=0.0, high=0.0)
    if _is_share(measure) and len(units) == len(measure.sums):
        return _proportion(int(measure.sums[:, 0].sum()), len(units), level, "exact" if exact else "wilson")
    value, (low, high) = measure.value(), measure.bounds
    half = _half_width(units, measure.formula, high, level)
    return Score(value=value, low=max(low, value - half), high=min(high, value + half))


def _half_width(units: Floats, formula: Callable[[Floats], Floats], weight: float, level: float) -> float:
    """Half the width of Student's interval with the jackknife's standard error over units (rows, or groups of them).

    The variance includes t squared / 2 further units of each sign that count `weight`, as in Agresti and Coull's
    interval: where few units differ, or none, those that were not drawn would be taken for impossible.
    """
    from scipy.special import stdtrit

    if len(units) < 2:
        return float("inf")
    t = float(stdtrit(len(units) - 1, (1 + level) / 2))
    return t * sqrt((_deviations(units, formula) ** 2).sum() + (t * weight / len(units)) ** 2)


def deviations(measure: Measure, groups: Sequence[str | None] | None = None) -> Floats:
    """How leaving out each row (or group of rows) moves a metric, so scaled that the root of their sum of squares is
    the jackknife's standard error; that of the differences of two variants' deviations is the paired standard error.
    """
    return _deviations(_grouped(measure.sums, groups), measure.formula)


def _deviations(units: Floats, formula: Callable[[Floats], Floats]) -> Floats:
    vectors, index = np.unique(units, axis=0, return_inverse=True)
    without = formula(units.sum(axis=0) - vectors)[index.reshape(-1)]
    scaled: Floats = (without - without.mean()) * sqrt((len(units) - 1) / len(units))
    return scaled


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
    """The difference of two measures whose row i is the same example, with interval and p-value.

    Independent rows that are won, tied or lost have Tango's score interval, others the jackknife's.
    """
    if candidate.sums.shape != baseline.sums.shape:
        raise ValueError(f"paired measures need equal rows, got {candidate.sums.shape} and {baseline.sums.shape}")
    width, rows = candidate.sums.shape[1], len(candidate.sums)
    units = _grouped(np.hstack([candidate.sums, baseline.sums]), groups)
    delta = candidate.value() - baseline.value()
    wins, losses, differing = _wins_and_losses(candidate, baseline)
    if len(units) == rows and _is_sign(candidate, baseline):
        low, high = tango(wins, losses, rows, level)
        test = MCNEMAR if _is_share(candidate) and _is_share(baseline) else SIGN_TEST
        p_value = mcnemar(wins, losses)
    else:

        def difference(totals: Floats) -> Floats:
            return candidate.formula(totals[..., :width]) - baseline.formula(totals[..., width:])

        largest = candidate.bounds[1] - candidate.bounds[0]
        half = _half_width(units, difference, candidate.bounds[1], level)
        low, high = max(-largest, delta - half), min(largest, delta + half)
        test, p_value = PERMUTATION, _permuted(candidate, *_pooled(units), delta, resamples, seed)
    return PairedDifference(
        delta=delta,
        low=low,
        high=high,
        p_value=p_value,
        test=test,
        wins=wins,
        losses=losses,
        disagreement=differing / max(1, rows),
        rows=rows,
    )


def is_above(difference: PairedDifference, required: float, level: float) -> bool:
    """Whether a difference is shown to exceed `required` (below 0: non-inferiority), wrongly in at most (1 - level) / 2
    of all cases.
    """
    if difference.low <= required or (required >= 0 and difference.p_value > 1 - level):
        return False
    if required == 0 or difference.test == PERMUTATION:
        return True
    return exact_p_value(difference.wins, difference.losses, difference.rows, required) <= (1 - level) / 2


def _is_sign(candidate: Measure, baseline: Measure) -> bool:
    """Whether every row counts once and is won by 1, tied or lost by 1."""
    left, right = candidate.sums, baseline.sums
    return left.shape[1] == 2 and bool(
        (left[:, 1] == 1).all() and (right[:, 1] == 1).all() and np.isin(left[:, 0] - right[:, 0], (-1, 0, 1)).all()
    )


def tango(wins: int, losses: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of (wins - losses) / rows (Tango 1998); (-1, 1) without rows."""
    if not rows:
        return -1.0, 1.0
    z, delta = z_score(level), (wins - losses) / rows
    inside, outside = np.array([delta, delta]), np.array([-1.0, 1.0])
    for _ in range(10):  # the last of 32 steps that is inside: the statistic falls as the difference grows
        steps = np.linspace(inside, outside, 32, endpoint=False)
        last = (np.abs(_tango_statistic(wins, losses, rows, steps)) <= z).sum(axis=0) - 1
        inside, outside = inside + (outside - inside) * last / 32, inside + (outside - inside) * (last + 1) / 32
    return float(outside[0]), float(outside[1])


def exact_p_value(wins: int, losses: int, rows: int, required: float) -> float:
    """One-sided p-value of a difference (wins - losses) / rows of at most `required`.

    The largest probability, over all shares of differing rows, of a score statistic at least as large: an exact
    unconditional test (Lloyd and Moldovan 2008), on a grid of 60 shares.
    """
    from scipy.stats import binom

    statistic = float(_tango_statistic(wins, losses, rows, required)) - 1e-9
    differing = np.arange(rows + 1)
    low, high = np.full(rows + 1, -1), differing + 1  # the fewest wins of so many rows that are as extreme
    while (high - low > 1).any():
        middle = (low + high) // 2
        is_extreme = _tango_statistic(middle, differing - middle, rows, required) >= statistic
        low, high = np.where(is_extreme, low, middle), np.where(is_extreme, middle, high)
    shares = abs(required) + (1 - abs(required)) * np.linspace(0, 1, 60)[1:, np.newaxis] ** 2
    far = 8 * np.sqrt(rows * shares * (1 - shares)) + 1
    likely = np.maximum(0, (rows * shares - far).astype(int)) + np.arange(2 * int(far.max()) + 2)  # beyond rows: never
    tails = binom.sf(high[np.minimum(likely, rows)] - 1, likely, (1 + required / shares) / 2)
    return min(1.0, float((binom.pmf(likely, rows, shares) * tails).sum(axis=1).max()))


def _tango_statistic(wins: Any, losses: Any, rows: int, difference: Any) -> Floats:
    """Deviation of wins - losses from rows x difference in standard errors, both estimated under this difference."""
    linear = (2 * rows - wins + losses) * difference - wins - losses
    root = np.sqrt(np.maximum(linear**2 + 8 * rows * losses * difference * (1 - difference), 0))
    lost = (root - linear) / (4 * rows)
    variance = rows * (2 * lost + difference * (1 - difference))
    deviation = wins - losses - rows * difference
    tiny = variance <= 1e-12
    exact: Floats = np.where(np.abs(deviation) <= 1e-9, 0.0, np.copysign(np.inf, deviation))
    return np.where(tiny, exact, deviation / np.sqrt(np.where(tiny, 1.0, variance)))


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
    return min(1.0, (z_score(level) + _normal_quantile(power)) * sqrt(disagreement / rows))


def rows_needed(lift: float, disagreement: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """The number of test rows that detect a true lift of this size with `power`."""
    if lift <= 0:
        raise ValueError(f"lift must be above 0, got {lift}")
    return int(np.ceil((z_score(level) + _normal_quantile(power)) ** 2 * disagreement / lift**2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in input order; they control the family-wise error."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


# -- units and resampling --------------------------------------------------------------------------------------------


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


def _permuted(
    measure: Measure, vectors: Floats, counts: NDArray[np.int64], delta: float, resamples: int, seed: int
) -> float:
    """Share of random swaps of the two sides that make a difference at least as large (Monte Carlo, +1 rule)."""
    rng = np.random.default_rng([seed, 1])
    left, right = np.hsplit(vectors, 2)
    differs = (left != right).any(axis=1)  # to swap the others changes nothing
    change, own = (left - right)[differs], counts[differs]
    swapped_all, both = counts @ right, counts @ (left + right)
    extreme, done, block = 0, 0, max(1, 4_000_000 // max(1, len(own)))
    while done < resamples:
        size = min(block, resamples - done)
        kept = rng.binomial(own, 0.5, size=(size, len(own))).astype(np.float64)
        first = swapped_all + kept @ change
        gap = measure.formula(first) - measure.formula(both - first)
        extreme += int((np.abs(gap) >= abs(delta) - 1e-12).sum())
        done += size
    return (extreme + 1) / (resamples + 1)


def _wins_and_losses(candidate: Measure, baseline: Measure) -> tuple[int, int, int]:
    """Rows won, rows lost (by the measure on the single row), and rows that differ."""
    left, right = candidate.formula(candidate.sums), baseline.formula(baseline.sums)
    differing = int((candidate.sums != baseline.sums).any(axis=1).sum())
    return int((left > right + 1e-12).sum()), int((right > left + 1e-12).sum()), differing


def z_score(level: float) -> float:
    """Half the width of a normal interval, in standard errors."""
    return _normal_quantile((1 + level) / 2)

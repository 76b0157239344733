# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of a judge with people, and its bias towards position and length.

Exact agreement is inflated by common ratings (a judge that always rates 4 often agrees with people who mostly do), so
Cohen's kappa, plain and quadratically weighted (Cohen 1960, 1968), and Spearman's rank correlation are reported, each
with an interval over rated items. Kappa is a formula of the table of counts, hence an `intervals.Measure`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemtune.artifacts.evaluation import GoodThreshold, Score
from gemtune.evaluation.intervals import Floats, Measure, interval, mean


@dataclass(frozen=True)
class PairwiseChoice:
    """One pairwise verdict: the choice ("first", "second", "tie"; None: unreadable), and both lengths."""

    chosen: str | None
    first_length: int
    second_length: int


def kappa(judge: Sequence[int], human: Sequence[int], levels: int, *, quadratic: bool) -> Measure:
    """Cohen's kappa of two raters on levels 0 .. levels-1; 0 is chance, 1 is agreement, 0 if undefined (one level)."""
    cells = np.zeros((len(judge), levels * levels))
    cells[np.arange(len(judge)), np.asarray(judge) * levels + np.asarray(human)] = 1
    row, column = np.indices((levels, levels))
    cost = ((row - column) ** 2 if quadratic else (row != column)).astype(np.float64)

    def formula(totals: Floats) -> Floats:
        table = totals.reshape(*totals.shape[:-1], levels, levels)
        count = np.maximum(table.sum(axis=(-2, -1)), 1)
        expected = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :] / count[..., None, None]
        chance = (expected * cost).sum(axis=(-2, -1))
        observed = (table * cost).sum(axis=(-2, -1))
        value: Floats = 1 - np.divide(observed, chance, out=np.ones_like(observed), where=chance > 0)
        return value

    return Measure(cells, formula, (-1.0, 1.0))


def spearman(
    judge: Sequence[float], human: Sequence[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 7
) -> Score:
    """Spearman's rank correlation with a bootstrap interval over items; 0 if one side is constant."""
    from scipy.stats import rankdata

    def correlate(left: Floats, right: Floats) -> float:
        a, b = rankdata(left), rankdata(right)
        spread = a.std() * b.std()
        return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0

    left, right = np.asarray(judge, dtype=np.float64), np.asarray(human, dtype=np.float64)
    rng = np.random.default_rng(seed)
    draws = [correlate(left[i], right[i]) for i in (rng.integers(0, len(left), len(left)) for _ in range(resamples))]
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2))
    return Score(value=correlate(left, right), low=float(low), high=float(high))


def agreement(
    judge: Sequence[float], human: Sequence[float], scale: Sequence[int], *, level: float = 0.95, **resampling: Any
) -> dict[str, Score]:
    """Judge against people on the same items: exact, kappa, quadratic_kappa, spearman, leniency; {} without two items.

    Human means are rounded to the scale for kappa, not for the ranks. `resampling`: resamples, seed.
    """
    if len(judge) < 2:
        return {}
    lowest, highest = scale
    rounded = (np.clip(np.floor(np.asarray(side) + 0.5), lowest, highest) for side in (judge, human))
    judge_levels, human_levels = ((side - lowest).astype(int).tolist() for side in rounded)
    levels = highest - lowest + 1
    measures = {
        "exact": mean([float(a == b) for a, b in zip(judge_levels, human_levels, strict=True)]),
        "kappa": kappa(judge_levels, human_levels, levels, quadratic=False),
        "quadratic_kappa": kappa(judge_levels, human_levels, levels, quadratic=True),
        "leniency": mean([j - h for j, h in zip(judge, human, strict=True)]),
    }
    intervals = {name: interval(measure, level=level) for name, measure in measures.items()}
    return {**intervals, "spearman": spearman(judge, human, level=level, **resampling)}


def fit_score_threshold(
    judge: Sequence[float], good: Sequence[bool], *, folds: int = 10, level: float = 0.95, seed: int = 7
) -> GoodThreshold | None:
    """The judge score that best separates the items people call good (by Cohen's kappa), with cross-validation.

    None if people call all or no items good, or there are fewer items than folds.
    """
    scores, positive = np.asarray(judge, dtype=np.float64), np.asarray(good, dtype=bool)
    if len(scores) < folds or positive.all() or not positive.any():
        return None
    part = np.random.default_rng(seed).permutation(len(scores)) % folds
    predicted = np.zeros(len(scores), dtype=bool)
    for fold in range(folds):
        held_out = part == fold
        predicted[held_out] = scores[held_out] >= _best_threshold(scores[~held_out], positive[~held_out])
    table = kappa(predicted.astype(int).tolist(), positive.astype(int).tolist(), 2, quadratic=False)
    true_positives = float((predicted & positive).sum())
    return GoodThreshold(
        score=_best_threshold(scores, positive),
        kappa=interval(table, level=level),
        precision=true_positives / max(1, int(predicted.sum())),
        recall=true_positives / int(positive.sum()),
    )


def _best_threshold(scores: Floats, good: Any) -> float:
    """The score with the highest kappa; of equal ones the highest score."""
    thresholds = np.unique(scores)[::-1]
    predictions = (scores >= threshold for threshold in thresholds)
    tables = np.array([[(p & good).sum(), (p & ~good).sum(), (~p & good).sum()] for p in predictions])
    tp, fp, fn = tables.T.astype(np.float64)
    tn = len(scores) - tp - fp - fn
    cost = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    value = np.divide(2 * (tp * tn - fp * fn), cost, out=np.zeros(len(thresholds)), where=cost > 0)
    return float(thresholds[int(np.argmax(value))])


def length_correlation(
    judge: Sequence[float], human: Sequence[float], lengths: Sequence[int], **resampling: Any
) -> Score:
    """Rank correlation of (judge - people) with the answer's length: above 0, the judge prefers length more."""
    return spearman([j - h for j, h in zip(judge, human, strict=True)], lengths, **resampling)


def position_bias(choices: Sequence[PairwiseChoice], level: float = 0.95, pairs: Sequence[str] | None = None) -> Score:
    """Share of decided verdicts for the first answer. With both orders shown, an unbiased judge has 0.5.

    `pairs` is the pair of each verdict: verdicts on one pair are not independent.
    """
    decided = [choice.chosen in ("first", "second") for choice in choices]
    return _share([choice.chosen == "first" for choice in choices], decided, level, pairs)


def length_bias(choices: Sequence[PairwiseChoice], level: float = 0.95, pairs: Sequence[str] | None = None) -> Score:
    """Share of decided verdicts on unequal lengths for the longer answer; compare with the human share.

    `pairs` is the pair of each verdict: verdicts on one pair are not independent.
    """
    decided = [c.chosen in ("first", "second") and c.first_length != c.second_length for c in choices]
    longer = [(choice.chosen == "first") == (choice.first_length > choice.second_length) for choice in choices]
    return _share(longer, decided, level, pairs)


def _share(hits: Sequence[bool], decided: Sequence[bool], level: float, pairs: Sequence[str] | None) -> Score:
    used = [i for i, is_decided in enumerate(decided) if is_decided]
    if not used:
        return Score(value=0.0, low=0.0, high=1.0)
    groups = [pairs[i] for i in used] if pairs is not None else None
    return interval(mean([float(hits[i]) for i in used]), level=level, groups=groups)

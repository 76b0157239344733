# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does a judge agree with people, and does it look at the answer or at where it stands and how long it is?

Exact agreement flatters (a judge that always says 4 agrees often with people who mostly say 4), so Cohen's kappa, plain
and quadratically weighted (Cohen 1960, 1968), and Spearman's rank correlation are reported, each with a bootstrap
interval over rated items. Kappa is a formula of the table of counts, hence an `intervals.Measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gemtune.evaluation.intervals import Floats, Interval, Measure, interval, mean, wilson


@dataclass(frozen=True)
class PairwiseChoice:
    """One pairwise judgement: what was chosen ("first", "second", "tie"; None: nothing readable), and both lengths."""

    chosen: str | None
    first_length: int
    second_length: int


def kappa(judge: Sequence[int], human: Sequence[int], levels: int, *, quadratic: bool) -> Measure:
    """Cohen's kappa of two raters on levels 0 .. levels-1; 0 is chance, 1 is agreement, undefined (one level) is 0."""
    cells = np.zeros((len(judge), levels * levels))
    cells[np.arange(len(judge)), np.asarray(judge) * levels + np.asarray(human)] = 1
    row, column = np.indices((levels, levels))
    cost = ((row - column) ** 2 if quadratic else (row != column)).astype(np.float64)

    def formula(totals: Floats) -> Floats:
        table = totals.reshape(*totals.shape[:-1], levels, levels)
        count = np.maximum(table.sum(axis=(-2, -1)), 1)
        expected = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :] / count[..., None, None]
        chance = (expected * cost).sum(axis=(-2, -1))
        found = (table * cost).sum(axis=(-2, -1))
        value: Floats = 1 - np.divide(found, chance, out=np.ones_like(found), where=chance > 0)
        return value

    return Measure(cells, formula)


def spearman(
    judge: Sequence[float], human: Sequence[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 7
) -> Interval:
    """Spearman's rank correlation with a bootstrap interval over items; 0 when one side never varies."""
    from scipy.stats import rankdata

    def correlate(left: Floats, right: Floats) -> float:
        a, b = rankdata(left), rankdata(right)
        spread = a.std() * b.std()
        return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0

    left, right = np.asarray(judge, dtype=np.float64), np.asarray(human, dtype=np.float64)
    rng = np.random.default_rng(seed)
    draws = [correlate(left[i], right[i]) for i in (rng.integers(0, len(left), len(left)) for _ in range(resamples))]
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2))
    return Interval(correlate(left, right), float(low), float(high))


def agreement(
    judge: Sequence[float | None],
    human: Sequence[float],
    scale: Sequence[int],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 7,
) -> dict[str, Any]:
    """Judge against people on the same items; human means are rounded to the scale for kappa, kept for the ranks.

    Items the judge did not rate are counted (`unrated`), and left out of the rest.
    """
    pairs = [(j, h) for j, h in zip(judge, human, strict=True) if j is not None]
    unrated = wilson(len(judge) - len(pairs), len(judge), level)
    if len(pairs) < 2:
        return {"items": len(pairs), "unrated": asdict(unrated)}
    lowest, highest = scale
    said, wanted = ([_level(pair[side], lowest, highest) for pair in pairs] for side in (0, 1))
    levels = highest - lowest + 1

    def found(measure: Measure) -> dict[str, float]:
        return asdict(interval(measure, level=level, resamples=resamples, seed=seed))

    ranks = spearman(*([p[side] for p in pairs] for side in (0, 1)), level=level, resamples=resamples, seed=seed)
    return {
        "items": len(pairs),
        "unrated": asdict(unrated),
        "exact": found(mean([float(a == b) for a, b in zip(said, wanted, strict=True)])),
        "kappa": found(kappa(said, wanted, levels, quadratic=False)),
        "quadratic_kappa": found(kappa(said, wanted, levels, quadratic=True)),
        "spearman": asdict(ranks),
        "leniency": found(mean([j - h for j, h in pairs])),
    }


@dataclass(frozen=True)
class ScoreThreshold:
    """Judge scores from `score` up mean "good"; `kappa` is the agreement with people on items it was not fitted on.

    `precision` is the share of held-out items called good that people call good, `recall` the share of people's good
    items that are called so.
    """

    score: float
    kappa: Interval
    precision: float
    recall: float


def fit_score_threshold(
    judge: Sequence[float],
    good: Sequence[bool],
    *,
    folds: int = 10,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 7,
) -> ScoreThreshold | None:
    """The judge score that best tells the items people call good (by Cohen's kappa), proven by cross-validation.

    None when people call all items good, or none, or there are fewer items than folds.
    """
    scores, wanted = np.asarray(judge, dtype=np.float64), np.asarray(good, dtype=bool)
    if len(scores) < folds or wanted.all() or not wanted.any():
        return None
    part = np.random.default_rng(seed).permutation(len(scores)) % folds
    called = np.zeros(len(scores), dtype=bool)
    for fold in range(folds):
        held = part == fold
        called[held] = scores[held] >= _best_cut(scores[~held], wanted[~held])
    found = interval(
        kappa(called.astype(int).tolist(), wanted.astype(int).tolist(), 2, quadratic=False),
        level=level,
        resamples=resamples,
        seed=seed,
    )
    both = float((called & wanted).sum())
    return ScoreThreshold(_best_cut(scores, wanted), found, both / max(1, called.sum()), both / wanted.sum())


def _best_cut(scores: Floats, good: Any) -> float:
    """The score with the highest kappa; of equals the strictest."""
    cuts = np.unique(scores)[::-1]
    tables = np.array([[(c & good).sum(), (c & ~good).sum(), (~c & good).sum()] for c in (scores >= t for t in cuts)])
    hit, false, missed = tables.T.astype(np.float64)
    rest = len(scores) - hit - false - missed
    cost = (hit + false) * (false + rest) + (hit + missed) * (missed + rest)
    value = np.divide(2 * (hit * rest - false * missed), cost, out=np.zeros(len(cuts)), where=cost > 0)
    return float(cuts[int(np.argmax(value))])


def length_correlation(
    judge: Sequence[float], human: Sequence[float], lengths: Sequence[int], *, level: float, resamples: int, seed: int
) -> Interval:
    """Rank correlation of (judge - people) with the answer's length: above 0, the judge likes length more than they."""
    apart = [j - h for j, h in zip(judge, human, strict=True)]
    return spearman(apart, lengths, level=level, resamples=resamples, seed=seed)


def _level(rating: float, lowest: int, highest: int) -> int:
    return int(min(max(np.floor(rating + 0.5), lowest), highest)) - lowest


def position_bias(
    choices: Sequence[PairwiseChoice], level: float = 0.95, pairs: Sequence[str] | None = None
) -> Interval:
    """Share of decided judgements that chose the first answer. With both orders asked, an unbiased judge says 0.5.

    `pairs` names the pair each judgement belongs to: judgements of one pair are not independent.
    """
    decided = [one.chosen in ("first", "second") for one in choices]
    return _share_of([one.chosen == "first" for one in choices], decided, level, pairs)


def length_bias(choices: Sequence[PairwiseChoice], level: float = 0.95, pairs: Sequence[str] | None = None) -> Interval:
    """Share of decided judgements of unequal answers that chose the longer one; compare with the human share.

    `pairs` names the pair each judgement belongs to: judgements of one pair are not independent.
    """
    decided = [one.chosen in ("first", "second") and one.first_length != one.second_length for one in choices]
    longer = [(one.chosen == "first") == (one.first_length > one.second_length) for one in choices]
    return _share_of(longer, decided, level, pairs)


def _share_of(hits: Sequence[bool], counted: Sequence[bool], level: float, pairs: Sequence[str] | None) -> Interval:
    kept = [i for i, one in enumerate(counted) if one]
    if not kept:
        return Interval(0.0, 0.0, 1.0)
    groups = [pairs[i] for i in kept] if pairs is not None else None
    return interval(mean([float(hits[i]) for i in kept]), level=level, groups=groups)

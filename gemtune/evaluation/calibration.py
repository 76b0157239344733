# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does a confidence mean what it says, and above which confidence may a machine answer alone?

A confidence is a number in [0, 1] from wherever (vote share, a rater's words, a classifier); beside it stands whether
the answer was right. Expected calibration error and Brier score are measures with intervals; a map from stated to true
confidence is fitted on validation rows only (isotonic, or one temperature; Guo et al. 2017, arXiv 1706.04599); the
abstain threshold holds its promise with the stated certainty because thresholds are tested from strict to lax and a
failure ends the walk (fixed-sequence testing; Angelopoulos et al. 2021, arXiv 2110.01052).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gemtune.evaluation.intervals import Floats, Measure, interval, mean, wilson

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence lies in (low, high]: how sure they were, how often right, with a Wilson interval."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class ConfidenceMap:
    """Stated to true confidence: points with straight lines between them; plain numbers, for serving to hold."""

    method: Literal["isotonic", "temperature", "identity"]
    stated: list[float]
    true: list[float]

    def __call__(self, confidence: Sequence[float] | Floats) -> Floats:
        """The true confidences."""
        return np.interp(np.asarray(confidence, dtype=np.float64), self.stated, self.true)


@dataclass(frozen=True)
class AbstainThreshold:
    """Answer alone from this confidence up: the share of rows answered and their accuracy, on the rows it came from."""

    confidence: float
    coverage: float
    accuracy: float
    target_accuracy: float
    certainty: float


def ece(confidence: Sequence[float] | Floats, right: Sequence[float] | Floats, bins: int = BINS) -> Measure:
    """Expected calibration error: mean distance of confidence from accuracy over equal-width bins."""
    index = _bin_of(np.asarray(confidence, dtype=np.float64), bins)
    rows = np.arange(len(index))
    sums = np.zeros((len(index), bins + 1))
    sums[rows, index] = np.asarray(confidence, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    sums[:, bins] = 1

    def formula(totals: Floats) -> Floats:
        gaps: Floats = np.abs(totals[..., :bins]).sum(axis=-1) / np.maximum(totals[..., bins], 1)
        return gaps

    return Measure(sums, formula)


def brier(confidence: Sequence[float] | Floats, right: Sequence[float] | Floats) -> Measure:
    """Mean squared distance of confidence from 0 or 1; lower is better, a coin's 0.5 scores 0.25."""
    return mean((np.asarray(confidence, dtype=np.float64) - np.asarray(right, dtype=np.float64)) ** 2)


def reliability(
    confidence: Sequence[float], right: Sequence[float], bins: int = BINS, level: float = 0.95
) -> list[ReliabilityBin]:
    """The reliability diagram's bins that hold rows."""
    stated, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    index = _bin_of(stated, bins)
    table = []
    for i in range(bins):
        inside = index == i
        rows = int(inside.sum())
        if rows:
            found = wilson(float(hits[inside].sum()), rows, level)
            sure = float(stated[inside].mean())
            table.append(ReliabilityBin(i / bins, (i + 1) / bins, rows, sure, found.value, found.low, found.high))
    return table


def _bin_of(confidence: Floats, bins: int) -> Any:
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def fit(
    confidence: Sequence[float], right: Sequence[float], method: Literal["isotonic", "temperature"] = "isotonic"
) -> ConfidenceMap:
    """The map that makes confidence true on these rows (use validation rows); identity when all are right or wrong."""
    stated, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if len(set(hits.tolist())) < 2:
        return ConfidenceMap("identity", [0.0, 1.0], [0.0, 1.0])
    if method == "temperature":
        return _fit_temperature(stated, hits)
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(stated, hits)
    return ConfidenceMap("isotonic", model.X_thresholds_.tolist(), model.y_thresholds_.tolist())


def _fit_temperature(stated: Floats, hits: Floats) -> ConfidenceMap:
    from scipy.optimize import minimize_scalar

    logits = _logit(stated)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - hits * scaled))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded").x
    points = np.linspace(0, 1, 201)
    return ConfidenceMap("temperature", points.tolist(), (1 / (1 + np.exp(-_logit(points) / np.exp(best)))).tolist())


def _logit(share: Floats) -> Floats:
    clipped = np.clip(share, 1e-4, 1 - 1e-4)
    odds: Floats = np.log(clipped / (1 - clipped))
    return odds


def coverage_curve(confidence: Sequence[float], right: Sequence[float]) -> list[dict[str, float]]:
    """For each confidence that occurs, the strictest first: the share of rows at least so sure, and their accuracy."""
    stated, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    curve = []
    for value in np.unique(stated)[::-1]:
        kept = hits[stated >= value]
        curve.append({"confidence": float(value), "coverage": len(kept) / len(hits), "accuracy": float(kept.mean())})
    return curve


def abstain_threshold(
    confidence: Sequence[float], right: Sequence[float], target_accuracy: float, certainty: float = 0.95
) -> AbstainThreshold | None:
    """The lowest confidence from which answers are right at least so often, at the stated certainty; None if none is.

    Thresholds are those that keep 5 %, 10 %, ... of the rows. From the first that could pass at all, each is tested
    exactly (binomial) for an accuracy below `wanted`; the first failure ends the walk.
    """
    from scipy.stats import binom

    stated, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not len(hits):
        return None
    found: AbstainThreshold | None = None
    for value in dict.fromkeys(np.quantile(stated, 1 - np.arange(1, 21) / 20, method="lower").tolist()):
        kept = hits[stated >= value]
        if target_accuracy ** len(kept) > 1 - certainty:
            continue  # even with every row right this could not be shown
        if binom.sf(kept.sum() - 1, len(kept), target_accuracy) > 1 - certainty:
            break
        found = AbstainThreshold(value, len(kept) / len(hits), float(kept.mean()), target_accuracy, certainty)
    return found


def summarize(
    confidence: Sequence[float], right: Sequence[float], *, level: float, resamples: int, seed: int
) -> dict[str, Any]:
    """What confidences are worth on these rows: errors with intervals, reliability bins, accuracy against coverage."""
    return {
        "ece": asdict(interval(ece(confidence, right), level=level, resamples=resamples, seed=seed)),
        "brier": asdict(interval(brier(confidence, right), level=level, resamples=resamples, seed=seed)),
        "reliability": [asdict(one) for one in reliability(confidence, right, level=level)],
        "coverage": coverage_curve(confidence, right),
    }


def fit_calibration(
    confidence: Sequence[float],
    right: Sequence[float],
    *,
    method: Literal["isotonic", "temperature"],
    target_accuracy: float,
    certainty: float,
) -> dict[str, Any]:
    """What serving needs, fitted on these rows (validation): the map to true confidence, and where to abstain below.

    Plain numbers; `abstain` is left out when no threshold can be shown to reach the wanted precision.
    """
    chosen = abstain_threshold(confidence, right, target_accuracy, certainty)
    fitted = asdict(_thinned(fit(confidence, right, method)))
    return {"map": fitted, "rows": len(confidence), **({"abstain": asdict(chosen)} if chosen else {})}


def apply_calibration(made: Mapping[str, Any], confidence: Sequence[float]) -> list[float]:
    """Stated confidences made true by what `exported` gave; as they are without it."""
    return [float(x) for x in ConfidenceMap(**made["map"])(confidence)] if made else list(confidence)


def validate_map(
    made: Mapping[str, Any],
    confidence: Sequence[float],
    right: Sequence[float],
    *,
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Whether what was fitted on validation rows holds here: the same numbers after the map, and the threshold's."""
    told = summarize(apply_calibration(made, confidence), right, level=level, resamples=resamples, seed=seed)
    del told["coverage"]
    if "abstain" not in made:
        return told
    above = [hit for sure, hit in zip(confidence, right, strict=True) if sure >= made["abstain"]["confidence"]]
    found = wilson(sum(above), len(above), level)
    threshold = {**made["abstain"], "coverage": len(above) / max(1, len(right)), "accuracy": found.value}
    return {**told, "abstain": {**threshold, "accuracy_low": found.low, "accuracy_high": found.high}}


def _thinned(made: ConfidenceMap, most: int = 100) -> ConfidenceMap:
    """The map on at most so many points: an isotonic one of many different confidences has a point for each."""
    if len(made.stated) <= most:
        return made
    points = np.quantile(np.asarray(made.stated), np.linspace(0, 1, most))
    return ConfidenceMap(made.method, points.tolist(), made(points).tolist())

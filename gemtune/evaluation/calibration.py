# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of confidences, and the confidence above which the model may answer without review.

A confidence is a number in [0, 1] from any source (vote share, a stated likelihood, a classifier), together with
whether the answer was correct. Expected calibration error and Brier score are measures with intervals; the map from
stated to true confidence is fitted on validation rows only (isotonic, or one temperature; Guo et al. 2017, arXiv
1706.04599); the abstain threshold reaches its accuracy with the stated certainty, because thresholds are tested from
strict to lenient and the first failure ends the sequence (fixed-sequence testing; Angelopoulos et al. 2021, arXiv
2110.01052).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gemtune.evaluation.intervals import Floats, Measure, interval, mean, wilson

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows with a confidence in (low, high]: mean confidence, and accuracy with a Wilson interval."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class ConfidenceMap:
    """A map from stated to true confidence: points with linear interpolation; plain numbers, for serving."""

    method: Literal["isotonic", "temperature", "identity"]
    stated: list[float]
    true: list[float]

    def __call__(self, confidence: Sequence[float] | Floats) -> Floats:
        """The true confidences."""
        return np.interp(np.asarray(confidence, dtype=np.float64), self.stated, self.true)


@dataclass(frozen=True)
class AbstainThreshold:
    """The lowest confidence to answer at, with coverage (share of rows answered) and accuracy on the fitted rows."""

    confidence: float
    coverage: float
    accuracy: float
    target_accuracy: float
    certainty: float


def ece(confidence: Sequence[float] | Floats, correct: Sequence[float] | Floats, bins: int = BINS) -> Measure:
    """Expected calibration error: mean distance of confidence from accuracy over equal-width bins."""
    index = _bin_of(np.asarray(confidence, dtype=np.float64), bins)
    rows = np.arange(len(index))
    sums = np.zeros((len(index), bins + 1))
    sums[rows, index] = np.asarray(confidence, dtype=np.float64) - np.asarray(correct, dtype=np.float64)
    sums[:, bins] = 1

    def formula(totals: Floats) -> Floats:
        gaps: Floats = np.abs(totals[..., :bins]).sum(axis=-1) / np.maximum(totals[..., bins], 1)
        return gaps

    return Measure(sums, formula)


def brier(confidence: Sequence[float] | Floats, correct: Sequence[float] | Floats) -> Measure:
    """Mean squared distance of confidence from 0 or 1; lower is better, a constant 0.5 scores 0.25."""
    return mean((np.asarray(confidence, dtype=np.float64) - np.asarray(correct, dtype=np.float64)) ** 2)


def reliability(
    confidence: Sequence[float], correct: Sequence[float], bins: int = BINS, level: float = 0.95
) -> list[ReliabilityBin]:
    """The bins of the reliability diagram that have rows."""
    stated, outcomes = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    index = _bin_of(stated, bins)
    table = []
    for i in range(bins):
        inside = index == i
        rows = int(inside.sum())
        if rows:
            accuracy = wilson(int(outcomes[inside].sum()), rows, level)
            bounds = (i / bins, (i + 1) / bins)
            stated_mean = float(stated[inside].mean())
            table.append(ReliabilityBin(*bounds, rows, stated_mean, accuracy.value, accuracy.low, accuracy.high))
    return table


def _bin_of(confidence: Floats, bins: int) -> Any:
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def fit(
    confidence: Sequence[float], correct: Sequence[float], method: Literal["isotonic", "temperature"] = "isotonic"
) -> ConfidenceMap:
    """The map to true confidence on these rows (use validation rows); identity if all are correct or all wrong."""
    stated, outcomes = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if len(set(outcomes.tolist())) < 2:
        return ConfidenceMap("identity", [0.0, 1.0], [0.0, 1.0])
    if method == "temperature":
        return _fit_temperature(stated, outcomes)
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(stated, outcomes)
    return ConfidenceMap("isotonic", model.X_thresholds_.tolist(), model.y_thresholds_.tolist())


def _fit_temperature(stated: Floats, outcomes: Floats) -> ConfidenceMap:
    from scipy.optimize import minimize_scalar

    logits = _logit(stated)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - outcomes * scaled))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded").x
    points = np.linspace(0, 1, 201)
    return ConfidenceMap("temperature", points.tolist(), (1 / (1 + np.exp(-_logit(points) / np.exp(best)))).tolist())


def _logit(share: Floats) -> Floats:
    clipped = np.clip(share, 1e-4, 1 - 1e-4)
    odds: Floats = np.log(clipped / (1 - clipped))
    return odds


def coverage_curve(confidence: Sequence[float], correct: Sequence[float]) -> list[dict[str, float]]:
    """For each confidence, highest first: the share of rows with at least this confidence, and their accuracy."""
    stated, outcomes = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    curve = []
    for value in np.unique(stated)[::-1]:
        answered = outcomes[stated >= value]
        coverage, accuracy = len(answered) / len(outcomes), float(answered.mean())
        curve.append({"confidence": float(value), "coverage": coverage, "accuracy": accuracy})
    return curve


def abstain_threshold(
    confidence: Sequence[float], correct: Sequence[float], target_accuracy: float, certainty: float = 0.95
) -> AbstainThreshold | None:
    """The lowest confidence above which accuracy reaches `target_accuracy` with the stated certainty, or None.

    Candidates keep 5 %, 10 %, ... of the rows. From the first that could pass, each is tested exactly (binomial)
    for an accuracy below `target_accuracy`; the first failure ends the sequence.
    """
    from scipy.stats import binom

    stated, outcomes = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not len(outcomes):
        return None
    threshold: AbstainThreshold | None = None
    for value in dict.fromkeys(np.quantile(stated, 1 - np.arange(1, 21) / 20, method="lower").tolist()):
        answered = outcomes[stated >= value]
        if target_accuracy ** len(answered) > 1 - certainty:
            continue  # too few rows: even all correct would not pass
        if binom.sf(answered.sum() - 1, len(answered), target_accuracy) > 1 - certainty:
            break
        coverage, accuracy = len(answered) / len(outcomes), float(answered.mean())
        threshold = AbstainThreshold(value, coverage, accuracy, target_accuracy, certainty)
    return threshold


def summarize(confidence: Sequence[float], correct: Sequence[float], *, level: float) -> dict[str, Any]:
    """Calibration errors with intervals, reliability bins, and accuracy against coverage."""
    return {
        "ece": interval(ece(confidence, correct), level=level).model_dump(),
        "brier": interval(brier(confidence, correct), level=level).model_dump(),
        "reliability": [asdict(b) for b in reliability(confidence, correct, level=level)],
        "coverage": coverage_curve(confidence, correct),
    }


def fit_calibration(
    confidence: Sequence[float],
    correct: Sequence[float],
    *,
    method: Literal["isotonic", "temperature"],
    target_accuracy: float,
    certainty: float,
) -> dict[str, Any]:
    """The map to true confidence and the abstain threshold for serving, fitted on these (validation) rows.

    Plain numbers; without `abstain` if no threshold reaches the target accuracy with this certainty.
    """
    threshold = abstain_threshold(confidence, correct, target_accuracy, certainty)
    fitted = asdict(_reduced(fit(confidence, correct, method)))
    return {"map": fitted, "rows": len(confidence), **({"abstain": asdict(threshold)} if threshold else {})}


def apply_calibration(fitted: Mapping[str, Any], confidence: Sequence[float]) -> list[float]:
    """Confidences mapped by the result of `fit_calibration`; unchanged without one."""
    return [float(x) for x in ConfidenceMap(**fitted["map"])(confidence)] if fitted else list(confidence)


def validate_map(
    fitted: Mapping[str, Any], confidence: Sequence[float], correct: Sequence[float], *, level: float
) -> dict[str, Any]:
    """The fitted calibration on other rows: the same numbers after the map, and those of the threshold."""
    report = summarize(apply_calibration(fitted, confidence), correct, level=level)
    del report["coverage"]
    if "abstain" not in fitted:
        return report
    threshold = fitted["abstain"]["confidence"]
    answered = [outcome for stated, outcome in zip(confidence, correct, strict=True) if stated >= threshold]
    accuracy = wilson(int(sum(answered)), len(answered), level)
    abstain = {**fitted["abstain"], "coverage": len(answered) / max(1, len(correct)), "accuracy": accuracy.value}
    return {**report, "abstain": {**abstain, "accuracy_low": accuracy.low, "accuracy_high": accuracy.high}}


def _reduced(fitted: ConfidenceMap, max_points: int = 100) -> ConfidenceMap:
    """The map with at most `max_points` points: an isotonic map has one for each distinct confidence."""
    if len(fitted.stated) <= max_points:
        return fitted
    points = np.quantile(np.asarray(fitted.stated), np.linspace(0, 1, max_points))
    return ConfidenceMap(fitted.method, points.tolist(), fitted(points).tolist())

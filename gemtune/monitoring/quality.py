# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of the answers in production, from labels of a sample and a proxy on every row.

The estimate of a window is prediction-powered (Angelopoulos et al. 2023, arXiv 2301.09633): the mean proxy of all rows
(their confidence, or a validated judge's ratings of a sample), times a weight fitted on earlier windows, plus the mean
residual of the labelled rows, each counting 1 / pi of its drawing. Its variance is the sandwich form, with two further
correct and two wrong rows (Agresti and Coull 1998): few labels, all correct, prove little. Over time: an asymptotic
confidence sequence of the running mean, valid at every window (Waudby-Smith et al. 2024, arXiv 2103.06476, one-sided),
and the newest four windows by empirical likelihood (Owen 1988): weighted scores are skewed, and at a level of some 1 in
2,000 a bound by Student's t is wrong five times too seldom, which hides drops. Confidence alone never proves quality:
it is blind to new classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log, sqrt

import numpy as np

from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.monitoring import Check, LabelledRow, QualityEstimate, WindowRecord
from gemtune.config import Monitor
from gemtune.evaluation.intervals import Floats
from gemtune.monitoring.windows import CHECKS, WindowMean, centred, level

MIN_LABELS = 10  # labels of a window below which it is not estimated
MIN_FITTED = 30  # earlier labels below which the proxy has no weight
NEWEST = 4
_UNSURE = 0.1  # added to sqrt(c (1 - c)), so that certain rows are drawn too
_FURTHER = 2  # correct, and wrong, rows in the variance; rows in the likelihood, as many correct as the quality says
_RUNNING_SHARE = 0.05
_OVERLAP = 1.15  # a year's means of four windows, which overlap, err together: by 1.17 (windows of a day) to 1.3
_SMALLEST = 1e-9
_EXPECTED_WINDOWS = 8  # the confidence sequence is narrowest there


@dataclass(frozen=True)
class LabelledWindow:
    """A window's estimate: the mean of its labelled rows' `values`, each with its score and the proxy of all rows, by
    `weights` of mean 1. `proxy_variance` is what the mean proxy adds to that of the estimate.
    """

    estimate: QualityEstimate
    weights: Floats
    values: Floats
    proxy_variance: float


def _drawn(labelled: Sequence[LabelledRow]) -> tuple[Floats, Floats, Floats]:
    """Weight, proxy and score of the rows drawn for the estimate; those drawn to learn from are left out."""
    rows = [(1 / row.pi, row.confidence, row.correct) for row in labelled if row.pi is not None]
    weights, proxy, correct = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return weights, proxy, correct


def proxy_weight(earlier: Sequence[LabelledRow]) -> float:
    """The weight of the proxy, in [0, 1], that would have been best on earlier windows; 0 without enough labels."""
    weights, proxy, correct = _drawn(earlier)
    if len(weights) < MIN_FITTED:
        return 0.0
    proxy = proxy - np.average(proxy, weights=weights)
    spread = float(weights @ proxy**2)
    return float(np.clip(weights @ (proxy * correct) / spread, 0, 1)) if spread > 0 else 0.0


def estimate(
    labelled: Sequence[LabelledRow], proxies: WindowMean, weight: float, end: datetime
) -> LabelledWindow | None:
    """The quality of a window with these proxies on all its rows; None with fewer than MIN_LABELS labels."""
    from scipy.special import stdtrit

    drawn, proxy, correct = _drawn(labelled)
    if (count := len(drawn)) < MIN_LABELS:
        return None
    weights, values = drawn / drawn.mean(), correct + weight * (proxies.mean - proxy)
    mean, proxy_variance = float((weights * values).mean()), weight**2 * proxies.variance / max(1, proxies.rows)
    variance = float(((weights * (values - mean)) ** 2).sum()) / count / (count - 1) + proxy_variance
    value = min(1.0, max(0.0, mean))
    half = float(stdtrit(count - 1, 0.975)) * _error(variance, value, count)
    score = Score(value=value, low=max(0.0, value - half), high=min(1.0, value + half))
    own = QualityEstimate(end=end, score=score, variance=variance, labels=count)
    return LabelledWindow(own, weights, values, proxy_variance)


def _error(variance: float, value: float, labels: int) -> float:
    """The standard error with the further rows: few labels, all correct, prove little."""
    further = _FURTHER * (value**2 + (1 - value) ** 2)
    return sqrt((variance * labels**2 + further) / (labels + 2 * _FURTHER) ** 2)


def newest_upper(windows: Sequence[LabelledWindow], level: float) -> float:
    """The upper confidence bound of the mean of the newest four estimated windows, each counting by its labels; wrong
    with probability `level`.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    newest = windows[-NEWEST:]
    weights = np.concatenate([window.weights for window in newest])
    values = np.concatenate([window.values for window in newest])
    mean = float((weights * values).mean())
    variance = float(((weights * (values - mean)) ** 2).mean()) / len(values)
    proxies = sum(window.proxy_variance * len(window.values) ** 2 for window in newest) / len(values) ** 2
    enough = float(ndtri(level)) ** 2 * (1 + proxies / max(variance, _SMALLEST))
    low, high = max(mean, _SMALLEST), 1 - _SMALLEST
    if low >= high or _likelihood_ratio(weights, values, high) <= enough:
        return 1.0
    return float(brentq(lambda quality: _likelihood_ratio(weights, values, quality) - enough, low, high, xtol=1e-7))


def _likelihood_ratio(weights: Floats, values: Floats, quality: float) -> float:
    """Minus twice the log empirical likelihood ratio of this mean, with the further rows."""
    from scipy.optimize import brentq

    rows = np.concatenate([weights * (values - quality), [1 - quality, -quality]])
    counts = np.concatenate([np.ones(len(values)), [_FURTHER * quality, _FURTHER * (1 - quality)]])
    inside = 1 - _SMALLEST  # where every row keeps a positive probability
    tilt = brentq(lambda x: counts @ (rows / (1 + x * rows)), -inside / rows.max(), -inside / rows.min())
    return float(2 * counts @ np.log1p(tilt * rows))


def running_upper(windows: Sequence[QualityEstimate], level: float) -> float:
    """The upper bound of the running mean since promotion; over all windows ever, wrong with probability `level`."""
    values = [window.score.value for window in windows]
    errors = [_error(w.variance, w.score.value, w.labels) for w in windows]
    spread, scale = sum(error**2 for error in errors), 2 * log(1 / (2 * level))
    rho = (scale + log(scale + 1)) / (_EXPECTED_WINDOWS * errors[0] ** 2)
    width = sqrt(2 * (spread * rho + 1) / rho * log(1 + sqrt(spread * rho + 1) / (2 * level)))
    return float(np.mean(values) + width / len(windows))


def levels(false_alarms_a_year: float, window_days: float) -> tuple[float, float]:
    """The error rates of `newest_upper` in each window, and of `running_upper` over all windows.

    The running mean hardly moves after months of good windows: it gets a twentieth of this check's share.
    """
    newest = _OVERLAP * level(false_alarms_a_year, window_days, "quality")
    return (1 - _RUNNING_SHARE) * newest, _RUNNING_SHARE * false_alarms_a_year * CHECKS["quality"]


def assess(
    records: Sequence[WindowRecord], labelled: Sequence[LabelledRow], limit: float | None, monitor: Monitor
) -> tuple[list[QualityEstimate], list[Check]]:
    """The estimate of every window with enough labels, and the check of the newest ones against the limit.

    A label counts in the window in which its row was served, whenever it arrives. Without labels the check is the mean
    confidence, which is no alarm by itself.
    """
    labelled_windows: list[LabelledWindow] = []
    earlier: list[LabelledRow] = []
    for record in records:
        own = [row for row in labelled if record.start <= row.window < record.end]
        sure = centred({"": record.proxy} if record.proxy else record.confidence, {"": 0.0})
        if record.judged:
            whole = all(row.id in record.judged for row in own if row.pi is not None)  # not: a label that came later
            own = [row.model_copy(update={"confidence": record.judged.get(row.id, row.confidence)}) for row in own]
        else:  # the mean of a part of the texts is no proxy for all: some logged no confidence, or had another prompt
            whole = sure.rows == sum(part.rows for part in record.similarity.values())
        if window := estimate(own, sure, proxy_weight(earlier) if whole else 0.0, record.end):
            labelled_windows.append(window)
        earlier += own
    if labelled_windows:
        estimates = [window.estimate for window in labelled_windows]
        newest_level, running_level = levels(monitor.false_alarms_a_year, monitor.window_days)
        bounds = newest_upper(labelled_windows, newest_level), running_upper(estimates, running_level)
        return estimates, [_against(limit, estimates, min(1.0, *bounds), records[-1].end)]
    return [], [_unlabelled(records[-1])] if records and records[-1].confidence else []


def is_current(windows: Sequence[QualityEstimate], records: Sequence[WindowRecord]) -> bool:
    """Whether one of the newest four windows is labelled; older labels say nothing about them."""
    return bool(windows) and windows[-1].end > records[-NEWEST:][0].start


def _against(limit: float | None, windows: Sequence[QualityEstimate], upper: float, newest_end: datetime) -> Check:
    newest = windows[-NEWEST:]
    labels, is_older = sum(window.labels for window in newest), windows[-1].end < newest_end
    value = sum(window.labels * window.score.value for window in newest) / labels
    return Check(
        name="quality",
        value=value,
        low=min(window.score.low for window in newest),
        high=upper,
        rows=labels,
        threshold=limit,
        alarm=limit is not None and upper < limit,
        summary=f"labelled quality is {value:.3f} by {labels} labels, at most {upper:.3f}"
        + (f"; an alarm below {limit:.3f}" if limit is not None else "")
        + (f"; no later labels than of the window until {windows[-1].end:%Y-%m-%d}" if is_older else ""),
    )


def _unlabelled(record: WindowRecord) -> Check:
    sure = centred(record.confidence, {"": 0.0})
    half = 1.96 * sqrt(sure.variance / max(1, sure.rows))
    summary = f"mean confidence {sure.mean:.3f}, without any label: it is blind to new classes and proves no quality"
    return Check(
        name="unlabelled_quality",
        value=sure.mean,
        low=sure.mean - half,
        high=sure.mean + half,
        rows=sure.rows,
        summary=summary,
    )


def drawing_probabilities(confidences: Sequence[float], count: int) -> Floats:
    """The probability of each row to be drawn for the estimate: `count` in sum, more where the answer is uncertain."""
    sure = np.asarray(confidences, float)
    size: Floats = np.sqrt(np.clip(sure * (1 - sure), 0, None)) + _UNSURE
    certain = np.full(len(size), count >= len(size))
    while True:  # rows that are certain to be drawn leave the rest to the others
        pi = np.where(certain, 1.0, size * (count - certain.sum()) / max(size[~certain].sum(), _UNSURE))
        if (pi <= 1.0).all():
            return pi
        certain |= pi > 1.0


def draw(pi: Floats, rng: np.random.Generator) -> list[int]:
    """Rows drawn with these probabilities: systematic sampling in random order, so that their number is the sum."""
    order = rng.permutation(len(pi))
    steps = np.floor(np.cumsum(pi[order]) + rng.random()).astype(int)
    return sorted(order[np.flatnonzero(np.diff(steps, prepend=0))].tolist())

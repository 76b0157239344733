# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of the answers in production, from labels of a sample and a proxy on every row.

The estimate of a window is prediction-powered (Angelopoulos et al. 2023, arXiv 2301.09633): the mean proxy of all rows,
times a weight fitted on earlier windows, plus the mean residual of the labelled rows, each counting 1 / pi of its
drawing. Its variance is the sandwich form, with two further correct and two wrong rows (Agresti and Coull 1998): few
labels, all correct, prove little. Over time: an asymptotic confidence sequence of the running mean, valid at every
window (Waudby-Smith et al. 2024, arXiv 2103.06476, one-sided), and the newest four windows. Confidence alone never
proves quality: it is blind to new classes.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_FURTHER = 2  # correct, and wrong, rows in the variance
_RUNNING_SHARE = 0.05
_EXPECTED_WINDOWS = 8  # the confidence sequence is narrowest there


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
) -> QualityEstimate | None:
    """The quality of a window with these proxies on all its rows; None with fewer than MIN_LABELS labels."""
    from scipy.special import stdtrit

    drawn, proxy, correct = _drawn(labelled)
    if (count := len(drawn)) < MIN_LABELS:
        return None
    residuals = correct - weight * proxy
    mean = float(np.average(residuals, weights=drawn))
    value = min(1.0, max(0.0, mean + weight * proxies.mean))
    variance = float(((drawn / drawn.mean() * (residuals - mean)) ** 2).sum()) / count / (count - 1)
    variance += weight**2 * proxies.variance / max(1, proxies.rows)
    half = float(stdtrit(count - 1, 0.975)) * _error(variance, value, count)
    score = Score(value=value, low=max(0.0, value - half), high=min(1.0, value + half))
    return QualityEstimate(end=end, score=score, variance=variance, labels=count)


def _error(variance: float, value: float, labels: int) -> float:
    """The standard error with the further rows: few labels, all correct, prove little."""
    further = _FURTHER * (value**2 + (1 - value) ** 2)
    return sqrt((variance * labels**2 + further) / (labels + 2 * _FURTHER) ** 2)


def newest_upper(windows: Sequence[QualityEstimate], level: float) -> float:
    """The upper confidence bound of the mean of the newest four estimated windows; wrong with probability `level`."""
    from scipy.special import stdtrit

    newest = windows[-NEWEST:]
    value, labels = float(np.mean([window.score.value for window in newest])), sum(w.labels for w in newest)
    error = _error(sum(window.variance for window in newest) / len(newest) ** 2, value, labels)
    return float(value - stdtrit(labels - 1, level) * error)


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
    newest = level(false_alarms_a_year, window_days, "quality")
    return (1 - _RUNNING_SHARE) * newest, _RUNNING_SHARE * false_alarms_a_year * CHECKS["quality"]


def assess(
    records: Sequence[WindowRecord], labelled: Sequence[LabelledRow], limit: float | None, monitor: Monitor
) -> tuple[list[QualityEstimate], list[Check]]:
    """The estimate of every window with enough labels, and the check of the newest ones against the limit.

    A label counts in the window in which its row was served, whenever it arrives. Without labels the check is the mean
    confidence, which is no alarm by itself.
    """
    estimates: list[QualityEstimate] = []
    earlier: list[LabelledRow] = []
    for record in records:
        own = [row for row in labelled if record.start <= row.window < record.end]
        sure = centred({"": record.proxy} if record.proxy else record.confidence, {"": 0.0})
        # the mean of a part of the texts is no proxy for all: some logged no confidence, or had another prompt
        whole = sure.rows == sum(part.rows for part in record.similarity.values())
        if window := estimate(own, sure, proxy_weight(earlier) if whole else 0.0, record.end):
            estimates.append(window)
        earlier += own
    if estimates:
        return estimates, [_against(limit, estimates, monitor, records[-1].end)]
    return [], [_unlabelled(records[-1])] if records and records[-1].confidence else []


def is_current(windows: Sequence[QualityEstimate], records: Sequence[WindowRecord]) -> bool:
    """Whether one of the newest four windows is labelled; older labels say nothing about them."""
    return bool(windows) and windows[-1].end > records[-NEWEST:][0].start


def _against(limit: float | None, windows: Sequence[QualityEstimate], monitor: Monitor, newest_end: datetime) -> Check:
    newest_level, running_level = levels(monitor.false_alarms_a_year, monitor.window_days)
    bounds = newest_upper(windows, newest_level), running_upper(windows, running_level)
    newest = windows[-NEWEST:]
    value, upper = float(np.mean([window.score.value for window in newest])), min(1.0, *bounds)
    labels, is_older = sum(window.labels for window in newest), windows[-1].end < newest_end
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

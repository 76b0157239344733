# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the newest windows of production traffic score lower than the windows before them.

A row's score is its value less the mean value of its predicted label in the baseline, so that a mix of labels that
varies from week to week mostly cancels; a window's score is the mean over its distinct texts. The reference is traffic,
never training rows, which differ from traffic always: the baseline is the first windows after a promotion, the past is
the baseline and later windows that were fine. If the past windows differ no more than chance (Cochran's Q, p > 0.5) the
newest mean is compared with the pooled past, else each window counts as one observation (Student's t).

False alarms are one budget a year, divided over windows evenly, over checks by `CHECKS`, over spans by `SPAN_SHARES`
(Bonferroni).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, sqrt

import numpy as np

from gemtune.artifacts.monitoring import Moments
from gemtune.errors import UserError

CHECKS = {"unusable_answers": 0.05, "similarity": 0.45, "quality": 0.5}
"""Checks whose numbers vary by chance, with their shares of the budget: unusable answers are found nearly as well at a
twentieth as at a third, the others gain by it. Other prompts have none: they do not vary by chance (`skew`)."""
SPANS = {"newest": 1, "newest_four": 4}
SPAN_SHARES = {"newest": 0.8, "newest_four": 0.2, "slow_change": 0.2}
"""Shares of a check's budget: four windows show enough at a lower level; the last two, which alarm together, share."""
KEPT = 18  # later windows that join the baseline as the past
SHRINK_ROWS = 5  # rows of the overall mean that a label's mean is shrunk by
POOLED_ABOVE = 0.5  # p of the Q test; at 0.1 five times as many false alarms (bench/monitoring.py)
MIN_ROWS = 20  # distinct texts of a window that can be compared
_SMALLEST = 1e-6  # standard error of scores in [0, 1]: smaller differences are rounding
DAYS_A_YEAR = 365.25
LAG = timedelta(days=1)
MOST_WINDOWS = 5  # missed ones that a run makes up for


@dataclass(frozen=True)
class WindowMean:
    """A window's mean score, the number of rows, and the variance of a row's score."""

    rows: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Shift:
    """Newest minus past mean, its standard error, the degrees of freedom (inf: normal), and the one-sided p-value that
    the newest is not lower.
    """

    difference: float
    error: float
    degrees: float
    p_value: float
    rows: int

    def margin(self, level: float) -> float:
        """How far below the past the newest mean must be for p <= `level`."""
        from scipy.special import ndtri, stdtrit

        return float(-(ndtri(level) if self.degrees == inf else stdtrit(self.degrees, level)) * self.error)


def moment(now: str) -> datetime:
    """A time in ISO 8601, UTC without an offset; the current time for "". Raises `UserError` for what is not a time."""
    if not now:
        return datetime.now(UTC)
    try:
        parsed = datetime.fromisoformat(now)
    except ValueError:
        raise UserError(f"now is {now!r}", remedy="write a time in ISO 8601: 2026-12-01T03:00:00+00:00") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def due(since: datetime, last: datetime | None, now: datetime, days: float) -> list[tuple[datetime, datetime]]:
    """The windows [start, end) to examine: complete ones after the `last` one's end, at most five; of a rerun the last
    one again, also with a `now` before its end. They follow each other from `since` on, and end a day before `now`:
    rows are logged late.
    """
    length, newest = timedelta(days=days), now - LAG
    done = (last - since) // length if last else 0
    count = max((newest - since) // length, done)
    first = max(min(done, count - 1), count - MOST_WINDOWS, 0)
    return [(since + i * length, since + (i + 1) * length) for i in range(first, count)]


def level(false_alarms_a_year: float, window_days: float, check: str) -> float:
    """The error rate of a check in one window, of all its spans together (`SPAN_SHARES`)."""
    return false_alarms_a_year * min(1.0, window_days / DAYS_A_YEAR) * CHECKS[check]


def moments(labels: Sequence[str], values: Sequence[float]) -> dict[str, Moments]:
    """Rows, sum and sum of squares of the values, by predicted label."""
    by_label: dict[str, list[float]] = {}
    for label, value in zip(labels, values, strict=True):
        by_label.setdefault(label, []).append(value)
    return {
        label: Moments(rows=len(own), total=float(np.sum(own)), squares=float(np.sum(np.square(own))))
        for label, own in sorted(by_label.items())
    }


def centres(baseline: Iterable[Mapping[str, Moments]]) -> dict[str, float]:
    """Mean value of each label in the baseline, shrunk to the overall mean, which is listed as ''."""
    rows: dict[str, float] = {}
    totals: dict[str, float] = {}
    for window in baseline:
        for label, part in window.items():
            rows[label] = rows.get(label, 0) + part.rows
            totals[label] = totals.get(label, 0) + part.total
    overall = sum(totals.values()) / max(1.0, sum(rows.values()))
    means = {label: (totals[label] + SHRINK_ROWS * overall) / (rows[label] + SHRINK_ROWS) for label in rows}
    return {**means, "": overall}


def centred(window: Mapping[str, Moments], by_label: Mapping[str, float]) -> WindowMean:
    """The window's mean of values less their label's centre (labels that are new: the overall mean)."""
    labels = list(window)
    table = np.array([[window[label].rows, window[label].total, window[label].squares] for label in labels])
    if not labels:
        return WindowMean(0, 0.0, 0.0)
    centre = np.array([by_label.get(label, by_label[""]) for label in labels])
    rows, totals, squares = table.T
    count = float(rows.sum())
    mean = float((totals - rows * centre).sum() / count)
    square = float((squares - 2 * centre * totals + rows * centre**2).sum() / count)
    return WindowMean(int(count), mean, max(0.0, square - mean**2) * count / max(1.0, count - 1))


def compare(past: Sequence[WindowMean], newest: Sequence[WindowMean]) -> Shift:
    """The shift of the newest windows, together, from the past; it needs two windows of the past."""
    from scipy.special import chdtrc, ndtr, stdtr

    rows, means = np.array([w.rows for w in past], float), np.array([w.mean for w in past])
    new_rows, new_means = np.array([w.rows for w in newest], float), np.array([w.mean for w in newest])
    variance = float(rows @ [w.variance for w in past] / rows.sum())
    # the newest rows' own variance counts where it is larger; a few equal rows must not look certain
    new_variance = max(variance, float(new_rows @ [w.variance for w in newest] / new_rows.sum()))
    pooled = float(rows @ means / rows.sum())
    q = float(rows @ (means - pooled) ** 2) / max(variance, _SMALLEST**2)
    if chdtrc(len(past) - 1, q) > POOLED_ABOVE:
        difference = float(new_rows @ new_means / new_rows.sum()) - pooled
        error = max(_SMALLEST, sqrt(new_variance / new_rows.sum() + variance / rows.sum()))
        degrees, p_value = inf, float(ndtr(difference / error))
    else:
        between = float(means.var(ddof=1))
        difference = float(new_means.mean() - means.mean())
        own = np.maximum(between, new_variance / new_rows).sum() / len(newest) ** 2
        error = max(_SMALLEST, sqrt(own + np.maximum(between, variance / rows).sum() / len(past) ** 2))
        degrees = float(len(past) - 1)
        p_value = float(stdtr(degrees, difference / error))
    return Shift(difference, error, degrees, p_value, int(new_rows.sum()))


def past_of(baseline: Sequence[WindowMean], later: Sequence[tuple[WindowMean, bool]]) -> list[WindowMean]:
    """The baseline and up to KEPT later windows that were fine, without the newest four."""
    fine = [window for window, was_fine in later[: -SPANS["newest_four"]] if was_fine]
    return [*baseline, *fine[-KEPT:]]


def shifts(baseline: Sequence[WindowMean], later: Sequence[tuple[WindowMean, bool]]) -> dict[str, Shift]:
    """The newest window and the newest four against the past, and as `slow_change` the newest four against the frozen
    baseline: a drift that creeps into the past is found there. `later` are (window, whether it was fine), the newest
    last.
    """
    past, windows = past_of(baseline, later), [window for window, _ in later]
    compared = {span: compare(past, windows[-count:]) for span, count in SPANS.items()}
    return {**compared, "slow_change": compare(baseline, windows[-SPANS["newest_four"] :])}


def chance(past: Sequence[WindowMean], rows: int, topic: WindowMean, share: float, level: float) -> float:
    """The probability that one window of `rows` texts is found at `level` when a share of them is of a new topic, by
    the mean and the variance of the topic's rows.
    """
    from scipy.special import ndtr

    total = sum(window.rows for window in past)
    mean = sum(window.rows * window.mean for window in past) / total
    variance = sum(window.rows * window.variance for window in past) / total
    gap = topic.mean - mean
    mixed = (1 - share) * variance + share * topic.variance + share * (1 - share) * gap**2
    shift = compare(past, [WindowMean(rows, mean + share * gap, mixed)])
    return float(ndtr(-(shift.margin(level) + share * gap) / shift.error))

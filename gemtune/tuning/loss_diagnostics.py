# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnosis of a loss curve: undertrained, overfitting, data problem, diverged, or fine; with evidence and next step.

Source: the published advice on supervised tuning of Gemini (train and validation loss falling together: undertrained;
validation falling, then rising: overfitting; first training loss above 10: a data problem). Noise is measured, not
assumed: a rise or a fall counts only when it exceeds what the curve's own jitter explains. Pure.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from gemtune.artifacts.tuning import Diagnosis

Points = Sequence[tuple[int, float]]

TRAIN_REWARD, VALIDATION_REWARD = "/train_mean_reward", "/eval_mean_reward"
TRAIN = ("/train_total_loss", "/preference_optimization_train_loss")
VALIDATION = "/eval_total_loss"
PROBLEM_LOSS = 10.0  # published: a first training loss above this is a data problem
DROPPED = 0.01  # share of the training rows; more is a data problem whatever the curve
STILL_FALLING = 0.06  # share of the whole fall made in the last quarter; an exponential 95 % done has 0.056
FAR, MEMORISED = 0.5, 0.1  # training loss as a share of validation loss: far below; the rows memorised
SINCE = 3.0  # times lower than where validation was lowest: only the training rows were still learned
APART = 1.1  # validation loss over training loss; up to here the two have not diverged
RISE = 0.05  # share of the whole fall that validation climbs back; of its lowest, where training loss is far below
UNMOVED = 0.03  # share of the first loss; less is no learning at all
LIKELY = 2.0  # the same where little speaks against it
CERTAIN = 3.0  # a change counts when it exceeds this many standard errors of the curve's jitter


@dataclass(frozen=True, slots=True)
class _Trend:
    """A series reduced to what the rules ask: levels (smoothed) and the standard error of a level."""

    first: float
    start: float
    lowest: float
    lowest_at: float  # share of the way, 0 to 1
    middle: float  # level half of the way
    before: float  # level at three quarters of the way
    end: float
    error: float
    finite: bool
    points: int
    slope_error: float = 0.0  # of the last half: its slope in standard errors; negative falls
    levels: tuple[float, ...] = ()

    def at(self, share: float) -> float:
        """The level at a share of the way."""
        return self.levels[max(0, round(share * len(self.levels)) - 1)]


def diagnose_job(
    series: Mapping[str, Points], dropped: int = 0, rows: int = 0, reasons: Sequence[str] = ()
) -> Diagnosis:
    """Judge a job by its rewards where it has any, else by its losses; see `diagnose_loss`."""
    if not series.get(TRAIN_REWARD):
        return diagnose_loss(series, dropped, rows, reasons)
    reward = _trend(series[TRAIN_REWARD])
    risen = f"the mean reward of sampled answers rose from {reward.start:.3g} to {reward.end:.3g}"
    if not _sure(reward.end - reward.start, reward):
        values = {value for _, value in series[TRAIN_REWARD]}
        constant = f"the mean reward of sampled answers was {min(values):.3g} at every step"
        return Diagnosis(
            "no_learning",
            constant if len(values) == 1 else f"{risen}, which its own jitter explains",
            "gemtune reward check; a start from a supervised checkpoint (supervised_epochs), more samples_per_prompt",
        )
    return Diagnosis("fine", risen, "none")


def hacked(curve: Mapping[str, Points], scores: Sequence[tuple[int, float]], error: float) -> str:
    """Evidence that a reinforcement job raised its reward and not the metric; "" without.

    `scores` are (step, metric on validation rows) of its checkpoints, `error` the standard error of a difference.
    """
    points = curve.get(VALIDATION_REWARD) or curve.get(TRAIN_REWARD) or ()
    if len(points) < 2 or len(scores) < 2:
        return ""
    (first, before), (_, after) = min(scores), max(scores)
    start = min((value for step, value in points if step <= first), default=points[0][1])
    if not (points[-1][1] > start and after < before - LIKELY * error):
        return ""
    return f"reward rose from {start:.3g} to {points[-1][1]:.3g} while the metric fell from {before:.3f} to {after:.3f}"


def diagnose_loss(
    series: Mapping[str, Points], dropped: int = 0, rows: int = 0, reasons: Sequence[str] = ()
) -> Diagnosis:
    """Judge a job's series (the service's metric names to (step, value) points).

    The service left out `dropped` of the job's `rows`, for `reasons`, which no curve need show.
    """
    if dropped > DROPPED * rows:
        listed = "; ".join(f"{count} x {reason}" for reason, count in Counter(reasons).most_common(3))
        return Diagnosis(
            "data_problem",
            f"the service dropped {dropped} of {rows} training rows" + (f": {listed}" if listed else ""),
            "correct these rows, or shorten them with preprocess.max_chars: the model has not seen them",
        )
    train = next((_trend(series[name]) for name in TRAIN if series.get(name)), None)
    if train is None:
        return Diagnosis("unknown", "no training loss was recorded", "look at the job in the console")
    validation = _trend(series[VALIDATION]) if series.get(VALIDATION) else None
    return (
        _data_problem(train)
        or _diverged(train)
        or (validation and _overfitting(train, validation))
        or _undertrained(train, validation)
        or _converged(train, validation)
    )


def _data_problem(train: _Trend) -> Diagnosis | None:
    if not train.first > PROBLEM_LOSS:
        return None
    return Diagnosis(
        "data_problem",
        f"the first training loss is {train.first:.3g}, above {PROBLEM_LOSS:g}",
        "check the rows: wrong format, or inputs longer than the context",
    )


def _diverged(train: _Trend) -> Diagnosis | None:
    climbed = train.end - train.lowest
    if train.finite and not (
        climbed > 0.5 * max(train.start - train.lowest, 0.2 * train.start) and _sure(climbed, train)
    ):
        return None
    evidence = (
        f"training loss climbed from {train.lowest:.3g} back to {train.end:.3g}"
        if train.finite
        else "loss is not a number"
    )
    return Diagnosis("diverged", evidence, "a smaller learning rate multiplier", rate_factor=0.25)


def _overfitting(train: _Trend, validation: _Trend) -> Diagnosis | None:
    climbed = validation.end - validation.lowest
    fall = max(train.start, validation.start) - validation.lowest
    left_behind = train.end < FAR * validation.end and validation.points >= 6 and climbed > RISE * validation.lowest
    risen = climbed > RISE * fall and _sure(climbed, validation) and train.end < train.start
    if not (risen or (left_behind and (_sure(climbed, validation, LIKELY) or _by_heart(train, validation)))):
        return None
    return Diagnosis(
        "overfitting",
        f"validation loss was lowest ({validation.lowest:.3g}) {validation.lowest_at:.0%} of the way and rose to "
        f"{validation.end:.3g}, while training loss fell to {train.end:.3g}",
        "fewer epochs (an earlier checkpoint), or more and more diverse rows, or a smaller adapter",
        epoch_factor=max(validation.lowest_at, 0.05),
    )


def _by_heart(train: _Trend, validation: _Trend) -> bool:
    """Whether the training rows are known by heart, and training went on for them alone since validation was best.

    That settles what a validation curve alone cannot show when few rows make it jump.
    """
    memorised = train.end + CERTAIN * train.error < MEMORISED * validation.end
    return memorised and train.at(validation.lowest_at) > SINCE * train.end


def _undertrained(train: _Trend, validation: _Trend | None) -> Diagnosis | None:
    judged = validation if validation and validation.points > 2 else train  # two points have no last quarter
    fall = max(train.start, judged.start) - judged.end
    if train.start - train.end < UNMOVED * abs(train.start):
        return Diagnosis(
            "undertrained",
            f"training loss hardly fell ({train.start:.3g} to {train.end:.3g})",
            "a larger learning rate multiplier or more epochs",
            rate_factor=5.0,
        )
    recent, share = judged.before - judged.end, STILL_FALLING * fall
    trained = train.before - train.end
    together = trained > STILL_FALLING * (train.start - train.end) and _sure(trained, train)
    short = validation is not None and judged is train  # a job of an epoch or two, unlikely to have converged
    falling = short and train.slope_error < -LIKELY
    dropped = validation is not None and validation.points == 2 and validation.start - validation.end > share
    if validation and short and (falling or dropped) and validation.end < APART * train.end:
        # a learning rate that decays to nothing flattens the end of any job, so the last quarter alone does not tell
        return Diagnosis(
            "undertrained",
            f"training loss fell from {train.middle:.3g} to {train.end:.3g} in the second half, and validation loss "
            f"({validation.end:.3g}) has not diverged from it",
            "more epochs",
            epoch_factor=2.0,
        )
    if fall <= 0 or not (recent > share and (together or _sure(recent, judged) or falling)):
        return None
    which = "validation" if judged is validation else "training"
    return Diagnosis(
        "undertrained",
        f"{which} loss still fell by {recent:.3g} in the last quarter ({recent / fall:.0%} of its whole fall)",
        "more epochs or a larger learning rate multiplier; then more data",
        epoch_factor=2.0,
    )


def _converged(train: _Trend, validation: _Trend | None) -> Diagnosis:
    if validation is None:
        evidence = f"training loss settled at {train.end:.3g}; there is no validation loss to judge by"
        return Diagnosis("unknown", evidence, "give a validation set")
    if validation.points < 3:
        evidence = f"validation loss was measured {validation.points} times, too few to see whether it settled"
        return Diagnosis("unknown", evidence, "more epochs, if the scores are short")
    lowest = f"{validation.end:.3g}, its lowest {validation.lowest:.3g}"
    return Diagnosis("fine", f"training loss settled at {train.end:.3g}, validation loss at {lowest}", "none")


def _sure(delta: float, trend: _Trend, certain: float = CERTAIN) -> bool:
    """Whether a difference of two levels exceeds the jitter."""
    return delta > certain * math.sqrt(2) * trend.error


def _trend(points: Points) -> _Trend:
    values = [value for _, value in sorted(points)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return _Trend(math.nan, 0, 0, 0, 0, 0, 0, 0, False, 0)
    size = len(finite)
    width = max(1, size // 8)
    jitter = _jitter(finite)
    levels = [fmean(finite[max(0, i - width // 2) : i + width // 2 + 1]) for i in range(size)]
    lowest = min(range(size), key=levels.__getitem__)
    quarter = round((size - 1) * 0.75)
    return _Trend(
        first=finite[0],
        start=fmean(finite[: max(1, size // 50)]),
        lowest=levels[lowest],
        lowest_at=(lowest + 1) / size,
        middle=levels[(size - 1) // 2],
        before=levels[quarter],
        end=fmean(finite[-width:]),
        error=jitter / math.sqrt(width),
        finite=len(finite) == len(values),
        points=size,
        slope_error=_slope(finite[size // 2 :]),
        levels=tuple(levels),
    )


def _slope(values: Sequence[float]) -> float:
    """The least-squares slope over its standard error; 0 when there are too few values to tell."""
    size = len(values)
    if size < 6:
        return 0.0
    middle, mean = (size - 1) / 2, fmean(values)
    spread = sum((i - middle) ** 2 for i in range(size))
    slope = sum((i - middle) * (value - mean) for i, value in enumerate(values)) / spread
    left = sum((value - mean - slope * (i - middle)) ** 2 for i, value in enumerate(values))
    return slope / math.sqrt(left / (size - 2) / spread) if left > 0 else math.copysign(math.inf, slope) * bool(slope)


def _jitter(values: Sequence[float]) -> float:
    """Standard deviation of the noise, from second differences (which a smooth trend leaves near zero)."""
    if len(values) < 6:
        return 0.0
    bends = [abs(values[i - 1] - 2 * values[i] + values[i + 1]) for i in range(1, len(values) - 1)]
    return 1.4826 * median(bends) / math.sqrt(6)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The checks of one window: exact ones against the tuned prompt, and scores against the windows of the past."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

import numpy as np

from gemtune.artifacts.monitoring import Check, Moments, WindowRecord
from gemtune.artifacts.production_log import LogRow
from gemtune.config import Monitor
from gemtune.monitoring import skew, windows
from gemtune.monitoring.records import Champion
from gemtune.monitoring.similarity import TrainingRows
from gemtune.monitoring.traffic import ServedRow, distinct, served_rows
from gemtune.monitoring.windows import Shift, WindowMean

_SPANS = {"newest": "the newest window", "newest_four": "the newest four windows", "slow_change": "slow change"}
MAX_UNREADABLE = 0.05  # largest share of rows that cannot be read, or have no answer
_SHARE, _CERTAIN = 0.2, 0.95  # of a new topic, and of the chance to find it, in the sentence on what could be found


@dataclass(frozen=True)
class Monitored:
    """What all windows of a run are compared with."""

    champion: Champion
    training: TrainingRows
    clean: Callable[[str], str]
    monitor: Monitor
    max_invalid_rate: float

    def level(self, check: str) -> float:
        """The error rate of a check in one window; confidence has that of labelled quality, which it replaces."""
        own = "quality" if check == "confidence" else check
        return windows.level(self.monitor.false_alarms_a_year, self.monitor.window_days, own)

    def shift_level(self, check: str, span: str) -> float:
        """The same of one of the spans that scores are compared over."""
        return self.level(check) * windows.SPAN_SHARES[span]

    def skewed(self, row: LogRow) -> list[str]:
        """What of a row's prompt differs from the tuned one."""
        return skew.skewed_fields(row, self.champion.reference.template, self.champion.generation_config)


@dataclass(frozen=True)
class Window:
    """An examined window: its record, its distinct texts and their scores, how many of its rows have no answer."""

    record: WindowRecord
    texts: list[ServedRow]
    scores: Sequence[float]
    unanswered: int


def examine(
    monitored: Monitored, span: tuple[datetime, datetime], rows: Sequence[LogRow], earlier: Sequence[WindowRecord]
) -> Window:
    """The window with these rows, compared with the earlier ones."""
    monitor, champion = monitored.monitor, monitored.champion
    served = served_rows(rows, champion.entry.task, champion.entry.variant)
    texts, count = distinct(served, monitored.clean, monitor.max_rows)
    scores = monitored.training.scores([item.row.text for item in texts])
    # another temperature or prompt moves the confidence without any drift
    tuned = [item for item in texts if not monitored.skewed(item.row)]
    sure = [(item.label, item.confidence) for item in tuned if item.confidence is not None]
    record = WindowRecord(
        start=span[0],
        end=span[1],
        rows=len(rows),
        texts=count,
        similarity=windows.moments([item.label for item in texts], scores.tolist()),
        confidence=windows.moments([label for label, _ in sure], [value for _, value in sure]),
    )
    skewed = {row.id: monitored.skewed(row) for row in rows}
    checks = [
        skew.prompt_skew(skewed, monitor.max_skew),
        skew.unusable_answers(served, monitored.max_invalid_rate, monitored.level("unusable_answers")),
        skew.cleaning_skew(rows, monitored.clean),
    ]
    unanswered = sum(item.outcome == "error" for item in served)
    baseline = [window for window in earlier if comparable(window)][: monitor.baseline_windows]
    if len(baseline) == monitor.baseline_windows and comparable(record):
        least = [texts[i].row.id for i in np.argsort(scores, kind="stable")[: skew.EXAMPLES]]
        checks += _shift_checks("similarity", monitored, [*earlier, record], least)
        if record.confidence and all(window.confidence for window in baseline):
            unsure = sorted(texts, key=lambda item: item.confidence if item.confidence is not None else 1.0)
            ids = [item.row.id for item in unsure[: skew.EXAMPLES]]
            checks += _shift_checks("confidence", monitored, [*earlier, record], ids)
        shift = skew.label_shift(labels_of([record]), labels_of(baseline))
        checks += [shift] if shift else []
    is_fine = comparable(record) and unanswered <= MAX_UNREADABLE * len(rows)
    verdict = "watch" if any(check.alarm for check in checks) else "fine" if is_fine else "cannot_tell"
    return Window(record.model_copy(update={"checks": checks, "verdict": verdict}), texts, scores.tolist(), unanswered)


def comparable(record: WindowRecord) -> bool:
    """Whether a window has enough texts to be compared."""
    return sum(part.rows for part in record.similarity.values()) >= windows.MIN_ROWS


def labels_of(records: Sequence[WindowRecord]) -> Counter[str]:
    """How many texts have each predicted label."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update({label: part.rows for label, part in record.similarity.items()})
    return counts


def means(
    monitor: Monitor, records: Sequence[WindowRecord], value: str
) -> tuple[dict[str, float], list[WindowMean], list[tuple[WindowMean, bool]]]:
    """The centres of the labels in the baseline, the means of its windows, and of later ones with whether each was
    fine.
    """
    kept = [(getattr(record, value), record.verdict == "fine") for record in records if comparable(record)]
    parts: list[Mapping[str, Moments]] = [sums for sums, _ in kept]
    centres = windows.centres(parts[: monitor.baseline_windows])
    centred = [(windows.centred(sums, centres), fine) for sums, fine in kept if sums]
    return centres, [window for window, _ in centred[: monitor.baseline_windows]], centred[monitor.baseline_windows :]


def _shift_checks(name: str, monitored: Monitored, records: Sequence[WindowRecord], ids: list[str]) -> list[Check]:
    """One check for each span, and one for slow change."""
    _, baseline, later = means(monitored.monitor, records, name)
    if len(baseline) < monitored.monitor.baseline_windows or not later:
        return []
    shifts = windows.shifts(baseline, later)
    return [_shift_check(name, span, shift, monitored.shift_level(name, span), ids) for span, shift in shifts.items()]


def _shift_check(name: str, span: str, shift: Shift, level: float, ids: list[str]) -> Check:
    threshold, alarm = -shift.margin(level), shift.p_value <= level
    noun = "similarity to the training rows" if name == "similarity" else "confidence"
    moved = "is lower than in the past" if alarm else "is not shown to be lower than in the past"
    summary = f"{noun} {moved} ({_SPANS[span]}): {shift.difference:+.4f}, alarm at {threshold:+.4f}"
    return Check(
        name=name,
        value=shift.difference,
        low=shift.difference - 1.96 * shift.error,
        high=shift.difference + 1.96 * shift.error,
        rows=shift.rows,
        p_value=shift.p_value,
        threshold=threshold,
        alarm=alarm,
        summary=summary,
        examples=ids if alarm else [],
    )


def detectable(monitored: Monitored, records: Sequence[WindowRecord]) -> str:
    """Which share of a new topic the newest window would have shown, and from how many texts on it is nearly sure."""
    centres, baseline, later = means(monitored.monitor, records, "similarity")
    if len(baseline) < monitored.monitor.baseline_windows or not later:
        return ""
    topics, past, rows = monitored.training.near_topics(centres), windows.past_of(baseline, later), later[-1][0].rows

    if not topics:
        return ""

    def chances(count: int) -> list[float]:
        level = monitored.shift_level("similarity", "newest")
        return [windows.chance(past, count, topic, _SHARE, level) for topic in topics]

    stated = chances(rows)
    by_topic = f", {100 * min(stated):.0f} to {100 * max(stated):.0f} by the topic" if len(stated) > 1 else ""
    sentence = (
        f"with {rows} distinct texts a window, a share of {_SHARE:.0%} of a topic that the training rows lack is found "
        f"in {100 * fmean(stated):.0f} of 100 first windows{by_topic}"
    )
    enough = next(
        (count for count in (round(50 * 2 ** (i / 2)) for i in range(24)) if fmean(chances(count)) >= _CERTAIN), 0
    )
    if not enough:
        return f"{sentence}; more texts do not help, since windows differ more than by chance: label rows"
    return sentence if fmean(stated) >= _CERTAIN else f"{sentence}, from about {enough} texts on in {_CERTAIN:.0%}"

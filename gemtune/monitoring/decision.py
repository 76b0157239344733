# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict of a monitoring run: whether there is a reason to retrain, something to watch, or nothing.

Guarantees: what cannot be read or compared is never `fine`; confidence, skew and unusable answers alone never retrain,
since more of the same data would not help; without labels `fine` states that it says nothing of the answers; the same
ids never cause two retrainings. A base model that retires is never `fine`: where a retraining has kept it, a person
must choose another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from gemtune.artifacts.monitoring import Check, MonitoringDecision, MonitoringVerdict, Reason
from gemtune.config import Monitor, fingerprint

_MIN_NEW_ROWS, _MIN_NEW_SHARE = 50, 0.05


@dataclass(frozen=True)
class MonitoringEvidence:
    """What a verdict rests on. `new_rows` and `topic_rows` are ids of labelled rows: all of them, and those from
    windows with a similarity alarm; `retrained` are ids that have caused a retraining. `detectable` is a sentence on
    what could have been found.
    """

    now: datetime
    problems: Sequence[str]
    missing_windows: int
    checks: Sequence[Check]
    new_rows: Sequence[str]
    topic_rows: Sequence[str]
    training_rows: int
    base_model: str
    retires: date | None
    promoted: datetime
    retrained: frozenset[str] = field(default_factory=frozenset)
    detectable: str = ""


def decide(name: str, evidence: MonitoringEvidence, monitor: Monitor, retraining_job: str = "") -> MonitoringDecision:
    """The verdict with its reasons, and the id of the retraining job that they would start: the same reasons, rows and
    `retraining_job` (by its URI) have the same id.
    """
    alarms: dict[str, Check] = {}
    for check in evidence.checks:
        if check.alarm:
            alarms.setdefault(check.name, check)  # of several spans the first
    reasons, retiring = list[Reason](), list[str]()
    for reason in _reasons(evidence, alarms, monitor):
        if not set(reason.ids) <= evidence.retrained:
            reasons.append(reason)
        elif reason.kind == "retirement":
            due = reason.summary
            retiring.append(f"{due}, and a retraining has kept it: tune on another one (evaluate.base_model)")
    verdict: MonitoringVerdict = "fine"
    if reasons:
        verdict = "retrain"
    elif evidence.problems:
        verdict = "cannot_tell"
    elif alarms or retiring:
        verdict = "watch"
    elif evidence.missing_windows:
        verdict = "settling"
    summary = [*(reason.summary for reason in reasons), *evidence.problems, *retiring]
    summary += [own.summary for own in alarms.values() if not any(own.summary in line for line in summary)]
    if not reasons and "similarity" in alarms:
        summary.append("label the rows of the annotation file: more of the same data cannot cover a new topic")
    if evidence.missing_windows:
        summary.append(f"{evidence.missing_windows} more windows until one is compared with a complete baseline")
    summary = summary or ["no check found a change"]
    if verdict == "fine" and evidence.detectable:
        summary.append(evidence.detectable)
    if verdict == "fine" and all(check.name != "quality" for check in evidence.checks):
        summary.append("no row is labelled: whether the answers are right is not measured")
    ids = sorted({item for reason in reasons for item in reason.ids})
    job_id = f"{name}-rt-{fingerprint([reason.kind for reason in reasons], ids, retraining_job)}" if reasons else ""
    return MonitoringDecision(verdict=verdict, summary=summary, reasons=reasons, job_id=job_id)


def _reasons(evidence: MonitoringEvidence, alarms: Mapping[str, Check], monitor: Monitor) -> Iterator[Reason]:
    """All reasons that hold, handled before or not."""
    needed = monitor.min_new_rows or max(_MIN_NEW_ROWS, round(_MIN_NEW_SHARE * evidence.training_rows))
    new = [row for row in evidence.new_rows if row not in evidence.retrained]
    topics = [row for row in evidence.topic_rows if row not in evidence.retrained]
    if len(new) >= needed:
        summary = f"{len(new)} labelled rows are not trained on yet (at least {needed})"
        yield Reason(kind="new_rows", value=len(new), threshold=needed, summary=summary, ids=new)
    if (quality := alarms.get("quality")) and quality.threshold is not None:
        ids = [f"quality {evidence.promoted.isoformat()}"]  # the drop stays until there is another champion
        shown = {"value": quality.value, "threshold": quality.threshold, "summary": quality.summary}
        yield Reason(kind="quality", **shown, ids=ids)
    if "similarity" in alarms and topics:
        summary = f"{alarms['similarity'].summary}; {len(topics)} rows of the new region are labelled"
        yield Reason(kind="new_topics", value=len(topics), threshold=1, summary=summary, ids=topics)
    left = (evidence.retires - evidence.now.date()).days if evidence.retires else None
    if left is not None and left <= monitor.retire_days:
        summary = f"{evidence.base_model} retires on {evidence.retires}, in {left} days (at most {monitor.retire_days})"
        ids = [f"retirement {evidence.base_model}"]
        yield Reason(kind="retirement", value=left, threshold=monitor.retire_days, summary=summary, ids=ids)
    age = (evidence.now - evidence.promoted).days
    if monitor.max_age_days and age >= monitor.max_age_days:
        summary = f"the champion was promoted {age} days ago (at most {monitor.max_age_days})"
        ids = [f"age {evidence.promoted.isoformat()}"]
        yield Reason(kind="age", value=age, threshold=monitor.max_age_days, summary=summary, ids=ids)

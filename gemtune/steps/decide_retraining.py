# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict of a monitoring run, and what the next run needs to know of this one."""

from gemtune.artifacts.monitoring import Check, DriftReport, MonitoringDecision, MonitoringRecord, QualityReport
from gemtune.monitoring import records
from gemtune.monitoring.decision import MonitoringEvidence, decide
from gemtune.monitoring.quality import is_current
from gemtune.monitoring.windows import moment
from gemtune.steps.context import Section, StepContext, log


def run(
    drift: str,
    quality: str,
    decision: str,
    name: str,
    now: str = "",
    new_baseline: bool = False,
    retraining_job: str = "",
    **sections: Section,
) -> str:
    """Write the decision and keep the windows for the next run; returns the verdict.

    `now` is a time in ISO 8601; empty: the current time. With `new_baseline` the windows after the newest are a new
    baseline. The URI of a `retraining_job`, which its content names, is part of the decision's job id. Reads the
    sections monitor, vertex.
    A confidence that fell is an alarm only while the newest windows have no labels: they are the better evidence.
    """
    context, drifted, measured = StepContext(sections), DriftReport.read(drift), QualityReport.read(quality)
    monitor, history = context.monitor, drifted.history
    served = records.read(context.client, name)
    base = served.base_model
    retires = context.catalogue.models[base].retires if base in context.catalogue.models else None
    checks = [
        check
        for check in (history.windows[-1].checks if history.windows else [])
        if check.name != "confidence" or not is_current(measured.estimates, history.windows)
    ]
    checks += measured.checks
    decided = decide(
        name,
        MonitoringEvidence(
            now=moment(now),
            problems=drifted.problems,
            missing_windows=drifted.missing_windows,
            checks=checks,
            new_rows=[row.id for row in measured.labelled],
            topic_rows=_topic_rows(history, measured),
            training_rows=served.reference.train_rows,
            base_model=base,
            retires=retires,
            promoted=served.entry.since,
            retrained=frozenset(history.retrained),
            detectable=drifted.detectable,
        ),
        monitor,
        retraining_job,
    )
    decided.write(decision)
    kept = _kept(history, measured, decided, checks)
    if new_baseline and kept.windows:
        kept = kept.model_copy(update={"since": kept.windows[-1].end, "windows": []})
    records.write_history(context.client, name, kept)
    log.info("done: %s", f"{decided.verdict}: {decided.summary[0]}")
    return decided.verdict


def _topic_rows(history: MonitoringRecord, measured: QualityReport) -> list[str]:
    """Labelled rows that were chosen to learn from in windows with a similarity alarm."""
    alarming = {
        window.start
        for window in history.windows
        if any(check.name == "similarity" and check.alarm for check in window.checks)
    }
    return [row.id for row in measured.labelled if row.pi is None and row.window in alarming]


def _kept(
    history: MonitoringRecord,
    measured: QualityReport,
    decided: MonitoringDecision,
    checks: list[Check],
) -> MonitoringRecord:
    """The history with the verdict on its newest window. All windows are kept: the running mean counts each."""
    if not history.windows:
        return history
    judged = {"proxy": measured.proxy, "judged": measured.judged} if measured.proxy else {}
    newest = history.windows[-1].model_copy(update={"checks": checks, "verdict": decided.verdict, **judged})
    return history.model_copy(update={"windows": [*history.windows[:-1], newest]})

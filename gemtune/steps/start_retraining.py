# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a verdict starts: a notification, a structured log line that alerts can be defined on, the tuning pipeline."""

import json

from gemtune.artifacts.monitoring import MonitoringDecision
from gemtune.errors import UserError
from gemtune.monitoring import records
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import notification, pipeline_jobs, storage
from gemtune.vertex.calls import PermanentError, TransientError

CLAIM_DAYS = 3.0  # a run that has not ended tuning by then was killed; windows are longer
NOTIFIED = ("watch", "retrain", "cannot_tell")


def run(
    decision: str, uri: str, name: str, includes_tuning: bool, retraining_job: str = "", **sections: Section
) -> bool:
    """Log the reasons to retrain as JSON, without texts; returns whether the tuning pipeline that is a part of this one
    is to run.

    With `monitor.on_retrain: submit` tuning starts, once for the same reasons: as a pipeline job of its own, under the
    decision's job id, where there is a `retraining_job`, else where the compiled pipeline `includes_tuning`. The job,
    or the decision at `uri`, claims the reasons until a tuning run has ended (`finish_run`). Verdicts that need a
    person, with `notify.runs: all` every one, are posted to `notify.webhook`, with what became of a retraining. Reads
    the sections monitor, notify, vertex.
    """
    context, decided = StepContext(sections), MonitoringDecision.read(decision)
    starts, what = False, ""
    if decided.reasons:
        starts, what = _start(context, decided, uri, name, includes_tuning, retraining_job)
    if decided.verdict in NOTIFIED or context.notify.runs == "all":
        lines = [*decided.summary, what] if what else decided.summary
        _notify(context, f"{name}: monitoring ended with {decided.verdict}: {'; '.join(lines)}")
    log.info("done: %s", what or f"no reason to retrain: {decided.verdict}")
    return starts and not retraining_job


def _start(
    context: StepContext, decided: MonitoringDecision, uri: str, name: str, includes_tuning: bool, retraining_job: str
) -> tuple[bool, str]:
    """Whether the retraining is this run's to start, and what became of it, with what is left to do."""
    numbers = {reason.kind: {"value": reason.value, "threshold": reason.threshold} for reason in decided.reasons}
    entry = {"event": "retraining due", "name": name, "job_id": decided.job_id, "reasons": numbers}
    due = f"retraining is due ({', '.join(numbers)})"
    # a whole line, without a logger's prefix: Cloud Logging reads its fields
    print(json.dumps({"severity": "WARNING", "message": f"{name}: {due}", **entry}), flush=True)
    ids = [item for reason in decided.reasons for item in reason.ids]
    submits = includes_tuning and context.monitor.on_retrain == "submit"
    claimant = decided.job_id if retraining_job else uri
    starts = records.claim_retraining(context.client, name, ids, claimant, CLAIM_DAYS if submits else 0)
    what = "the tuning pipeline runs" if starts else "run it by gemtune submit, or gemtune run"
    what = "another run has started it" if submits and not starts else what
    if starts and retraining_job:
        job = pipeline_jobs.create(context.client, storage.read_text(context.client, retraining_job), decided.job_id)
        state = job.state.name.removeprefix("PIPELINE_STATE_").lower()
        what = f"the job {decided.job_id} is {state}"
        if state in ("failed", "cancelled"):
            what += f" (why: gemtune runs logs CONFIG {decided.job_id}); an id is used once: run gemtune submit CONFIG"
            log.warning("%s", what)
    return starts, f"{due}: {what}"


def _notify(context: StepContext, text: str) -> None:
    """Post the text, in counts only; what fails is logged and does not fail the run."""
    try:
        notification.send(context.client, context.notify, text)
    except (UserError, TransientError, PermanentError) as problem:
        log.warning("no notification was sent: %s", problem)

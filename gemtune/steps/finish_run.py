# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What always runs last, whether the run succeeded or not: undeploy what interrupted runs left, and notify.

It never fails a run that succeeded: what does not work is logged.
"""

from gemtune.errors import UserError
from gemtune.monitoring import records
from gemtune.state import endpoints
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import jobs, notification
from gemtune.vertex.calls import PermanentError, TransientError

SUCCEEDED = {"SUCCEEDED", "COMPLETE", "CACHED", "RUNNING"}
"""States of a run's steps that are no failure. Kubeflow reports RUNNING where loops succeeded (pipelines #13321)."""


def run(
    name: str, bucket: str, state: str, error: str, resource: str, is_tuning: bool = True, **sections: Section
) -> None:
    """Undeploy leftovers, then post how the run ended to `notify.webhook`, with jobs that the next run adopts.

    `bucket` is that of the run's form (empty: that of the section), `state`, `error` and `resource` (the run's full
    name) are what the backend reports. A tuning run that succeeded has handled the reasons to retrain that were due.
    Reads the sections notify, vertex.
    """
    if bucket:
        sections["vertex"] = {**(sections.get("vertex") or {}), "bucket": bucket}
    context, failed = StepContext(sections), state not in SUCCEEDED
    text = f"{name}: the run {'failed' if failed else 'ended'}"  # without the error, which may quote a row
    try:
        client = context.client
        if is_tuning and not failed:
            records.finish_retraining(client, name)
        endpoints.cleanup(client, name)
        if failed and (going := [job.name for job in jobs.find(client, jobs.NAME, jobs.label(name)) if not job.ended]):
            text += f"; tuning jobs that still run: {', '.join(going)}"
        reported = failed or context.notify.runs == "all"
        if reported and notification.send(client, context.notify, f"{text} ({resource})"):
            text += "; notification sent"
    except (UserError, TransientError, PermanentError) as problem:
        log.warning("the end of the run is not complete: %s", problem)
    log.info("done: %s", f"{text}; {error or state}" if failed else text)

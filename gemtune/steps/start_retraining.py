# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a reason to retrain starts: a structured log line that alerts can be defined on, and the tuning pipeline."""

from __future__ import annotations

import json
import logging

from gemtune.artifacts.monitoring import MonitoringDecision
from gemtune.monitoring import records
from gemtune.steps.context import Section, StepContext

log = logging.getLogger("gemtune")


def run(decision: str, name: str, **sections: Section) -> bool:
    """Log the reasons to retrain as JSON, without texts; returns whether the tuning pipeline is to run.

    It is to run with `monitor.on_retrain: submit`, once for the same reasons. Reads the sections monitor, vertex.
    """
    context, decided = StepContext(sections), MonitoringDecision.read(decision)
    if not decided.reasons:
        log.info("done: %s", f"no reason to retrain: {decided.verdict}")
        return False
    numbers = {reason.kind: {"value": reason.value, "threshold": reason.threshold} for reason in decided.reasons}
    entry = {"event": "retraining due", "name": name, "job_id": decided.job_id, "reasons": numbers}
    log.warning("%s", json.dumps(entry, sort_keys=True))
    ids = [item for reason in decided.reasons for item in reason.ids]
    starts = context.monitor.on_retrain == "submit" and records.claim_retraining(context.client, name, ids)
    what = "the tuning pipeline runs" if starts else "run it by gemtune submit, or gemtune run"
    log.info("done: %s", f"retraining is due ({', '.join(numbers)}): {what}")
    return starts

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tune one trial (`gemtune.tuning.tuner` has the guarantees)."""

from pathlib import Path
from typing import Any

from gemtune.artifacts.tuning import TuningRecord
from gemtune.config import Trial
from gemtune.data.example import read_before_gate
from gemtune.steps.context import Section, StepContext, log
from gemtune.tuning.loss_diagnostics import VALIDATION
from gemtune.tuning.trials import lowest_loss, started_from
from gemtune.tuning.tuner import Tuner


def run(
    train: str,
    validation: str,
    trial: dict[str, Any],
    name: str,
    job: str,
    events: str,
    reweighted: str = "",
    start: str = "",
    **sections: Section,
) -> dict[str, float]:
    """Tune one trial; writes its jobs' record to `job` and TensorBoard event files to the folder `events`.

    A trial that asks for it is tuned on the rows of `reweighted`. It starts from the checkpoint that the tuning record
    `start` names; without a record or a checkpoint in it from its own base. Returns the job's metrics. Reads the
    sections task, evaluate, tune, vertex, preference. Raises `UserError` for rows or settings the service would reject,
    `JobFailed` when the job itself fails.
    """
    configured = Trial.of(trial)
    if start and (variant := TuningRecord.read(start).start):  # it stands on what the trial would have started from
        (configured,) = started_from(variant, [configured.model_copy(update={"base": ""})])
    rows = reweighted if configured.reweighted and reweighted else train
    context = StepContext(sections)
    train_rows, validation_rows = (read_before_gate(path) for path in (rows, validation))
    tuner = Tuner(
        context.client, context.tune, context.task, context.evaluate, name, train_rows, validation_rows, Path(job),
        Path(events),
    )  # fmt: skip
    return tuner.run(configured)


def run_start(
    train: str, validation: str, trial: dict[str, Any], name: str, job: str, events: str, **sections: Section
) -> dict[str, float]:
    """Tune the model that other trials start from, as `run` does; its record names the checkpoint with the lowest
    validation loss. An empty `trial` ({}: none is planned) leaves a record without jobs.
    """
    if not trial:
        TuningRecord(jobs=[]).write(job)
        log.info("done: %s", "skipped: preference.supervised_epochs is 0; trials start from their own base")
        return {}
    metrics = run(train, validation, trial, name, job, events, "", "", **sections)
    record = TuningRecord.read(job)
    first = lowest_loss(record.variants, record.jobs[-1].curve.get(VALIDATION, []))
    record.model_copy(update={"start": first.model_copy(update={"role": "supervised"})}).write(job)
    return metrics

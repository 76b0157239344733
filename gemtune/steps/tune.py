# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tune one trial (`gemtune.tuning.tuner` has the guarantees)."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from gemtune.artifacts.tuning import TuningRecord
from gemtune.config import Trial
from gemtune.data.example import read_before_gate
from gemtune.steps.context import Section, StepContext
from gemtune.tuning.loss_diagnostics import VALIDATION
from gemtune.tuning.trials import lowest_loss, started_from
from gemtune.tuning.tuner import Tuner, TuningData

log = logging.getLogger("gemtune")


def run(
    train: str,
    validation: str,
    trial: dict[str, Any],
    name: str,
    job: str,
    events: str,
    reweighted: str = "",
    is_start: bool = False,
    **sections: Section,
) -> dict[str, float]:
    """Tune one trial; writes its jobs' record to `job` and TensorBoard event files to the folder `events`.

    A trial that asks for it is tuned on the rows of `reweighted`. With `is_start` the record names the checkpoint that
    other trials start from: the one with the lowest validation loss; an empty `trial` ({}: none is planned) leaves a
    record without jobs. Returns the job's metrics. Reads the sections task, evaluate, tune, vertex, preference. Raises
    `UserError` for rows or settings the service would reject, `JobFailed` when the job itself fails.
    """
    if is_start and not trial:
        TuningRecord(jobs=[]).write(job)
        log.info("done: %s", "skipped: preference.supervised_epochs is 0; trials start from their own base")
        return {}
    configured = Trial.of(trial)
    rows = reweighted if configured.reweighted and reweighted else train
    context = StepContext(sections)
    train_rows, validation_rows = (read_before_gate(path) for path in (rows, validation))
    data = partial(TuningData.of, context.task, context.evaluate, train_rows, validation_rows)
    tuner = Tuner(context.client, context.tune, context.evaluate.base_model, name, data, Path(job), Path(events))
    metrics = tuner.run(configured)
    if is_start:
        record = TuningRecord.read(job)
        first = lowest_loss(record.variants, record.jobs[-1].curve.get(VALIDATION, []))
        record.model_copy(update={"start": first.model_copy(update={"role": "supervised"})}).write(job)
    return metrics


def run_from(
    train: str,
    validation: str,
    trial: dict[str, Any],
    start: str,
    name: str,
    job: str,
    events: str,
    **sections: Section,
) -> dict[str, float]:
    """Tune one trial from the checkpoint that the tuning record `start` names; without a record from its own base."""
    variant = TuningRecord.read(start).start if start else None
    if variant is not None:  # the supervised job stands on what the trial would have started from
        (continued,) = started_from(variant, [Trial.of(trial).model_copy(update={"base": ""})])
        trial = continued.model_dump(mode="json")
    return run(train, validation, trial, name, job, events, "", False, **sections)

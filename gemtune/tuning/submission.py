# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Submission of tuning jobs: checked, uploaded, claimed, then found or created; one job per trial and rows.

A job is named by a fingerprint of its rows, model, method and hyperparameters. The fingerprint is a label of the job
and the name of a claim in the bucket, written create-once before the job is. A run that starts again after a crash
finds the claim, and with it the job: a running one is adopted, a succeeded one reused. What the service would reject is
rejected before anything is uploaded.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from gemtune.artifacts.records import JobClaim
from gemtune.catalogue import Limits, trial_base_model
from gemtune.config import JsonObject, Trial, Tune, fingerprint
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client, jobs, models, storage
from gemtune.vertex.calls import TransientError, translate_errors
from gemtune.vertex.jobs import FINGERPRINT, NAME, TuningJob, TuningJobSpec

log = logging.getLogger("gemtune")

BAD_DATA = 3  # google.rpc code INVALID_ARGUMENT: the same rows would fail again
PERMANENT = frozenset({BAD_DATA, 5, 7, 9, 12, 16})  # and not found, permission, precondition, unimplemented, sign-in
QUEUE_S = 60.0  # longest pause between two tries to get a place in the queue


Row = JsonObject


class JobFailed(UserError):
    """A tuning job ended without a model, or had to be given up; the message has the service's reason."""


def build_spec(client: Client, trial: Trial, settings: Tune, base_model: str, name: str) -> TuningJobSpec:
    """The specification without its data; raises `UserError` for what the catalogue says cannot be tuned."""
    base = trial.base or base_model
    client.catalogue.require(
        trial_base_model(trial, base_model),
        trial.method,
        client.location,
        adapter_sizes=(trial.adapter_size,),
        encryption_key=client.settings.encryption_key,
    )
    return TuningJobSpec(
        base=base,
        method=trial.method,
        training_uri="",
        epoch_count=trial.epoch_count,
        learning_rate_multiplier=trial.learning_rate_multiplier,
        adapter_size=trial.adapter_size,
        beta=trial.beta if trial.method == "preference" else None,
        last_checkpoint_only=settings.last_checkpoint_only,
        checkpoint_id=trial.checkpoint_id,
        display_name=settings.display_name or name,
        description=settings.description or f"gemtune {name} {trial.name}".strip(),
        labels={**client.settings.labels, NAME: jobs.label(name)},
        service_account=client.settings.service_account,
        encryption_key=client.settings.encryption_key,
    )


def with_rows(client: Client, spec: TuningJobSpec, train: Sequence[Row], validation: Sequence[Row]) -> TuningJobSpec:
    """The specification with its rows checked and uploaded, and its fingerprint as a label."""
    limits = client.catalogue.limits[spec.method]  # type: ignore[index]
    allowed = limits.validation_rows(len(train))
    if len(validation) > allowed:
        log.info(
            "the service accepts %d of %d validation rows; all of them are evaluated later", allowed, len(validation)
        )
        validation = sorted(validation, key=fingerprint)[:allowed]
    check_rows("training", train, limits)
    check_rows("validation", validation, limits)
    spec = replace(spec, training_uri=upload_rows(client, train))
    if validation:
        spec = replace(spec, validation_uri=upload_rows(client, validation))
    return replace(spec, labels={**spec.labels, FINGERPRINT: job_fingerprint(spec)})


def job_fingerprint(spec: TuningJobSpec) -> str:
    """16 hex digits of everything that decides the job's result; names, labels, identities, its evaluation do not."""
    content = {**asdict(spec), "display_name": "", "description": "", "labels": {}, "service_account": ""}
    del content["evaluation"]
    if not spec.reinforcement:
        del content["reinforcement"]
    return fingerprint(content)


def check_rows(split: str, rows: Sequence[Row], limits: Limits) -> None:
    """Refuse what the service would reject after the upload; raises `UserError` naming the row."""
    if split == "training" and not rows:
        raise UserError("no training rows", remedy="see the report of the split")
    if len(rows) > limits.examples:
        raise UserError(f"{len(rows)} {split} rows", remedy=f"at most {limits.examples}: set preprocess.max_rows")
    size = 0
    for number, row in enumerate(rows, 1):
        length = len(json.dumps(row, ensure_ascii=False).encode())
        size += length + 1
        if length > limits.tokens_per_example * 16:  # no tokenizer spends more than 16 bytes on the average token
            raise UserError(f"{split} row {number} has {length} bytes", remedy="set preprocess.max_chars")
    if size > limits.file_bytes:
        raise UserError(f"the {split} rows have {size} bytes", remedy=f"at most {limits.file_bytes}")


def upload_rows(client: Client, rows: Sequence[Row]) -> str:
    """The address of these rows in the bucket, as a job reads them."""
    return storage.upload_lines(client, (json.dumps(row, ensure_ascii=False) for row in rows), "tuning")


def get_or_create(
    client: Client, spec: TuningJobSpec, settings: Tune, on_known: Callable[[TuningJob], None]
) -> TuningJob:
    """The job of this fingerprint: found, or created. Failed jobs count against `settings.attempts`.

    `on_known` is called with the job before anything else happens to it. Raises `JobFailed` or `UserError` when trying
    again makes no sense.
    """
    digest = spec.labels[FINGERPRINT]
    known_jobs = jobs.find(client, FINGERPRINT, digest)
    claim = f"{digest}-{len(known_jobs) + 1}"
    job = _usable(client, known_jobs, settings.attempts) or _claimed_job(client, claim, settings.claim_wait_s)
    if job:
        log.info("%s %s", "reusing" if job.ended else "adopting", job.name)
        on_known(job)
        return job
    created = _create(client, spec, settings)
    on_known(created)
    _record_job(client, claim, created.name)
    log.info("submitted %s", created.name)
    return created


def _usable(client: Client, jobs: Sequence[TuningJob], attempts: int) -> TuningJob | None:
    """A job that succeeded, else one still going; raises when trying again makes no sense."""
    if job := _standing(client, jobs):
        return job
    failed = [job for job in jobs if job.state in ("FAILED", "EXPIRED")]
    if failed and (not may_succeed_again(failed[0]) or len(failed) >= attempts):
        raise failure(failed[0], attempts)
    return None


def _standing(client: Client, jobs: Sequence[TuningJob]) -> TuningJob | None:
    """A job that succeeded and whose model was not deleted since, else one still going."""
    going = [job for job in jobs if not job.ended]
    kept = (job for job in jobs if job.succeeded and models.exists(client, job.model))
    return next(kept, going[0] if going else None)


def _claimed_job(client: Client, claim: str, wait_s: float) -> TuningJob | None:
    """Claim the right to create; if another run has it, the job it created, awaited for `wait_s`. None: ours."""
    claimed = JobClaim(claimed=datetime.now(UTC).isoformat(timespec="seconds"))
    deadline = time.monotonic() + wait_s
    while True:
        record, generation = store.read_generation(client, JobClaim, claim)
        free = not record or (not record.job and time.monotonic() >= deadline)
        if free and store.replace(client, claim, claimed, generation):
            return None
        if record and record.job:
            return _job_of(client, claim, record.job)
        digest = claim.rpartition("-")[0]
        if job := _standing(client, jobs.find(client, FINGERPRINT, digest)):
            return job
        time.sleep(min(2.0, max(0.05, wait_s / 10)))


def _job_of(client: Client, claim: str, name: str) -> TuningJob:
    """The job that a claim names; `UserError` where it is gone: whether it was paid for cannot be seen any more."""
    if job := translate_errors(lambda: jobs.get(client, name), {404: None}):
        return job
    where = f"gs://{client.bucket}/{JobClaim.key(claim)}"
    remedy = f"to submit another job, delete its claim: gcloud storage rm {where}"
    raise UserError(f"the job {name} is claimed and does not exist any more", file=where, remedy=remedy)


def _record_job(client: Client, claim: str, name: str) -> None:
    """Add the job's name to the claim; a run that took the claim over meanwhile has found the job by its label."""

    def edit(record: JobClaim | None) -> JobClaim:
        return (record or JobClaim(claimed="")).model_copy(update={"job": name})

    store.update(client, JobClaim, claim, edit)


def _create(client: Client, spec: TuningJobSpec, settings: Tune) -> TuningJob:
    """Submit. Waits while the queue is full; after an unclear failure, looks the job up by its label first."""
    pause, deadline = settings.poll_s, time.monotonic() + settings.deadline_h * 3600
    while True:
        try:
            return jobs.create(client, spec)
        except TransientError as error:
            if time.monotonic() + pause > deadline:
                raise
            log.info("waiting for a slot in the queue: %s", error)
            time.sleep(pause)
            pause = min(pause * 2, QUEUE_S)
            if job := _standing(client, jobs.find(client, FINGERPRINT, spec.labels[FINGERPRINT])):
                return job


def may_succeed_again(job: TuningJob) -> bool:
    """Whether the same job may succeed when it is submitted once more: the service failed, not the request."""
    return job.state in ("FAILED", "EXPIRED") and job.error_code not in PERMANENT


def failure(job: TuningJob, attempts: int) -> JobFailed:
    """What to raise for a job that left no model, the last of at most `attempts`."""
    if job.error_code == BAD_DATA:
        return JobFailed(f"the service rejected the tuning data: {job.error}", remedy=f"see {job.name}")
    remedy = "run again to submit a new job"
    if may_succeed_again(job):
        remedy = f"the service failed in {attempts} attempts: run again later with a larger tune.attempts"
    elif job.error_code:
        remedy = "correct what the service names, then run again"
    return JobFailed(f"{job.name} ended as {job.state}: {job.error or 'no reason given'}", remedy=remedy)

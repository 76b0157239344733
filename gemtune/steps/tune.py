# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One trial: a tuning job submitted at most once, watched to its end, diagnosed, followed up, and what it left.

Promise: no run, however often killed and repeated, pays twice for the same job; an interrupted step leaves no job
running; a job that takes too long, would bill too much or cannot win any more is cancelled.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from gemtune.catalogue import base_of
from gemtune.config import Evaluate, ModelVariant, Task, Trial, Tune, Vertex
from gemtune.data.example import read_examples, write_json
from gemtune.inference import prompts
from gemtune.tuning import early_stopping, loss_diagnostics, submission
from gemtune.tuning.loss_diagnostics import Diagnosis
from gemtune.tuning.submission import JobFailed, Row
from gemtune.tuning.tensorboard import write_events
from gemtune.vertex import Client, connect, jobs, models, patiently
from gemtune.vertex.jobs import FINGERPRINT, Checkpoint, Job, Order

log = logging.getLogger("gemtune")

WORDS = {
    "WAITING_FOR_QUOTA": "waiting for quota",
    "PROCESSING_DATASET": "processing the rows",
    "WAITING_FOR_CAPACITY": "waiting for capacity",
    "TUNING": "tuning",
    "POST_PROCESSING": "deploying checkpoints",
}


class OutOfRace(Exception):
    """The trial cannot catch up with another; its job is cancelled."""


def run(
    train: str,
    validation: str,
    trial: dict[str, Any],
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
    weighted: str = "",
) -> dict[str, Any]:
    """Tune one trial; writes its jobs' record to `job` and returns `variants` (one per checkpoint) and `metrics`.

    A trial that asks for it is tuned on the rows of `weighted`. One that lost the race has no variants. Raises
    `UserError` for rows or settings the service would reject, `JobFailed` when the job itself fails.
    """
    asked = Trial.of(trial)
    examples = list(read_examples(weighted if asked.weighted and weighted else train))
    resolved = prompts.resolve(Task.of(task), examples)
    prompt = prompts.tuned_prompt(resolved)
    rows = [[prompts.training_row(resolved, prompt, e) for e in part] for part in (examples, read_examples(validation))]
    client, base_model = connect(Vertex.of(vertex)), Evaluate.of(evaluate).base_model
    return Step(client, Tune.of(config), base_model, name, resolved, rows[0], rows[1], job).run(asked)


class Step:
    """What stays the same over a trial and its follow-ups; `jobs` are their records, newest last."""

    def __init__(
        self,
        client: Client,
        settings: Tune,
        base_model: str,
        name: str,
        task: Task,
        train: Sequence[Row],
        validation: Sequence[Row],
        path: str,
    ) -> None:
        self._client, self._settings, self._base_model, self._name = client, settings, base_model, name
        self._task, self._train, self._validation, self._path = task, train, validation, path
        self.jobs: list[dict[str, Any]] = []

    def run(self, trial: Trial) -> dict[str, Any]:
        """Tune and say so; `variants` and `metrics`."""
        variants, metrics = self.tune(trial)
        log.info("done: %s", self.headline(variants))
        return {"variants": variants, "metrics": metrics}

    def tune(self, trial: Trial) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Tune, and follow up while the diagnosis says how and the plan left tokens for it."""
        variants, found, job, metrics = self._once(trial)
        left = trial.follow_up_tokens
        while job and (after := follow_up(trial, found, job.billable_tokens, left)):
            log.info("following up on %s: %d epochs", trial.name, after.epoch_count)
            left, trial = after.follow_up_tokens, after
            more, found, job, _ = self._once(trial)
            variants += more
        return variants, metrics

    def headline(self, variants: Sequence[Any]) -> str:
        """The line that sums up the step."""
        told = self.jobs[-1]["diagnosis"]["kind"]
        tokens = sum(map(billed_tokens, self.jobs))
        return f"{len(variants)} checkpoints, {told}, {tokens} tokens billed"

    def _once(self, trial: Trial) -> tuple[list[dict[str, Any]], Diagnosis, Job | None, dict[str, float]]:
        """One job from order to diagnosis. A job out of the race leaves nothing but its record."""
        client, settings = self._client, self._settings
        order = submission.order(client, trial, settings, self._base_model, self._name)
        order = submission.with_rows(client, order, self._train, self._validation)
        record = self._record(order, trial)
        try:
            runner = self._runner(trial, order.labels[FINGERPRINT])
            if why := runner.out():
                known = patiently(jobs.find, client, FINGERPRINT, order.labels[FINGERPRINT])
                self._write(record, known[0] if known else None)
                raise OutOfRace(why)
            with _interruptible(), _nothing_left_running(client, order):
                found_job = submission.obtain(client, order, settings, lambda j: self._write(record, j))
                job = self._watch(found_job, trial, record, runner)
        except OutOfRace as error:
            found = Diagnosis("out_of_race", str(error), "none")
            self._write(record, None, diagnosis=asdict(found))
            return [], found, None, {}
        series = jobs.curve(client, job)
        found = loss_diagnostics.diagnose(series, job.truncated, job.examples)
        write_events(f"{self._path}.{len(self.jobs)}.tfevents", series, job.created.timestamp())
        made_of = base_of(trial, self._base_model)
        variants = [_variant(trial, made_of, self._task, job, point) for point in _serving(client, job)]
        self._write(record, job, curve=series, diagnosis=asdict(found), variants=variants)
        log.info("diagnosis: %s, because %s; next: %s", found.kind, found.evidence, found.action)
        return variants, found, job, _metrics(job, series)

    def _watch(self, job: Job, trial: Trial, record: dict[str, Any], runner: _Runner) -> Job:
        """Look at the job until it ends; raises `JobFailed` if it fails, is late or too dear, `OutOfRace` if beaten."""
        say, late, beaten = _Progress(trial.epoch_count), self._settings.deadline_h * 3600, ""
        while not job.ended:
            say(job)
            if (datetime.now(UTC) - job.created).total_seconds() > late:
                raise JobFailed(f"{job.name} took longer than {self._settings.deadline_h} h and was cancelled")
            if 0 < trial.max_billable_tokens < job.billable_tokens * trial.epoch_count:
                raise JobFailed(f"{job.name} would bill more than {trial.max_billable_tokens} tokens and was cancelled")
            if not beaten and (beaten := runner.tell(job)):
                log.info("cancelling %s: %s", job.name, beaten)
                patiently(jobs.cancel, self._client, job.name)
            time.sleep(self._settings.poll_s)
            seen = patiently(jobs.get, self._client, job.name)
            if (seen.state, seen.detail) != (job.state, job.detail):
                self._write(record, seen)
            job = seen
        self._write(record, job)
        if beaten and not job.succeeded:
            raise OutOfRace(beaten)
        if not job.succeeded:
            raise submission.failure(job)
        runner.tell(job)
        if job.truncated or job.dropped:
            log.warning(
                "the service truncated %d rows, dropped %d: %s", job.truncated, len(job.dropped), job.dropped[:3]
            )
        return job

    def _runner(self, trial: Trial, fingerprint: str) -> _Runner:
        """The job in its race. A follow-up runs in none: it is there to go further than the others did."""
        name = "" if self.jobs[1:] else early_stopping.name_of(trial, self._settings.race)
        return _Runner(self._client, name, fingerprint, trial.epoch_count, self._settings.race_after)

    # The record: written when the job is known, at every change of state, and at the end.

    def _record(self, order: Order, trial: Trial) -> dict[str, Any]:
        self.jobs.append(
            {
                "order": asdict(order),
                "trial": trial.model_dump(mode="json"),
                "base_model": trial.base or self._base_model,
                "price": self._client.catalogue.price_of(trial, self._base_model).model_dump(mode="json"),
                "job": {"name": "", "billable_tokens": 0, "truncated": 0, "dropped": [], "completed_epochs": 0},
                "states": [],
                "curve": {},
            }
        )
        return self.jobs[-1]

    def _write(self, record: dict[str, Any], job: Job | None, **more: Any) -> None:
        """Put a job as it is now, with the states seen so far, into the file of all."""
        if job:
            state = {"state": job.state, "detail": job.detail}
            if not record["states"] or record["states"][-1] | state != record["states"][-1]:
                record["states"].append({**state, "at": datetime.now(UTC).isoformat(timespec="seconds")})
            record["job"] = {**asdict(job), "created": job.created.isoformat()}
        record.update(more)
        first, *others = self.jobs
        write_json(self._path, {**first, "follow_ups": others})


def follow_up(trial: Trial, found: Diagnosis, billable_tokens: int, tokens_left: int) -> Trial | None:
    """The next job that a diagnosis asks for, when a round and enough tokens are left; None when there is none.

    Overfitting needs no job: the earlier checkpoint exists. More epochs start anew, since a continued job would decay
    its learning rate twice.
    """
    if not trial.follow_ups or found.kind not in ("undertrained", "diverged"):
        return None
    epochs = max(1, round(trial.epoch_count * found.epoch_factor))
    cost = epochs * billable_tokens
    if cost > tokens_left:
        return None
    return trial.model_copy(
        update={
            "name": f"{trial.name}+",
            "epoch_count": epochs,
            "learning_rate_multiplier": trial.learning_rate_multiplier * found.rate_factor,
            "forecast_tokens": cost,
            "max_billable_tokens": tokens_left,
            "follow_up_tokens": tokens_left - cost,
            "follow_ups": trial.follow_ups - 1,
        }
    )


class _Runner:
    """A job that runs in a race; without a race's name it runs in none and is never out."""

    def __init__(self, client: Client, race_name: str, fingerprint: str, epochs: int, first: float) -> None:
        self._client, self._race, self._name = client, race_name, fingerprint
        self._epochs, self._first = epochs, first
        self._told: dict[str, float] = {}

    def out(self) -> str:
        """Why the job is out of the race; "" when it is not."""
        return early_stopping.gave_up(self._client, self._race, self._name) if self._race else ""

    def tell(self, job: Job) -> str:
        """Tell the others what is new, if anything is, and whether it `ended`; why the job is out, or ""."""
        if not (self._race and job.steps):
            return ""
        per_epoch = job.steps / self._epochs
        if not job.ended and not early_stopping.due(self._told, self._first, job.completed_steps / per_epoch):
            return self.out()
        series = patiently(jobs.curve, self._client, job)
        self._told = early_stopping.measure(series, per_epoch, self._first)
        return early_stopping.tell(self._client, self._race, self._name, self._told, job.ended)


class _Progress:
    """Says what the job does: each change at once, the same again at most every two seconds."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._began = time.monotonic()
        self._said = ("", -10.0)

    def __call__(self, job: Job) -> None:
        text = WORDS.get(job.detail, (job.detail or job.state).lower().replace("_", " "))
        if job.completed_steps:
            total = f"/{job.steps}" if job.steps else ""
            text += f", epoch {job.completed_epochs}/{self._epochs}, step {job.completed_steps}{total}"
        now = time.monotonic()
        if text == self._said[0] or now - self._said[1] < 2:
            return
        self._said = (text, now)
        log.info("progress: %s, %.0f s", text, now - self._began)


@contextmanager
def _nothing_left_running(client: Client, order: Order) -> Iterator[None]:
    """Cancel the job when the step is stopped or gives it up; after trouble on the line the next run adopts it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, JobFailed):
        for job in patiently(jobs.find, client, FINGERPRINT, order.labels[FINGERPRINT]):
            if not job.ended:
                log.info("cancelling %s", job.name)
                patiently(jobs.cancel, client, job.name)
        raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make SIGTERM an exception, as Ctrl-C is one, so that what is running gets cancelled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        raise KeyboardInterrupt(f"signal {number}")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# What it left.


def billed_tokens(job: dict[str, Any]) -> int:
    """Tokens that a job of a trial's record bills; one that was cancelled those of every epoch that it began."""
    told, epochs = job["job"], int(job["trial"]["epoch_count"])
    if job["diagnosis"]["kind"] == "out_of_race":  # what the service bills then is nowhere said: no less is assumed
        epochs = math.ceil(told["completed_steps"] * epochs / told["steps"]) if told.get("steps") else 0
    return int(told["billable_tokens"]) * epochs


def _serving(client: Client, job: Job) -> list[Checkpoint]:
    """The checkpoints that can be asked; those undeployed since they were made are deployed again."""
    points = list(job.checkpoints) or [Checkpoint("", job.completed_epochs, job.completed_steps, job.endpoint)]
    for point in points:
        if point.endpoint and point.checkpoint_id and not patiently(models.deployed, client, point.endpoint):
            log.info("deploying checkpoint %s again", point.checkpoint_id)
            patiently(models.deploy, client, point.endpoint, job.model, point.checkpoint_id)
    serving = [point for point in points if point.endpoint]
    if not serving:
        raise JobFailed(f"{job.name} succeeded but no checkpoint has an endpoint")
    return serving


def _variant(trial: Trial, base_model: str, task: Task, job: Job, point: Checkpoint) -> dict[str, Any]:
    return ModelVariant(
        name=f"{trial.name or 'trial'}@{point.checkpoint_id or 'last'}",
        model=point.endpoint,
        prompt=prompts.tuned_prompt(task),
        role="candidate",
        tuned_model=job.model,
        base_model=base_model,
        checkpoint_id=point.checkpoint_id,
        trial=trial.name or "trial",
        epoch=point.epoch,
        step=point.step,
    ).model_dump(mode="json")


def _metrics(job: Job, series: dict[str, list[tuple[int, float]]]) -> dict[str, float]:
    """The last value of every series and the job's counts, for the console."""
    last = {name.strip("/"): values[-1][1] for name, values in series.items() if values}
    return {**last, "billable_tokens": float(job.billable_tokens), "checkpoints": float(len(job.checkpoints))}

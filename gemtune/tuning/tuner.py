# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tune one trial: a job submitted at most once, monitored to its end, diagnosed, followed up, recorded.

Guarantees: no run, however often killed and repeated, pays twice for the same job; an interrupted run leaves no job
running unless another run waits for it; a job that runs too long, would bill too much or is stopped early is
cancelled.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gemtune.artifacts.tuning import Diagnosis, JobRecord, StateChange, TrialRecord, TuningRecord
from gemtune.catalogue import trial_base_model
from gemtune.config import Evaluate, JsonObject, ModelVariant, Prompt, Task, Trial, Tune, fingerprint
from gemtune.data.example import Example
from gemtune.inference import prompts
from gemtune.inference.prompts import tuning_rows
from gemtune.interruption import ended_by_signals
from gemtune.state import endpoints
from gemtune.tuning import early_stopping, loss_diagnostics, rewards, submission
from gemtune.tuning.submission import JobFailed
from gemtune.tuning.tensorboard import write_events
from gemtune.tuning.trials import lowest_loss, started_from, supervised_start
from gemtune.vertex import Client, jobs, models, storage
from gemtune.vertex.calls import PermanentError, TransientError
from gemtune.vertex.jobs import FINGERPRINT, Checkpoint, TuningJob, TuningJobSpec

log = logging.getLogger("gemtune")

REFRESH_S, STALE_S = 20.0, 150.0  # how often a waiting process says so, and how long that counts

STATES = {"PROCESSING_DATASET": "processing the rows", "POST_PROCESSING": "deploying checkpoints"}
"""What a job does where the service's word for it does not say."""


class EarlyStopped(Exception):
    """Another trial learns faster; this one's job is cancelled."""


@dataclass
class Tuner:
    """What stays the same over a trial and its follow-ups; the base model is that of `evaluate`.

    `path` is the file of their record, `events` the folder of TensorBoard events; `jobs` are their records, newest
    last.
    """

    client: Client
    settings: Tune
    task: Task
    evaluate: Evaluate
    name: str
    train: Sequence[Example]
    validation: Sequence[Example]
    path: Path
    events: Path
    jobs: list[TrialRecord] = field(default_factory=list)

    def run(self, trial: Trial) -> dict[str, float]:
        """Tune, and follow up while the diagnosis says how and the plan left tokens for it; returns the metrics."""
        if start := supervised_start(trial):
            self._tune(start)
            best = lowest_loss(self.jobs[-1].variants, self.jobs[-1].curve.get(loss_diagnostics.VALIDATION, []))
            (trial,) = started_from(best, [trial.model_copy(update={"base": ""})])
        metrics = self._tune(trial)
        left = trial.follow_up_tokens
        while after := follow_up(trial, self.jobs[-1], left):
            log.info("following up on %s: %d epochs", trial.name, after.epoch_count)
            left, trial = after.follow_up_tokens, after
            self._tune(trial)
        checkpoints, tokens = sum(len(job.variants) for job in self.jobs), sum(job.billed_tokens for job in self.jobs)
        diagnosis = self.jobs[-1].diagnosis
        kind = diagnosis.kind.replace("_", " ") if diagnosis else "unknown"
        log.info("done: %s", f"{checkpoints} checkpoint{'s' * (checkpoints != 1)}, {kind}, {tokens} tokens billed")
        return metrics

    def _tune(self, trial: Trial) -> dict[str, float]:
        """One job from its specification to its diagnosis. A job that is stopped early leaves only its record."""
        client, (spec, prompt, rows) = self.client, self._specification(trial)
        self._start_record(spec, trial)
        try:
            runner = self._runner(trial, spec.labels[FINGERPRINT])
            if reason := runner.reason_to_stop():
                existing = _cancel_unneeded(client, spec)  # a killed run may have left it running
                self._write(existing[0] if existing else None)
                raise EarlyStopped(reason)
            with ended_by_signals(), _nothing_left_running(client, spec) as holder:
                job = self._job(spec, trial, runner, holder)
        except EarlyStopped as stopped:
            self._write(None, diagnosis=Diagnosis(kind="early_stopped", evidence=str(stopped), action="none"))
            return {}
        series = jobs.loss_series(client, job)
        diagnosis = loss_diagnostics.diagnose_job(series, job.dropped, rows, job.dropped_reasons)
        write_events(self.events / (trial.name or "trial"), series, job.created.timestamp())
        base_model = trial_base_model(trial, self.evaluate.base_model)
        # before it is looked whether they serve; a repeated step is the same user
        in_use = endpoints.use(client, job.model, self.name, fingerprint(str(self.path.resolve())))
        variants = [self._variant(trial, base_model, prompt, job, point) for point in _serving(client, job)]
        self._write(job, curve=series, diagnosis=diagnosis, variants=variants, use=in_use)
        log.info("diagnosis: %s, because %s; next: %s", diagnosis.kind, diagnosis.evidence, diagnosis.action)
        return _metrics(job, series)

    def _specification(self, trial: Trial) -> tuple[TuningJobSpec, Prompt, int]:
        """The trial's job with its rows uploaded, the prompt that they are written with, the number of training rows.

        Labels come from the training rows unless the task names them.
        """
        client, evaluate = self.client, self.evaluate
        task = prompts.resolve(self.task, self.train)
        train, validation = (
            [row for _, row in tuning_rows(task, split, trial.method)] for split in (self.train, self.validation)
        )
        spec = submission.build_spec(client, trial, self.settings, evaluate.base_model, self.name)
        if trial.method == "reinforcement":
            last_only = self.settings.last_checkpoint_only
            spec = replace(spec, reinforcement=rewards.job_fields(trial, task, evaluate, len(self.train), last_only))
        offered = client.catalogue.evaluates_in_job(trial, evaluate.base_model, client.location)
        if evaluate.in_job and validation and offered:
            spec = replace(spec, evaluation=self._in_job(task, trial))
        return submission.with_rows(client, spec, train, validation), prompts.tuned_prompt(task), len(train)

    def _in_job(self, task: Task, trial: Trial) -> JsonObject:
        """The metric that a job is to compute, and how its checkpoints answer (`inference_generation_config`)."""
        evaluate = self.evaluate
        base = trial_base_model(trial, evaluate.base_model)
        budget, level = self.client.catalogue.thinking(base, evaluate.thinking_budget)
        thinking = {"thinking_level": level} if level else {"thinking_budget": budget} if budget is not None else None
        return {
            "metric": "rouge_l" if task.is_free_text else "exact_match",
            "inference_generation_config": {
                "temperature": evaluate.temperature,
                "max_output_tokens": evaluate.max_output_tokens,
                "seed": evaluate.seed,
                **({"thinking_config": thinking} if thinking else {}),
            },
        }

    def _job(self, spec: TuningJobSpec, trial: Trial, runner: _Runner, holder: JobHolder) -> TuningJob:
        """The succeeded job: found or submitted; submitted again when the service failed, as often as configured."""
        while True:
            job = submission.get_or_create(self.client, spec, self.settings, self._write)
            job = self._monitor(job, trial, runner, holder)
            if job.succeeded:
                return job
            if not submission.may_succeed_again(job):
                raise submission.failure(job, self.settings.attempts)
            log.warning("%s failed: %s; submitting it again", job.name, job.error or "no reason given")

    def _monitor(self, job: TuningJob, trial: Trial, runner: _Runner, holder: JobHolder) -> TuningJob:
        """Poll the job until it ends; raises `JobFailed` if it is late or too expensive, or `EarlyStopped`."""
        progress, deadline, stopped = _Progress(trial.epoch_count), self.settings.deadline_h * 3600, ""
        running_s, before = 0.0, time.monotonic()  # as seen here: neither a queue nor a wrong clock makes a job late
        while not job.ended:
            progress(job)
            if running_s > deadline:
                raise JobFailed(f"{job.name} ran longer than tune.deadline_h, {self.settings.deadline_h:g} h")
            if 0 < trial.max_billable_tokens < job.billable_tokens * trial.epoch_count:
                raise JobFailed(f"{job.name} would bill more than {trial.max_billable_tokens} tokens")
            if not stopped and (stopped := runner.report_losses(job)):
                if holder.release():
                    raise EarlyStopped(stopped)
                log.info("cancelling %s: %s", job.name, stopped)
                jobs.cancel(self.client, job.name)
            time.sleep(self.settings.poll_s)
            holder.refresh()
            now = time.monotonic()
            running_s, before = running_s + (0.0 if job.waiting else now - before), now
            seen = jobs.get(self.client, job.name)
            if (seen.state, seen.detail) != (job.state, job.detail):
                self._write(seen)
            job = seen
        self._write(job)
        if stopped and not job.succeeded:
            raise EarlyStopped(stopped)
        if job.succeeded:
            runner.report_losses(job)
        if job.dropped:
            log.warning("the service dropped %d training rows: %s", job.dropped, "; ".join(job.dropped_reasons[:3]))
        return job

    def _runner(self, trial: Trial, fingerprint: str) -> _Runner:
        """The job's place in early stopping. A follow-up trial is not compared, because it has more epochs."""
        group = "" if self.jobs[1:] else early_stopping.group_of(trial, self.settings.early_stopping)
        return _Runner(self.client, group, fingerprint, trial.epoch_count, self.settings.first_rung_epochs)

    def _variant(
        self, trial: Trial, base_model: str, prompt: Prompt, job: TuningJob, point: Checkpoint
    ) -> ModelVariant:
        return ModelVariant(
            name=f"{trial.name or 'trial'}@{point.checkpoint_id or 'last'}",
            model=point.endpoint,
            prompt=prompt,
            role="candidate",
            tuned_model=job.model,
            base_model=base_model,
            checkpoint_id=point.checkpoint_id,
            trial=trial.name or "trial",
            epoch=point.epoch,
            step=point.step,
        )

    # The record: written when the job is known, at every change of state, and at the end.

    def _start_record(self, spec: TuningJobSpec, trial: Trial) -> None:
        catalogue, base_model = self.client.catalogue, self.evaluate.base_model
        base = trial.base or base_model
        price = catalogue.price(trial_base_model(trial, base_model), base_model).model_dump(mode="json")
        price["train"] = catalogue.tuning_price(trial, base_model)
        self.jobs.append(TrialRecord(trial=trial, spec=asdict(spec), base_model=base, price=price))

    def _write(self, job: TuningJob | None, **more: Any) -> None:
        """Write the record with the job as it is now and the states seen so far."""
        record = self.jobs[-1]
        if job:
            more["job"] = JobRecord(**{name: getattr(job, name) for name in JobRecord.model_fields})
            last = record.states[-1] if record.states else None
            if last is None or (last.state, last.detail) != (job.state, job.detail):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                more["states"] = [*record.states, StateChange(state=job.state, detail=job.detail, at=now)]
        self.jobs[-1] = record.model_copy(update=more)
        TuningRecord(jobs=self.jobs).write(self.path)


def follow_up(trial: Trial, record: TrialRecord, tokens_left: int) -> Trial | None:
    """The follow-up trial for a diagnosis, if a round and enough tokens are left; otherwise None.

    Overfitting needs no job: the earlier checkpoint exists. More epochs need a new job, because a continued job would
    decay its learning rate twice.
    """
    diagnosis = record.diagnosis
    if not trial.follow_ups or diagnosis is None or diagnosis.kind not in ("undertrained", "diverged"):
        return None
    epochs = max(1, round(trial.epoch_count * diagnosis.epoch_factor))
    cost = epochs * record.job.billable_tokens
    if cost > tokens_left:
        return None
    return trial.model_copy(
        update={
            "name": f"{trial.name}+",
            "follow_up_of": trial.name,
            "epoch_count": epochs,
            "learning_rate_multiplier": trial.learning_rate_multiplier * diagnosis.rate_factor,
            "forecast_tokens": cost,
            "max_billable_tokens": tokens_left,
            "follow_up_tokens": tokens_left - cost,
            "follow_ups": trial.follow_ups - 1,
        }
    )


class JobHolder:
    """This process as one that waits for the job of a fingerprint: equal jobs are shared by all runs that need them.

    Each waiting process keeps a small object in the bucket fresh. Whoever stops early cancels the job only when no
    other fresh object is left. Times are those of Cloud Storage, so no machine's clock matters; a killed process is no
    longer counted after `STALE_S` seconds.
    """

    def __init__(self, client: Client, fingerprint: str) -> None:
        self._client, self._folder = client, f"jobs/{fingerprint}-holders"
        self._key = f"{self._folder}/{uuid.uuid4().hex}.json"
        self._refreshed = float("-inf")

    def refresh(self) -> None:
        """Say that this process still waits; a request is sent every REFRESH_S seconds at most."""
        if time.monotonic() - self._refreshed > REFRESH_S:
            storage.touch(self._client, self._key)
            self._refreshed = time.monotonic()

    def release(self) -> bool:
        """Stop waiting; returns whether another process waits for the job."""
        now = storage.touch(self._client, self._key)
        storage.delete(self._client, self._key)
        others = storage.list_times(self._client, self._folder)
        for key, refreshed in others.items():
            if now - refreshed > timedelta(days=1):
                storage.delete(self._client, key)
        return any(now - refreshed < timedelta(seconds=STALE_S) for refreshed in others.values())


class _Runner:
    """A job in its early-stopping group; without a group it is never stopped early."""

    def __init__(self, client: Client, group: str, fingerprint: str, epochs: int, first_rung: float) -> None:
        self._client, self._group, self._fingerprint = client, group, fingerprint
        self._epochs, self._first_rung = epochs, first_rung
        self._reported: dict[str, float] = {}

    def reason_to_stop(self) -> str:
        """Why the job was stopped; "" when it was not."""
        return early_stopping.reason_to_stop(self._client, self._group, self._fingerprint) if self._group else ""

    def report_losses(self, job: TuningJob) -> str:
        """Report new losses, if any, and whether the job ended; why it is to stop, or ""."""
        if not (self._group and job.steps):
            return ""
        per_epoch = job.steps / self._epochs
        reached = job.completed_steps / per_epoch
        if not job.ended and not early_stopping.is_due(self._reported, self._first_rung, reached):
            return self.reason_to_stop()
        series = jobs.loss_series(self._client, job)
        self._reported = early_stopping.losses_at_rungs(series, per_epoch, self._first_rung)
        return early_stopping.report(self._client, self._group, self._fingerprint, self._reported, job.ended)


class _Progress:
    """Logs the job's progress: each change at once, the same again at most every two seconds."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._start = time.monotonic()
        self._logged = ("", -10.0)

    def __call__(self, job: TuningJob) -> None:
        text = STATES.get(job.detail, (job.detail or job.state).lower().replace("_", " "))
        if job.completed_steps:
            steps = f"/{job.steps}" if job.steps else ""
            text += f", epoch {job.completed_epochs}/{self._epochs}, step {job.completed_steps}{steps}"
        now = time.monotonic()
        if text == self._logged[0] or now - self._logged[1] < 2:
            return
        self._logged = (text, now)
        log.info("progress: %s, %.0f s", text, now - self._start)


@contextmanager
def _nothing_left_running(client: Client, spec: TuningJobSpec) -> Iterator[JobHolder]:
    """Cancel the job when the step is stopped or fails and no other run waits for it.

    After a connection error the next run adopts it.
    """
    holder = JobHolder(client, spec.labels[FINGERPRINT])
    holder.refresh()
    try:
        yield holder
    except (KeyboardInterrupt, SystemExit, JobFailed):
        _cancel_unneeded(client, spec, holder)
        raise
    except Exception:
        with suppress(TransientError, PermanentError):  # the error on its way matters more
            holder.release()
        raise
    holder.release()


def _cancel_unneeded(client: Client, spec: TuningJobSpec, holder: JobHolder | None = None) -> list[TuningJob]:
    """Cancel the jobs of this specification that run and that no other run waits for; all of them, as before."""
    fingerprint = spec.labels[FINGERPRINT]
    needed = (holder or JobHolder(client, fingerprint)).release()
    own_jobs = list(jobs.find(client, FINGERPRINT, fingerprint))
    for job in own_jobs:
        if not job.ended and needed:
            log.info("%s goes on: another run waits for it", job.name)
        elif not job.ended:
            log.info("cancelling %s", job.name)
            jobs.cancel(client, job.name)
    return own_jobs


def _serving(client: Client, job: TuningJob) -> list[Checkpoint]:
    """The checkpoints that can be called; those undeployed since they were made are deployed again."""
    serving = [point for point in job.saved if point.endpoint]
    for point in serving:
        if not models.deployed(client, point.endpoint):
            log.info("deploying checkpoint %s again", point.checkpoint_id)
            models.deploy(client, point.endpoint, job.model, point.checkpoint_id)
    if not serving:
        raise JobFailed(f"{job.name} succeeded but no checkpoint has an endpoint")
    return serving


def _metrics(job: TuningJob, series: dict[str, list[tuple[int, float]]]) -> dict[str, float]:
    """The last value of every series and the job's counts, for the console."""
    last = {name.strip("/"): values[-1][1] for name, values in series.items() if values}
    return {**last, "billable_tokens": job.billable_tokens, "checkpoints": len(job.checkpoints)}

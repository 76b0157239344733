# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs tuning jobs: a queue, a few worker threads, and the models and endpoints a job leaves.

At most `concurrency` jobs train at once; the rest wait as PENDING with TUNING_JOB_STATE_WAITING_FOR_QUOTA. Every
checkpoint is deployed to its own endpoint as soon as it is saved. A job that fails or is cancelled leaves no model.
After a restart, unfinished jobs start again under their names: results are complete or absent, never stitched.
"""

import json
import logging
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emulator.catalogue import BaseModelEntry, Catalogue
from emulator.core.faults import Faults, StateTransitions
from emulator.core.google_rest import ApiError, Json, now
from emulator.core.state import State
from emulator.engines.base import (
    Cancelled,
    Checkpoint,
    Engine,
    FailedPrecondition,
    StepMetrics,
    TuningSpec,
    TuningTask,
)
from emulator.services.checkpoint_evaluation import CheckpointEvaluation
from emulator.services.datasets import (
    Dataset,
    DatasetError,
    data_stats,
    measure,
    parse_preference_row,
    parse_reinforcement_row,
    parse_training_row,
    read_rows,
)
from emulator.services.endpoints import Endpoints
from emulator.services.evaluation import Evaluation
from emulator.services.inference import Engines, Inference
from emulator.services.models import Models
from emulator.services.rewards import Rewards
from emulator.services.storage import Storage, split_uri
from emulator.services.tensorboard import Tensorboards

_LOG = logging.getLogger("emulator")
SPECS = {
    "supervisedTuningSpec": "supervised",
    "preferenceOptimizationSpec": "preference",
    "reinforcementTuningSpec": "reinforcement",
}
"""The method of each tuning spec."""
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "supervised": parse_training_row,
    "preference": parse_preference_row,
    "reinforcement": parse_reinforcement_row,
}
_TUNE_TYPES = {"supervised": "sft", "preference": "preference", "reinforcement": "rl"}


class JobFailure(Exception):
    """A job ends as FAILED with this google.rpc code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Services:
    """The services that tuning uses."""

    state: State
    storage: Storage
    catalogue: Catalogue
    engines: Engines
    models: Models
    endpoints: Endpoints
    tensorboards: Tensorboards
    inference: Inference
    evaluation: Evaluation
    rewards: Rewards
    faults: Faults
    states: StateTransitions


class Trainer:
    """Worker threads over a queue of tuning jobs; all jobs train with the same seed."""

    def __init__(self, services: Services, concurrency: int = 1, seed: int = 0) -> None:
        self._services = services
        self._state = services.state
        self._concurrency = concurrency
        self._seed = seed
        self._waiting: deque[str] = deque()
        self._active: set[str] = set()
        self._cancelled: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = False

    def start(self) -> None:
        """Queue the unfinished jobs of an earlier process and start the workers."""
        for _, job in reversed(self._state.all("tuningJobs")):
            if job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
                self._reset(job)
                self.enqueue(job["name"])
            elif job["state"] == "JOB_STATE_CANCELLING":
                self._finish_cancelled(job["name"])
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"trainer-{number}", daemon=True).start()

    def stop(self) -> None:
        """Stop the workers at the next step; their jobs stay unfinished and start again at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def busy(self) -> bool:
        """Whether a new job has to wait."""
        with self._changed:
            return len(self._active) + len(self._waiting) >= self._concurrency

    def idle(self) -> bool:
        """Whether no job trains or waits."""
        with self._changed:
            return not (self._active or self._waiting)

    def enqueue(self, name: str) -> None:
        """Put a job at the end of the queue."""
        with self._changed:
            self._waiting.append(name)
            self._changed.notify_all()

    def cancel(self, name: str) -> None:
        """Stop a job within one step; a waiting one at once."""
        with self._changed:
            waiting = name in self._waiting
            if waiting:
                self._waiting.remove(name)
            elif name in self._active:
                self._cancelled.add(name)
            else:
                waiting = (self._state.get(name) or {}).get("state") == "JOB_STATE_CANCELLING"
        if waiting:
            self._finish_cancelled(name)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting)
                if self._stopping:
                    return
                name = self._waiting.popleft()
                self._active.add(name)
            try:
                self._run(name)
            finally:
                with self._changed:
                    self._active.discard(name)
                    self._cancelled.discard(name)

    def _should_stop(self, name: str) -> Callable[[], bool]:
        return lambda: self._stopping or name in self._cancelled

    def _run(self, name: str) -> None:
        try:
            _Job(self._services, name, self._seed, self._should_stop(name)).run()
        except Cancelled:
            if not self._stopping:
                self._discard(name)
                self._finish_cancelled(name)
        except (JobFailure, DatasetError, ApiError, ValueError) as error:
            code = error.code if isinstance(error, JobFailure) else 9 if isinstance(error, FailedPrecondition) else 3
            self._fail(name, code, str(error))
        except Exception as error:
            if self._stopping:
                return
            _LOG.exception("tuning job %s failed", name)
            self._fail(name, 13, f"Internal error: {type(error).__name__}: {error}")

    def _fail(self, name: str, code: int, message: str) -> None:
        self._discard(name)
        self._finish(name, "JOB_STATE_FAILED", code, message)

    def _finish_cancelled(self, name: str) -> None:
        self._finish(name, "JOB_STATE_CANCELLED", 1, "CANCELED")

    def _finish(self, name: str, state: str, code: int, message: str) -> None:
        stamp = now()
        error = {"code": code, "message": message}
        self._state.update(name, state=state, error=error, endTime=stamp, updateTime=stamp)

    def _reset(self, job: Json) -> None:
        self._discard(job["name"])
        if job.get("experiment"):
            self._services.tensorboards.clear_curves(job["experiment"])

        def edit(body: Json) -> None:
            for key in ("startTime", "tuningDataStats", "tuningJobMetadata", "evaluateDatasetRuns"):
                body.pop(key, None)
            waiting = "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
            body.update(state="JOB_STATE_PENDING", tuningJobState=waiting, updateTime=now())

        self._state.change(job["name"], edit)

    def _discard(self, name: str) -> None:
        """Remove the model version, endpoints and adapters of a job that did not succeed."""
        with self._state.transaction():
            job = self._state.get(name) or {}
            tuned = job.get("tunedModel")
            if tuned:
                for checkpoint in tuned["checkpoints"]:
                    self._services.endpoints.remove(checkpoint["endpoint"])
                self._services.models.drop_version(tuned["model"])
                self._state.change(name, lambda body: body.pop("tunedModel"))
        shutil.rmtree(_adapters(self._state, name), ignore_errors=True)


def _adapters(state: State, name: str) -> Path:
    return state.directory / "adapters" / name.rsplit("/", 1)[1]


class _Job:
    """One job from PENDING to its end."""

    def __init__(self, services: Services, name: str, seed: int, should_stop: Callable[[], bool]) -> None:
        self.services = services
        self.state = services.state
        self.name = name
        self.parent, _, self.job_id = name.partition("/tuningJobs/")
        self.seed = seed
        self.should_stop = should_stop
        job = self.state.get(name)
        assert job is not None
        self.job: Json = job
        self.method = job["_method"]
        self.spec: Json = next(job[key] for key in SPECS if key in job)
        base = job.get("baseModel") or job["preTunedModel"]["baseModel"]
        entry = services.catalogue.find(base)
        if entry is None:
            raise JobFailure(3, f"Base model {base} is not in the catalogue.")
        self.entry: BaseModelEntry = entry
        self.model = ""
        self.midway_passed = False
        self.points: list[StepMetrics] = []
        self.evaluation: CheckpointEvaluation | None = None

    @property
    def display_name(self) -> str:
        """The name of the model and its endpoints."""
        inherited = self.job.get("_parent_display_name")
        return str(self.job["tunedModelDisplayName"] or inherited or f"tuned-model-{self.job_id}")

    def run(self) -> None:
        services = self.services
        self._advance(tuningJobState="TUNING_JOB_STATE_WAITING_FOR_CAPACITY")
        self._hold()
        state = "TUNING_JOB_STATE_PROCESSING_DATASET"
        self._advance(state="JOB_STATE_RUNNING", tuningJobState=state, startTime=now())
        self._inject_failure("start")
        engine = services.engines.engine(self.entry)
        train, validation = self._datasets(engine)
        task = self._task(train, validation)
        stats = data_stats(self.method, train, engine.step_count(train.rows, task.spec))
        self.job["experiment"] = self.job.get("experiment") or services.tensorboards.start_curves(
            self.parent, self.job_id, self.job["tunedModelDisplayName"]
        )
        state = "TUNING_JOB_STATE_TUNING"
        self._advance(tuningJobState=state, tuningDataStats=stats, experiment=self.job["experiment"])
        if task.validation and "evaluationConfig" in self.spec:
            self.evaluation = CheckpointEvaluation(
                (services.evaluation, services.inference, services.storage),
                self.spec["evaluationConfig"],
                self.spec["validationDatasetUri"],
                task.validation,
                self.entry.name,
                self.seed,
            )
        shutil.rmtree(task.out, ignore_errors=True)
        task.out.mkdir(parents=True)
        result = engine.tune(task)
        self._advance(tuningJobState="TUNING_JOB_STATE_POST_PROCESSING", **self._stored_metrics())
        self._inject_failure("end")
        self._hold()
        if not result.checkpoints:
            raise JobFailure(13, "The engine saved no checkpoint.")
        if "_same_endpoint" in self.job:
            last = result.checkpoints[-1].checkpoint_id
            services.endpoints.take_over(self.job["_same_endpoint"], self.model, last, self.display_name)
        self._advance(state="JOB_STATE_SUCCEEDED", endTime=now())

    def _hold(self) -> None:
        self.services.states.hold(self.name, self.should_stop)
        self._check_running()

    def _check_running(self) -> None:
        if self.should_stop():
            raise Cancelled

    def _advance(self, **fields: Any) -> None:
        """Set fields of the job; raises `Cancelled` when it was cancelled meanwhile."""

        def edit(job: Json) -> None:
            if job["state"] in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"):
                raise Cancelled
            job.update(fields, updateTime=now())

        self._check_running()
        self.state.change(self.name, edit)

    def _inject_failure(self, stage: str) -> None:
        if self.services.faults.job_fails(stage, self.job["tunedModelDisplayName"], self.name):
            raise JobFailure(13, f"Internal error at {stage} of tuning, as the fault plan requests.")

    def _datasets(self, engine: Engine) -> tuple[Dataset[Any], Dataset[Any] | None]:
        train = self._read(engine, self.spec["trainingDatasetUri"], training=True)
        uri = self.spec.get("validationDatasetUri")
        validation = self._read(engine, uri, training=False) if uri else None
        if not train.rows:
            raise JobFailure(3, f"No example of {self.spec['trainingDatasetUri']} is usable.")
        return train, validation

    def _read(self, engine: Engine, uri: str, training: bool) -> Dataset[Any]:
        plan = self.services.faults.plan
        parse = _PARSERS[self.method]
        rows, problems = read_rows(uri, self.services.storage.read_uri(uri), parse, plan.lenient_rows)
        if training and plan.drop_rows:
            kept = []
            for line, row in rows:
                if self.services.faults.happens("row", plan.drop_rows, f"{uri}/{line}".encode()):
                    problems.append((line, "Dropped by the service, as the fault plan requests."))
                else:
                    kept.append((line, row))
            rows = kept
        limit = self.services.catalogue.limits[self.method].tokens_per_example
        return measure(rows, problems, engine.row_tokens, limit)

    def _task(self, train: Dataset[Any], validation: Dataset[Any] | None) -> TuningTask:
        hyper = self.spec["hyperParameters"]
        epochs = int(hyper.get("epochCount", 1))
        initial = None
        if "preTunedModel" in self.job:
            parent = self.job["preTunedModel"]
            _, initial, _ = self.services.models.checkpoint(parent["tunedModelName"], parent["checkpointId"])
        spec = TuningSpec(
            epoch_count=epochs,
            learning_rate_multiplier=hyper["learningRateMultiplier"],
            adapter_size=self.job["_adapter_size"],
            seed=self.seed,
            checkpoint_count=1 if self.spec.get("exportLastCheckpointOnly") else min(epochs, 10),
            beta=hyper.get("beta", 0.1),
            initial_adapter=initial,
        )
        reward = None
        if self.method == "reinforcement":
            spec = replace(
                spec,
                batch_size=int(hyper["batchSize"]),
                samples_per_prompt=int(hyper["samplesPerPrompt"]),
                max_output_tokens=int(hyper["maxOutputTokens"]),
                step_count=int(hyper.get("stepCount", 0)),
                evaluate_interval=int(hyper.get("evaluateInterval", 0)),
                checkpoint_interval=int(hyper.get("checkpointInterval", 0)),
            )
            reward = partial(self.services.rewards.overall, self.spec)
        return TuningTask(
            train=train.rows,
            validation=validation.rows if validation else (),
            spec=spec,
            out=_adapters(self.state, self.name),
            on_metrics=self._on_metrics,
            on_checkpoint=self._on_checkpoint,
            should_stop=self.should_stop,
            reward=reward,
        )

    def _on_metrics(self, point: StepMetrics) -> None:
        if point.step * 2 >= point.total_steps and not self.midway_passed:
            self.midway_passed = True
            self._inject_failure("midway")
        self.services.tensorboards.record(self.job["experiment"], point)
        self.points.append(point)
        progress = {"completedEpochCount": str(int(point.epoch + 1e-9)), "completedStepCount": str(point.step)}
        self.state.update(self.name, tuningJobMetadata=progress)

    def _stored_metrics(self) -> Json:
        """With the fault plan's `metrics_in_storage`: where the metrics are, in the training data's bucket."""
        if not self.services.faults.plan.metrics_in_storage:
            return {}
        bucket, path = split_uri(self.spec["trainingDatasetUri"])[0], f"tuning-job-{self.job_id}/metrics.jsonl"
        lines = (json.dumps({"step": point.step, **point.values}) + "\n" for point in self.points)
        self.services.storage.write(bucket, path, "".join(lines).encode(), {"contentType": "application/jsonl"})
        return {"gcsMetricsUri": f"gs://{bucket}/{path}", "experiment": ""}

    def _on_checkpoint(self, saved: Checkpoint) -> None:
        """Register the checkpoint, deploy it to its own endpoint, and add it to the job."""
        self._check_running()
        models = self.services.models
        path = saved.path.resolve().relative_to(self.state.directory.resolve()).as_posix()
        checkpoint = {"checkpointId": saved.checkpoint_id, "epoch": str(saved.epoch), "step": str(saved.step)}
        with self.state.transaction():
            if not self.model:
                self.model = self._add_model()
            _, version = models.resolve(self.model)
            models.change_version(
                self.model,
                {
                    "checkpoints": [*version["checkpoints"], checkpoint],
                    "_adapters": {**version["_adapters"], saved.checkpoint_id: path},
                    "defaultCheckpointId": saved.checkpoint_id,
                },
            )
            labels = {**self.job["labels"], "google-vertex-llm-tuning-job-id": self.job_id}
            endpoint = self.services.endpoints.create_for_checkpoint(
                self._serving_parent(), self.model, saved.checkpoint_id, self.display_name, labels
            )

            def edit(job: Json) -> None:
                tuned = job.setdefault("tunedModel", {"model": self.model, "endpoint": "", "checkpoints": []})
                tuned["checkpoints"].append({**checkpoint, "endpoint": endpoint})

            self.state.change(self.name, edit)
        if self.evaluation is not None:
            self._evaluate(self.evaluation, saved.checkpoint_id, endpoint)

    def _evaluate(self, evaluation: CheckpointEvaluation, checkpoint_id: str, endpoint: str) -> None:
        """Add the evaluation of a checkpoint to the job, or the error that prevented it."""
        run: Json = {"checkpointId": checkpoint_id}
        try:
            folder = f"tuning-job-{self.job_id}/checkpoint-{checkpoint_id}"
            run["evaluateDatasetResponse"] = evaluation.run(endpoint, folder, self.should_stop)
        except ApiError as error:
            run["error"] = {"code": 5 if error.code == 404 else 3, "message": error.message}
        self.state.change(self.name, lambda job: job.setdefault("evaluateDatasetRuns", []).append(run))

    def _add_model(self) -> str:
        labels = {
            **self.job["labels"],
            "google-vertex-llm-tuning-base-model-id": re.sub(r"[^a-z0-9_-]", "-", self.entry.name),
            "google-vertex-llm-tuning-job-id": self.job_id,
            "tune-type": _TUNE_TYPES[self.method],
        }
        version: Json = {
            "displayName": self.display_name,
            "description": self.job.get("description", ""),
            "labels": labels,
            "checkpoints": [],
            "baseModelSource": {"genieSource": {"baseModelUri": f"publishers/google/models/{self.entry.name}"}},
            "modelSourceInfo": {"sourceType": "GENIE"},
            "_adapters": {},
            "_baseModel": self.entry.name,
            "_adapterSize": self.job["_adapter_size"],
        }
        model_id = None
        if "preTunedModel" in self.job and self.display_name == self.job["_parent_display_name"]:
            model_id = self.job["preTunedModel"]["tunedModelName"].rsplit("/", 1)[1].split("@")[0]
        return self.services.models.add_version(self.parent, model_id, version)

    def _serving_parent(self) -> str:
        project, location = self.name.split("/")[1], self.name.split("/")[3]
        return f"projects/{project}/locations/{self.entry.serving_locations.get(location, location)}"

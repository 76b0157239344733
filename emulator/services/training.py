# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs tuning jobs: a queue, a few worker threads, and what a job leaves behind.

At most `concurrency` jobs train at once; the rest wait as PENDING with TUNING_JOB_STATE_WAITING_FOR_QUOTA. Every
checkpoint is deployed to its own endpoint as it comes. A job that fails or is cancelled leaves no model behind. After a
restart, unfinished jobs begin anew under their names: results are whole or absent, never stitched.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.catalogue import BaseModelEntry, Catalogue
from emulator.core.faults import Faults, Looks
from emulator.core.google_rest import ApiError, Json, now
from emulator.core.state import State
from emulator.engines.base import Cancelled, Checkpoint, FailedPrecondition, StepMetrics, TuningSpec
from emulator.services.checkpoint_evaluation import CheckpointEvaluation
from emulator.services.datasets import (
    Dataset,
    DatasetError,
    measure,
    parse_preference_row,
    parse_training_row,
    preference_stats,
    read_rows,
    supervised_stats,
)
from emulator.services.endpoints import Endpoints
from emulator.services.evaluation import Evaluation
from emulator.services.inference import Engines, Inference
from emulator.services.models import Models
from emulator.services.storage import Storage
from emulator.services.tensorboard import Tensorboards

_LOG = logging.getLogger("emulator")


class JobFailure(Exception):
    """A job ends as FAILED with this google.rpc code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Parts:
    """What tuning works with."""

    state: State
    storage: Storage
    catalogue: Catalogue
    engines: Engines
    models: Models
    endpoints: Endpoints
    tensorboards: Tensorboards
    inference: Inference
    evaluation: Evaluation
    faults: Faults
    looks: Looks


class Trainer:
    """Worker threads over a queue of tuning jobs; all jobs train with the same seed."""

    def __init__(self, parts: Parts, concurrency: int = 1, seed: int = 0) -> None:
        self._parts = parts
        self._concurrency = concurrency
        self._seed = seed
        self._waiting: deque[str] = deque()
        self._active: set[str] = set()
        self._cancelled: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = False

    def start(self) -> None:
        """Find unfinished jobs of an earlier life and begin to work."""
        for _, job in reversed(self._parts.state.all("tuningJobs")):
            if job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
                self._reset(job)
                self.enqueue(job["name"])
            elif job["state"] == "JOB_STATE_CANCELLING":
                self._finish_cancelled(job["name"])
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"trainer-{number}", daemon=True).start()

    def stop(self) -> None:
        """Ask the workers to stop at the next step; their jobs stay unfinished and begin anew at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def busy(self) -> bool:
        """Whether a new job has to wait."""
        with self._changed:
            return len(self._active) + len(self._waiting) >= self._concurrency

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
                waiting = self._state_of(name) == "JOB_STATE_CANCELLING"
        if waiting:
            self._finish_cancelled(name)

    def _state_of(self, name: str) -> str:
        return str((self._parts.state.get(name) or {}).get("state", ""))

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
            _Run(self._parts, name, self._seed, self._should_stop(name)).run()
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
        stamp = now()
        error = {"code": code, "message": message}
        self._change(name, state="JOB_STATE_FAILED", error=error, endTime=stamp, updateTime=stamp)

    def _finish_cancelled(self, name: str) -> None:
        stamp = now()
        error = {"code": 1, "message": "CANCELED"}
        self._change(name, state="JOB_STATE_CANCELLED", error=error, endTime=stamp, updateTime=stamp)

    def _change(self, name: str, **changes: Any) -> Json:
        return self._parts.state.change(name, lambda job: job.update(changes))

    def _reset(self, job: Json) -> None:
        self._discard(job["name"])
        if job.get("experiment"):
            self._parts.tensorboards.clear_curves(job["experiment"])

        def edit(body: Json) -> None:
            for key in ("startTime", "tuningDataStats", "tuningJobMetadata", "evaluateDatasetRuns"):
                body.pop(key, None)
            waiting = "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
            body.update(state="JOB_STATE_PENDING", tuningJobState=waiting, updateTime=now())

        self._parts.state.change(job["name"], edit)

    def _discard(self, name: str) -> None:
        """Remove the model version, endpoints and adapters of a job that did not succeed."""
        with self._parts.state.transaction():
            job = self._parts.state.get(name) or {}
            tuned = job.get("tunedModel")
            if tuned:
                for checkpoint in tuned["checkpoints"]:
                    self._parts.endpoints.remove(checkpoint["endpoint"])
                self._parts.models.drop_version(tuned["model"])
                self._parts.state.change(name, lambda body: body.pop("tunedModel"))
        shutil.rmtree(_adapters(self._parts.state, name), ignore_errors=True)


def _adapters(state: State, name: str) -> Path:
    return state.directory / "adapters" / name.rsplit("/", 1)[1]


class _Run:
    """One job from PENDING to its end."""

    def __init__(self, parts: Parts, name: str, seed: int, stop: Callable[[], bool]) -> None:
        self.parts = parts
        self.name = name
        self.seed = seed
        self.stop = stop
        job = parts.state.get(name)
        assert job is not None
        self.job: Json = job
        self.method = job["_method"]
        key = "supervisedTuningSpec" if self.method == "supervised" else "preferenceOptimizationSpec"
        self.spec: Json = job[key]
        base = job.get("baseModel") or job["preTunedModel"]["baseModel"]
        entry = parts.catalogue.find(base)
        if entry is None:
            raise JobFailure(3, f"Base model {base} is not in the catalogue.")
        self.entry: BaseModelEntry = entry
        self.model = ""
        self.evaluation: CheckpointEvaluation | None = None

    def run(self) -> None:
        parts = self.parts
        self._advance(tuningJobState="TUNING_JOB_STATE_WAITING_FOR_CAPACITY")
        parts.looks.hold(self.name, self.stop)
        self._check()
        stamp = now()
        state = "TUNING_JOB_STATE_PROCESSING_DATASET"
        self._advance(state="JOB_STATE_RUNNING", tuningJobState=state, startTime=stamp)
        self._fault("start")
        engine = parts.engines.engine(self.entry)
        train, validation = self._datasets(engine)
        spec = self._tuning_spec()
        steps = engine.step_count(len(train.rows), spec)
        stats = (
            {"supervisedTuningDataStats": supervised_stats(train, steps)}
            if self.method == "supervised"
            else {"preferenceOptimizationDataStats": preference_stats(train, steps)}
        )
        experiment = self.job.get("experiment") or parts.tensorboards.start_curves(
            self.name.split("/tuningJobs/")[0], self.name.rsplit("/", 1)[1], self.job["tunedModelDisplayName"]
        )
        self.job["experiment"] = experiment
        self._advance(tuningJobState="TUNING_JOB_STATE_TUNING", tuningDataStats=stats, experiment=experiment)
        rows = validation.rows if validation else ()
        if rows and "evaluationConfig" in self.spec:
            uri = self.spec["validationDatasetUri"]
            services = (parts.evaluation, parts.inference, parts.storage)
            config = self.spec["evaluationConfig"]
            self.evaluation = CheckpointEvaluation(services, config, uri, rows, self.entry.name, self.seed)
        out = _adapters(parts.state, self.name)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        result = engine.tune(train.rows, rows, spec, out, self._on_metrics, self._on_checkpoint, self.stop)
        self._advance(tuningJobState="TUNING_JOB_STATE_POST_PROCESSING")
        self._fault("end")
        parts.looks.hold(self.name, self.stop)
        self._check()
        if not result.checkpoints:
            raise JobFailure(13, "The engine saved no checkpoint.")
        if "_same_endpoint" in self.job:
            last = result.checkpoints[-1].checkpoint_id
            parts.endpoints.take_over(self.job["_same_endpoint"], self.model, last, self._display_name())
        self._advance(state="JOB_STATE_SUCCEEDED", endTime=now())

    def _check(self) -> None:
        if self.stop():
            raise Cancelled

    def _advance(self, **changes: Any) -> None:
        """Change the job unless it was told to stop meanwhile."""

        def edit(job: Json) -> None:
            if job["state"] in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"):
                raise Cancelled
            job.update(changes, updateTime=now())

        self._check()
        self.parts.state.change(self.name, edit)

    def _fault(self, stage: str) -> None:
        if self.parts.faults.job_fails(stage, self.job["tunedModelDisplayName"], self.name):
            raise JobFailure(13, f"Internal error at {stage} of tuning, on request of the fault plan.")

    def _datasets(self, engine: Any) -> tuple[Dataset[Any], Dataset[Any] | None]:
        train = self._read(engine, self.spec["trainingDatasetUri"], True)
        uri = self.spec.get("validationDatasetUri")
        validation = self._read(engine, uri, False) if uri else None
        if not train.rows:
            raise JobFailure(3, f"No example of {self.spec['trainingDatasetUri']} is usable.")
        return train, validation

    def _read(self, engine: Any, uri: str, training: bool) -> Dataset[Any]:
        plan = self.parts.faults.plan
        parse: Callable[[Any], Any] = parse_training_row if self.method == "supervised" else parse_preference_row
        rows, problems = read_rows(uri, self.parts.storage.read_uri(uri), parse, plan.lenient_rows)
        if training and plan.drop_rows:
            kept = []
            for line, row in rows:
                if self.parts.faults.happens("row", plan.drop_rows, f"{uri}/{line}".encode()):
                    problems.append((line, "Dropped by the service on request of the fault plan."))
                else:
                    kept.append((line, row))
            rows = kept
        return measure(rows, problems, engine.row_tokens, self.parts.catalogue.limits[self.method].tokens_per_example)

    def _tuning_spec(self) -> TuningSpec:
        hyper = self.spec["hyperParameters"]
        epochs = int(hyper["epochCount"])
        initial = None
        if "preTunedModel" in self.job:
            parent = self.job["preTunedModel"]
            _, initial, _ = self.parts.models.checkpoint(parent["tunedModelName"], parent["checkpointId"])
        return TuningSpec(
            epoch_count=epochs,
            learning_rate_multiplier=hyper["learningRateMultiplier"],
            adapter_size=self.job["_adapter_size"],
            seed=self.seed,
            checkpoint_count=1 if self.spec.get("exportLastCheckpointOnly") else min(epochs, 10),
            beta=hyper.get("beta", 0.1),
            initial_adapter=initial,
        )

    def _on_metrics(self, point: StepMetrics) -> None:
        if point.step * 2 >= point.total_steps:
            self._fault_once("midway")
        self.parts.tensorboards.record(self.job["experiment"], point)
        progress = {"completedEpochCount": str(int(point.epoch + 1e-9)), "completedStepCount": str(point.step)}
        self.parts.state.change(self.name, lambda job: job.update(tuningJobMetadata=progress))

    def _fault_once(self, stage: str) -> None:
        if not self.job.get("_midway_drawn"):
            self.job["_midway_drawn"] = True
            self._fault(stage)

    def _on_checkpoint(self, saved: Checkpoint) -> None:
        """Register the checkpoint, deploy it to an endpoint of its own, and note it on the job."""
        self._check()
        parts = self.parts
        path = saved.path.resolve().relative_to(parts.state.directory.resolve()).as_posix()
        shown = {"checkpointId": saved.checkpoint_id, "epoch": str(saved.epoch), "step": str(saved.step)}
        with parts.state.transaction():
            if not self.model:
                self.model = self._add_model()
            _, version = parts.models.resolve(self.model)
            parts.models.change_version(
                self.model,
                {
                    "checkpoints": [*version["checkpoints"], shown],
                    "_adapters": {**version["_adapters"], saved.checkpoint_id: path},
                    "defaultCheckpointId": saved.checkpoint_id,
                },
            )
            display = self._display_name()
            parent = self._serving_parent()
            job_id = self.name.rsplit("/", 1)[1]
            labels = {**self.job["labels"], "google-vertex-llm-tuning-job-id": job_id}
            endpoint = parts.endpoints.create_for_checkpoint(parent, self.model, saved.checkpoint_id, display, labels)

            def edit(job: Json) -> None:
                tuned = job.setdefault("tunedModel", {"model": self.model, "endpoint": "", "checkpoints": []})
                tuned["checkpoints"].append({**shown, "endpoint": endpoint})

            parts.state.change(self.name, edit)
        if self.evaluation is not None:
            self._evaluate(self.evaluation, saved.checkpoint_id, endpoint)

    def _evaluate(self, evaluation: CheckpointEvaluation, checkpoint_id: str, endpoint: str) -> None:
        """Note on the job what the checkpoint's answers are worth; one that can't be evaluated is noted with why."""
        folder = f"tuning-job-{self.name.rsplit('/', 1)[1]}/checkpoint-{checkpoint_id}"
        run: Json = {"checkpointId": checkpoint_id}
        try:
            run["evaluateDatasetResponse"] = evaluation.run(endpoint, folder, self.stop)
        except ApiError as error:
            run["error"] = {"code": {404: 5, 501: 12}.get(error.code, 3), "message": error.message}
        self.parts.state.change(self.name, lambda job: job.setdefault("evaluateDatasetRuns", []).append(run))

    def _display_name(self) -> str:
        job_id = self.name.rsplit("/", 1)[1]
        inherited = self.job.get("_parent_display_name")
        return str(self.job["tunedModelDisplayName"] or inherited or f"tuned-model-{job_id}")

    def _add_model(self) -> str:
        parent, _, job_id = self.name.partition("/tuningJobs/")
        kind = "sft" if self.method == "supervised" else "preference"
        labels = {
            **self.job["labels"],
            "google-vertex-llm-tuning-base-model-id": re.sub(r"[^a-z0-9_-]", "-", self.entry.name),
            "google-vertex-llm-tuning-job-id": job_id,
            "tune-type": kind,
        }
        version: Json = {
            "displayName": self._display_name(),
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
        if "preTunedModel" in self.job and self._display_name() == self.job["_parent_display_name"]:
            model_id = self.job["preTunedModel"]["tunedModelName"].rsplit("/", 1)[1].split("@")[0]
        return self.parts.models.add_version(parent, model_id, version)

    def _serving_parent(self) -> str:
        project, location = self.name.split("/")[1], self.name.split("/")[3]
        place = self.entry.serving_locations.get(location, location)
        return f"projects/{project}/locations/{place}"

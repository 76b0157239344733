# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One tuning job from PENDING to its end, with the model and the endpoints that it leaves.

Every checkpoint is deployed to its own endpoint as soon as it is saved.
"""

import re
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emulator.catalogue import BaseModelEntry, Catalogue
from emulator.core.faults import Faults
from emulator.core.google_rest import NAMES, ApiError, Json, now, snake
from emulator.core.state import State
from emulator.engines.base import Cancelled, Checkpoint, Engine, StepMetrics, TuningSpec, TuningTask, schedule
from emulator.services.collection import JobCollection, JobFailure
from emulator.services.datasets import PARSERS, Dataset, data_stats, measure, read_rows
from emulator.services.endpoints import Endpoints
from emulator.services.evaluation import CheckpointEvaluation, Evaluation
from emulator.services.experiments import Tensorboards
from emulator.services.inference import Engines
from emulator.services.models import Models
from emulator.services.rewards import Rewards
from emulator.services.storage import Storage, split_uri

SPECS: dict[str, str] = NAMES["tuningSpecs"]
"""The method of each tuning spec."""
_COUNTS = ("batchSize", "samplesPerPrompt", "maxOutputTokens", "stepCount", "evaluateInterval", "checkpointInterval")
_TUNE_TYPES = {"supervised": "sft", "preference": "preference", "reinforcement": "rl"}


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
    evaluation: Evaluation
    rewards: Rewards
    faults: Faults


def adapters_folder(state: State, name: str) -> Path:
    """Where the adapters of a job are saved."""
    return state.directory / "adapters" / name.rsplit("/", 1)[1]


class TuningRun:
    """One job; `run` raises `Cancelled`, `JobFailure` and what `ValueError` and `ApiError` stand for."""

    def __init__(self, services: Services, name: str, seed: int, jobs: JobCollection) -> None:
        self.services = services
        self.state = services.state
        self.name = name
        self.parent, _, self.job_id = name.partition("/tuningJobs/")
        self.seed = seed
        self.jobs = jobs
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
        """Tune the model; the job is SUCCEEDED."""
        services = self.services
        self._advance(tuningJobState="TUNING_JOB_STATE_WAITING_FOR_CAPACITY")
        self.jobs.hold(self.name)
        state = "TUNING_JOB_STATE_PROCESSING_DATASET"
        self._advance(state="JOB_STATE_RUNNING", tuningJobState=state, startTime=now())
        self._inject_failure("start")
        engine = services.engines.engine(self.entry)
        uri = self.spec.get("validationDatasetUri")
        train = self._read(engine, self.spec["trainingDatasetUri"], training=True)
        validation = self._read(engine, uri, training=False) if uri else None
        if not train.rows:
            raise JobFailure(3, f"No example of {self.spec['trainingDatasetUri']} is usable.")
        task = self._task(train, validation)
        stats = data_stats(self.method, train, schedule(train.rows, task.spec, engine.batch_size).total)
        self.job["experiment"] = self.job.get("experiment") or services.tensorboards.start_curves(
            self.parent, self.job_id, self.job["tunedModelDisplayName"]
        )
        state = "TUNING_JOB_STATE_TUNING"
        self._advance(tuningJobState=state, tuningDataStats=stats, experiment=self.job["experiment"])
        if task.validation and "evaluationConfig" in self.spec:
            self.evaluation = CheckpointEvaluation(
                services.evaluation,
                services.storage,
                self.spec,
                task.validation,
                self.entry.name,
                self.seed,
                partial(self.jobs.check_running, self.name),
            )
        shutil.rmtree(task.out, ignore_errors=True)
        task.out.mkdir(parents=True)
        checkpoints = engine.tune(task)
        self._advance(tuningJobState="TUNING_JOB_STATE_POST_PROCESSING", **self._stored_metrics())
        self._inject_failure("end")
        self.jobs.hold(self.name)
        if not checkpoints:
            raise JobFailure(13, "The engine saved no checkpoint.")
        if "_same_endpoint" in self.job:
            services.endpoints.take_over(self.job["_same_endpoint"], self.model)
        self._advance(state="JOB_STATE_SUCCEEDED", endTime=now())

    def _advance(self, **fields: Any) -> None:
        """Set fields of the job; raises `Cancelled` when it was cancelled meanwhile."""

        def edit(job: Json) -> None:
            if job["state"] in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"):
                raise Cancelled
            job.update(fields, updateTime=now())

        self.jobs.check_running(self.name)
        self.state.change(self.name, edit)

    def _inject_failure(self, stage: str) -> None:
        if self.services.faults.job_fails(stage, self.job["tunedModelDisplayName"], self.name):
            raise JobFailure(13, f"Internal error at {stage} of tuning, as the fault plan requests.")

    def _read(self, engine: Engine, uri: str, training: bool) -> Dataset[Any]:
        plan = self.services.faults.plan
        parse = PARSERS[self.method]
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
        counts: Json = {snake(key): int(hyper[key]) for key in _COUNTS if key in hyper}
        return TuningTask(
            train=train.rows,
            validation=validation.rows if validation else (),
            spec=replace(spec, **counts),
            out=adapters_folder(self.state, self.name),
            on_metrics=self._on_metrics,
            on_checkpoint=self._on_checkpoint,
            should_stop=partial(self.jobs.should_stop, self.name),
            reward=partial(self.services.rewards.overall, self.spec) if self.method == "reinforcement" else None,
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
        bucket, _ = split_uri(self.spec["trainingDatasetUri"])
        uri = f"gs://{bucket}/tuning-job-{self.job_id}/metrics.jsonl"
        self.services.storage.write_lines(uri, ({"step": point.step, **point.values} for point in self.points))
        return {"gcsMetricsUri": uri, "experiment": ""}

    def _on_checkpoint(self, saved: Checkpoint) -> None:
        """Register the checkpoint, deploy it to its own endpoint, and add it to the job."""
        self.jobs.check_running(self.name)
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
            project, location = self.name.split("/")[1:4:2]
            serving = f"projects/{project}/locations/{self.entry.serving_locations.get(location, location)}"
            endpoint = self.services.endpoints.create_for_checkpoint(
                serving, self.model, saved.checkpoint_id, self.display_name, labels
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
            run["evaluateDatasetResponse"] = evaluation.run(endpoint, folder)
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

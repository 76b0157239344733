# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs, which are recorded, or executed by `emulator.execution` where the emulator was started to do so.

A local runner executes a recorded job and reports its states through `POST /emulator/{job name}:report`.
"""

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from emulator.core.google_rest import ApiError, Call, Json, check_key, now, public
from emulator.core.messages import check
from emulator.core.state import State
from emulator.execution import edges
from emulator.execution.launcher import Outputs
from emulator.execution.run import STEPS_AT_ONCE, Execution, Job, Outcome, Task
from emulator.services.collection import Collection
from emulator.services.storage import Storage, split_uri
from emulator.services.template_registry import TemplateRegistry

ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
_LOG = logging.getLogger("emulator")
_EXECUTION_STATES = {"SUCCEEDED": "COMPLETE", "SKIPPED": "CACHED"}  # others have the name of the task's state
_SCHEMAS = {"DAG": "system.DagExecution", "LOOP": "system.DagExecution", "STEP": "system.ContainerExecution"}


class StateCache:
    """Outputs of the steps of one project and location, in the emulator's state."""

    def __init__(self, state: State, parent: str) -> None:
        self._state, self._parent = state, parent

    def get(self, fingerprint: str) -> Json | None:
        """What was stored, or None."""
        stored = self._state.get(f"{self._parent}/pipelineCache/{fingerprint}")
        return None if stored is None else stored["value"]

    def put(self, fingerprint: str, value: Json) -> None:
        """Store a JSON value."""
        self._state.put("pipelineCache", f"{self._parent}/pipelineCache/{fingerprint}", {"value": value})


class PipelineRuns:
    """The jobs that run, each in a thread and a process group; `url`: where steps reach the emulator, or none runs."""

    def __init__(self, state: State, storage: Storage, url: str) -> None:
        self._state, self._storage, self.url = state, storage, url
        self._running: dict[str, Execution] = {}
        self._slots = threading.Semaphore(STEPS_AT_ONCE)
        self._stopping = False

    def recover(self) -> None:
        """Fail the jobs that ran when the emulator ended: their steps ended with it."""
        for _, job in self._state.all("pipelineJobs"):
            if job.get("_executing") and job["state"] not in ENDED:
                shutil.rmtree(self._folder(job["name"]) / "files", ignore_errors=True)
                self._finish(job["name"], Outcome("FAILED", "The emulator ended while the job ran.", ()))

    def start(self, name: str) -> None:
        """Run a stored job in a thread of its own."""
        threading.Thread(target=self._run, args=(name,), name=name, daemon=True).start()

    def cancel(self, name: str) -> None:
        """End the steps of a job, which takes up to 25 seconds; its thread then sets its last state."""
        if execution := self._running.get(name):
            threading.Thread(target=execution.cancel, daemon=True).start()

    def stop(self) -> None:
        """Let the steps of all jobs end; their jobs fail at the next start."""
        self._stopping = True
        for name in list(self._running):
            self.cancel(name)

    def clear(self) -> None:
        """End all jobs and delete their logs; returns when no step runs any more, after up to 25 seconds."""
        cancelled: set[str] = set()
        while (running := set(self._running)) or self._pending():
            for name in running - cancelled:
                self.cancel(name)
            cancelled |= running
            for name in self._pending():
                self._finish(name, Outcome("CANCELLED", "", ()))
            time.sleep(0.02)
        shutil.rmtree(self._state.directory / "pipelines", ignore_errors=True)

    def _pending(self) -> list[str]:
        jobs = (job for _, job in self._state.all("pipelineJobs"))
        return [job["name"] for job in jobs if job.get("_executing") and job["state"] == "PIPELINE_STATE_PENDING"]

    def _run(self, name: str) -> None:
        with self._state.transaction():  # waits until the job is committed
            job = self._state.get(name)
            if job is None or job["state"] != "PIPELINE_STATE_PENDING":
                return
            execution = self._execution(job)
            self._running[name] = execution
            self._state.update(name, state="PIPELINE_STATE_RUNNING", startTime=now(), updateTime=now())
        try:
            self._storage.bucket(split_uri(job["runtimeConfig"]["gcsOutputDirectory"] + "/")[0])
            outcome = execution.run()
        except ApiError as error:
            outcome = Outcome("FAILED", f"The pipeline root: {error.message}", ())
        except Exception as error:
            _LOG.exception("%s failed", name)
            outcome = Outcome("FAILED", f"Internal error: {error}", ())
        del self._running[name]
        if not self._stopping:
            self._finish(name, outcome)

    def _execution(self, job: Json) -> Execution:
        name: str = job["name"]
        _, project, *_, job_id = name.split("/")
        config = job["runtimeConfig"]
        environment = {
            "GOOGLE_VERTEX_BASE_URL": self.url,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "STORAGE_EMULATOR_HOST": self.url,
        }
        run = Job(
            name,
            job["pipelineSpec"],
            config.get("parameterValues", {}),
            f"{config['gcsOutputDirectory'].rstrip('/')}/{project}/{job_id}",
            self._folder(name),
            environment,
            config.get("failurePolicy") == "PIPELINE_FAILURE_POLICY_FAIL_FAST",
            job["createTime"],
        )

        def report(tasks: Sequence[Task]) -> None:
            with contextlib.suppress(KeyError):  # deleted
                self._state.update(
                    name, jobDetail={"taskDetails": [_task_detail(name, task) for task in tasks]}, updateTime=now()
                )

        cache = StateCache(self._state, name.rsplit("/", 2)[0])
        return Execution(run, self._storage, cache, report, self._slots)

    def _folder(self, name: str) -> Path:
        _, project, _, location, _, job_id = name.split("/")
        return self._state.directory / "pipelines" / project / location / job_id

    def _finish(self, name: str, outcome: Outcome) -> None:
        stamp = now()
        changes: Json = {"state": f"PIPELINE_STATE_{outcome.state}", "endTime": stamp, "updateTime": stamp}
        if outcome.error:
            changes["error"] = {"code": 9, "message": outcome.error}
        with contextlib.suppress(KeyError):
            self._state.update(name, **changes)


def _task_detail(job: str, task: Task) -> Json:
    """A task as PipelineTaskDetail; the values of its parameters are in the metadata of its execution."""
    parent, job_id = job.split("/pipelineJobs/")
    detail: Json = {
        "taskId": str(task.id),
        "taskName": task.display_name if task.parent else job_id,
        "taskUniqueName": task.path,
        "createTime": task.history[0][0],
        "startTime": task.history[0][0],
        "state": task.state,
        "pipelineTaskStatus": [
            {"updateTime": time, "state": state, **({"error": {"code": 9, "message": error}} if error else {})}
            for time, state, error in task.history
        ],
        "inputs": _artifacts(task.inputs),
        "outputs": _artifacts(task.outputs),
    }
    if task.attempts:
        *failed, last = (f"{parent}/customJobs/{attempt}" for attempt in task.attempts)
        detail["executorDetail"] = {"containerDetail": {"mainJob": last, "failedMainJobs": failed}}
    if task.parent:
        detail["parentTaskId"] = str(task.parent.id)
    if task.ended:
        detail["endTime"] = task.history[-1][0]
    if task.error:
        detail["error"] = {"code": 9, "message": task.error}
    if task.state != "NOT_TRIGGERED":
        values = {f"input:{key}": value for key, value in task.inputs.parameters.items()}
        values |= {f"output:{key}": value for key, value in task.outputs.parameters.items()}
        detail["execution"] = {
            "name": f"{parent}/metadataStores/default/executions/{task.id}",
            "displayName": detail["taskName"],
            "state": _EXECUTION_STATES.get(task.state, task.state),
            "schemaTitle": _SCHEMAS[task.kind] if task.parent else "system.Run",
            "metadata": values,
        }
    return detail


def _artifacts(values: Outputs) -> Json:
    return {
        key: {
            "artifacts": [
                {
                    "name": artifact["name"],
                    "displayName": key,
                    "uri": artifact["uri"],
                    "state": "LIVE",
                    "schemaTitle": artifact["type"].get("schemaTitle", "system.Artifact"),
                    "schemaVersion": artifact["type"].get("schemaVersion", ""),
                    "metadata": artifact["metadata"],
                }
                for artifact in artifacts
            ]
        }
        for key, artifacts in values.artifacts.items()
    }


_COPIED = ["displayName", "pipelineSpec", "runtimeConfig", "serviceAccount", "network", "templateUri", "encryptionSpec"]
_COPIED += ["labels", "reservedIpRanges", "pscInterfaceConfig", "preflightValidations"]


class PipelineJobs(Collection):
    """The pipelineJobs collection; with `runs` new jobs are executed."""

    kind, title, parameter = "pipelineJobs", "PipelineJob", "job"

    def __init__(self, state: State, templates: TemplateRegistry, runs: PipelineRuns) -> None:
        super().__init__(state)
        self._templates = templates
        self._runs = runs

    def record(self, parent: str, job_id: str, body: Json, schedule: str = "") -> Json:
        """A new stored job; 400 when its id or spec is invalid, 409 when its id is taken."""
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
            raise ApiError.field("pipeline_job_id", f"'{job_id[:130]}' must match [a-z][-a-z0-9]{{0,127}}.")
        job = read_job(body, parent.split("/")[3])
        if not job.get("pipelineSpec") and job.get("templateUri"):
            version, job["pipelineSpec"] = self._templates.template(job["templateUri"])
            job["templateMetadata"] = {"version": version}
        check_spec(job)
        job |= {"state": "PIPELINE_STATE_PENDING", "jobDetail": {"taskDetails": []}}
        if schedule:
            job["scheduleName"] = schedule
        default = str(job.get("pipelineSpec", {}).get("defaultPipelineRoot", ""))
        root = job["runtimeConfig"].get("gcsOutputDirectory", default)
        if not root.startswith("gs://") and (root or self._runs.url):
            raise ApiError.field(
                "pipeline_job.runtime_config.gcs_output_directory", "must be a folder, gs://bucket/..."
            )
        if not self._runs.url:
            return self.insert(parent, job, job_id)
        if "dag" not in job.get("pipelineSpec", {}).get("root", {}) or "pipelineInfo" not in job["pipelineSpec"]:
            raise ApiError.field("pipeline_job.pipeline_spec", "must have a name and a root that is a DAG.")
        job["runtimeConfig"]["gcsOutputDirectory"] = root
        inserted = self.insert(parent, {**job, "_executing": True}, job_id)
        self._runs.start(inserted["name"])
        return inserted

    def create(self, call: Call) -> Json:
        """A recorded job in state PENDING."""
        job_id = call.first("pipelineJobId") or "job-" + self._state.new_id("pipelineJobs")
        return public(self.record(call.parent, job_id, call.body))

    def active(self, schedule: str) -> int:
        """The number of jobs of a schedule that have not ended."""
        jobs = self._state.all("pipelineJobs")
        return sum(job.get("scheduleName") == schedule and job["state"] not in ENDED for _, job in jobs)

    def cancel(self, call: Call) -> Json:
        """Nothing; the job is CANCELLED, which its runner sees at its next report. Steps that run are ended first."""
        self.end(self.name(call))
        return {}

    def end(self, name: str) -> None:
        """Cancel a job; FAILED_PRECONDITION when it has ended."""
        with self._state.transaction():
            job = self.find(name)
            if job["state"] in ENDED:
                raise ApiError.precondition(f"PipelineJob {name} is in state {job['state']} and can't be cancelled.")
            stamp = now()
            if job.get("_executing") and job["state"] != "PIPELINE_STATE_PENDING":
                self._state.update(job["name"], state="PIPELINE_STATE_CANCELLING", updateTime=stamp)
                self._runs.cancel(job["name"])
            else:
                self._state.update(job["name"], state="PIPELINE_STATE_CANCELLED", endTime=stamp, updateTime=stamp)

    def check_deletable(self, resource: Json) -> None:
        """Refuse to delete a job that runs."""
        if resource.get("_executing") and resource["state"] not in ENDED:
            raise ApiError.precondition(
                f"PipelineJob {resource['name']} is in state {resource['state']}; cancel it first."
            )

    def batch_delete(self, call: Call) -> Json:
        """An operation over several jobs; all must exist."""
        with self._state.transaction():
            jobs = [self.find(name) for name in call.body["names"]]
            for job in jobs:
                self.check_deletable(job)
                self._state.delete(job["name"])
        body = {"pipelineJobs": [public(job) for job in jobs]}
        return self._operations.done(call, call.parent, "Delete", "BatchDeletePipelineJobsResponse", body)

    def batch_cancel(self, call: Call) -> Json:
        """An operation over several jobs."""
        with self._state.transaction():
            for name in call.body["names"]:
                self.end(name)
        jobs = {"pipelineJobs": [public(self.find(name)) for name in call.body["names"]]}
        method = "BatchCancelPipelineJobs"
        return self._operations.done(call, call.parent, method, f"{method}Response", jobs)

    def report(self, call: Call) -> Json:
        """The job updated by its runner's report; FAILED_PRECONDITION when the job has ended."""
        state = call.body["state"]
        changes: Json = {key: call.body[key] for key in ("state", "error", "jobDetail") if key in call.body}
        changes["updateTime"] = now()
        with self._state.transaction():
            job = self.requested(call)
            if job["state"] in ENDED:
                raise ApiError.precondition(f"PipelineJob {job['name']} has ended as {job['state']}.")
            if job.get("_executing"):
                raise ApiError.precondition(f"PipelineJob {job['name']} is executed by the emulator itself.")
            if state == "PIPELINE_STATE_RUNNING":
                changes["startTime"] = job.get("startTime") or now()
            if state in ENDED:
                changes["endTime"] = now()
            return public(self._state.update(job["name"], **changes))


def read_job(body: Json, location: str) -> Json:
    """The fields of a job that a caller sets, apart from its specification; 400 for one that the service refuses."""
    job = check(body, "PipelineJob")
    if job.get("reservedIpRanges") and not job.get("network"):
        raise ApiError.field("pipeline_job.reserved_ip_ranges", "are ranges of a network, which is not set.")
    check_key(job, location, "pipeline_job")
    return {key: job[key] for key in _COPIED if key in job}


def check_spec(job: Json) -> None:
    """Reject a job without a spec, with a parameter its spec does not have, without one it requires, or with a value
    whose type its receiver refuses."""
    spec = job.get("pipelineSpec")
    if not spec and not job.get("templateUri"):
        raise ApiError.field("pipeline_job.pipeline_spec", "is required.")
    values: Json = job["runtimeConfig"].get("parameterValues", {})
    if not spec:
        return
    try:
        parameters: Json = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        optional = {name for name, field in parameters.items() if "defaultValue" in field or field.get("isOptional")}
        problems = edges.problems(spec, values)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ApiError.field("pipeline_job.pipeline_spec", f"is not a compiled pipeline: {error!r}.") from error
    where = "pipeline_job.runtime_config.parameter_values"
    for name in sorted(set(values) - set(parameters)):
        raise ApiError.field(where, f"The pipeline has no parameter {name[:100]!r}.")
    for name in parameters:
        if name not in values and name not in optional:
            raise ApiError.field(where, f"The parameter {name[:100]!r} is required.")
    if problems:
        raise ApiError.fields(*(("pipeline_job.pipeline_spec", problem[:500]) for problem in problems[:20]))

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of pipeline jobs on this machine: storage, cache and states of the emulator for `emulator.execution`."""

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from emulator.core.google_rest import ApiError, Json, now
from emulator.core.state import State
from emulator.execution.launcher import Outputs
from emulator.execution.run import STEPS_AT_ONCE, Execution, Job, Outcome, Task
from emulator.services.storage import Storage, split_uri

ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
_LOG = logging.getLogger("emulator")
_EXECUTION_STATES = {"SUCCEEDED": "COMPLETE", "SKIPPED": "CACHED"}  # others have the name of the task's state
_SCHEMAS = {"DAG": "system.DagExecution", "LOOP": "system.DagExecution", "STEP": "system.ContainerExecution"}


class StorageStore:
    """The emulator's objects as files."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def download(self, uri: str, path: Path) -> None:
        """Write an object, or all below the URI, to a path; nothing when there is none."""
        bucket, name = split_uri(uri)
        with contextlib.suppress(ApiError):
            path.write_bytes(self._storage.read(bucket, name)[1])
            return
        token: str | None = ""
        while token is not None:
            page = self._storage.list(bucket, name.rstrip("/") + "/", token=token)
            for body in page.objects:
                file = path / body["name"][len(name.rstrip("/")) + 1 :]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self._storage.read(bucket, body["name"])[1])
            token = page.next_token

    def upload(self, path: Path, uri: str) -> None:
        """Store a file, or all files of a folder."""
        bucket, name = split_uri(uri)
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            inside = "" if file == path else f"/{file.relative_to(path)}"
            self._storage.write(bucket, name + inside, file.read_bytes())


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
    """The jobs that run; each has a thread and a process group. `url` is where steps reach the emulator."""

    def __init__(self, state: State, storage: Storage, url: str) -> None:
        self._state, self._storage, self._url = state, storage, url
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
            "GOOGLE_VERTEX_BASE_URL": self._url,
            "GOOGLE_GEMINI_BASE_URL": self._url,
            "STORAGE_EMULATOR_HOST": self._url,
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
                self._state.update(name, jobDetail=_job_detail(name, tasks), updateTime=now())

        cache = StateCache(self._state, name.rsplit("/", 2)[0])
        return Execution(run, StorageStore(self._storage), cache, report, self._slots)

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


def _job_detail(name: str, tasks: Sequence[Task]) -> Json:
    return {"taskDetails": [_task_detail(name, task) for task in tasks]}


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

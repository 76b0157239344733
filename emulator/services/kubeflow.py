# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the API server of Kubeflow Pipelines: experiments, runs and recurring runs, for `kfp.Client`.

A run is a pipeline job of the location `kubeflow`; recurring runs follow the clock of the schedules. Source:
kubeflow/pipelines, backend/api/v2beta1.
"""

import json
import re
import uuid
from datetime import datetime

from emulator.core.google_rest import ApiError, Call, Json, now, parse_json, public
from emulator.core.messages import check
from emulator.core.state import State
from emulator.services.pipeline_jobs import PipelineJobs
from emulator.services.schedules import Schedules, next_firing
from emulator.services.storage import Storage

PARENT = "projects/123456789012/locations/kubeflow"
ROOT = "minio://mlpipeline/v2/artifacts"
MAX_PARAMETER_BYTES = 10_000
_STATES = {"CANCELLED": "CANCELED", "CANCELLING": "CANCELING"}  # others have the name of the job's state

_SHOWN = ("experiment_id", "display_name", "pipeline_spec", "runtime_config", "service_account", "recurring_run_id")


class Kubeflow:
    """The API server; `schedules` has the clock. Experiments and recurring runs are resources `kubeflow/KIND/ID`."""

    def __init__(self, state: State, storage: Storage, jobs: PipelineJobs, schedules: Schedules) -> None:
        self._state, self._storage, self._jobs, self._schedules = state, storage, jobs, schedules
        schedules.watchers.append(self.fire)

    def health(self, call: Call) -> Json:
        """That there is one user."""
        return {"multi_user": False}

    def create_experiment(self, call: Call) -> Json:
        """A new experiment; 409 when its name is taken."""
        name = call.body["display_name"]
        if any(item["display_name"] == name for _, item in self._state.all("kfp_experiments")):
            raise ApiError(409, f"The experiment {name} exists.")
        fields = {"display_name": name, "namespace": call.body["namespace"]}
        return self._insert("experiments", "experiment_id", fields)

    def create_recurring_run(self, call: Call) -> Json:
        """A new recurring run, enabled or disabled; 400 for a cron expression that does not have six fields."""
        body = call.body
        _check_run(body)
        cron = body["trigger"]["cron_schedule"]["cron"]
        try:
            next_firing(_five_fields(cron), self._schedules.clock())
        except ValueError as error:
            raise ApiError(400, f"The cron expression {cron!r} is invalid: {error}.") from error
        status = "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED"
        fields = {**body, "status": status, "_since": self._schedules.clock().isoformat()}
        return self._insert("recurringruns", "recurring_run_id", fields)

    def _insert(self, kind: str, key: str, fields: Json) -> Json:
        new = str(uuid.uuid4())
        resource = {key: new, "created_at": now(), **fields, "_name": f"kubeflow/{kind}/{new}"}
        return public(self._state.put(f"kfp_{kind}", resource["_name"], resource))

    def _find(self, call: Call) -> Json:
        kind, id = call.path.split("/")[3], call.params["id"]
        stored = self._state.get(f"{PARENT}/pipelineJobs/run-{id}" if kind == "runs" else f"kubeflow/{kind}/{id}")
        if stored is None:
            raise ApiError(404, f"{kind} {id} is not found.")
        return stored

    def get(self, call: Call) -> Json:
        """An experiment, a recurring run, or a run with its state and those of its tasks."""
        stored = self._find(call)
        return _run(stored) if call.path.split("/")[3] == "runs" else public(stored)

    def list(self, call: Call) -> Json:
        """All that match, newest first, on one page."""
        kind = call.path.split("/")[3]
        if kind == "runs":
            items = [_run(job) for _, job in self._state.all("pipelineJobs") if "_run" in job]
        else:
            items = [public(item) for _, item in self._state.all(f"kfp_{kind}")]
        return {kind.replace("gruns", "gRuns"): _matching(call, items)}

    def delete(self, call: Call) -> Json:
        """Nothing; runs that were started go on."""
        self._state.delete(self._find(call)["_name"])
        return {}

    def set_status(self, call: Call) -> Json:
        """Nothing; the recurring run is enabled or disabled."""
        status = "ENABLED" if call.path.endswith(":enable") else "DISABLED"
        with self._state.transaction():
            recurring = self._find(call)
            since = self._schedules.clock().isoformat() if recurring.get("no_catchup") is True else recurring["_since"]
            self._state.update(recurring["_name"], status=status, _since=since)
        return {}

    def fire(self, moment: datetime) -> None:
        """Start the runs that are due; one that is due while `max_concurrency` go on starts when one of them has ended.

        With `no_catchup` only the latest of several that are due is started.
        """
        with self._state.transaction():  # several threads fire, and requests change what fires
            for _, recurring in self._state.all("kfp_recurringruns"):
                limit, due = recurring.get("max_concurrency", 1), self._due(recurring, moment)
                while due and self._jobs.active(recurring["recurring_run_id"]) < limit:
                    since = (moment if recurring.get("no_catchup") else due).isoformat()
                    recurring = self._state.update(recurring["_name"], _since=since)
                    self._start({**recurring, "display_name": f"{recurring['display_name']} {due:%Y-%m-%d %H:%M:%S}"})
                    due = self._due(recurring, moment)

    def _due(self, recurring: Json, moment: datetime) -> datetime | None:
        if recurring["status"] != "ENABLED":
            return None
        cron = recurring["trigger"]["cron_schedule"]["cron"]
        firing = next_firing(_five_fields(cron), datetime.fromisoformat(recurring["_since"]))
        return firing if firing and firing <= moment else None

    def create_run(self, call: Call) -> Json:
        """A new run."""
        _check_run(call.body)
        return self._start(call.body)

    def _start(self, body: Json) -> Json:
        run_id, runtime = str(uuid.uuid4()), body.get("runtime_config", {})
        root = re.sub(r"^\w+://", "gs://", runtime.get("pipeline_root") or ROOT)
        job: Json = {
            "displayName": body["display_name"],
            "pipelineSpec": _specification(body),
            "runtimeConfig": {"gcsOutputDirectory": root, "parameterValues": runtime.get("parameters", {})},
        }
        bucket = root.split("/")[2]
        if bucket not in {item["name"] for item in self._storage.buckets("123456789012")}:
            self._storage.create_bucket(bucket, "123456789012", {})
        with self._state.transaction():
            name = self._jobs.record(PARENT, f"run-{run_id}", job, str(body.get("recurring_run_id", "")))["name"]
            shown = {key: body[key] for key in _SHOWN if key in body}
            return _run(self._state.update(name, _run={"run_id": run_id, **shown}))

    def terminate(self, call: Call) -> Json:
        """Nothing; the run is cancelled."""
        self._jobs.end(self._find(call)["name"])
        return {}


def _run(job: Json) -> Json:
    state = job["state"].removeprefix("PIPELINE_STATE_")
    run = {**job["_run"], "state": _STATES.get(state, state), "created_at": job["createTime"]}
    run |= {name: job[key] for name, key in (("finished_at", "endTime"), ("error", "error")) if key in job}
    names = {"task_id": "taskId", "display_name": "taskName", "state": "state"}
    details = job["jobDetail"].get("taskDetails", [])
    tasks = [{name: str(task.get(key, "")) for name, key in names.items()} for task in details]
    return {**run, "run_details": {"task_details": tasks}}


def _check_run(body: Json) -> None:
    if "pipelineInfo" not in _specification(body):
        raise ApiError(400, "The field pipeline_spec must be a compiled pipeline.")
    size = len(json.dumps(body.get("runtime_config", {}).get("parameters", {})).encode())
    if size > MAX_PARAMETER_BYTES:
        raise ApiError(400, f"The input parameter length exceed maximum size of {MAX_PARAMETER_BYTES}: {size}.")


def _specification(body: Json) -> Json:
    document: Json = body.get("pipeline_spec", {})
    specification: Json = document.get("pipeline_spec", document)
    return specification


def _five_fields(cron: str) -> str:
    seconds, _, rest = cron.partition(" ")
    if len(cron.split()) != 6 or not seconds.isdigit():
        raise ValueError("expected six fields, of which the first are seconds")
    if "7" in rest.split()[4].split("/")[0]:
        raise ValueError("end of range (7) above maximum (6)")
    return rest.replace("?", "*")


def _matching(call: Call, items: list[Json]) -> list[Json]:
    predicates = check(parse_json((call.first("filter") or "{}").encode()), "V2beta1Filter")["predicates"]
    values = {p["key"]: p.get("stringValue", p.get("string_value")) for p in predicates}
    if experiment := call.first("experiment_id"):
        values["experiment_id"] = experiment
    return [item for item in items if all(item.get(key) == value for key, value in values.items())]

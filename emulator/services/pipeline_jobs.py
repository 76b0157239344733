# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs that are recorded.

The emulator does not run a pipeline: a local runner takes a recorded job and reports its states through
`POST /emulator/{job name}:report`.
"""

from __future__ import annotations

import re

from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    canonical,
    failed_precondition,
    labels_of,
    not_found,
    now,
    page,
    public,
    typed,
)
from emulator.core.state import State
from emulator.services.operations import EMPTY, Operations

_ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
_STATES = ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING", "PIPELINE_STATE_CANCELLING", *_ENDED)
_COPIED = ["displayName", "pipelineSpec", "runtimeConfig", "serviceAccount", "network", "templateUri", "encryptionSpec"]


class PipelineJobs:
    """The pipelineJobs collection."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._state = state
        self._operations = operations

    def routes(self) -> list[Route]:
        """Create, read, list, cancel, delete, and what a runner reports."""
        note = "recorded; a local runner executes it and reports"
        return [
            Route("POST", "pipelineJobs", self.create, "partial", note),
            Route("GET", "pipelineJobs", self.list),
            Route("POST", "pipelineJobs:batchDelete", self.batch_delete),
            Route("POST", "pipelineJobs:batchCancel", self.batch_cancel),
            Route("GET", "pipelineJobs/{job}", self.get),
            Route("DELETE", "pipelineJobs/{job}", self.delete),
            Route("POST", "pipelineJobs/{job}:cancel", self.cancel),
            Route(
                "POST",
                "/emulator/projects/{project}/locations/{location}/pipelineJobs/{job}:report",
                self.report,
                note="the emulator's own: a runner tells state, error and jobDetail",
            ),
        ]

    def record(self, parent: str, job_id: str, body: Json, schedule: str = "") -> Json:
        """Store a new job; 400 when its spec does not do, 409 when its id is taken."""
        fields = Fields(body, "pipeline_job")
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
            raise bad_field(("pipeline_job_id", f"'{job_id[:130]}' must match [a-z][-a-z0-9]{{0,127}}."))
        check_spec(fields)
        stamp = now()
        name = f"{parent}/pipelineJobs/{job_id}"
        job: Json = {"name": name, **{key: body[key] for key in _COPIED if key in body}}
        job["labels"] = labels_of(fields)
        job.update(state="PIPELINE_STATE_PENDING", createTime=stamp, updateTime=stamp, jobDetail={"taskDetails": []})
        if schedule:
            job["scheduleName"] = schedule
        with self._state.transaction():
            if self._state.get(name):
                raise ApiError(409, f"The PipelineJob {name} already exists.")
            self._state.put("pipelineJobs", name, job)
        return job

    def create(self, call: Call) -> Json:
        """A recorded job in state PENDING."""
        job_id = call.first("pipelineJobId") or "job-" + self._state.new_id("pipelineJobs")
        return public(self.record(call.parent, job_id, call.body))

    def active(self, schedule: str) -> int:
        """How many jobs of a schedule have not ended."""
        jobs = self._state.all("pipelineJobs")
        return sum(job.get("scheduleName") == schedule and job["state"] not in _ENDED for _, job in jobs)

    def _find(self, name: str) -> Json:
        found = self._state.get(canonical(name))
        if found is None or "/pipelineJobs/" not in name:
            raise not_found(f"PipelineJob {name}")
        return found

    def _name(self, call: Call) -> str:
        return f"{call.parent}/pipelineJobs/{call.params['job']}"

    def list(self, call: Call) -> Json:
        """A page of jobs, newest first."""
        found = matching(call.query.get("filter", ()), self._state.all("pipelineJobs", call.parent))
        return page(call, found, "pipelineJobs")

    def get(self, call: Call) -> Json:
        """One job."""
        return public(self._find(self._name(call)))

    def cancel(self, call: Call) -> Json:
        """Nothing; the job is CANCELLED and its runner will see that."""
        self._cancel(self._name(call))
        return {}

    def _cancel(self, name: str) -> None:
        with self._state.transaction():
            job = self._find(name)
            if job["state"] in _ENDED:
                raise failed_precondition(f"PipelineJob {name} is in state {job['state']} and can't be cancelled.")
            stamp = now()
            change: Json = {"state": "PIPELINE_STATE_CANCELLED", "endTime": stamp, "updateTime": stamp}
            self._state.change(job["name"], lambda body: body.update(change))

    def delete(self, call: Call) -> Json:
        """An operation."""
        name = self._find(self._name(call))["name"]
        self._state.delete(name)
        return self._operations.done(call, name, "DeleteOperationMetadata", EMPTY)

    def batch_delete(self, call: Call) -> Json:
        """An operation over several jobs; all must exist."""
        with self._state.transaction():
            jobs = [self._find(name) for name in call.fields().texts("names")]
            for job in jobs:
                self._state.delete(job["name"])
        body = {"pipelineJobs": [public(job) for job in jobs]}
        response = typed(call, "BatchDeletePipelineJobsResponse", body)
        return self._operations.done(call, call.parent, "DeleteOperationMetadata", response)

    def batch_cancel(self, call: Call) -> Json:
        """An operation over several jobs."""
        names = call.fields().texts("names")
        with self._state.transaction():
            for name in names:
                self._cancel(canonical(name))
        jobs = {"pipelineJobs": [public(self._find(name)) for name in names]}
        response = typed(call, "BatchCancelPipelineJobsResponse", jobs)
        return self._operations.done(call, call.parent, "BatchCancelPipelineJobsOperationMetadata", response)

    def report(self, call: Call) -> Json:
        """The job with what its runner says; a job that has ended stays as it is."""
        fields = call.fields("report")
        state = fields.text("state")
        if state not in _STATES:
            raise bad_field(("report.state", f"must be one of {', '.join(_STATES)}."))
        changes: Json = {"state": state, "updateTime": now()}
        if "error" in fields:
            changes["error"] = fields.object("error").value
        if "jobDetail" in fields:
            changes["jobDetail"] = fields.object("jobDetail").value
        with self._state.transaction():
            job = self._find(self._name(call))
            if job["state"] in _ENDED:
                raise failed_precondition(f"PipelineJob {job['name']} has ended as {job['state']}.")
            if state == "PIPELINE_STATE_RUNNING":
                changes.setdefault("startTime", job.get("startTime") or now())
            if state in _ENDED:
                changes["endTime"] = now()
            return public(self._state.change(job["name"], lambda body: body.update(changes)))


def check_spec(fields: Fields) -> None:
    """Refuse a job without a spec, or whose parameters its spec does not know or misses."""
    spec = fields.object("pipelineSpec").value
    if not spec and not fields.text("templateUri", ""):
        raise bad_field(("pipeline_job.pipeline_spec", "is required."))
    root = spec.get("root") if isinstance(spec.get("root"), dict) else {}
    inputs = root.get("inputDefinitions") if isinstance(root, dict) else None
    known = (inputs.get("parameters") if isinstance(inputs, dict) else None) or {}
    given = fields.object("runtimeConfig").object("parameterValues").value
    if not spec or not isinstance(known, dict):
        return
    unknown = sorted(set(given) - set(known))
    missing = [
        name
        for name, spec in known.items()
        if name not in given and isinstance(spec, dict) and "defaultValue" not in spec and not spec.get("isOptional")
    ]
    where = "pipeline_job.runtime_config.parameter_values"
    if unknown:
        raise bad_field((where, f"The pipeline has no parameter {unknown[0][:100]!r}."))
    if missing:
        raise bad_field((where, f"The parameter {missing[0][:100]!r} is required."))

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs, which are recorded and not run.

A local runner executes a recorded job and reports its states through `POST /emulator/{job name}:report`.
"""

from __future__ import annotations

import re

from emulator.core.google_rest import (
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    failed_precondition,
    now,
    public,
    read_labels,
    typed,
)
from emulator.services.collection import Collection

_ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
_STATES = ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING", "PIPELINE_STATE_CANCELLING", *_ENDED)
_COPIED = ["displayName", "pipelineSpec", "runtimeConfig", "serviceAccount", "network", "templateUri", "encryptionSpec"]


class PipelineJobs(Collection):
    """The pipelineJobs collection."""

    kind, title, parameter = "pipelineJobs", "PipelineJob", "job"

    def routes(self) -> list[Route]:
        """Create, read, list, cancel, delete, and a runner's reports."""
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
                note="the emulator's own: a runner reports state, error and jobDetail",
            ),
        ]

    def record(self, parent: str, job_id: str, body: Json, schedule: str = "") -> Json:
        """A new stored job; 400 when its id or spec is invalid, 409 when its id is taken."""
        fields = Fields(body, "pipeline_job")
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
            raise bad_field(("pipeline_job_id", f"'{job_id[:130]}' must match [a-z][-a-z0-9]{{0,127}}."))
        check_spec(fields)
        job: Json = {key: body[key] for key in _COPIED if key in body}
        job |= {"labels": read_labels(fields), "state": "PIPELINE_STATE_PENDING", "jobDetail": {"taskDetails": []}}
        if schedule:
            job["scheduleName"] = schedule
        return self.insert(parent, job, job_id)

    def create(self, call: Call) -> Json:
        """A recorded job in state PENDING."""
        job_id = call.first("pipelineJobId") or "job-" + self._state.new_id("pipelineJobs")
        return public(self.record(call.parent, job_id, call.body))

    def active(self, schedule: str) -> int:
        """The number of jobs of a schedule that have not ended."""
        jobs = self._state.all("pipelineJobs")
        return sum(job.get("scheduleName") == schedule and job["state"] not in _ENDED for _, job in jobs)

    def cancel(self, call: Call) -> Json:
        """Nothing; the job is CANCELLED, which its runner sees at its next report."""
        self._cancel(self.name(call))
        return {}

    def _cancel(self, name: str) -> None:
        with self._state.transaction():
            job = self.find(name)
            if job["state"] in _ENDED:
                raise failed_precondition(f"PipelineJob {name} is in state {job['state']} and can't be cancelled.")
            stamp = now()
            self._state.update(job["name"], state="PIPELINE_STATE_CANCELLED", endTime=stamp, updateTime=stamp)

    def batch_delete(self, call: Call) -> Json:
        """An operation over several jobs; all must exist."""
        with self._state.transaction():
            jobs = [self.find(name) for name in call.fields().texts("names")]
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
                self._cancel(name)
        jobs = {"pipelineJobs": [public(self.find(name)) for name in names]}
        response = typed(call, "BatchCancelPipelineJobsResponse", jobs)
        return self._operations.done(call, call.parent, "BatchCancelPipelineJobsOperationMetadata", response)

    def report(self, call: Call) -> Json:
        """The job updated by its runner's report; FAILED_PRECONDITION when the job has ended."""
        fields = call.fields("report")
        state = fields.text("state")
        if state not in _STATES:
            raise bad_field(("report.state", f"must be one of {', '.join(_STATES)}."))
        changes: Json = {"state": state, "updateTime": now()}
        for key in ("error", "jobDetail"):
            if key in fields:
                changes[key] = fields.object(key).value
        with self._state.transaction():
            job = self.requested(call)
            if job["state"] in _ENDED:
                raise failed_precondition(f"PipelineJob {job['name']} has ended as {job['state']}.")
            if state == "PIPELINE_STATE_RUNNING":
                changes["startTime"] = job.get("startTime") or now()
            if state in _ENDED:
                changes["endTime"] = now()
            return public(self._state.update(job["name"], **changes))


def check_spec(fields: Fields) -> None:
    """Reject a job without a spec, with a parameter its spec does not have, or without one it requires."""
    spec = fields.object("pipelineSpec").value
    if not spec and not fields.text("templateUri", ""):
        raise bad_field(("pipeline_job.pipeline_spec", "is required."))
    root = spec.get("root")
    inputs = root.get("inputDefinitions") if isinstance(root, dict) else None
    parameters = (inputs.get("parameters") if isinstance(inputs, dict) else None) or {}
    values = fields.object("runtimeConfig").object("parameterValues").value
    if not spec or not isinstance(parameters, dict):
        return
    where = "pipeline_job.runtime_config.parameter_values"
    for name in sorted(set(values) - set(parameters)):
        raise bad_field((where, f"The pipeline has no parameter {name[:100]!r}."))
    for name, parameter in parameters.items():
        optional = not isinstance(parameter, dict) or "defaultValue" in parameter or parameter.get("isOptional")
        if name not in values and not optional:
            raise bad_field((where, f"The parameter {name[:100]!r} is required."))

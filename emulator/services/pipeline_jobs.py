# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs, which are recorded, or executed where the emulator was started to do so.

A local runner executes a recorded job and reports its states through `POST /emulator/{job name}:report`.
"""

import re

from emulator.core.google_rest import NAMES, Call, Fields, Json, bad_field, failed_precondition, now, public
from emulator.core.messages import check
from emulator.core.state import State
from emulator.execution import edges
from emulator.services.collection import Collection
from emulator.services.pipeline_runs import ENDED, PipelineRuns
from emulator.services.structured import enum_name
from emulator.services.template_registry import TemplateRegistry

_STATES = ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING", "PIPELINE_STATE_CANCELLING", *ENDED)
_COPIED = ["displayName", "pipelineSpec", "runtimeConfig", "serviceAccount", "network", "templateUri", "encryptionSpec"]
_COPIED += ["reservedIpRanges", "pscInterfaceConfig", "preflightValidations"]


class PipelineJobs(Collection):
    """The pipelineJobs collection; with `runs` new jobs are executed."""

    kind, title, parameter = "pipelineJobs", "PipelineJob", "job"

    def __init__(self, state: State, templates: TemplateRegistry, runs: PipelineRuns | None = None) -> None:
        super().__init__(state)
        self._templates = templates
        self._runs = runs

    def record(self, parent: str, job_id: str, body: Json, schedule: str = "") -> Json:
        """A new stored job; 400 when its id or spec is invalid, 409 when its id is taken."""
        fields = Fields(body, "pipeline_job")
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
            raise bad_field(("pipeline_job_id", f"'{job_id[:130]}' must match [a-z][-a-z0-9]{{0,127}}."))
        job = read_job(fields, parent.split("/")[3])
        if not body.get("pipelineSpec") and fields.text("templateUri", ""):
            version, job["pipelineSpec"] = self._templates.template(fields.text("templateUri"))
            job["templateMetadata"] = {"version": version}
        check_spec(Fields(job, "pipeline_job"))
        job |= {"state": "PIPELINE_STATE_PENDING", "jobDetail": {"taskDetails": []}}
        if schedule:
            job["scheduleName"] = schedule
        default = str(job.get("pipelineSpec", {}).get("defaultPipelineRoot", ""))
        root = fields.object("runtimeConfig").text("gcsOutputDirectory", default)
        if not root.startswith("gs://") and (root or self._runs):
            raise bad_field(("pipeline_job.runtime_config.gcs_output_directory", "must be a folder, gs://bucket/..."))
        if self._runs is None:
            return self.insert(parent, job, job_id)
        if "dag" not in job.get("pipelineSpec", {}).get("root", {}) or "pipelineInfo" not in job["pipelineSpec"]:
            raise bad_field(("pipeline_job.pipeline_spec", "must have a name and a root that is a DAG."))
        job["runtimeConfig"] = {**job.get("runtimeConfig", {}), "gcsOutputDirectory": root}
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
                raise failed_precondition(f"PipelineJob {name} is in state {job['state']} and can't be cancelled.")
            stamp = now()
            if self._runs is not None and job.get("_executing") and job["state"] != "PIPELINE_STATE_PENDING":
                self._state.update(job["name"], state="PIPELINE_STATE_CANCELLING", updateTime=stamp)
                self._runs.cancel(job["name"])
            else:
                self._state.update(job["name"], state="PIPELINE_STATE_CANCELLED", endTime=stamp, updateTime=stamp)

    def check_deletable(self, resource: Json) -> None:
        """Refuse to delete a job that runs."""
        if resource.get("_executing") and resource["state"] not in ENDED:
            raise failed_precondition(
                f"PipelineJob {resource['name']} is in state {resource['state']}; cancel it first."
            )

    def batch_delete(self, call: Call) -> Json:
        """An operation over several jobs; all must exist."""
        with self._state.transaction():
            jobs = [self.find(name) for name in call.fields().texts("names")]
            for job in jobs:
                self.check_deletable(job)
                self._state.delete(job["name"])
        body = {"pipelineJobs": [public(job) for job in jobs]}
        return self._operations.done(call, call.parent, "Delete", "BatchDeletePipelineJobsResponse", body)

    def batch_cancel(self, call: Call) -> Json:
        """An operation over several jobs."""
        names = call.fields().texts("names")
        with self._state.transaction():
            for name in names:
                self.end(name)
        jobs = {"pipelineJobs": [public(self.find(name)) for name in names]}
        method = "BatchCancelPipelineJobs"
        return self._operations.done(call, call.parent, method, f"{method}Response", jobs)

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
            if job["state"] in ENDED:
                raise failed_precondition(f"PipelineJob {job['name']} has ended as {job['state']}.")
            if job.get("_executing"):
                raise failed_precondition(f"PipelineJob {job['name']} is executed by the emulator itself.")
            if state == "PIPELINE_STATE_RUNNING":
                changes["startTime"] = job.get("startTime") or now()
            if state in ENDED:
                changes["endTime"] = now()
            return public(self._state.update(job["name"], **changes))


def read_job(fields: Fields, location: str) -> Json:
    """The fields of a job that a caller sets, apart from its specification; 400 for one that the service refuses."""
    check(fields, "PipelineJob")
    job: Json = {key: fields.value[key] for key in _COPIED if key in fields.value}
    if fields.texts("reservedIpRanges") and not fields.text("network", ""):
        raise fields.error("reservedIpRanges", "are ranges of a network, which is not set.")
    if "encryptionSpec" in fields:
        job["encryptionSpec"] = fields.key(location)
    runtime = fields.object("runtimeConfig")
    if "failurePolicy" in runtime:
        policy = enum_name(runtime, "failurePolicy", NAMES["failurePolicy"])
        job["runtimeConfig"] = {**runtime.value, "failurePolicy": policy}
    return {**job, "labels": fields.labels()}


def check_spec(fields: Fields) -> None:
    """Reject a job without a spec, with a parameter its spec does not have, without one it requires, or with a value
    whose type its receiver refuses."""
    spec = fields.object("pipelineSpec").value
    if not spec and not fields.text("templateUri", ""):
        raise bad_field(("pipeline_job.pipeline_spec", "is required."))
    values = fields.object("runtimeConfig").object("parameterValues").value
    if not spec:
        return
    try:
        parameters: Json = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        optional = {name for name, field in parameters.items() if "defaultValue" in field or field.get("isOptional")}
        problems = edges.problems(spec, values)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise bad_field(("pipeline_job.pipeline_spec", f"is not a compiled pipeline: {error!r}.")) from error
    where = "pipeline_job.runtime_config.parameter_values"
    for name in sorted(set(values) - set(parameters)):
        raise bad_field((where, f"The pipeline has no parameter {name[:100]!r}."))
    for name in parameters:
        if name not in values and name not in optional:
            raise bad_field((where, f"The parameter {name[:100]!r} is required."))
    if problems:
        raise bad_field(*(("pipeline_job.pipeline_spec", problem[:500]) for problem in problems[:20]))

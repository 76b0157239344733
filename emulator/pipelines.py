# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs that are recorded, and schedules that fire them.

The emulator does not run a pipeline: a local runner takes a recorded job and reports its states through
`POST /emulator/{job name}:report`. Schedules keep the real clock; `POST /emulator/clock` sets it forward to rehearse.
"""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.cron import parse_cron
from emulator.filters import matching
from emulator.models import EMPTY, Operations
from emulator.state import State
from emulator.wire import (
    ApiError,
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    camelize,
    canonical,
    failed_precondition,
    labels_of,
    not_found,
    now,
    page,
    public,
    typed,
)

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


class Schedules:
    """The schedules collection and the clock that fires it."""

    def __init__(self, state: State, operations: Operations, jobs: PipelineJobs) -> None:
        self._state = state
        self._operations = operations
        self._jobs = jobs
        self._ahead = timedelta()
        self._wake = threading.Event()
        self._stopping = False

    def routes(self) -> list[Route]:
        """Create, read, list, update, pause, resume, delete, and the clock."""
        return [
            Route("POST", "schedules", self.create),
            Route("GET", "schedules", self.list),
            Route("GET", "schedules/{schedule}", self.get),
            Route("PATCH", "schedules/{schedule}", self.patch),
            Route("DELETE", "schedules/{schedule}", self.delete),
            Route("POST", "schedules/{schedule}:pause", self.pause),
            Route("POST", "schedules/{schedule}:resume", self.resume),
            Route("POST", "/emulator/clock", self.advance, note="the emulator's own: sets schedules' clock forward"),
        ]

    def start(self) -> None:
        """Begin to fire."""
        threading.Thread(target=self._work, name="schedules", daemon=True).start()

    def stop(self) -> None:
        """Fire no more."""
        self._stopping = True
        self._wake.set()

    def moment(self) -> datetime:
        """The schedules' time."""
        return datetime.now(UTC) + self._ahead

    def advance(self, call: Call) -> Json:
        """The schedules' time after setting it forward by `seconds`; what came due has fired when this returns."""
        seconds = call.fields("clock").number("seconds", 0)
        if not 0 <= seconds <= 31 * 86400:
            raise bad_field(("clock.seconds", "must be from 0 to 31 days."))
        target = self.moment() + timedelta(seconds=seconds)
        self.fire_until(target)
        self._ahead += timedelta(seconds=seconds)
        return {"time": _stamp(self.moment())}

    def _work(self) -> None:
        while not self._stopping:
            self.fire_until(self.moment())
            self._wake.wait(1.0)

    def fire_until(self, moment: datetime) -> None:
        """Fire everything that is due at a moment, in order of time, and queued runs that found room."""
        self._run_queued()
        while True:
            due = [
                (item["nextRunTime"], item["name"])
                for _, item in self._state.all("schedules")
                if item["state"] == "ACTIVE" and item.get("nextRunTime", "9") <= _stamp(moment)
            ]
            if not due:
                return
            self._fire(min(due)[1])

    def _run_queued(self) -> None:
        for _, schedule in self._state.all("schedules"):
            while schedule.get("_queued") and self._jobs.active(schedule["name"]) < int(
                schedule["maxConcurrentRunCount"]
            ):
                with self._state.transaction():
                    schedule["_queued"] -= 1
                    self._run(schedule, _stamp(self.moment()))
                    self._state.put("schedules", schedule["name"], schedule)

    def _fire(self, name: str) -> None:
        with self._state.transaction():
            schedule = self._state.get(name)
            if schedule is None or schedule["state"] != "ACTIVE" or not schedule.get("nextRunTime"):
                return
            due = schedule["nextRunTime"]
            full = self._jobs.active(name) >= int(schedule["maxConcurrentRunCount"])
            if full and schedule.get("allowQueueing"):
                schedule["_queued"] = schedule.get("_queued", 0) + 1
            elif not full:
                self._run(schedule, due)
            self._plan(schedule, _parse_time(due, "nextRunTime"))
            self._state.put("schedules", name, schedule)

    def _run(self, schedule: Json, due: str) -> None:
        request = schedule["createPipelineJobRequest"]
        compact = re.sub(r"[^0-9]", "", due)[:14]
        base = re.sub(r"[^a-z0-9]+", "-", str(schedule["displayName"]).lower()).strip("-") or "run"
        job_id = f"{base if base[0].isalpha() else 'p-' + base}"[:90] + f"-{compact}-{self._state.new_id('runs')[-6:]}"
        body = _fill_placeholders(request["pipelineJob"], due, self.moment())
        try:
            job = self._jobs.record(schedule["name"].split("/schedules/")[0], job_id, body, schedule["name"])
            schedule["lastScheduledRunResponse"] = {"scheduledRunTime": due, "runResponse": f"OK: {job['name']}"}
        except ApiError as error:
            schedule["lastScheduledRunResponse"] = {"scheduledRunTime": due, "runResponse": error.message}
        schedule["startedRunCount"] = str(int(schedule.get("startedRunCount", 0)) + 1)

    def _plan(self, schedule: Json, after: datetime) -> None:
        """Set the next firing, or COMPLETED when there is none."""
        following = parse_cron(schedule["cron"]).after(after)
        end = schedule.get("endTime")
        spent = int(schedule.get("maxRunCount", 0) or 0)
        exhausted = spent and int(schedule.get("startedRunCount", 0)) >= spent
        if following is None or (end and following > _parse_time(end, "endTime")) or exhausted:
            schedule.pop("nextRunTime", None)
            schedule["state"] = "COMPLETED"
        else:
            schedule["nextRunTime"] = _stamp(following)

    # --- routes

    def _find(self, call: Call) -> Json:
        name = f"{call.parent}/schedules/{call.params['schedule']}"
        found = self._state.get(name)
        if found is None:
            raise not_found(f"Schedule {name}")
        return found

    def create(self, call: Call) -> Json:
        """An active schedule with its next run time."""
        fields = call.fields("schedule")
        request = fields.object("createPipelineJobRequest")
        if "createPipelineJobRequest" not in fields:
            raise bad_field(("schedule.create_pipeline_job_request", "is required."))
        job = request.object("pipelineJob")
        if request.text("pipelineJobId", ""):
            raise bad_field((request.name("pipelineJobId"), "must not be set in a schedule."))
        check_spec(Fields(job.value, "pipeline_job"))
        stamp = _stamp(self.moment())
        schedule: Json = {
            "name": f"{call.parent}/schedules/{self._state.new_id('schedules')}",
            "displayName": _display_name(fields),
            "state": "ACTIVE",
            "createTime": stamp,
            "updateTime": stamp,
            "startTime": fields.text("startTime", stamp),
            "startedRunCount": "0",
            "catchUp": False,
            "createPipelineJobRequest": {"parent": request.text("parent", call.parent), "pipelineJob": job.value},
        }
        self._settings(schedule, fields, set(call.body))
        self._plan(schedule, max(self.moment(), _parse_time(schedule["startTime"], "startTime") - timedelta(seconds=1)))
        return public(self._state.put("schedules", schedule["name"], schedule))

    def _settings(self, schedule: Json, fields: Fields, given: set[str]) -> None:
        if "cron" in given or "cron" not in schedule:
            try:
                parse_cron(fields.text("cron"))
            except ValueError as error:
                raise bad_field(("schedule.cron", f"{error}.")) from error
            schedule["cron"] = fields.text("cron")
        if "endTime" in given and fields.value.get("endTime"):
            _parse_time(fields.text("endTime"), "endTime")
            schedule["endTime"] = fields.text("endTime")
        if "startTime" in given:
            _parse_time(fields.text("startTime"), "startTime")
        for key, default in (("maxRunCount", 0), ("maxConcurrentRunCount", 1), ("maxConcurrentActiveRunCount", 0)):
            if key in given or (default and key not in schedule):
                count = fields.integer(key, default)
                if count < 0 or (key == "maxConcurrentRunCount" and count == 0):
                    raise bad_field((fields.name(key), "must be a positive number."))
                if count:
                    schedule[key] = str(count)
        if "allowQueueing" in given:
            schedule["allowQueueing"] = fields.boolean("allowQueueing")

    def list(self, call: Call) -> Json:
        """A page of schedules."""
        found = matching(call.query.get("filter", ()), self._state.all("schedules", call.parent))
        return page(call, found, "schedules")

    def get(self, call: Call) -> Json:
        """One schedule."""
        return public(self._find(call))

    def patch(self, call: Call) -> Json:
        """The schedule with the masked fields changed and the next run time anew."""
        fields = call.fields("schedule")
        mask = {part for part in call.first("updateMask").split(",") if part}
        given = set(camelize(dict.fromkeys(mask))) or set(call.body)
        with self._state.transaction():
            schedule = self._find(call)
            if "displayName" in given:
                schedule["displayName"] = _display_name(fields)
            if "createPipelineJobRequest" in given:
                job = fields.object("createPipelineJobRequest").object("pipelineJob")
                check_spec(Fields(job.value, "pipeline_job"))
                schedule["createPipelineJobRequest"]["pipelineJob"] = job.value
            self._settings(schedule, fields, given)
            schedule["updateTime"] = _stamp(self.moment())
            if schedule["state"] == "ACTIVE":
                self._plan(schedule, self.moment())
            return public(self._state.put("schedules", schedule["name"], schedule))

    def delete(self, call: Call) -> Json:
        """An operation."""
        name = self._find(call)["name"]
        self._state.delete(name)
        return self._operations.done(call, name, "DeleteOperationMetadata", EMPTY)

    def pause(self, call: Call) -> Json:
        """Nothing; the schedule fires no more until it is resumed."""
        with self._state.transaction():
            schedule = self._find(call)
            if schedule["state"] == "COMPLETED":
                raise failed_precondition("The schedule is completed.")
            schedule.update(state="PAUSED", lastPauseTime=_stamp(self.moment()))
            schedule.pop("nextRunTime", None)
            self._state.put("schedules", schedule["name"], schedule)
        return {}

    def resume(self, call: Call) -> Json:
        """Nothing; with `catchUp` the runs missed since the pause come due at once."""
        catch_up = call.fields("resume").boolean("catchUp")
        with self._state.transaction():
            schedule = self._find(call)
            if schedule["state"] != "PAUSED":
                raise failed_precondition(f"The schedule is {schedule['state']}, not PAUSED.")
            since = _parse_time(schedule["lastPauseTime"], "lastPauseTime") if catch_up else self.moment()
            schedule.update(state="ACTIVE", catchUp=catch_up, lastResumeTime=_stamp(self.moment()))
            self._plan(schedule, since)
            self._state.put("schedules", schedule["name"], schedule)
        return {}


def _display_name(fields: Fields) -> str:
    name = fields.text("displayName")
    if not 1 <= len(name) <= 128:
        raise bad_field((fields.name("displayName"), "must have 1 to 128 characters."))
    return name


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_time(text: str, field: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_field((f"schedule.{field}", f"'{text[:60]}' is not a time in RFC 3339.")) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _fill_placeholders(value: Any, due: str, moment: datetime) -> Any:
    if isinstance(value, dict):
        return {key: _fill_placeholders(item, due, moment) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_placeholders(item, due, moment) for item in value]
    if isinstance(value, str):
        return value.replace("{{$.pipeline_job_schedule_time_utc_placeholder}}", due)
    return value

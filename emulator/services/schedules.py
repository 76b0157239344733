# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Schedules that create pipeline jobs by cron.

Schedules follow the real clock; `POST /emulator/clock` sets it forward for tests.
"""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    camelize,
    failed_precondition,
    not_found,
    page,
    public,
)
from emulator.core.state import State
from emulator.cron import parse_cron
from emulator.services.operations import EMPTY, Operations
from emulator.services.pipeline_jobs import PipelineJobs, check_spec


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

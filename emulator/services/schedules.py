# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Schedules that create pipeline jobs by cron, on a clock that `POST /emulator/clock` sets forward."""

import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from emulator.core.google_rest import ApiError, Call, Json, public
from emulator.core.messages import changes
from emulator.core.state import State
from emulator.execution.values import fill_names
from emulator.services.collection import Collection
from emulator.services.pipeline_jobs import PipelineJobs, check_spec, read_job

_LOG = logging.getLogger("emulator")
_DUE = "pipeline_job_schedule_time_utc_placeholder"


def next_firing(cron: str, after: datetime) -> datetime | None:
    """The first firing of a cron expression after a moment (aware), in UTC; None when there is none within 50 years.

    The expression has five fields, optionally after `TZ=` or `CRON_TZ=` and a time zone (default UTC), as Vertex's
    schedules write it. A local time that a clock change skips does not fire; one that it repeats fires once.
    `ValueError` for an invalid expression.
    """
    zone: tzinfo = UTC
    match = re.fullmatch(r"\s*(?:CRON_)?TZ=(\S+)\s+(.*)", cron, re.S)
    if match:
        try:
            zone = ZoneInfo(match[1])
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {match[1]!r}") from error
        cron = match[2]
    if len(cron.split()) != 5:
        raise ValueError(f"a cron expression has five fields, not {len(cron.split())}")
    try:
        # local times without a zone: cronsim's own rule moves a skipped time to the end of the gap
        times = CronSim(cron, after.astimezone(zone).replace(tzinfo=None))
    except CronSimError as error:
        raise ValueError(f"invalid cron expression {cron!r}: {error}") from error
    for local in times:
        firing = local.replace(tzinfo=zone).astimezone(UTC)
        skipped = firing.astimezone(zone).replace(tzinfo=None) != local
        if firing > after and not skipped:
            return firing
    return None


class Schedules(Collection):
    """The schedules collection and the clock that fires it."""

    kind, title, parameter = "schedules", "Schedule", "schedule"

    def __init__(self, state: State, jobs: PipelineJobs) -> None:
        super().__init__(state)
        self._jobs = jobs
        self.watchers: list[Callable[[datetime], None]] = []  # called with each moment that the clock reaches
        self._ahead = timedelta()
        self._wake = threading.Event()
        self._stopping = False

    def start(self) -> None:
        """Begin to fire."""
        threading.Thread(target=self._work, name="schedules", daemon=True).start()

    def stop(self) -> None:
        """Stop firing."""
        self._stopping = True
        self._wake.set()

    def clock(self) -> datetime:
        """The schedules' current time."""
        return datetime.now(UTC) + self._ahead

    def advance(self, call: Call) -> Json:
        """The schedules' time after setting it forward by `seconds`; due schedules have fired when this returns."""
        ahead = timedelta(seconds=call.body["seconds"])
        self.fire_until(self.clock() + ahead)
        self._ahead += ahead
        return {"time": _stamp(self.clock())}

    def _work(self) -> None:
        while not self._stopping:
            try:
                self.fire_until(self.clock())
            except Exception:  # one schedule must not end all others
                _LOG.exception("schedules did not fire")
            self._wake.wait(1.0)

    def fire_until(self, moment: datetime) -> None:
        """Fire everything that is due at a moment, in order of time, and queued runs that can start now."""
        self._run_queued()
        for watcher in self.watchers:
            watcher(moment)
        while True:
            due = [
                (item["nextRunTime"], item["name"])
                for _, item in self._state.all("schedules")
                if item["state"] == "ACTIVE" and item.get("nextRunTime", "9") <= _stamp(moment)
            ]
            if not due:
                return
            self._fire(min(due)[1], moment)

    def _at_limit(self, schedule: Json) -> bool:  # maxConcurrentRunCount limits runs being started: that takes no time
        return 0 < int(schedule.get("maxConcurrentActiveRunCount", 0)) <= self._jobs.active(schedule["name"])

    def _run_queued(self) -> None:
        with self._state.transaction():
            for _, schedule in self._state.all("schedules"):
                while schedule.get("_queued") and not self._at_limit(schedule):
                    schedule["_queued"] -= 1
                    self._run(schedule, _stamp(self.clock()))
                    self._store(schedule)

    def _fire(self, name: str, moment: datetime) -> None:
        with self._state.transaction():
            schedule = self._state.get(name)  # another thread may have fired, paused or deleted it
            if schedule is None or schedule["state"] != "ACTIVE" or schedule.get("nextRunTime", "9") > _stamp(moment):
                return
            due = schedule["nextRunTime"]
            if not self._at_limit(schedule):
                self._run(schedule, due)
            elif schedule.get("allowQueueing"):
                schedule["_queued"] = schedule.get("_queued", 0) + 1
            self._set_next_run(schedule, _parse_time(due, "nextRunTime"))
            self._store(schedule)

    def _run(self, schedule: Json, due: str) -> None:
        compact = re.sub(r"[^0-9]", "", due)[:14]
        base = re.sub(r"[^a-z0-9]+", "-", str(schedule["displayName"]).lower()).strip("-") or "run"
        job_id = f"{base if base[0].isalpha() else 'p-' + base}"[:90] + f"-{compact}-{self._state.new_id('runs')[-6:]}"
        body = fill_names(schedule["createPipelineJobRequest"]["pipelineJob"], {_DUE: due})
        try:
            job = self._jobs.record(schedule["name"].split("/schedules/")[0], job_id, body, schedule["name"])
            outcome = f"OK: {job['name']}"
        except ApiError as error:
            outcome = error.message
        schedule["lastScheduledRunResponse"] = {"scheduledRunTime": due, "runResponse": outcome}
        schedule["startedRunCount"] = str(int(schedule.get("startedRunCount", 0)) + 1)

    def _set_next_run(self, schedule: Json, after: datetime) -> None:
        """Set the next firing, or COMPLETED when there is none."""
        firing = next_firing(schedule["cron"], after)
        end = schedule.get("endTime")
        limit = int(schedule.get("maxRunCount", 0))
        exhausted = limit and int(schedule.get("startedRunCount", 0)) >= limit
        if firing is None or (end and firing > _parse_time(end, "endTime")) or exhausted:
            schedule.pop("nextRunTime", None)
            schedule["state"] = "COMPLETED"
        else:
            schedule["nextRunTime"] = _stamp(firing)

    def _store(self, schedule: Json) -> Json:
        return public(self._state.put("schedules", schedule["name"], schedule))

    def create(self, call: Call) -> Json:
        """An active schedule with its next run time."""
        request, location = call.body["createPipelineJobRequest"], call.params["location"]
        parent = request.get("parent") or call.parent
        if not re.fullmatch(f"projects/[^/]+/locations/{re.escape(location)}", parent):
            problem = f"{parent[:100]!r} must have the form projects/PROJECT/locations/{location}."
            raise ApiError.field("schedule.create_pipeline_job_request.parent", problem)
        stamp = _stamp(self.clock())
        schedule: Json = {
            "displayName": call.body["displayName"],
            "state": "ACTIVE",
            "createTime": stamp,
            "updateTime": stamp,
            "startTime": call.body.get("startTime", stamp),
            "startedRunCount": "0",
            "catchUp": False,
            "createPipelineJobRequest": {"parent": parent, "pipelineJob": _job(request, location)},
        }
        self._read_settings(schedule, call.body)
        start = _parse_time(schedule["startTime"], "startTime") - timedelta(seconds=1)
        self._set_next_run(schedule, max(self.clock(), start))
        return public(self.insert(call.parent, schedule))

    def _read_settings(self, schedule: Json, body: Json) -> None:
        if "cron" in body:
            try:
                next_firing(body["cron"], self.clock())
            except ValueError as error:
                raise ApiError.field("schedule.cron", f"{error}.") from error
        if "startTime" in body:
            _parse_time(body["startTime"], "startTime")
        schedule |= {key: body[key] for key in ("cron", "allowQueueing") if key in body}
        schedule |= {"endTime": body["endTime"]} if body.get("endTime") else {}
        start, end = (_parse_time(schedule.get(key, "9000-01-01"), key) for key in ("startTime", "endTime"))
        if end <= start:
            raise ApiError.field("schedule.end_time", "must be after start_time.")
        for key in ("maxRunCount", "maxConcurrentRunCount", "maxConcurrentActiveRunCount"):
            if body.get(key):
                schedule[key] = str(body[key])

    def patch(self, call: Call) -> Json:
        """The schedule with the masked fields changed and its next run time recomputed."""
        changed = changes(call, "Schedule")
        with self._state.transaction():
            schedule = self.requested(call)
            if "displayName" in changed:
                schedule["displayName"] = changed["displayName"]
            if request := changed.get("createPipelineJobRequest"):
                schedule["createPipelineJobRequest"]["pipelineJob"] = _job(request, call.params["location"])
            self._read_settings(schedule, changed)
            schedule["updateTime"] = _stamp(self.clock())
            if schedule["state"] == "ACTIVE":
                self._set_next_run(schedule, self.clock())
            return self._store(schedule)

    def pause(self, call: Call) -> Json:
        """Nothing; the schedule does not fire until it is resumed."""
        with self._state.transaction():
            schedule = self.requested(call)
            if schedule["state"] == "COMPLETED":
                raise ApiError.precondition("The schedule is completed.")
            schedule.update(state="PAUSED", lastPauseTime=_stamp(self.clock()))
            schedule.pop("nextRunTime", None)
            self._store(schedule)
        return {}

    def resume(self, call: Call) -> Json:
        """Nothing; with `catchUp` the runs missed since the pause are due at once."""
        catch_up = call.body["catchUp"]
        with self._state.transaction():
            schedule = self.requested(call)
            if schedule["state"] != "PAUSED":
                raise ApiError.precondition(f"The schedule is {schedule['state']}, not PAUSED.")
            since = _parse_time(schedule["lastPauseTime"], "lastPauseTime") if catch_up else self.clock()
            schedule.update(state="ACTIVE", catchUp=catch_up, lastResumeTime=_stamp(self.clock()))
            self._set_next_run(schedule, since)
            self._store(schedule)
        return {}


def _job(request: Json, location: str) -> Json:
    job = read_job(request["pipelineJob"], location)
    check_spec(job)
    return job


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_time(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ApiError.field(f"schedule.{field}", f"'{text[:60]}' is not a time in RFC 3339.") from error
    if not 1970 <= moment.year < 9900:  # cron needs years of room
        raise ApiError.field(f"schedule.{field}", f"'{text[:60]}' must be from 1970 to 9899.")
    return moment

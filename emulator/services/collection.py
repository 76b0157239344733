# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What all collections of resources have in common: names, creation, reading, lists, deletion, operations, jobs."""

from __future__ import annotations

import logging
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

from emulator.core.faults import Faults
from emulator.core.filters import Filters
from emulator.core.google_rest import NAMES, ApiError, Call, Json, canonical, now, page_start, paginate, public, typed
from emulator.core.state import State
from emulator.engines.base import Cancelled, FailedPrecondition

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
_LOG = logging.getLogger("emulator")


class Operations:
    """The operations collection: each can be read again, and all but those of jobs are done when they are created.

    `view_job` turns a stored tuning job into what callers see.
    """

    def __init__(self, state: State, view_job: Callable[[Json], Json] = public) -> None:
        self._state = state
        self._view_job = view_job

    def done(self, call: Call, parent: str, method: str, message: str, body: Json) -> Json:
        """A finished operation of a method (as its metadata spells it) on `parent`, with a message as its response."""
        return self._insert(call, parent, method, done=True, response=typed(call, message, body))

    def deleted(self, call: Call, name: str) -> Json:
        """A finished operation for a deleted resource."""
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return self._insert(call, name, "Delete", done=True, response=empty)

    def of_job(self, call: Call, job: str, method: str) -> Json:
        """An operation that ends when a tuning job ends, with the job or its error."""
        return public(self._insert(call, job, method, done=False, _job=job, _response=typed(call, "TuningJob", {})))

    def _insert(self, call: Call, parent: str, method: str, **result: Any) -> Json:
        name, stamp = f"{parent}/operations/{self._state.new_id('operations')}", now()
        times = {"genericMetadata": {"createTime": stamp, "updateTime": stamp}}
        metadata = typed(call, f"{method}OperationMetadata", times)
        return self._state.put("operations", name, {"name": name, "metadata": metadata, **result})

    def get(self, call: Call) -> Json:
        """One operation."""
        name = canonical(re.sub(r"^/(ui/)?((v1beta1|v1)/)?", "", call.path))
        operation = self._state.get(name)
        if operation is None or "/operations/" not in name:
            raise ApiError.not_found(f"Operation {name}")
        job, shown = self._state.get(operation.get("_job", "")), public(operation)
        if job is None or job["state"] not in ENDED:
            return shown
        if "error" in job:
            return {**shown, "done": True, "error": job["error"]}
        message = {key: value for key, value in self._view_job(job).items() if key in NAMES["tuningJobMessage"]}
        return {**shown, "done": True, "response": {**operation["_response"], **message}}


class Collection:
    """Resources of one kind below a parent; the public methods that take a `Call` are route handlers.

    A subclass sets `kind` (the collection's segment in resource names), `title` (the resource in error messages) and
    `parameter` (its id in route templates). It belongs to a resource of `parents`, or to the location. It may override
    `parent`, `view` (what callers see of a stored resource) and `check_deletable`.
    """

    kind = ""
    title = ""
    parameter = ""
    shows_stored_labels = True  # False where `view` adds labels, which are in no index
    list_key = ""  # the key of a page, where it is not `kind`

    def __init__(self, state: State, parents: Collection | None = None) -> None:
        self._state = state
        self._parents = parents
        self._operations = Operations(state)

    def parent(self, call: Call) -> str:
        """The name of the resource the collection belongs to; 404 when it does not exist."""
        return call.parent if self._parents is None else str(self._parents.requested(call)["name"])

    def name(self, call: Call) -> str:
        """The name of the resource a request is about."""
        return f"{self.parent(call)}/{self.kind}/{call.params[self.parameter]}"

    def view(self, resource: Json) -> Json:
        """A stored resource as callers see it; private keys are removed later."""
        return resource

    def check_deletable(self, resource: Json) -> None:
        """Raise FAILED_PRECONDITION when the resource cannot be deleted now."""

    def find(self, name: str) -> Json:
        """The stored resource of this name; 404 when the collection has none."""
        name = canonical(name)
        resource = self._state.get(name)
        if resource is None or name.rsplit("/", 2)[-2] != self.kind:
            raise ApiError.not_found(f"{self.title} {name}")
        return resource

    def requested(self, call: Call) -> Json:
        """The stored resource a request is about; 404 when there is none."""
        return self.find(self.name(call))

    def insert(self, parent: str, fields: Json, id: str = "") -> Json:
        """A new stored resource with its name and times; 409 when its id is taken."""
        with self._state.transaction():
            name = f"{parent}/{self.kind}/{id or self._state.new_id(self.kind)}"
            if self._state.get(name) is not None:
                raise ApiError(409, f"{self.title} {name} already exists.")
            stamp = now()
            return self._state.put(self.kind, name, {"name": name, "createTime": stamp, "updateTime": stamp, **fields})

    def get(self, call: Call) -> Json:
        """One resource."""
        return public(self.view(self.requested(call)))

    def list(self, call: Call) -> Json:
        """A page of resources, newest first; `filter` may be repeated."""
        filters = Filters(call.query.get("filter", ()))
        labels = filters.labels if self.shows_stored_labels else ()
        stored = self._state.walk(self.kind, self.parent(call), page_start(call), labels)
        items = filters.matching((seq, self.view(item)) for seq, item in stored)
        return paginate(call, items, self.list_key or self.kind)

    def delete(self, call: Call) -> Json:
        """An operation; the resource no longer exists."""
        with self._state.transaction():
            resource = self.requested(call)
            self.check_deletable(resource)
            self._state.delete(resource["name"])
        return self._operations.deleted(call, resource["name"])


class JobFailure(Exception):
    """A job ends as FAILED with this google.rpc code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobCollection(Collection):
    """Jobs that worker threads run one after the other until they end or are cancelled.

    A subclass implements `run`, which raises `Cancelled` soon after `should_stop` is true, and may implement `reset`
    and `discard`. Unfinished jobs start again with the emulator: results are complete or absent, never stitched.
    """

    workers = 1
    cancellation: ClassVar[Json] = {}  # fields of a job that was cancelled

    def __init__(self, state: State, faults: Faults) -> None:
        super().__init__(state)
        self._faults = faults
        self._futures: dict[str, Future[None]] = {}  # of the jobs that run or wait
        self._cancelled: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._stopping = False

    def run(self, name: str) -> None:
        """Run a job from PENDING to SUCCEEDED; another end is an exception."""
        raise NotImplementedError

    def reset(self, job: Json) -> None:
        """Remove what an interrupted job has left, before it starts again."""

    def discard(self, name: str) -> None:
        """Remove what a job has left that did not succeed."""

    def start(self) -> None:
        """Start the workers and queue the unfinished jobs of an earlier process."""
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix=self.kind)
        for _, job in reversed(self._state.all(self.kind)):
            if job["state"] == "JOB_STATE_CANCELLING":
                self._end_cancelled(job["name"])
            elif job["state"] not in ENDED:
                self.reset(job)
                self.enqueue(job["name"])

    def stop(self) -> None:
        """Stop the workers soon; their jobs stay unfinished and start again at the next start."""
        self._stopping = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def busy(self) -> bool:
        """Whether a new job has to wait."""
        return len(self._futures) >= self.workers

    def idle(self) -> bool:
        """Whether no job runs or waits."""
        return not self._futures

    def enqueue(self, name: str) -> None:
        """Put a job at the end of the queue; before the start and after the stop it waits in the state alone."""
        if self._pool is not None and not self._stopping:
            self._futures[name] = future = self._pool.submit(self._work, name)
            future.add_done_callback(lambda _: self._forget(name))

    def _forget(self, name: str) -> None:
        self._futures.pop(name, None)
        self._cancelled.discard(name)

    def get(self, call: Call) -> Json:
        """One job; counts as a poll."""
        self._faults.polled(self.name(call))
        return super().get(call)

    def cancel(self, call: Call) -> Json:
        """Nothing; the job will be CANCELLED."""
        with self._state.transaction():
            job = self.requested(call)
            if job["state"] in ENDED:
                message = f"The {self.title.lower()} {job['name']} is in state {job['state']} and can't be cancelled."
                raise ApiError.precondition(message)
            self._state.update(job["name"], state="JOB_STATE_CANCELLING", updateTime=now())
        self._stop(job["name"])
        return {}

    def cancel_all(self) -> list[str]:
        """Cancel all jobs; the names of those that had not ended."""
        unfinished = [job["name"] for _, job in self._state.all(self.kind) if job["state"] not in ENDED]
        for name in unfinished:
            self._state.update(name, state="JOB_STATE_CANCELLING")
            self._stop(name)
        return unfinished

    def _stop(self, name: str) -> None:
        """Stop a running job soon, and a waiting one at once."""
        future = self._futures.get(name)
        if future is not None and not future.cancel():
            self._cancelled.add(name)
        elif (self._state.get(name) or {}).get("state") == "JOB_STATE_CANCELLING":
            self._end_cancelled(name)

    def should_stop(self, name: str) -> bool:
        """Whether a running job is cancelled, or the emulator ends."""
        return self._stopping or name in self._cancelled

    def check_running(self, name: str) -> None:
        """Raise `Cancelled` for a job that should stop."""
        if self.should_stop(name):
            raise Cancelled

    def hold(self, name: str) -> None:
        """Return when the job's state has lasted as long as the fault plan wants; raise `Cancelled` when it stops."""
        self._faults.hold(name, lambda: self.should_stop(name))
        self.check_running(name)

    def end(self, name: str, state: str, **fields: Any) -> None:
        """Set the last state of a job."""
        stamp = now()
        self._state.update(name, **fields, state=f"JOB_STATE_{state}", endTime=stamp, updateTime=stamp)

    def _end_cancelled(self, name: str) -> None:
        self.end(name, "CANCELLED", **self.cancellation)

    def _work(self, name: str) -> None:
        try:
            self._run(name)
        except (OSError, sqlite3.Error):  # its failure cannot be stored: clients would wait for it for ever
            if not self._stopping:
                _LOG.critical("the state cannot be written: the emulator ends", exc_info=True)
                os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # nobody reads the future's
            _LOG.exception("%s: how it ended cannot be stored", name)

    def _run(self, name: str) -> None:
        job = self._state.get(name)
        if job is None or job["state"] in ENDED:  # cancelled before it was in the queue
            return
        try:
            self.run(name)
        except Cancelled:
            if not self._stopping:
                self.discard(name)
                self._end_cancelled(name)
        except (JobFailure, ApiError, ValueError) as error:
            code = error.code if isinstance(error, JobFailure) else 9 if isinstance(error, FailedPrecondition) else 3
            self._fail(name, code, str(error))
        except Exception as error:
            if not self._stopping:
                _LOG.exception("%s failed", name)
                self._fail(name, 13, f"Internal error: {type(error).__name__}: {error}")

    def _fail(self, name: str, code: int, message: str) -> None:
        self.discard(name)
        self.end(name, "FAILED", error={"code": code, "message": message})

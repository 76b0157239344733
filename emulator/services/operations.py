# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Long-running operations: done in the first response, except for those that follow a tuning job."""

import re
from collections.abc import Callable
from typing import Any

from emulator.core.google_rest import NAMES, Call, Json, canonical, not_found, now, page_start, paginate, public, typed
from emulator.core.state import State

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class Operations:
    """The operations collection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._view_job: Callable[[Json], Json] = public

    def done(self, call: Call, parent: str, method: str, message: str, body: Json) -> Json:
        """A finished operation of a method (as its metadata spells it) on `parent`, with a message as its response."""
        return self._insert(call, parent, method, done=True, response=typed(call, message, body))

    def deleted(self, call: Call, name: str) -> Json:
        """A finished operation for a deleted resource."""
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return self._insert(call, name, "Delete", done=True, response=empty)

    def of_job(self, call: Call, job: str, method: str) -> Json:
        """An operation that ends when a tuning job ends, with the job or its error."""
        return public(self._insert(call, job, method, done=False, _job=job, _version=call.version))

    def _insert(self, call: Call, parent: str, method: str, **fields: Any) -> Json:
        name = f"{parent}/operations/{self._state.new_id('operations')}"
        stamp = now()
        times = {"genericMetadata": {"createTime": stamp, "updateTime": stamp}}
        operation = {"name": name, "metadata": typed(call, f"{method}OperationMetadata", times), **fields}
        return self._state.put("operations", name, operation)

    def follow_jobs(self, view: Callable[[Json], Json]) -> None:
        """Set the function that turns a stored tuning job into what callers see."""
        self._view_job = view

    def _current(self, operation: Json) -> Json:
        job = self._state.get(operation.get("_job", ""))
        view = public(operation)
        if job is None or job["state"] not in ENDED:
            return view
        if "error" in job:
            return {**view, "done": True, "error": job["error"]}
        kind = f"type.googleapis.com/google.cloud.aiplatform.{operation['_version']}.TuningJob"
        # The generated clients reject unknown fields in operations, so those that only the REST service has
        # (preferenceOptimizationSpec, tuningJobState, tuningJobMetadata) are left out.
        message = {key: value for key, value in self._view_job(job).items() if key in NAMES["tuningJobMessage"]}
        return {**view, "done": True, "response": {"@type": kind, **message}}

    def get(self, call: Call) -> Json:
        """One operation."""
        name = canonical(re.sub(r"^/(ui/)?((v1beta1|v1)/)?", "", call.path))
        operation = self._state.get(name)
        if operation is None or "/operations/" not in name:
            raise not_found(f"Operation {name}")
        return self._current(operation)

    def list(self, call: Call) -> Json:
        """A page of a location's operations."""
        stored = self._state.walk("operations", before=page_start(call))
        below = ((seq, self._current(item)) for seq, item in stored if item["name"].startswith(call.parent + "/"))
        return paginate(call, below, "operations")

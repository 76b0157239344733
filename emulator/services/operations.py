# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Long-running operations."""

from __future__ import annotations

import re
from collections.abc import Callable

from emulator.core.google_rest import (
    Call,
    Json,
    Route,
    canonical,
    not_found,
    now,
    page,
    public,
    typed,
)
from emulator.core.state import State

EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}

# The fields of TuningJob in the API's protocol buffers. The generated clients read operations strictly, so what only
# the REST service has (preferenceOptimizationSpec, tuningJobState, tuningJobMetadata) has to stay out.
_JOB_MESSAGE = frozenset(
    [
        "name",
        "baseModel",
        "preTunedModel",
        "supervisedTuningSpec",
        "tunedModelDisplayName",
        "description",
        "state",
        "createTime",
        "startTime",
        "endTime",
        "updateTime",
        "error",
        "labels",
        "experiment",
        "tunedModel",
        "tuningDataStats",
        "encryptionSpec",
        "serviceAccount",
        "evaluateDatasetRuns",
    ]
)


class Operations:
    """Long-running operations: done at once, but for those that follow a tuning job; all can be asked for later."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._show_job: Callable[[Json], Json] = public

    def done(self, call: Call, parent: str, kind: str, response: Json) -> Json:
        """A finished operation on `parent`; `kind` names its metadata message, `response` is already typed."""
        name = f"{parent}/operations/{self._state.new_id('operations')}"
        stamp = now()
        metadata = {"genericMetadata": {"createTime": stamp, "updateTime": stamp}}
        operation = {
            "name": name,
            "metadata": typed(call, kind, metadata),
            "done": True,
            "response": response,
        }
        return self._state.put("operations", name, operation)

    def of_job(self, call: Call, job: str, kind: str) -> Json:
        """An operation that ends when a tuning job ends, with the job or its error."""
        name = f"{job}/operations/{self._state.new_id('operations')}"
        stamp = now()
        metadata = typed(call, kind, {"genericMetadata": {"createTime": stamp, "updateTime": stamp}})
        operation = {"name": name, "metadata": metadata, "done": False, "_job": job, "_version": call.version}
        return public(self._state.put("operations", name, operation))

    def follow(self, show: Callable[[Json], Json]) -> None:
        """Take the function that shows a tuning job to callers."""
        self._show_job = show

    def _current(self, operation: Json) -> Json:
        job = self._state.get(operation.get("_job", ""))
        shown = public(operation)
        if job is None or job["state"] not in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"):
            return shown
        if "error" in job:
            return {**shown, "done": True, "error": job["error"]}
        kind = f"type.googleapis.com/google.cloud.aiplatform.{operation['_version']}.TuningJob"
        message = {key: value for key, value in self._show_job(job).items() if key in _JOB_MESSAGE}
        return {**shown, "done": True, "response": {"@type": kind, **message}}

    def routes(self) -> list[Route]:
        """Operations at a location and nested under endpoints and models, also below /ui."""
        return [
            Route("GET", "operations/{operation}", self.get),
            Route("GET", "{collection}/{owner}/operations/{operation}", self.get),
            Route("GET", "operations", self.list),
        ]

    def get(self, call: Call) -> Json:
        """One operation."""
        name = canonical(re.sub(r"^/(ui/)?((v1beta1|v1)/)?", "", call.path))
        found = self._state.get(name)
        if found is None or "/operations/" not in name:
            raise not_found(f"Operation {name}")
        return self._current(found)

    def list(self, call: Call) -> Json:
        """A page of a location's operations."""
        known = self._state.all("operations")
        found = [(seq, self._current(item)) for seq, item in known if item["name"].startswith(call.parent + "/")]
        return page(call, found, "operations")

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: a JSONL file of requests in, a JSONL file of answers out.

A line that fails is written with its status and an empty response, and counted; the output appears whole or not at
all. Unfinished jobs begin anew after a restart.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Sequence
from typing import Any

from emulator.core.faults import Looks
from emulator.core.filters import matching
from emulator.core.google_rest import (
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
)
from emulator.core.state import State
from emulator.services.inference import Inference
from emulator.services.operations import EMPTY, Operations
from emulator.services.storage import Storage, split_uri

_MOST_REQUESTS, _MOST_BYTES, _AT_ONCE = 200_000, 1_000_000_000, 64
_ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class BatchJobs:
    """The batchPredictionJobs collection and the worker that runs it."""

    def __init__(
        self, state: State, storage: Storage, inference: Inference, operations: Operations, looks: Looks
    ) -> None:
        self._state = state
        self._storage = storage
        self._inference = inference
        self._operations = operations
        self._looks = looks
        self._queue: queue.Queue[str] = queue.Queue()
        self._stopping = False

    def routes(self) -> list[Route]:
        """Create, read, list, cancel, delete."""
        path = "batchPredictionJobs"
        return [
            Route("POST", path, self.create, "partial", "JSONL in Cloud Storage; no BigQuery"),
            Route("GET", path, self.list),
            Route("GET", path + "/{job}", self.get),
            Route("DELETE", path + "/{job}", self.delete),
            Route("POST", path + "/{job}:cancel", self.cancel),
        ]

    def start(self) -> None:
        """Find unfinished jobs and begin to work."""
        for _, job in reversed(self._state.all("batchPredictionJobs")):
            if job["state"] == "JOB_STATE_CANCELLING":
                self._end(job["name"], "JOB_STATE_CANCELLED")
            elif job["state"] not in _ENDED:
                self._queue.put(job["name"])
        threading.Thread(target=self._work, name="batches", daemon=True).start()

    def stop(self) -> None:
        """Stop after the requests that are being answered."""
        self._stopping = True

    # --- routes

    def create(self, call: Call) -> Json:
        """A job in state PENDING; 400 when source, destination or model do not do."""
        fields = call.fields("batch_prediction_job")
        model = fields.text("model")
        self._check_model(model)
        source, target = fields.object("inputConfig"), fields.object("outputConfig")
        for place in (source, target):
            if "bigquerySource" in place or "bigqueryDestination" in place:
                raise ApiError(501, "BigQuery sources and destinations are not implemented by the emulator.")
        uris = source.object("gcsSource").texts("uris")
        if len(uris) != 1:
            raise bad_field((source.name("gcsSource"), "must hold one URI."))
        try:
            self._storage.get(*split_uri(uris[0]))
        except ApiError as error:
            raise bad_field((source.name("gcsSource"), error.message)) from error
        prefix = target.object("gcsDestination").text("outputUriPrefix")
        bucket = split_uri(prefix.rstrip("/") + "/x")[0]
        self._storage.bucket(bucket)
        stamp = now()
        name = f"{call.parent}/batchPredictionJobs/{self._state.new_id('batchPredictionJobs')}"
        job = {
            "name": name,
            "displayName": fields.text("displayName"),
            "model": model,
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": uris}},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": prefix}},
            "labels": labels_of(fields),
            "state": "JOB_STATE_PENDING",
            "createTime": stamp,
            "updateTime": stamp,
        }
        self._state.put("batchPredictionJobs", name, job)
        self._queue.put(name)
        return public(job)

    def _check_model(self, model: str) -> None:
        entry, adapter, _ = self._inference.resolve(model)
        if adapter is not None and not entry.tuned_batch:
            raise bad_field(("batch_prediction_job.model", f"tuned {entry.name} has no batch prediction."))

    def _find(self, call: Call) -> Json:
        name = f"{call.parent}/batchPredictionJobs/{call.params['job']}"
        found = self._state.get(name)
        if found is None:
            raise not_found(f"Batch prediction job {name}")
        return found

    def list(self, call: Call) -> Json:
        """A page of jobs."""
        found = matching(call.query.get("filter", ()), self._state.all("batchPredictionJobs", call.parent))
        return page(call, found, "batchPredictionJobs")

    def get(self, call: Call) -> Json:
        """One job."""
        job = self._find(call)
        self._looks.look(job["name"])
        return public(job)

    def cancel(self, call: Call) -> Json:
        """Nothing; the job will be CANCELLED."""
        with self._state.transaction():
            job = self._find(call)
            if job["state"] in _ENDED:
                raise failed_precondition(f"The job is in state {job['state']} and can't be cancelled.")
            self._state.change(job["name"], lambda body: body.update(state="JOB_STATE_CANCELLING", updateTime=now()))
        return {}

    def delete(self, call: Call) -> Json:
        """An operation; a running job can't be deleted."""
        with self._state.transaction():
            job = self._find(call)
            if job["state"] not in _ENDED:
                raise failed_precondition("Cancel the job before you delete it.")
            self._state.delete(job["name"])
        return self._operations.done(call, job["name"], "DeleteOperationMetadata", EMPTY)

    # --- work

    def _work(self) -> None:
        while not self._stopping:
            name = self._queue.get()
            try:
                self._run(name)
            except _Stopped:
                if self._stopping:
                    return
                self._end(name, "JOB_STATE_CANCELLED")
            except Exception as error:
                code = 3 if isinstance(error, ApiError) else 13
                self._end(name, "JOB_STATE_FAILED", error={"code": code, "message": str(error)})

    def _end(self, name: str, state: str, **changes: Any) -> None:
        stamp = now()
        self._state.change(name, lambda job: job.update(changes, state=state, endTime=stamp, updateTime=stamp))

    def _should_stop(self, name: str) -> bool:
        return self._stopping or (self._state.get(name) or {}).get("state") == "JOB_STATE_CANCELLING"

    def _check(self, name: str) -> None:
        if self._should_stop(name):
            raise _Stopped

    def _run(self, name: str) -> None:
        self._looks.hold(name, lambda: self._should_stop(name))
        self._check(name)
        stamp = now()
        job = self._state.change(
            name, lambda body: body.update(state="JOB_STATE_RUNNING", startTime=stamp, updateTime=stamp)
        )
        content = self._storage.read_uri(job["inputConfig"]["gcsSource"]["uris"][0])
        lines = [line for line in content.split(b"\n") if line.strip()]
        if len(lines) > _MOST_REQUESTS or len(content) > _MOST_BYTES:
            raise ApiError(400, f"At most {_MOST_REQUESTS} requests and {_MOST_BYTES} bytes are allowed.")
        outputs: list[Json] = []
        for start in range(0, len(lines), _AT_ONCE):
            self._check(name)
            outputs += asyncio.run(self._answer(job["model"], lines[start : start + _AT_ONCE]))
        self._looks.hold(name, lambda: self._should_stop(name))
        self._check(name)
        self._finish(job, outputs)

    async def _answer(self, model: str, lines: Sequence[bytes]) -> Sequence[Json]:
        return await asyncio.gather(*(self._line(model, line) for line in lines))

    async def _line(self, model: str, line: bytes) -> Json:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            status = f"Bad Request: invalid JSON: {error}"
            return {"status": status, "processed_time": now(), "request": {}, "response": {}}
        request = value.get("request") if isinstance(value, dict) else None
        echoed = {"processed_time": now(), "request": request if isinstance(request, dict) else {}}
        try:
            body = Fields(camelize(request), "request").value
            response = await self._inference.answer(self._inference.resolve(canonical(model)), body)
        except ApiError as error:
            status = f"Bad Request: {json.dumps(error.body())}" if error.code == 400 else json.dumps(error.body())
            return {"status": status, **echoed, "response": {}}
        return {"status": "", **echoed, "response": response}

    def _finish(self, job: Json, outputs: Sequence[Json]) -> None:
        moment = now().replace(":", "-")
        folder = job["outputConfig"]["gcsDestination"]["outputUriPrefix"].rstrip("/") + f"/prediction-model-{moment}"
        bucket, name = split_uri(folder + "/predictions.jsonl")
        text = "".join(json.dumps(output, ensure_ascii=False) + "\n" for output in outputs)
        self._storage.write(bucket, name, text.encode("utf-8", "replace"), {"contentType": "application/jsonl"})
        failed = sum(bool(output["status"]) for output in outputs)
        counts = {"successfulCount": str(len(outputs) - failed)}
        if failed:
            counts["failedCount"] = str(failed)
        self._end(
            job["name"],
            "JOB_STATE_SUCCEEDED",
            completionStats=counts,
            outputInfo={"gcsOutputDirectory": folder},
        )


class _Stopped(Exception):
    """The job was cancelled, or the emulator ends."""

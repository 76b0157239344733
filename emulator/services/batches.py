# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: a JSONL file of requests in, a JSONL file of responses out."""

import json
from collections.abc import Sequence
from functools import partial

from emulator.core.faults import Faults
from emulator.core.google_rest import ApiError, Call, Json, camelize, now, parse_json, public
from emulator.core.state import State
from emulator.services.collection import ENDED, JobCollection
from emulator.services.inference import Inference, gather_all
from emulator.services.storage import Storage, split_uri

_MAX_REQUESTS, _MAX_BYTES = 200_000, 1_000_000_000


class BatchJobs(JobCollection):
    """The batchPredictionJobs collection and the worker that runs its jobs."""

    kind, title, parameter = "batchPredictionJobs", "Batch prediction job", "job"

    def __init__(self, state: State, faults: Faults, storage: Storage, inference: Inference) -> None:
        super().__init__(state, faults)
        self._storage = storage
        self._inference = inference

    def create(self, call: Call) -> Json:
        """A job in state PENDING; 400 when source, destination or model are invalid."""
        body = call.body
        source, destination = body["inputConfig"]["gcsSource"], body["outputConfig"]["gcsDestination"]
        target = self._inference.resolve(body["model"])
        if target.adapter is not None and not target.entry.tuned_batch:
            raise ApiError.field("batch_prediction_job.model", f"tuned {target.entry.name} has no batch prediction.")
        try:
            self._storage.get(*split_uri(source["uris"][0]))
        except ApiError as error:
            raise ApiError.field("batch_prediction_job.input_config.gcs_source", error.message) from error
        self._storage.bucket(split_uri(destination["outputUriPrefix"].rstrip("/") + "/x")[0])
        fields = {key: body[key] for key in ("displayName", "model", "labels")}
        fields |= {
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": source},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": destination},
            "state": "JOB_STATE_PENDING",
        }
        job = self.insert(call.parent, fields)
        self.enqueue(job["name"])
        return public(job)

    def check_deletable(self, resource: Json) -> None:
        """A job must have ended before it is deleted."""
        if resource["state"] not in ENDED:
            raise ApiError.precondition("Cancel the job before you delete it.")

    def run(self, name: str) -> None:
        """Answer all requests, then write the responses."""
        self.hold(name)
        stamp = now()
        job = self._state.update(name, state="JOB_STATE_RUNNING", startTime=stamp, updateTime=stamp)
        content = self._storage.read_uri(job["inputConfig"]["gcsSource"]["uris"][0])
        lines = [line for line in content.split(b"\n") if line.strip()]
        if len(lines) > _MAX_REQUESTS or len(content) > _MAX_BYTES:
            raise ApiError(400, f"At most {_MAX_REQUESTS} requests and {_MAX_BYTES} bytes are allowed.")
        check_running = partial(self.check_running, name)
        outputs = gather_all(lambda n: self._process(job["model"], lines[n]), len(lines), check_running)
        self.hold(name)
        self._write(job, outputs)

    async def _process(self, model: str, line: bytes) -> Json:
        output: Json = {"status": "", "processed_time": now(), "request": {}, "response": {}}
        try:
            value = parse_json(line)
            request = value.get("request") if isinstance(value, dict) else None
            if not isinstance(request, dict):
                raise ApiError.field("request", "must be an object.")
            output["request"] = request
            output["response"] = await self._inference.respond(self._inference.resolve(model), camelize(request))
        except ApiError as error:
            output["status"] = ("Bad Request: " if error.code == 400 else "") + json.dumps(error.body())
        return output

    def _write(self, job: Json, outputs: Sequence[Json]) -> None:
        folder = job["outputConfig"]["gcsDestination"]["outputUriPrefix"].rstrip("/")
        folder += f"/prediction-model-{now().replace(':', '-')}"
        self._storage.write_lines(f"{folder}/predictions.jsonl", outputs)
        failed = sum(bool(output["status"]) for output in outputs)
        counts = {"successfulCount": str(len(outputs) - failed)}
        if failed:
            counts["failedCount"] = str(failed)
        self.end(job["name"], "SUCCEEDED", completionStats=counts, outputInfo={"gcsOutputDirectory": folder})

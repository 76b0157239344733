# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The tuning jobs' API: validation at creation, and the job as callers see it.

Limits, ranges and error forms are the documented ones; `training.py` runs a job. At most `concurrency` train at once,
the others wait as PENDING with TUNING_JOB_STATE_WAITING_FOR_QUOTA. A job that fails or is cancelled leaves no model.
"""

import shutil
from dataclasses import replace
from typing import ClassVar

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Call, Json, check_key, now, public, snake
from emulator.core.messages import check
from emulator.services.collection import ENDED, JobCollection
from emulator.services.datasets import content_text, count_lines, parse_reinforcement_row
from emulator.services.evaluation import read_evaluation_config
from emulator.services.storage import split_uri
from emulator.services.training import SPECS, Services, TuningRun, adapters_folder

_RANKS = {"UNSPECIFIED": 0, "ONE": 1, "FOUR": 4, "EIGHT": 8, "SIXTEEN": 16, "THIRTY_TWO": 32, "TWO": 2}
ADAPTER_SIZES = {f"ADAPTER_SIZE_{word}": rank for word, rank in _RANKS.items()}  # in the order of their numbers
_COPIED = ("tunedModelDisplayName", "description", "serviceAccount", "labels", "encryptionSpec")
_PARAMETERS = ["learningRateMultiplier", "beta", "batchSize", "samplesPerPrompt", "thinkingLevel", "maxOutputTokens"]
_PARAMETERS += ["evaluateInterval", "checkpointInterval"]
MAX_ANSWERS, ANSWERS_MULTIPLE = 8192, 16  # of a step: prompts times samples


class TuningJobs(JobCollection):
    """The tuningJobs collection."""

    kind, title, parameter = "tuningJobs", "Tuning job", "job"
    cancellation: ClassVar[Json] = {"error": {"code": 1, "message": "CANCELED"}}

    def __init__(self, services: Services, concurrency: int, seed: int) -> None:
        super().__init__(services.state, services.faults)
        self._services, self.workers, self._seed = services, concurrency, seed

    def run(self, name: str) -> None:
        """Tune a model."""
        TuningRun(self._services, name, self._seed, self).run()

    def reset(self, job: Json) -> None:
        """A job as it was before it ran."""
        self.discard(job["name"])
        if job.get("experiment"):
            self._services.tensorboards.clear_curves(job["experiment"])

        def edit(body: Json) -> None:
            for key in ("startTime", "tuningDataStats", "tuningJobMetadata", "evaluateDatasetRuns"):
                body.pop(key, None)
            waiting = "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
            body.update(state="JOB_STATE_PENDING", tuningJobState=waiting, updateTime=now())

        self._state.change(job["name"], edit)

    def discard(self, name: str) -> None:
        """Remove the model version, endpoints and adapters of a job."""
        with self._state.transaction():
            job = self._state.get(name) or {}
            if tuned := job.get("tunedModel"):
                for checkpoint in tuned["checkpoints"]:
                    self._state.delete(checkpoint["endpoint"])
                self._services.models.drop_version(tuned["model"])
                self._state.change(name, lambda body: body.pop("tunedModel"))
        shutil.rmtree(adapters_folder(self._state, name), ignore_errors=True)

    def create(self, call: Call) -> Json:
        """A job in state PENDING; 400 when the request is invalid."""
        return self._start(call, self._read_job(call))

    def _start(self, call: Call, fields: Json) -> Json:
        with self._state.transaction():
            quota = self._services.faults.plan.tuning_quota
            unfinished = sum(job["state"] not in ENDED for _, job in self._state.all("tuningJobs"))
            if quota is not None and unfinished >= quota:
                raise ApiError(429, f"Quota exceeded: {quota} concurrent tuning jobs. Please try again later.")
            waits_for = "QUOTA" if self.busy() else "CAPACITY"
            states = {"state": "JOB_STATE_PENDING", "tuningJobState": f"TUNING_JOB_STATE_WAITING_FOR_{waits_for}"}
            job = self.insert(call.parent, {**fields, **states})
        self.enqueue(job["name"])
        return public(job)

    def validate_reward(self, call: Call) -> Json:
        """The reward of a sample response to an example; errors of a reward are in the response."""
        _require_beta(call)
        config, row = self._services.rewards.read(call.body), parse_reinforcement_row(call.body["example"])
        return self._services.rewards.validate(config, (row, content_text(call.body["sampleResponse"])))

    def rebase(self, call: Call) -> Json:
        """An operation that ends with a new job: the data and settings of an old one on another base model.

        `tuningJob` has the changes, at least its `baseModel`. With `deployToSameEndpoint` the endpoint of the old
        model's default checkpoint serves the new model's when the job has succeeded.
        """
        old, request = self._referenced_job(call.body["tunedModelRef"]), call.body["tuningJob"]
        key = next(key for key in SPECS if key in old)
        inherited = {name: old[name] for name in ("tunedModelDisplayName", "description", "labels") if old.get(name)}
        changes = request.get(key, {})
        spec = {**old[key], **changes}
        spec["hyperParameters"] = {**old[key]["hyperParameters"], **changes.get("hyperParameters", {})}
        body = {**inherited, **request, key: spec}
        job = self._read_job(replace(call, body=body))
        old_base = old.get("baseModel") or old["preTunedModel"]["baseModel"]
        catalogue = self._services.catalogue
        if catalogue.find(old_base) == catalogue.find(body["baseModel"]):
            place = "rebase_tuned_model_request.tuning_job.base_model"
            raise ApiError.field(place, f"the model is already based on {old_base}.")
        if call.body["deployToSameEndpoint"]:
            job["_same_endpoint"] = self._reusable_endpoint(old, body["baseModel"], call.params["location"])
        return self._operations.of_job(call, self._start(call, job)["name"], "RebaseTunedModel")

    def _referenced_job(self, reference: Json) -> Json:
        """The finished job that a TunedModelRef names."""
        name = reference.get("tuningJob", "")
        if "tunedModel" in reference:
            model, version = self._services.models.resolve(reference["tunedModel"])
            job_id = version.get("labels", {}).get("google-vertex-llm-tuning-job-id", "")
            name = f"{model['name'].split('/models/')[0]}/tuningJobs/{job_id}"
        job = self.find(name)
        if job["state"] != "JOB_STATE_SUCCEEDED":
            raise ApiError.precondition(f"The tuning job {job['name']} is in state {job['state']}.")
        return job

    def _reusable_endpoint(self, old: Json, base: str, location: str) -> str:
        entry = self._services.catalogue.serving(base)
        endpoint = str(self.view(old)["tunedModel"]["endpoint"])
        serving_location = entry.serving_locations.get(location, location)
        if not endpoint or endpoint.split("/")[3] != serving_location:
            message = f"The model has no endpoint in {serving_location}, where a tuned {entry.name} is served."
            raise ApiError.precondition(message)
        return endpoint

    def view(self, resource: Json) -> Json:
        """The job with the current endpoint of its model's default checkpoint."""
        tuned = resource.get("tunedModel")
        if not tuned or resource["state"] != "JOB_STATE_SUCCEEDED":
            return resource
        try:
            _, version = self._services.models.resolve(tuned["model"])
        except ApiError:
            return resource  # the model was deleted
        endpoint = self._services.endpoints.serving(tuned["model"], version.get("defaultCheckpointId", ""))
        return {**resource, "tunedModel": {**tuned, "endpoint": endpoint}}

    def _read_job(self, call: Call) -> Json:
        if call.body.get("reinforcementTuningSpec"):
            _require_beta(call)
        body = check(call.body, "TuningJob")
        key = next(key for key in SPECS if key in body)
        method = SPECS[key]
        job: Json = {"_method": method, "tunedModelDisplayName": ""}
        entry = self._read_base(body, job, method)
        location = call.params["location"]
        locations = self._services.catalogue.locations(entry, method)
        if "*" not in locations and location not in locations:
            places = ", ".join(locations)
            raise ApiError(400, f"Tuning {entry.name} is not supported in {location}. Supported locations: {places}.")
        if "encryptionSpec" in body and not entry.cmek:
            problem = f"CMEK is not supported for tuning {entry.name}."
            raise ApiError.field("tuning_job.encryption_spec", problem)
        check_key(body, location, "tuning_job")
        job |= {name: body[name] for name in _COPIED if name in body}
        inherited_size = job.get("_parent_adapter_size")
        spec = self._read_spec(body[key], f"tuning_job.{snake(key)}.", entry, method, inherited_size, location)
        return {**job, key: spec, "_adapter_size": ADAPTER_SIZES[spec["hyperParameters"]["adapterSize"]]}

    def _read_base(self, body: Json, job: Json, method: str) -> BaseModelEntry:
        catalogue, models = self._services.catalogue, self._services.models
        if "baseModel" in body:
            base = job["baseModel"] = body["baseModel"]
        else:
            parent = body["preTunedModel"]
            model, version = models.resolve(parent["tunedModelName"])
            full = f"{model['name']}@{version['versionId']}"
            base, _, checkpoint = models.checkpoint(full, parent.get("checkpointId", ""))
            job["preTunedModel"] = {"tunedModelName": full, "checkpointId": checkpoint, "baseModel": base}
            job["_parent_adapter_size"] = version.get("_adapterSize")
            job["_parent_display_name"] = version.get("displayName", "")
        entry = catalogue.tunable(base, method)
        if entry is None:
            supported = catalogue.names(method)
            message = f"Base model {base[:200]} is not supported for {method} tuning. Supported: {supported}."
            raise ApiError.field("tuning_job.base_model", message)
        return entry

    def _read_spec(
        self, body: Json, place: str, entry: BaseModelEntry, method: str, inherited_size: int | None, location: str
    ) -> Json:
        limits, where = self._services.catalogue.limits[method], f"{place}training_dataset_uri"
        train = self._read_dataset(body["trainingDatasetUri"], where)
        rows = count_lines(train)
        if len(train) > limits.training_bytes or rows > limits.training_examples:
            limit = f"at most {limits.training_bytes} bytes and {limits.training_examples} examples."
            raise ApiError.field(where, limit)
        if rows == 0:
            raise ApiError.field(where, "the dataset has no examples.")
        if body["validationDatasetUri"]:
            self._check_validation(body["validationDatasetUri"], place, method, rows)
        names = ("trainingDatasetUri", "validationDatasetUri", "exportLastCheckpointOnly")
        spec = {name: body[name] for name in names if body.get(name)}
        own = body["hyperParameters"]
        spec["hyperParameters"] = _hyper_parameters(own, place, entry, method, rows, inherited_size)
        if method == "reinforcement":
            spec |= self._services.rewards.read(body, place)
        if "evaluationConfig" in body:
            spec["evaluationConfig"] = self._read_evaluation(body, f"{place}evaluation_config", entry, location)
        return spec

    def _read_evaluation(self, body: Json, place: str, entry: BaseModelEntry, location: str) -> Json:
        locations = entry.evaluation_locations
        if "*" not in locations and location not in locations:
            supported = f"only in {', '.join(locations)}" if locations else "nowhere"
            raise ApiError.field(place, f"evaluation during tuning of {entry.name} is supported {supported}.")
        if not body["validationDatasetUri"]:
            raise ApiError.field(place, "requires a validation dataset, whose prompts the checkpoints answer.")
        return read_evaluation_config(body["evaluationConfig"], place, entry, self._services.storage)

    def _read_dataset(self, uri: str, place: str) -> bytes:
        if not uri.startswith("gs://") or not uri.endswith(".jsonl"):
            raise ApiError.field(place, f"{place.rsplit('.', 1)[1]} should be a GCS object of type JSONL.")
        try:
            return self._services.storage.read(*split_uri(uri))[1]
        except ApiError as error:
            raise ApiError.field(place, f"{uri[:300]} can't be read: {error.message}") from error

    def _check_validation(self, uri: str, place: str, method: str, rows: int) -> None:
        limits, place = self._services.catalogue.limits[method], f"{place}validation_dataset_uri"
        count = count_lines(self._read_dataset(uri, place))
        limit = ""
        if count == 0:
            limit = "at least 1 is required"
        elif count > limits.validation_examples:
            limit = f"at most {limits.validation_examples} are allowed"
        elif count > limits.validation_free and count > limits.validation_fraction * rows:
            share = f"{limits.validation_fraction:.0%}"
            limit = f"above {limits.validation_free} at most {share} of the {rows} in training"
        if limit:
            raise ApiError.field(place, f"has {count} examples; {limit}.")


def _hyper_parameters(
    body: Json, place: str, entry: BaseModelEntry, method: str, rows: int, inherited_size: int | None
) -> Json:
    place += "hyper_parameters."
    # the service chooses epochs by size; the emulator: 4 for small sets, fewer for large ones
    most, steps = 4, 20_000
    if method == "reinforcement":
        _check_reinforcement(body, place, entry)
        most, steps = 10, 110 * body["batchSize"]
    size = ADAPTER_SIZES[body["adapterSize"]] or entry.default_adapter_size
    supported = getattr(entry, method)
    if size not in supported:
        violation = ApiError.field(f"{place}adapter_size", f"{entry.name} supports {', '.join(map(str, supported))}.")
        raise ApiError(400, "The adapter size is not supported for this base model.", details=violation.details)
    size = inherited_size or size  # a job that continues from an adapter keeps that adapter's rank
    result: Json = {key: body[key] for key in _PARAMETERS if key in body}
    result["adapterSize"] = next(name for name, rank in ADAPTER_SIZES.items() if rank == size)
    if "stepCount" in body:
        return {**result, "stepCount": str(body["stepCount"])}
    return {**result, "epochCount": str(body["epochCount"] or max(1, min(most, round(steps / rows))))}


def _check_reinforcement(body: Json, place: str, entry: BaseModelEntry) -> None:
    answers = body["batchSize"] * body["samplesPerPrompt"]
    if answers > MAX_ANSWERS or answers % ANSWERS_MULTIPLE:
        limit = f"times samples_per_prompt must be a multiple of {ANSWERS_MULTIPLE}, at most {MAX_ANSWERS}."
        raise ApiError.field(f"{place}batch_size", limit)
    if "stepCount" in body and body["epochCount"]:
        raise ApiError.field(f"{place}step_count", "cannot be set together with epoch_count.")
    if "thinkingBudget" in body and not entry.name.startswith("gemini-2.5"):
        raise ApiError.field(f"{place}thinking_budget", f"is not supported by {entry.name}; use thinking_level.")


def _require_beta(call: Call) -> None:
    if call.version != "v1beta1":
        raise ApiError(404, f"Reinforcement tuning is a preview: use v1beta1, not {call.version}.")

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
from emulator.core.google_rest import ApiError, Call, Fields, Json, failed_precondition, now, public
from emulator.core.messages import check
from emulator.services.collection import ENDED, JobCollection
from emulator.services.datasets import content_text, count_lines, parse_reinforcement_row
from emulator.services.evaluation import read_evaluation_config
from emulator.services.storage import split_uri
from emulator.services.training import SPECS, Services, TuningRun, adapters_folder

_RANKS = {"UNSPECIFIED": 0, "ONE": 1, "FOUR": 4, "EIGHT": 8, "SIXTEEN": 16, "THIRTY_TWO": 32, "TWO": 2}
ADAPTER_SIZES = {f"ADAPTER_SIZE_{word}": rank for word, rank in _RANKS.items()}  # in the order of their numbers
_NOT_IMPLEMENTED = ("distillationSpec", "partnerModelTuningSpec", "veoTuningSpec")
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
        fields = call.fields()
        check(fields.value, "ValidateReinforcementTuningRewardRequest", fields.path)
        config = self._services.rewards.read(fields)
        row = parse_reinforcement_row(fields.object("example").value)
        return self._services.rewards.validate(config, (row, content_text(fields.object("sampleResponse"))))

    def rebase(self, call: Call) -> Json:
        """An operation that ends with a new job: the data and settings of an old one on another base model.

        `tuningJob` has the changes, at least its `baseModel`. With `deployToSameEndpoint` the endpoint of the old
        model's default checkpoint serves the new model's when the job has succeeded.
        """
        fields = call.fields("rebase_tuned_model_request")
        check(fields.value, "RebaseTunedModelRequest", fields.path)
        if "artifactDestination" in fields:
            raise ApiError(400, "artifactDestination is not implemented by the emulator.")
        old = self._referenced_job(fields.object("tunedModelRef"))
        key = next(key for key in SPECS if key in old)
        request = fields.object("tuningJob")
        inherited = {name: old[name] for name in ("tunedModelDisplayName", "description", "labels") if old.get(name)}
        changes = request.object(key)
        spec = {**old[key], **changes.value}
        spec["hyperParameters"] = {**old[key]["hyperParameters"], **changes.object("hyperParameters").value}
        body = {**inherited, **request.value, "baseModel": request.text("baseModel"), key: spec}
        job = self._read_job(replace(call, body=body))
        old_base = old.get("baseModel") or old["preTunedModel"]["baseModel"]
        catalogue = self._services.catalogue
        if catalogue.find(old_base) == catalogue.find(body["baseModel"]):
            raise request.error("baseModel", f"the model is already based on {old_base}.")
        if fields.boolean("deployToSameEndpoint"):
            job["_same_endpoint"] = self._reusable_endpoint(old, body["baseModel"], call.params["location"])
        return self._operations.of_job(call, self._start(call, job)["name"], "RebaseTunedModel")

    def _referenced_job(self, reference: Fields) -> Json:
        """The finished job that a TunedModelRef names."""
        if "pipelineJob" in reference:
            raise ApiError(400, "tunedModelRef.pipelineJob is not implemented by the emulator.")
        name = reference.text("tuningJob", "")
        if reference.one_of("", "tunedModel", "tuningJob") == "tunedModel":
            model, version = self._services.models.resolve(reference.text("tunedModel"))
            job_id = version.get("labels", {}).get("google-vertex-llm-tuning-job-id", "")
            name = f"{model['name'].split('/models/')[0]}/tuningJobs/{job_id}"
        job = self.find(name)
        if job["state"] != "JOB_STATE_SUCCEEDED":
            raise failed_precondition(f"The tuning job {job['name']} is in state {job['state']}.")
        return job

    def _reusable_endpoint(self, old: Json, base: str, location: str) -> str:
        entry = self._services.catalogue.serving(base)
        endpoint = str(self.view(old)["tunedModel"]["endpoint"])
        serving_location = entry.serving_locations.get(location, location)
        if not endpoint or endpoint.split("/")[3] != serving_location:
            message = f"The model has no endpoint in {serving_location}, where a tuned {entry.name} is served."
            raise failed_precondition(message)
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
        fields = call.fields("tuning_job")
        for other in _NOT_IMPLEMENTED:
            if other in fields:
                raise ApiError(400, f"{other} is not implemented by the emulator.")
        key = fields.one_of("tuningSpec", *SPECS)
        method = SPECS[key]
        if method == "reinforcement":
            _require_beta(call)
        check(fields.value, "TuningJob", fields.path)
        job: Json = {"_method": method}
        entry = self._read_base(fields, job, method)
        location = call.params["location"]
        locations = self._services.catalogue.locations(entry, method)
        if "*" not in locations and location not in locations:
            places = ", ".join(locations)
            raise ApiError(400, f"Tuning {entry.name} is not supported in {location}. Supported locations: {places}.")
        job["tunedModelDisplayName"] = fields.text("tunedModelDisplayName", "")
        job |= {name: fields.text(name) for name in ("description", "serviceAccount") if name in fields}
        job["labels"] = fields.labels()
        if "encryptionSpec" in fields:
            if not entry.cmek:
                raise fields.error("encryptionSpec", f"CMEK is not supported for tuning {entry.name}.")
            job["encryptionSpec"] = fields.key(location)
        inherited_size = job.get("_parent_adapter_size")
        spec, size = self._read_spec(fields.object(key), entry, method, inherited_size, location)
        return {**job, key: spec, "_adapter_size": size}

    def _read_base(self, fields: Fields, job: Json, method: str) -> BaseModelEntry:
        catalogue, models = self._services.catalogue, self._services.models
        if fields.one_of("baseModel", "baseModel", "preTunedModel") == "baseModel":
            base = job["baseModel"] = fields.text("baseModel")
        else:
            parent = fields.object("preTunedModel")
            model, version = models.resolve(parent.text("tunedModelName"))
            full = f"{model['name']}@{version['versionId']}"
            base, _, checkpoint = models.checkpoint(full, parent.text("checkpointId", ""))
            job["preTunedModel"] = {"tunedModelName": full, "checkpointId": checkpoint, "baseModel": base}
            job["_parent_adapter_size"] = version.get("_adapterSize")
            job["_parent_display_name"] = version.get("displayName", "")
        entry = catalogue.tunable(base, method)
        if entry is None:
            supported = catalogue.names(method)
            message = f"Base model {base[:200]} is not supported for {method} tuning. Supported: {supported}."
            raise fields.error("baseModel", message)
        return entry

    def _read_spec(
        self, fields: Fields, entry: BaseModelEntry, method: str, inherited_size: int | None, location: str
    ) -> tuple[Json, int]:
        train = self._read_dataset(fields, "trainingDatasetUri")
        spec: Json = {"trainingDatasetUri": fields.text("trainingDatasetUri")}
        limits = self._services.catalogue.limits[method]
        rows = count_lines(train)
        if len(train) > limits.training_bytes or rows > limits.training_examples:
            limit = f"at most {limits.training_bytes} bytes and {limits.training_examples} examples."
            raise fields.error("trainingDatasetUri", limit)
        if rows == 0:
            raise fields.error("trainingDatasetUri", "the dataset has no examples.")
        if fields.value.get("validationDatasetUri"):
            self._check_validation(fields, method, rows)
            spec["validationDatasetUri"] = fields.text("validationDatasetUri")
        hyper_parameters = fields.object("hyperParameters")
        spec["hyperParameters"], size = _hyper_parameters(hyper_parameters, entry, method, rows, inherited_size)
        if method == "reinforcement":
            spec |= self._services.rewards.read(fields)
        if fields.boolean("exportLastCheckpointOnly"):
            spec["exportLastCheckpointOnly"] = True
        if "evaluationConfig" in fields:
            spec["evaluationConfig"] = self._read_evaluation(fields, entry, location)
        return spec, size

    def _read_evaluation(self, fields: Fields, entry: BaseModelEntry, location: str) -> Json:
        locations = entry.evaluation_locations
        if "*" not in locations and location not in locations:
            supported = f"only in {', '.join(locations)}" if locations else "nowhere"
            text = f"evaluation during tuning of {entry.name} is supported {supported}."
            raise fields.error("evaluationConfig", text)
        if not fields.value.get("validationDatasetUri"):
            text = "requires a validation dataset, whose prompts the checkpoints answer."
            raise fields.error("evaluationConfig", text)
        return read_evaluation_config(fields.object("evaluationConfig"), entry, self._services.storage)

    def _read_dataset(self, fields: Fields, key: str) -> bytes:
        uri = fields.text(key)
        if not uri.startswith("gs://") or not uri.endswith(".jsonl"):
            field = fields.name(key).rsplit(".", 1)[1]
            raise fields.error(key, f"{field} should be a GCS object of type JSONL.")
        try:
            return self._services.storage.read(*split_uri(uri))[1]
        except ApiError as error:
            raise fields.error(key, f"{uri[:300]} can't be read: {error.message}") from error

    def _check_validation(self, fields: Fields, method: str, rows: int) -> None:
        limits = self._services.catalogue.limits[method]
        count = count_lines(self._read_dataset(fields, "validationDatasetUri"))
        limit = ""
        if count == 0:
            limit = "at least 1 is required"
        elif count > limits.validation_examples:
            limit = f"at most {limits.validation_examples} are allowed"
        elif count > limits.validation_free and count > limits.validation_fraction * rows:
            share = f"{limits.validation_fraction:.0%}"
            limit = f"above {limits.validation_free} at most {share} of the {rows} in training"
        if limit:
            raise fields.error("validationDatasetUri", f"has {count} examples; {limit}.")


def _hyper_parameters(
    fields: Fields, entry: BaseModelEntry, method: str, rows: int, inherited_size: int | None
) -> tuple[Json, int]:
    own = _reinforcement_parameters(fields, entry, rows) if method == "reinforcement" else {}
    # the service chooses epochs by size; the emulator: 4 for small sets, fewer for large ones
    epochs = fields.integer("epochCount", 0) or own.pop("_epochs", 0) or max(1, min(4, round(20_000 / rows)))
    size = ADAPTER_SIZES[fields.enum("adapterSize", tuple(ADAPTER_SIZES))] or entry.default_adapter_size
    supported = getattr(entry, method)
    if size not in supported:
        violation = fields.error("adapterSize", f"{entry.name} supports {', '.join(map(str, supported))}.")
        raise ApiError(400, "The adapter size is not supported for this base model.", details=violation.details)
    size = inherited_size or size  # a job that continues from an adapter keeps that adapter's rank
    count = {} if "stepCount" in own else {"epochCount": str(epochs)}
    result: Json = {
        **count,
        "learningRateMultiplier": fields.number("learningRateMultiplier", 1.0),
        "adapterSize": next(name for name, rank in ADAPTER_SIZES.items() if rank == size),
        **own,
    }
    if method == "preference":
        result["beta"] = fields.number("beta", 0.1)
    return result, size


def _reinforcement_parameters(fields: Fields, entry: BaseModelEntry, rows: int) -> Json:
    """The parameters of reinforcement tuning alone, with the documented defaults; `_epochs` is that of the epochs."""
    batch, samples = fields.integer("batchSize", 32), fields.integer("samplesPerPrompt", 16)
    if batch * samples > MAX_ANSWERS or batch * samples % ANSWERS_MULTIPLE:
        limit = f"times samples_per_prompt must be a multiple of {ANSWERS_MULTIPLE}, at most {MAX_ANSWERS}."
        raise fields.error("batchSize", limit)
    if "stepCount" in fields and "epochCount" in fields:
        raise fields.error("stepCount", "cannot be set together with epoch_count.")
    if "thinkingBudget" in fields and not entry.name.startswith("gemini-2.5"):
        raise fields.error("thinkingBudget", f"is not supported by {entry.name}; use thinking_level.")
    result: Json = {"batchSize": batch, "samplesPerPrompt": samples}
    result["thinkingLevel"] = fields.text("thinkingLevel", "HIGH")
    result["maxOutputTokens"] = fields.integer("maxOutputTokens", 32_768)
    result |= {key: fields.integer(key) for key in ("evaluateInterval", "checkpointInterval") if key in fields}
    if "stepCount" in fields:
        result["stepCount"] = str(fields.integer("stepCount"))
    return {**result, "_epochs": max(1, min(round(110 * batch / rows), 10))}


def _require_beta(call: Call) -> None:
    if call.version != "v1beta1":
        raise ApiError(404, f"Reinforcement tuning is a preview: use v1beta1, not {call.version}.")

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning jobs on the wire: what the service checks at creation, and how a job is shown.

Limits, ranges and error forms are the documented ones; what runs the jobs is `training.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emulator.catalogue import BaseModelEntry
from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    canonical,
    failed_precondition,
    labels_of,
    not_found,
    now,
    page,
    public,
)
from emulator.services.checkpoint_evaluation import checked_config
from emulator.services.datasets import count_lines
from emulator.services.operations import Operations
from emulator.services.storage import split_uri
from emulator.services.training import Parts, Trainer

ADAPTER_SIZES = {
    "ADAPTER_SIZE_ONE": 1,
    "ADAPTER_SIZE_TWO": 2,
    "ADAPTER_SIZE_FOUR": 4,
    "ADAPTER_SIZE_EIGHT": 8,
    "ADAPTER_SIZE_SIXTEEN": 16,
    "ADAPTER_SIZE_THIRTY_TWO": 32,
}
_PROTO_SIZES = {1: 1, 6: 2, 2: 4, 3: 8, 4: 16, 5: 32}
_NAMES = {size: name for name, size in ADAPTER_SIZES.items()}
_METHODS = {"supervisedTuningSpec": "supervised", "preferenceOptimizationSpec": "preference"}
_MISSING = ("distillationSpec", "reinforcementTuningSpec", "partnerModelTuningSpec", "veoTuningSpec")
_JOB_FIELDS = [
    "name",
    "baseModel",
    "preTunedModel",
    "tunedModelDisplayName",
    "description",
    "labels",
    "encryptionSpec",
    "serviceAccount",
    "supervisedTuningSpec",
    "preferenceOptimizationSpec",
    "state",
    "createTime",
]
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class TuningJobs:
    """The tuningJobs collection."""

    def __init__(self, parts: Parts, trainer: Trainer, operations: Operations) -> None:
        self._parts = parts
        self._trainer = trainer
        self._operations = operations
        operations.follow(self._render)

    def routes(self) -> list[Route]:
        """Create, read, list, cancel."""
        methods = "supervised and preference tuning of text"
        return [
            Route("POST", "tuningJobs", self.create, "partial", methods),
            Route("GET", "tuningJobs", self.list),
            Route("GET", "tuningJobs/{job}", self.get),
            Route("POST", "tuningJobs/{job}:cancel", self.cancel),
            Route("POST", "tuningJobs:rebaseTunedModel", self.rebase, "partial", "no artifactDestination"),
        ]

    def create(self, call: Call) -> Json:
        """A job in state PENDING, or a 400 with all that is wrong with it."""
        return self._render(self._start(call, self._checked(call)))

    def _start(self, call: Call, job: Json) -> Json:
        with self._parts.state.transaction():
            self._check_quota()
            name = f"{call.parent}/tuningJobs/{self._parts.state.new_id('tuningJobs')}"
            stamp = now()
            job = {"name": name, **job, "state": "JOB_STATE_PENDING", "createTime": stamp, "updateTime": stamp}
            waits_for = "QUOTA" if self._trainer.busy() else "CAPACITY"
            job["tuningJobState"] = f"TUNING_JOB_STATE_WAITING_FOR_{waits_for}"
            self._parts.state.put("tuningJobs", name, job)
        self._trainer.enqueue(name)
        return job

    def rebase(self, call: Call) -> Json:
        """An operation that ends with a new job: the data and settings of an old one on another base model.

        `tuningJob` says what differs, its `baseModel` at least. With `deployToSameEndpoint` the endpoint of the old
        model's default checkpoint serves the new model's when the job is done.
        """
        fields = call.fields("rebase_tuned_model_request")
        fields.only("parent", "tunedModelRef", "tuningJob", "artifactDestination", "deployToSameEndpoint")
        if "artifactDestination" in fields:
            raise ApiError(501, "artifactDestination is not implemented by the emulator.")
        old = self._tuned_by(fields.object("tunedModelRef"))
        key = next(key for key in _METHODS if key in old)
        given = fields.object("tuningJob")
        kept = {name: old[name] for name in ("tunedModelDisplayName", "description", "labels") if old.get(name)}
        changes = given.object(key)
        spec = {**old[key], **changes.value}
        spec["hyperParameters"] = {**old[key]["hyperParameters"], **changes.object("hyperParameters").value}
        body = {**kept, **given.value, "baseModel": given.text("baseModel"), key: spec}
        job = self._checked(replace(call, body=body))
        before = old.get("baseModel") or old["preTunedModel"]["baseModel"]
        if self._parts.catalogue.find(before) == self._parts.catalogue.find(body["baseModel"]):
            raise bad_field((given.name("baseModel"), f"the model stands on {before} already."))
        if fields.boolean("deployToSameEndpoint"):
            job["_same_endpoint"] = self._endpoint_of(old, body["baseModel"], call.params["location"])
        started = self._start(call, job)
        return self._operations.of_job(call, started["name"], "RebaseTunedModelOperationMetadata")

    def _tuned_by(self, ref: Fields) -> Json:
        """The finished job that a TunedModelRef names."""
        if "pipelineJob" in ref:
            raise ApiError(501, "tunedModelRef.pipelineJob is not implemented by the emulator.")
        if ("tuningJob" in ref) == ("tunedModel" in ref):
            raise bad_field((ref.path, "exactly one of tuned_model and tuning_job must be set."))
        name = canonical(ref.text("tuningJob", ""))
        if "tunedModel" in ref:
            model, version = self._parts.models.resolve(ref.text("tunedModel"))
            job_id = version.get("labels", {}).get("google-vertex-llm-tuning-job-id", "")
            name = f"{model['name'].split('/models/')[0]}/tuningJobs/{job_id}"
        job = self._find(name)
        if job["state"] != "JOB_STATE_SUCCEEDED":
            raise failed_precondition(f"The tuning job {name} is in state {job['state']}.")
        return job

    def _endpoint_of(self, old: Json, base: str, location: str) -> str:
        entry = self._parts.catalogue.serving(base)
        endpoint = str(self._render(old)["tunedModel"]["endpoint"])
        place = entry.serving_locations.get(location, location)
        if not endpoint or endpoint.split("/")[3] != place:
            raise failed_precondition(f"The model has no endpoint in {place}, where a tuned {entry.name} is served.")
        return endpoint

    def _check_quota(self) -> None:
        quota = self._parts.faults.plan.tuning_quota
        unfinished = sum(job["state"] not in ENDED for _, job in self._parts.state.all("tuningJobs"))
        if quota is not None and unfinished >= quota:
            raise ApiError(429, f"Quota exceeded: {quota} concurrent tuning jobs. Please try again later.")

    def get(self, call: Call) -> Json:
        """One job."""
        name = f"{call.parent}/tuningJobs/{call.params['job']}"
        self._parts.looks.look(name)
        return self._render(self._find(name))

    def list(self, call: Call) -> Json:
        """A page of jobs, newest first."""
        found = [(seq, self._render(job)) for seq, job in self._parts.state.all("tuningJobs", call.parent)]
        return page(call, matching(call.query.get("filter", ()), found), "tuningJobs")

    def cancel(self, call: Call) -> Json:
        """Nothing; the job will be CANCELLED."""
        name = f"{call.parent}/tuningJobs/{call.params['job']}"
        with self._parts.state.transaction():
            job = self._find(name)
            if job["state"] in ENDED:
                raise failed_precondition(f"The tuning job {name} is in state {job['state']} and can't be cancelled.")
            self._parts.state.change(name, lambda body: body.update(state="JOB_STATE_CANCELLING", updateTime=now()))
        self._trainer.cancel(name)
        return {}

    def _find(self, name: str) -> Json:
        found = self._parts.state.get(name)
        if found is None or "/tuningJobs/" not in name:
            raise not_found(f"Tuning job {name}")
        return found

    def _render(self, job: Json) -> Json:
        """The job with the endpoint that its model's default checkpoint has now."""
        shown = public(job)
        tuned = job.get("tunedModel")
        if tuned and job["state"] == "JOB_STATE_SUCCEEDED":
            try:
                _, version = self._parts.models.resolve(tuned["model"])
            except ApiError:
                return shown  # the model was deleted; the job remembers it
            endpoint = self._parts.endpoints.serving(tuned["model"], version.get("defaultCheckpointId", ""))
            shown["tunedModel"] = {**tuned, "endpoint": endpoint}
        return shown

    # --- validation

    def _checked(self, call: Call) -> Json:
        fields = call.fields("tuning_job")
        for key in _MISSING:
            if key in fields:
                raise ApiError(501, f"{key} is not implemented by the emulator.")
        fields.only(*_JOB_FIELDS)
        present = [key for key in _METHODS if key in fields]
        if len(present) != 1:
            raise bad_field(("tuning_job.tuning_spec", "exactly one tuning spec must be set."))
        method = _METHODS[present[0]]
        job: Json = {"_method": method}
        entry = self._base(fields, job, method)
        self._check_place(call, fields, entry)
        job["tunedModelDisplayName"] = _display_name(fields)
        for key in ("description", "serviceAccount"):
            if key in fields:
                job[key] = fields.text(key)
        job["labels"] = labels_of(fields)
        if "encryptionSpec" in fields:
            job["encryptionSpec"] = {"kmsKeyName": fields.object("encryptionSpec").text("kmsKeyName")}
        inherited = job.get("_parent_adapter_size")
        spec, size = self._spec(fields.object(present[0]), entry, method, inherited, call.params["location"])
        job[present[0]] = spec
        job["_adapter_size"] = size
        return job

    def _base(self, fields: Fields, job: Json, method: str) -> BaseModelEntry:
        if ("baseModel" in fields) == ("preTunedModel" in fields):
            raise bad_field(("tuning_job.base_model", "exactly one of base_model and pre_tuned_model must be set."))
        if "baseModel" in fields:
            base = fields.text("baseModel")
            job["baseModel"] = base
        else:
            base = self._parent_model(fields.object("preTunedModel"), job)
        entry = self._parts.catalogue.find(base)
        if entry is None or not getattr(entry, method) or self._parts.catalogue.retired(entry):
            offered = [item.name for item in self._parts.catalogue.models if getattr(item, method)]
            raise bad_field(
                (
                    "tuning_job.base_model",
                    f"Base model {base[:200]} is not supported for {method} tuning. Supported: {', '.join(offered)}.",
                )
            )
        return entry

    def _parent_model(self, given: Fields, job: Json) -> str:
        model, version = self._parts.models.resolve(given.text("tunedModelName"))
        full = f"{model['name']}@{version['versionId']}"
        base, _, checkpoint = self._parts.models.checkpoint(full, given.text("checkpointId", ""))
        job["preTunedModel"] = {"tunedModelName": full, "checkpointId": checkpoint, "baseModel": base}
        job["_parent_adapter_size"] = version.get("_adapterSize")
        job["_parent_display_name"] = version.get("displayName", "")
        return base

    def _check_place(self, call: Call, fields: Fields, entry: BaseModelEntry) -> None:
        location = call.params["location"]
        if "*" not in entry.tuning_locations and location not in entry.tuning_locations:
            places = ", ".join(entry.tuning_locations)
            raise ApiError(400, f"Tuning {entry.name} is not supported in {location}. Supported locations: {places}.")
        if "encryptionSpec" in fields and not entry.cmek:
            raise bad_field(("tuning_job.encryption_spec", f"CMEK is not supported for tuning {entry.name}."))

    def _spec(
        self, spec: Fields, entry: BaseModelEntry, method: str, inherited: int | None, location: str
    ) -> tuple[Json, int]:
        known = "trainingDatasetUri validationDatasetUri hyperParameters exportLastCheckpointOnly tuningMode"
        spec.only(*known.split(), "evaluationConfig")
        train = self._dataset(spec, "trainingDatasetUri")
        checked: Json = {"trainingDatasetUri": spec.text("trainingDatasetUri")}
        limits = self._parts.catalogue.limits[method]
        rows = count_lines(train)
        where = spec.name("trainingDatasetUri")
        if len(train) > limits.training_bytes or rows > limits.training_examples:
            raise bad_field((where, f"at most {limits.training_bytes} bytes and {limits.training_examples} examples."))
        if rows == 0:
            raise bad_field((where, "the dataset has no examples."))
        if spec.value.get("validationDatasetUri"):
            self._check_validation(spec, method, rows)
            checked["validationDatasetUri"] = spec.text("validationDatasetUri")
        hyper, size = _hyper_parameters(spec.object("hyperParameters"), entry, method, rows, inherited)
        checked["hyperParameters"] = hyper
        if spec.boolean("exportLastCheckpointOnly"):
            checked["exportLastCheckpointOnly"] = True
        if "evaluationConfig" in spec:
            checked["evaluationConfig"] = self._evaluation(spec, entry, location)
        return checked, size

    def _evaluation(self, spec: Fields, entry: BaseModelEntry, location: str) -> Json:
        places = entry.evaluation_locations
        if "*" not in places and location not in places:
            where = f"in {', '.join(places)} alone" if places else "not"
            message = f"evaluation within tuning is offered for {entry.name} {where}."
            raise bad_field((spec.name("evaluationConfig"), message))
        if not spec.value.get("validationDatasetUri"):
            where = spec.name("evaluationConfig")
            raise bad_field((where, "needs a validation dataset: its rows are what checkpoints are asked."))
        return checked_config(spec.object("evaluationConfig"), entry, self._parts.storage)

    def _dataset(self, spec: Fields, key: str) -> bytes:
        uri = spec.text(key)
        if not uri.startswith("gs://") or not uri.endswith(".jsonl"):
            field = spec.name(key).rsplit(".", 1)[1]
            raise bad_field((spec.name(key), f"{field} should be a GCS object of type JSONL."))
        try:
            return self._parts.storage.read(*split_uri(uri))[1]
        except ApiError as error:
            raise bad_field((spec.name(key), f"{uri[:300]} can't be read: {error.message}")) from error

    def _check_validation(self, spec: Fields, method: str, rows: int) -> None:
        limits = self._parts.catalogue.limits[method]
        count = count_lines(self._dataset(spec, "validationDatasetUri"))
        where = spec.name("validationDatasetUri")
        if count == 0:
            raise bad_field((where, "the dataset has no examples."))
        if count > limits.validation_examples:
            raise bad_field((where, f"has {count} examples; at most {limits.validation_examples} are allowed."))
        if count > limits.validation_free and count > limits.validation_fraction * rows:
            share = f"{limits.validation_fraction:.0%}"
            most = f"above {limits.validation_free} at most {share} of the {rows} in training"
            raise bad_field((where, f"has {count} examples; {most}."))


def _display_name(fields: Fields) -> str:
    name = fields.text("tunedModelDisplayName", "")
    if len(name) > 128:
        raise bad_field(("tuning_job.tuned_model_display_name", "may have at most 128 characters."))
    return name


def _hyper_parameters(
    hyper: Fields, entry: BaseModelEntry, method: str, rows: int, inherited: int | None
) -> tuple[Json, int]:
    known = ["epochCount", "learningRateMultiplier", "adapterSize"]
    hyper.only(*known, *(["beta"] if method == "preference" else []))
    # the service picks epochs by size; the emulator: 4 for small sets, fewer for large ones
    epochs = hyper.integer("epochCount", 0) or max(1, min(4, round(20_000 / rows)))
    if not 1 <= epochs <= 10_000:
        raise bad_field((hyper.name("epochCount"), "must be a positive number."))
    multiplier = hyper.number("learningRateMultiplier", 1.0)
    if not 0 < multiplier <= 10_000:
        raise bad_field((hyper.name("learningRateMultiplier"), "must be a positive number."))
    size = adapter_size(hyper, entry.default_adapter_size)
    sizes = getattr(entry, method)
    if size not in sizes:
        violation = bad_field((hyper.name("adapterSize"), f"{entry.name} supports {', '.join(map(str, sizes))}."))
        raise ApiError(400, "The adapter size is not supported for this base model.", details=violation.details)
    size = inherited or size  # a job that goes on from an adapter has that adapter's rank
    result: Json = {"epochCount": str(epochs), "learningRateMultiplier": multiplier, "adapterSize": _NAMES[size]}
    if method == "preference":
        beta = hyper.number("beta", 0.1)
        if beta < 0:
            raise bad_field((hyper.name("beta"), "must not be negative."))
        result["beta"] = beta
    return result, size


def adapter_size(hyper: Fields, default: int) -> int:
    """The rank an enum name, or its number in the API's protocol buffers, stands for."""
    value: Any = hyper.value.get("adapterSize")
    if value in (None, 0, "ADAPTER_SIZE_UNSPECIFIED"):
        return default
    if isinstance(value, int) and value in _PROTO_SIZES:
        return _PROTO_SIZES[value]
    if isinstance(value, str) and value in ADAPTER_SIZES:
        return ADAPTER_SIZES[value]
    raise bad_field((hyper.name("adapterSize"), f"Invalid value at adapter_size: {str(value)[:80]!r}."))

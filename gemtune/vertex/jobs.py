# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning jobs: create, find, look at, cancel, and read their curves.

Source: google-genai `tunings` for jobs; the generated Metadata and TensorBoard clients for curves (job -> experiment
context -> backing TensorBoard -> run -> time series). Promise: every trap of `tunings.tune` is refused here before a
request is made, and a job comes back as plain frozen data.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gemtune.errors import UserError
from gemtune.vertex import Client, PermanentError, translate_errors

ADAPTER_WORDS = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN"}
METHODS = {"supervised": "SUPERVISED_FINE_TUNING", "preference": "PREFERENCE_TUNING"}
ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
FINGERPRINT = "gemtune-job"  # label key: what makes a job; see submit
NAME = "gemtune-name"  # label key: whose runs a job belongs to
LABEL = re.compile(r"[^a-z0-9_-]")


@dataclass(frozen=True, slots=True)
class TuningJobSpec:
    """What a tuning job is asked to do. None leaves a choice to the service.

    `base` is a base model id, or a tuned model (projects/P/locations/L/models/M@V) to continue from, then at
    `checkpoint_id` ("": its default checkpoint). `beta` belongs to preference tuning alone.
    """

    base: str
    method: str
    training_uri: str
    validation_uri: str = ""
    epoch_count: int | None = None
    learning_rate_multiplier: float | None = None
    adapter_size: int | None = None
    beta: float | None = None
    last_checkpoint_only: bool = False
    checkpoint_id: str = ""
    display_name: str = ""
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    service_account: str = ""
    encryption_key: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of a tuned model and the endpoint it was deployed to when it was made."""

    checkpoint_id: str
    epoch: int
    step: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A tuning job as the service tells it. `state` and `detail` are its words without their prefixes.

    `billable_tokens` counts the data set once; `error` is "" unless the job failed, `error_code` a google.rpc code.
    """

    name: str
    state: str
    detail: str
    labels: dict[str, str]
    created: datetime
    model: str = ""
    endpoint: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    experiment: str = ""
    completed_epochs: int = 0
    completed_steps: int = 0
    billable_tokens: int = 0
    steps: int = 0
    examples: int = 0
    truncated: int = 0
    dropped: tuple[str, ...] = ()
    error: str = ""
    error_code: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it left a model; a partial success counts when it left a checkpoint that answers."""
        return self.state == "SUCCEEDED" or (self.state == "PARTIALLY_SUCCEEDED" and bool(self.checkpoints))


def create(client: Client, order: TuningJobSpec) -> TuningJob:
    """Submit a job. Raises `UserError` for what can't be right, `Retryable` or `Refused` as the service answers."""
    from google.genai import types

    validate(order)
    config = types.CreateTuningJobConfig(**_configuration(order))
    dataset = types.TuningDataset(gcs_uri=order.training_uri)
    jobs = client.genai().tunings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK calls its own method experimental each time
        made = translate_errors(lambda: jobs.tune(base_model=order.base, training_dataset=dataset, config=config))
    return _job(made)


def validate(order: TuningJobSpec) -> None:
    """Refuse an order that the SDK would mangle or the service would reject; raises `UserError` naming the field."""
    if order.method not in METHODS:
        raise UserError(f"unknown tuning method {order.method!r}", remedy=f"one of {', '.join(METHODS)}")
    if (order.beta is None) == (order.method == "preference"):
        raise UserError(
            f"beta is {order.beta} with the method {order.method!r}", remedy="beta belongs to preference tuning"
        )
    if order.beta is not None and not order.beta > 0:
        raise UserError(f"beta {order.beta} learns nothing", remedy="recommended: 0.01 to 0.5")
    if order.adapter_size is not None and order.adapter_size not in ADAPTER_WORDS:
        raise UserError(f"adapter size {order.adapter_size}", remedy=f"one of {', '.join(map(str, ADAPTER_WORDS))}")
    for what, uri in (("training", order.training_uri), ("validation", order.validation_uri)):
        if (uri or what == "training") and not (uri.startswith("gs://") and uri.endswith(".jsonl")):
            raise UserError(f"the {what} data {uri!r} is not a JSONL object", remedy="gs://BUCKET/NAME.jsonl")
    if order.checkpoint_id and not order.base.startswith("projects/"):
        raise UserError(f"{order.base} has no checkpoint {order.checkpoint_id!r}", remedy="continue from a tuned model")
    if len(order.display_name) > 128:
        raise UserError(f"display name of {len(order.display_name)} characters", remedy="at most 128")


def _configuration(order: TuningJobSpec) -> dict[str, Any]:
    """The SDK's own names; what is None is left out of the request."""
    from google.genai import types

    size = order.adapter_size
    account = {"serviceAccount": order.service_account} if order.service_account else None
    key = types.EncryptionSpec(kms_key_name=order.encryption_key) if order.encryption_key else None
    validation = types.TuningValidationDataset(gcs_uri=order.validation_uri) if order.validation_uri else None
    return {
        "method": METHODS[order.method],
        "validation_dataset": validation,
        "tuned_model_display_name": order.display_name or None,
        "description": order.description or None,
        "epoch_count": order.epoch_count,
        "learning_rate_multiplier": order.learning_rate_multiplier,
        "adapter_size": f"ADAPTER_SIZE_{ADAPTER_WORDS[size]}" if size else None,
        "beta": order.beta,
        "export_last_checkpoint_only": order.last_checkpoint_only or None,
        "pre_tuned_model_checkpoint_id": order.checkpoint_id or None,
        "labels": order.labels or None,
        "encryption_spec": key,
        "http_options": types.HttpOptions(extra_body=account) if account else None,
    }


def find(client: Client, key: str, value: str) -> list[TuningJob]:
    """All jobs that carry a label, newest first; the answer is checked here, whether or not the service filtered."""
    asked = client.genai().tunings
    listed = translate_errors(lambda: list(asked.list(config={"filter": f'labels.{key}="{value}"', "page_size": 100})))
    jobs = [_job(raw) for raw in listed if (raw.labels or {}).get(key) == value]
    return sorted(jobs, key=lambda job: job.created, reverse=True)


def get(client: Client, name: str) -> TuningJob:
    """The job by its full resource name."""
    _require_full(name)
    return _job(translate_errors(lambda: client.genai(_place(name)).tunings.get(name=name)))


def cancel(client: Client, name: str) -> None:
    """Ask for a job to stop, by its full resource name; a job that has ended already stays as it is."""
    _require_full(name)
    try:
        translate_errors(lambda: client.genai(_place(name)).tunings.cancel(name=name))
    except PermanentError as error:
        if not get(client, name).ended:
            raise error


def _require_full(name: str) -> None:
    """The SDK would ask for a bare id under a wrong path."""
    if not name.startswith("projects/"):
        raise UserError(f"{name!r} is no full resource name", remedy="projects/P/locations/L/tuningJobs/ID")


def loss_series(client: Client, job: TuningJob) -> dict[str, list[tuple[int, float]]]:
    """Every metric's (step, value) points so far, by the service's names; empty while there are none."""
    if not job.experiment:
        return {}
    from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
    from google.cloud.aiplatform_v1.services.tensorboard_service import TensorboardServiceClient

    place = _place(job.experiment)
    try:
        context = translate_errors(
            lambda: client.generated(MetadataServiceClient, place).get_context(name=job.experiment)
        )
        board = dict(context.metadata).get("backing_tensorboard_resource", "")
        return _series(client.generated(TensorboardServiceClient, place), board, context.name.rsplit("/", 1)[1])
    except PermanentError as error:
        if error.code == 404:  # not written yet
            return {}
        raise


def _series(boards: Any, board: str, experiment: str) -> dict[str, list[tuple[int, float]]]:
    if not board:
        return {}
    points: dict[str, list[tuple[int, float]]] = {}
    for run in translate_errors(lambda: list(boards.list_tensorboard_runs(parent=f"{board}/experiments/{experiment}"))):
        names = _series_names(boards, run.name)
        for group in _groups(list(names), 50):
            for data in _read(boards, board, group):
                values = [(int(point.step), float(point.scalar.value)) for point in data.values]
                points.setdefault(names[f"{run.name}/timeSeries/{data.tensorboard_time_series_id}"], []).extend(values)
    return {name: sorted(values) for name, values in points.items()}


def _series_names(boards: Any, run: str) -> dict[str, str]:
    listed = translate_errors(lambda: list(boards.list_tensorboard_time_series(parent=run)))
    return {f"{run}/timeSeries/{series.name.rsplit('/', 1)[1]}": series.display_name for series in listed}


def _read(boards: Any, board: str, names: list[str]) -> Any:
    request = {"tensorboard": board, "time_series": names}
    return translate_errors(lambda: boards.batch_read_tensorboard_time_series_data(request=request)).time_series_data


def _groups(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def label(text: str) -> str:
    """A text as a label value: at most 63 lower-case letters, digits, _ and -."""
    return LABEL.sub("-", text.lower())[:63]


def _place(name: str) -> str:
    """The location inside a resource name; "" when there is none."""
    parts = name.split("/")
    return parts[3] if len(parts) > 3 and parts[2] == "locations" else ""


def _job(raw: Any) -> TuningJob:
    """The SDK's job as ours. All counts may be missing while the service has not made them."""
    tuned, meta, stats = raw.tuned_model, raw.tuning_job_metadata, _stats(raw.tuning_data_stats)
    return TuningJob(
        name=raw.name,
        state=_state(raw.state, "JOB_STATE_"),
        detail=_state(raw.tuning_job_state, "TUNING_JOB_STATE_"),
        labels=dict(raw.labels or {}),
        created=raw.create_time or datetime.now(UTC),
        model=(tuned and tuned.model) or "",
        endpoint=(tuned and tuned.endpoint) or "",
        checkpoints=tuple(map(_checkpoint, (tuned and tuned.checkpoints) or ())),
        experiment=raw.experiment or "",
        completed_epochs=int((meta and meta.completed_epoch_count) or 0),
        completed_steps=int((meta and meta.completed_step_count) or 0),
        billable_tokens=int(_of(stats, "total_billable_token_count") or 0),
        steps=int(_of(stats, "tuning_step_count") or 0),
        examples=int(_of(stats, "tuning_dataset_example_count") or 0),
        truncated=int(_of(stats, "total_truncated_example_count") or 0),
        dropped=tuple(_of(stats, "dropped_example_reasons") or ()),
        error=(raw.error and raw.error.message) or "",
        error_code=int((raw.error and raw.error.code) or 0),
    )


def _stats(stats: Any) -> Any:
    return stats and (stats.supervised_tuning_data_stats or stats.preference_optimization_data_stats)


def _of(stats: Any, name: str) -> Any:
    return getattr(stats, name, None) if stats else None


def _checkpoint(raw: Any) -> Checkpoint:
    return Checkpoint(str(raw.checkpoint_id or ""), int(raw.epoch or 0), int(raw.step or 0), raw.endpoint or "")


def _state(value: Any, prefix: str) -> str:
    return str(getattr(value, "value", value) or "").removeprefix(prefix)

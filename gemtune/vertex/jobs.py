# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning jobs: create, find, get, cancel, and read their loss series.

Source: google-genai `tunings` for jobs; the generated Metadata and TensorBoard clients for series (job -> experiment
context -> backing TensorBoard -> run -> time series). Guarantees: a job is plain frozen data.
"""

import json
import re
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gemtune.artifacts.tuning import ServiceScore
from gemtune.config import JsonObject
from gemtune.vertex import Client, enum_value, location_of, storage
from gemtune.vertex.calls import PermanentError, retried, translate_errors

ADAPTER_WORDS = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN"}
METHODS = {
    "supervised": "SUPERVISED_FINE_TUNING",
    "preference": "PREFERENCE_TUNING",
    "reinforcement": "REINFORCEMENT_TUNING",
}
ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
FINGERPRINT = "gemtune-job"  # label key: fingerprint of a job; see tuning.submission
SERIES_PER_REQUEST = 50
NAME = "gemtune-name"  # label key: name of the runs that a job belongs to
LABEL = re.compile(r"[^a-z0-9_-]")


@dataclass(frozen=True, slots=True)
class TuningJobSpec:
    """Parameters of a tuning job. None means the service's default.

    `base` is a base model id, or a tuned model (projects/P/locations/L/models/M@V) to continue, from its
    `checkpoint_id` ("": the default checkpoint). `beta` is for preference tuning only, `reinforcement`
    are further arguments of `CreateTuningJobConfig` for reinforcement tuning, `evaluation` is the metric
    and the generation settings of a job that is to score its checkpoints itself.
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
    reinforcement: JsonObject = field(default_factory=dict)
    evaluation: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of a tuned model and the endpoint it was deployed to at its creation."""

    checkpoint_id: str
    epoch: int
    step: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A tuning job. `state` and `detail` are the service's values without their prefixes.

    `service_scores` are the checkpoints' scores by the job itself, `metrics_uri` is where it has stored its metrics.
    `billable_tokens` is for one epoch; `dropped` training rows were left out by the service; `error` is "" unless the
    job failed, `error_code` a google.rpc code.
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
    dropped: int = 0
    dropped_reasons: tuple[str, ...] = ()
    service_scores: tuple[ServiceScore, ...] = ()
    metrics_uri: str = ""
    error: str = ""
    error_code: int = 0

    @property
    def waiting(self) -> bool:
        """Whether the job is still in a queue."""
        return self.state in ("QUEUED", "PENDING") or self.detail.startswith("WAITING_")

    @property
    def ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state in ENDED

    @property
    def saved(self) -> tuple[Checkpoint, ...]:
        """The checkpoints; of a job that lists none, that of its end at the job's endpoint."""
        return self.checkpoints or (Checkpoint("", self.completed_epochs, self.completed_steps, self.endpoint),)

    @property
    def succeeded(self) -> bool:
        """Whether the job produced a model; a partial success counts if it has a checkpoint."""
        return self.state == "SUCCEEDED" or (self.state == "PARTIALLY_SUCCEEDED" and bool(self.checkpoints))


def create(client: Client, spec: TuningJobSpec) -> TuningJob:
    """Submit a job. Raises `TransientError` or `PermanentError`."""
    from google.genai import types

    size = spec.adapter_size
    account = types.HttpOptions(extra_body={"serviceAccount": spec.service_account}) if spec.service_account else None
    # None is left out of the request
    config = types.CreateTuningJobConfig(
        method=METHODS[spec.method],
        validation_dataset=types.TuningValidationDataset(gcs_uri=spec.validation_uri) if spec.validation_uri else None,
        tuned_model_display_name=spec.display_name or None,
        description=spec.description or None,
        epoch_count=spec.epoch_count,
        learning_rate_multiplier=spec.learning_rate_multiplier,
        adapter_size=f"ADAPTER_SIZE_{ADAPTER_WORDS[size]}" if size else None,
        beta=spec.beta,
        export_last_checkpoint_only=spec.last_checkpoint_only or None,
        pre_tuned_model_checkpoint_id=spec.checkpoint_id or None,
        labels=spec.labels or None,
        encryption_spec=types.EncryptionSpec(kms_key_name=spec.encryption_key) if spec.encryption_key else None,
        http_options=account,
        evaluation_config=_evaluation_config(client, spec.evaluation) if spec.evaluation else None,
        **_with_full_names(client, spec.reinforcement),
    )
    dataset = types.TuningDataset(gcs_uri=spec.training_uri)
    jobs = client.genai().tunings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns at each call that its method is experimental
        job = translate_errors(lambda: jobs.tune(base_model=spec.base, training_dataset=dataset, config=config))
    return _job(job)


def _evaluation_config(client: Client, fields: JsonObject) -> Any:
    """The evaluation of a job, whose results for single rows are written to the bucket."""
    from google.genai import types

    destination = types.GcsDestination(output_uri_prefix=f"gs://{client.bucket}/evaluation")
    metric: Any = types.Metric(name=fields["metric"])
    if fields["metric"] == "rouge_l":  # by name the SDK sends "rougel"
        metric = types.UnifiedMetric(rouge_spec=types.RougeSpec(rouge_type="rougeL"))
    return types.EvaluationConfig(
        metrics=[metric],
        output_config=types.OutputConfig(gcs_destination=destination),
        inference_generation_config=types.GenerationConfig.model_validate(fields["inference_generation_config"]),
    )


@retried
def validate_reward(client: Client, row: JsonObject, answer: str, rewards: JsonObject) -> tuple[float | None, str]:
    """(reward, "") of an answer to a reinforcement row by the service, or (None, why it has none).

    `rewards` is `reward_config` or `composite_reward_config` as for a job.
    """
    from google.genai import types

    names = {"reward_config": "single_reward_config", "composite_reward_config": "composite_reward_config"}
    named = _with_full_names(client, rewards)
    config = {names[name]: value for name, value in named.items() if name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = translate_errors(
            lambda: client.genai().tunings.validate_reward(
                parent=f"projects/{client.project}/locations/{client.location}",
                sample_response=types.Content(role="model", parts=[types.Part(text=answer)]),
                example=types.ReinforcementTuningExample.model_validate(row),
                **config,
            )
        )
    return response.overall_reward, response.error or ""


@retried
def find(client: Client, key: str, value: str) -> list[TuningJob]:
    """All jobs with a label, newest first; filtered here too, in case the service does not."""
    tunings = client.genai().tunings
    listed = translate_errors(
        lambda: list(tunings.list(config={"filter": f'labels.{key}="{value}"', "page_size": 100}))
    )
    jobs = [_job(raw) for raw in listed if (raw.labels or {}).get(key) == value]
    return sorted(jobs, key=lambda job: job.created, reverse=True)


@retried
def get(client: Client, name: str) -> TuningJob:
    """The job by its full resource name."""
    return _job(translate_errors(lambda: client.genai(location_of(name)).tunings.get(name=name)))


@retried
def cancel(client: Client, name: str) -> None:
    """Cancel a job by its full resource name; no effect on a job that has ended."""
    try:
        translate_errors(lambda: client.genai(location_of(name)).tunings.cancel(name=name))
    except PermanentError as error:
        if not get(client, name).ended:
            raise error


@retried
def loss_series(client: Client, job: TuningJob) -> dict[str, list[tuple[int, float]]]:
    """(step, value) points of every metric so far, by the service's names; empty at first.

    They are those of the job's experiment, else those that the service has stored at the job's `metrics_uri`.
    """
    if not job.experiment:
        return stored_series(storage.read_text(client, job.metrics_uri)) if job.metrics_uri else {}
    from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
    from google.cloud.aiplatform_v1.services.tensorboard_service import TensorboardServiceClient

    location = location_of(job.experiment)

    def read() -> dict[str, list[tuple[int, float]]]:
        context = client.generated(MetadataServiceClient, location).get_context(name=job.experiment)
        board = dict(context.metadata).get("backing_tensorboard_resource", "")
        return _series(client.generated(TensorboardServiceClient, location), board, context.name.rsplit("/", 1)[1])

    return translate_errors(read, {404: {}})  # not created yet


def stored_series(content: str) -> dict[str, list[tuple[int, float]]]:
    """The series in a file of metrics: JSON lines of a `step` and numbers by name; {} for any other file.

    The form of the file that `gcsMetricsUri` names is not published; this is the one that is read.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    try:
        for line in filter(str.strip, content.split("\n")):
            values = json.loads(line)
            step = int(values.pop("step"))
            for name, value in values.items():
                if isinstance(value, int | float):
                    points.setdefault(f"/{name.lstrip('/')}", []).append((step, float(value)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: sorted(values) for name, values in points.items()}


def _with_full_names(client: Client, value: Any) -> Any:
    """The arguments with the judge's model as a full resource name, which rewards require."""
    if isinstance(value, list):
        return [_with_full_names(client, item) for item in value]
    if not isinstance(value, dict):
        return value
    models = f"projects/{client.project}/locations/{client.location}/publishers/google/models"
    return {
        name: f"{models}/{item}" if name == "autorater_model" and "/" not in item else _with_full_names(client, item)
        for name, item in value.items()
    }


def _series(boards: Any, board: str, experiment: str) -> dict[str, list[tuple[int, float]]]:
    if not board:
        return {}
    points: dict[str, list[tuple[int, float]]] = {}
    for run in boards.list_tensorboard_runs(parent=f"{board}/experiments/{experiment}"):
        listed = boards.list_tensorboard_time_series(parent=run.name)
        names = {f"{run.name}/timeSeries/{series.name.rsplit('/', 1)[1]}": series.display_name for series in listed}
        paths = list(names)
        for start in range(0, len(paths), SERIES_PER_REQUEST):
            request = {"tensorboard": board, "time_series": paths[start : start + SERIES_PER_REQUEST]}
            for data in boards.batch_read_tensorboard_time_series_data(request=request).time_series_data:
                values = [(int(point.step), float(point.scalar.value)) for point in data.values]
                points.setdefault(names[f"{run.name}/timeSeries/{data.tensorboard_time_series_id}"], []).extend(values)
    return {name: sorted(values) for name, values in points.items()}


def label(text: str) -> str:
    """A text as a label value: at most 63 lower-case letters, digits, _ and -."""
    return LABEL.sub("-", text.lower())[:63]


def _job(raw: Any) -> TuningJob:
    """A `TuningJob` from the SDK's. Counts may be missing at first.

    What the API calls truncated examples are those that it dropped: for each of them there is a dropped-example reason.
    """
    tuned, meta, both = raw.tuned_model, raw.tuning_job_metadata, raw.tuning_data_stats
    stats = both and (
        both.supervised_tuning_data_stats
        or both.preference_optimization_data_stats
        or both.reinforcement_tuning_data_stats
    )
    reasons = tuple(getattr(stats, "dropped_example_reasons", None) or ())
    return TuningJob(
        name=raw.name,
        state=enum_value(raw.state).removeprefix("JOB_STATE_"),
        detail=enum_value(raw.tuning_job_state).removeprefix("TUNING_JOB_STATE_"),
        labels=dict(raw.labels or {}),
        created=raw.create_time or datetime.now(UTC),
        model=(tuned and tuned.model) or "",
        endpoint=(tuned and tuned.endpoint) or "",
        checkpoints=tuple(
            Checkpoint(str(each.checkpoint_id or ""), int(each.epoch or 0), int(each.step or 0), each.endpoint or "")
            for each in (tuned and tuned.checkpoints) or ()
        ),
        experiment=raw.experiment or "",
        completed_epochs=int((meta and meta.completed_epoch_count) or 0),
        completed_steps=int((meta and meta.completed_step_count) or 0),
        billable_tokens=int(getattr(stats, "total_billable_token_count", None) or 0),
        steps=int(getattr(stats, "tuning_step_count", None) or 0),
        dropped=int(getattr(stats, "total_truncated_example_count", None) or len(reasons)),
        dropped_reasons=reasons,
        service_scores=tuple(_service_score(run.model_dump(mode="json")) for run in raw.evaluate_dataset_runs or ()),
        metrics_uri=raw.gcs_metrics_uri or "",
        error=(raw.error and raw.error.message) or "",
        error_code=int((raw.error and raw.error.code) or 0),
    )


def _service_score(run: JsonObject) -> ServiceScore:
    """The scores of one of a job's `evaluateDatasetRuns`, given under the SDK's names."""
    output = (run.get("evaluate_dataset_response") or {}).get("aggregation_output") or {}
    means = {
        name: float(result[key]["score"])
        for result in output.get("aggregation_results") or ()
        for name, key in (("exact_match", "exact_match_metric_value"), ("rouge_l", "rouge_metric_value"))
        if result.get("aggregation_metric") == "AVERAGE" and (result.get(key) or {}).get("score") is not None
    }
    metric, value = next(iter(means.items()), ("", None))
    error = "" if means else str((run.get("error") or {}).get("message") or "no scores")
    return ServiceScore(checkpoint_id=str(run.get("checkpoint_id") or ""), metric=metric, value=value, error=error)

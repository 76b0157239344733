# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What is sent to Vertex AI Pipelines to run a pipeline, at once or on a schedule.

Uses the generated clients of google-cloud-aiplatform rather than `aiplatform.PipelineJob`, whose submit() looks up the
bucket's owner in Cloud Resource Manager and stalls for about a minute where that API cannot be reached.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.vertex import Client, storage
from pipelines.backend_rules import require_accepted
from pipelines.compilation import Pipeline, compiled, placed

NAME, METHOD, PIPELINE = "gemtune", "gemtune-method", "gemtune-pipeline"  # labels of the runs of a configuration
_ROWS = r"gs://[^/]+/.+|bq://(([^/:]+:)?[^./:]+\.)?[^./]+\.[^./]+"  # a project of a domain: example.com:project
_KEY = "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY"
_FORMS = {  # words in capitals stand for any name
    "vertex.encryption_key": _KEY,
    "backend.encryption_key": _KEY,
    "backend.network": "projects/NUMBER/global/networks/NAME",
}


@dataclass(frozen=True)
class Source:
    """The pipeline to run: compiled with `image`, or `template`, the URI of a published version.

    `cache` reuses results of unchanged steps.
    """

    image: str = ""
    template: str = ""
    cache: bool = True
    pipeline: Pipeline = "tuning"

    def on_this_machine(self) -> Source:
        """The same; without an image its name is that of the components, since no image is pulled."""
        from components.base import IMAGE

        return self if self.image or self.template else replace(self, image=IMAGE)


def pipeline_job(client: Client, config: Config, source: Source, now: str = "") -> Any:
    """The `PipelineJob` of a configuration; the bucket exists. `now` is the parameter of the monitoring pipeline.

    What a monitoring run starts with `monitor.on_retrain: submit` is stored in the bucket, under its content. Raises
    `UserError` for what cannot run.
    """
    from google.cloud.aiplatform_v1.types import PipelineFailurePolicy, PipelineJob
    from google.protobuf.json_format import MessageToDict, ParseDict

    from pipelines import monitoring, tuning

    require_cloud_data(config, source.pipeline)
    if bool(source.image) == bool(source.template) or (source.template and not source.cache):
        raise UserError("no pipeline", remedy="give --image, or --template (whose steps have their own --cache)")
    if config.backend.root and not config.backend.root.startswith("gs://"):
        raise UserError(f"backend.root is {config.backend.root!r}", remedy="on Vertex AI a folder: gs://BUCKET/FOLDER")
    key = config.backend.encryption_key or config.vertex.encryption_key
    storage.bucket(client, key)
    on_cluster = {"key_secret": "", "pull_secret": ""}  # the variable of a key that is not mounted would stop each step
    config = placed(config.model_copy(update={"backend": config.backend.model_copy(update=on_cluster)}))
    runtime: dict[str, Any] = {"gcs_output_directory": config.backend.root or f"gs://{client.bucket}/pipelines"}
    runtime["failure_policy"] = PipelineFailurePolicy.PIPELINE_FAILURE_POLICY_FAIL_FAST  # a failed run starts no step
    job = PipelineJob(
        display_name=config.name,
        template_uri=source.template,
        service_account=config.backend.service_account,
        network=config.backend.network,
        reserved_ip_ranges=config.backend.reserved_ip_ranges,
        labels={**config.vertex.labels, **labels(config, source.pipeline)},
        preflight_validations=True,
    )
    if config.backend.network_attachment:
        job.psc_interface_config = {"network_attachment": config.backend.network_attachment}
    if key:
        job.encryption_spec = {"kms_key_name": key}
    if source.template:
        arguments = monitoring.arguments if source.pipeline == "monitoring" else tuning.arguments
        runtime["parameter_values"] = arguments(config)
    else:
        spec = compiled(config, source.image, source.cache, source.pipeline)
        require_accepted(spec, "vertex")
        ParseDict(spec, job._pb.pipeline_spec)
    own = {"now": now}
    if source.pipeline == "monitoring" and source.image and config.monitor.on_retrain == "submit":
        retraining = MessageToDict(pipeline_job(client, config, replace(source, pipeline="tuning"))._pb)
        own["retraining_job"] = storage.upload_lines(client, [json.dumps(retraining, sort_keys=True)], "retraining")
    runtime["parameter_values"] = runtime.get("parameter_values", {}) | {key: own[key] for key in own if own[key]}
    job.runtime_config = runtime
    return job


def require_cloud_data(config: Config, pipeline: Pipeline = "tuning") -> None:
    """Raise `UserError` for the first file that a container of this pipeline could not read, or misspelt place."""
    for setting, uri in files(config, pipeline).items():
        if (uri or setting in ("data", "monitor.logs")) and not re.fullmatch(_ROWS, uri):
            remedy = "a run in the cloud reads gs://BUCKET/OBJECT or bq://PROJECT.DATASET.TABLE: upload local files"
            raise UserError(f"{setting} is {uri!r}", remedy=remedy)
    if (root := config.backend.root) and not re.fullmatch(r"(gs|s3|minio)://[^/]+(/.*)?", root):
        raise UserError(f"backend.root is {root!r}", remedy="write a folder: gs://BUCKET/FOLDER")
    for setting, form in _FORMS.items():
        section, _, name = setting.partition(".")
        value = getattr(getattr(config, section), name)
        if value and not re.fullmatch(re.sub(r"\b[A-Z]+\b", "[^/]+", form), value):
            raise UserError(f"{setting} is {value!r}", remedy=f"write {form}")
    if config.backend.reserved_ip_ranges and not config.backend.network:
        raise UserError("backend.reserved_ip_ranges are set without backend.network", remedy="set the network, too")


def files(config: Config, pipeline: Pipeline) -> dict[str, str]:
    """The files that the steps of a pipeline read, by the settings that name them; "" for none."""
    ratings = {"evaluate.judge.ratings": config.evaluate.judge.ratings}
    logs = {"monitor.logs": config.monitor.logs} if pipeline == "monitoring" else {}
    if pipeline == "monitoring" and config.monitor.on_retrain != "submit":
        return logs | (ratings if config.monitor.judge_rows else {})
    rows = {
        "data": config.data,
        "task.labels_file": config.task.labels_file,
        "preprocess.corrections": config.preprocess.corrections,
        "preprocess.test_data": config.preprocess.test_data,
    }
    return logs | rows | ratings


def labels(config: Config, pipeline: Pipeline) -> dict[str, str]:
    """The labels by which runs and schedules of a configuration are found: monitoring is that of the name alone."""
    return {NAME: config.name} | ({METHOD: config.method} if pipeline == "tuning" else {PIPELINE: pipeline})


def title(config: Config, pipeline: Pipeline) -> str:
    """The name of a configuration's schedule."""
    return f"{config.name}-{config.method}-tuning" if pipeline == "tuning" else f"{config.name}-{pipeline}"

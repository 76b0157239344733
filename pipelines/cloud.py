# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Submitting a compiled pipeline to Vertex AI Pipelines, now or on a schedule.

Uses the generated client of google-cloud-aiplatform (`PipelineServiceClient`, `ScheduleServiceClient`) rather than
`aiplatform.PipelineJob`, whose submit() asks Cloud Resource Manager who owns the bucket and stalls for about a minute
where that API cannot be reached. Project and region come from the `vertex` section or the SDKs' environment variables.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

from gemtune import vertex
from gemtune.config import Config
from gemtune.errors import UserError
from pipelines.compilation import compiled
from pipelines.kfp_local_events import with_caching_options

WAIT_S = 60.0


def submit(config: Config, image: str, root: str, cache: bool) -> str:
    """Start a run; returns its resource name. Raises `UserError` when a setting is missing or the service refuses."""
    parent, clients = _connect(config)
    job_id = f"{config.name}-{datetime.datetime.now(datetime.UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"
    job = _job(config, image, root, cache)
    with _refusals():
        created = clients("PipelineServiceClient").create_pipeline_job(
            parent=parent, pipeline_job=job, pipeline_job_id=job_id, timeout=WAIT_S
        )
    return str(created.name)


def schedule(config: Config, image: str, root: str, cache: bool, cron: str) -> str:
    """Run by cron (`0 3 * * 1`, UTC unless it begins with TZ=Area/City); replaces the schedule of the same name.

    Gives the schedule's full resource name. While a run is unfinished, none is started beside it.
    """
    from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule

    if not re.fullmatch(r"(TZ=\S+ )?(\S+ ){4}\S+", cron):
        raise UserError(f"cannot read the cron expression {cron!r}", remedy="five fields, such as '0 3 * * 1'")
    parent, clients = _connect(config)
    display_name = f"{config.name}-{config.method}-tuning"
    client = clients("ScheduleServiceClient")
    requested = Schedule(
        display_name=display_name,
        cron=cron,
        max_concurrent_run_count=1,  # limits runs being started
        max_concurrent_active_run_count=1,  # limits unfinished runs
        create_pipeline_job_request=CreatePipelineJobRequest(
            parent=parent, pipeline_job=_job(config, image, root, cache)
        ),
    )
    with _refusals():
        old = [s.name for s in client.list_schedules(parent=parent) if s.display_name == display_name]
        name = str(client.create_schedule(parent=parent, schedule=requested, timeout=WAIT_S).name)
        for stale in old:  # after the new one exists, so that there always is one
            client.delete_schedule(name=stale, timeout=WAIT_S)
    return name


def _job(config: Config, image: str, root: str, cache: bool) -> Any:
    from google.cloud.aiplatform_v1.types import PipelineJob
    from google.protobuf import json_format, struct_pb2

    if not config.data.startswith("gs://"):
        raise UserError(
            f"data is {config.data!r}", remedy="a run in the cloud reads gs://; set data, or --data gs://..."
        )
    client = vertex.connect(config.vertex)
    placed = {"project": client.project, "location": client.location, "bucket": client.bucket}
    # a container does not have this shell's environment: its values are written into the parameters
    config = config.model_copy(update={"vertex": config.vertex.model_copy(update=placed)})
    spec = compiled(config, image)
    spec = spec if cache else with_caching_options(spec, {})
    struct = struct_pb2.Struct()
    json_format.ParseDict(spec, struct)
    return PipelineJob(
        display_name=config.name,
        pipeline_spec=struct,
        runtime_config=PipelineJob.RuntimeConfig(gcs_output_directory=root or f"gs://{client.bucket}/pipelines"),
        service_account=config.vertex.service_account,
        labels={"gemtune": config.name, **config.vertex.labels},
    )


def _connect(config: Config) -> tuple[str, Any]:
    """The parent resource, and a function that creates clients for the address in the SDKs' own variables."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.aiplatform import gapic

    client = vertex.connect(config.vertex)
    host, url = f"{client.location}-aiplatform.googleapis.com", os.environ.get("GOOGLE_VERTEX_BASE_URL", "")
    options: dict[str, Any] = {"client_options": ClientOptions(api_endpoint=url or host)}
    if url:
        options["transport"] = "rest"
        if ".googleapis.com" not in url:
            options["credentials"] = AnonymousCredentials()
    return client.parent, lambda name: getattr(gapic, name)(**options)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turns what the service refuses, or that it cannot be reached, into a `UserError`."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import ConnectionError as Unreachable

    try:
        yield
    except GoogleAPICallError as error:
        raise UserError(f"Vertex AI refused: {error.message}", remedy="nothing was started") from None
    except GoogleAuthError as error:
        raise UserError(f"no credentials: {error}", remedy="gcloud auth application-default login") from None
    except Unreachable as error:
        raise UserError(f"Vertex AI cannot be reached: {error}", remedy="check the network and the region") from None

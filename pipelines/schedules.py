# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Schedules on Vertex AI Pipelines: one for each name and method, one for a name's monitoring; found by labels of runs.

Guarantees: however many processes submit the same schedule, and wherever they are killed, the next one that ends leaves
exactly one; between the first submission and a deletion there is never none; a paused schedule stays paused.
"""

import re
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client
from gemtune.vertex.calls import translate_errors
from gemtune.vertex.pipeline_jobs import WAIT_S
from pipelines.cloud import NAME, Source, labels, pipeline_job, title
from pipelines.compilation import Pipeline

SCHEDULED_TIME = "{{$.pipeline_job_schedule_time_utc_placeholder}}"  # what Vertex AI puts there in a run of a schedule
PATCHED = ("display_name", "cron", "max_concurrent_run_count", "max_concurrent_active_run_count")


def read_cron(text: str) -> tuple[str, str]:
    """Time zone ("" for UTC) and five fields of a cron expression, with single blanks.

    `TZ=Area/City` or `CRON_TZ=Area/City` may precede the fields. Raises `UserError` for one that no service takes or
    that never fires.
    """
    from cronsim import CronSim, CronSimError

    match = re.fullmatch(r"\s*(?:(?:CRON_)?TZ=(\S*)\s+)?(.*?)\s*", text)
    zone, fields = (match[1] or "", " ".join(match[2].split())) if match else ("", "")
    extension = re.search(r"#|\dL|\bLW?\b", fields.upper())  # cronsim takes more than Unix does
    try:
        if len(fields.split()) != 5 or extension:
            raise CronSimError("expected the five fields of Unix cron")
        next(CronSim(fields, datetime.now(ZoneInfo(zone or "UTC"))))
    except (CronSimError, StopIteration, KeyError, ValueError, OSError) as error:
        reason = "it never fires" if isinstance(error, StopIteration) else error
        remedy = "five fields, such as '0 3 * * 1', after TZ=Area/City if not in UTC"
        raise UserError(f"cannot read the cron expression {text!r}: {reason}", remedy=remedy) from None
    return zone, fields


def put(client: Client, config: Config, source: Source, cron: str) -> Any:
    """Run by cron: patches the configuration's schedule, or creates it. While a run is unfinished, none is started.

    Source: UpdateScheduleRequest, which may replace the request of a schedule but not its type.
    """
    from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule
    from google.protobuf.field_mask_pb2 import FieldMask

    zone, fields = read_cron(cron)
    now = SCHEDULED_TIME if source.pipeline == "monitoring" else ""  # a rerun examines the same windows
    requested = Schedule(
        display_name=title(config, source.pipeline),
        cron=f"TZ={zone} {fields}" if zone else fields,
        max_concurrent_run_count=1,  # limits runs being started
        max_concurrent_active_run_count=1,  # limits unfinished runs
        create_pipeline_job_request=CreatePipelineJobRequest(
            parent=client.parent, pipeline_job=pipeline_job(client, config, source, now)
        ),
    )

    def create_or_patch() -> Any:
        service = _service(client)
        existing = listed(client, config, source.pipeline)
        if not existing:
            return service.create_schedule(parent=client.parent, schedule=requested, timeout=WAIT_S)
        kept, *doubles = existing
        requested.name = kept.name
        mask = FieldMask(paths=[*PATCHED, "create_pipeline_job_request"])
        patched = service.update_schedule(schedule=requested, update_mask=mask, timeout=WAIT_S)
        for double in doubles:
            service.delete_schedule(name=double.name, timeout=WAIT_S)
        return patched

    with store.lease(client, title(config, source.pipeline)):
        return translate_errors(create_or_patch)


def listed(client: Client, config: Config | None = None, pipeline: Pipeline = "tuning") -> list[Any]:
    """The schedules of a configuration's pipeline, or all; oldest first."""
    schedules = translate_errors(lambda: list(_service(client).list_schedules(parent=client.parent, timeout=WAIT_S)))
    expected = labels(config, pipeline).items() if config else ()
    labelled = [(s, s.create_pipeline_job_request.pipeline_job.labels) for s in schedules]
    kept = [s for s, own in labelled if NAME in own and all(own.get(key) == value for key, value in expected)]
    return sorted(kept, key=lambda schedule: (schedule.create_time, schedule.name))


def existing(client: Client, config: Config, pipeline: Pipeline) -> list[Any]:
    """The configuration's schedule, and doubles of it. Raises `UserError` when there is none."""
    schedules = listed(client, config, pipeline)
    if not schedules:
        what = "schedule" if pipeline == "tuning" else f"schedule of its {pipeline}"
        raise UserError(f"{config.name} has no {what} in {client.location}", remedy="create one: gemtune schedule")
    return schedules


def change(client: Client, config: Config, verb: str, pipeline: Pipeline) -> None:
    """Pause, resume or delete the configuration's schedule and doubles of it; runs go on, missed ones do not start."""
    for schedule in existing(client, config, pipeline):
        if schedule.state.name != {"pause": "PAUSED", "resume": "ACTIVE"}.get(verb):
            send = getattr(_service(client), f"{verb}_schedule")
            operation = translate_errors(partial(send, name=schedule.name, timeout=WAIT_S))
            if operation:  # a deletion takes time
                translate_errors(operation.result)


def _service(client: Client) -> Any:
    from google.cloud.aiplatform_v1 import ScheduleServiceClient

    return client.generated(ScheduleServiceClient)

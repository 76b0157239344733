# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs on Vertex AI Pipelines: started, listed, followed, cancelled, with the logs of their steps."""

import datetime
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.vertex import Client, pipeline_jobs
from gemtune.vertex.calls import translate_errors
from gemtune.vertex.pipeline_jobs import WAIT_S
from pipelines.cloud import NAME, Source, pipeline_job

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
POLL_S = 15.0


def submit(client: Client, config: Config, source: Source) -> str:
    """Start a run; returns its resource name. Raises `UserError` when a setting is missing."""
    job_id = f"{config.name}-{datetime.datetime.now(datetime.UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"
    return str(pipeline_jobs.create(client, pipeline_job(client, config, source), job_id).name)


def newest(client: Client, name: str, count: int) -> list[Any]:
    """The newest runs of a configuration's name, without the details of their steps."""
    request = {
        "parent": client.parent,
        "filter": f'labels.{NAME}="{name}"',
        "order_by": "create_time desc",
        "read_mask": {"paths": ["name", "state", "create_time"]},  # a specification has some 100 kB
    }
    pages = pipeline_jobs.service(client).list_pipeline_jobs
    return translate_errors(lambda: list(islice(pages(request, timeout=WAIT_S), count)))


def get(client: Client, name: str, run: str = "") -> Any:
    """A run by its id or resource name, default: the newest of the name; with the details of its steps."""
    if not run:
        jobs = newest(client, name, 1)
        if not jobs:
            raise UserError(f"{name} has no runs in {client.location}", remedy="start one: gemtune submit")
        run = jobs[0].name
    name = _full_name(client, run)
    if (job := pipeline_jobs.get(client, name)) is None:
        raise _unknown(client, name.rsplit("/", 1)[-1])
    return job


def _full_name(client: Client, run: str) -> str:
    name = run if "/" in run else f"{client.parent}/pipelineJobs/{run}"
    if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/pipelineJobs/[a-z][-a-z0-9]{0,127}", name):
        raise _unknown(client, run)
    return name


def _unknown(client: Client, run: str) -> UserError:
    return UserError(f"there is no run {run!r} in {client.location}", remedy="see gemtune runs list CONFIG")


def state(resource: Any) -> str:
    """State of a run, a step or a schedule, as the console spells it."""
    return str(resource.state.name).removeprefix("PIPELINE_STATE_")


def follow(client: Client, run: str, show: Callable[[str], object], poll_s: float = POLL_S) -> bool:
    """Show every change of a step until the run has ended; whether it succeeded."""
    shown: set[str] = set()
    while True:
        job = get(client, "", run)
        lines = list(steps(job))
        for line in lines:
            if line not in shown:
                show(line)
        shown.update(lines)
        if state(job) in ENDED:
            show(f"{run.rsplit('/', 1)[-1]}: {state(job)} {job.error.message}".rstrip())
            return state(job) == "SUCCEEDED"
        time.sleep(poll_s)


def steps(job: Any) -> Iterator[str]:
    """A line for each step in the order of their start: name, state, seconds once it has ended, error.

    A name that an earlier step has, in a loop, gets a number.
    """
    names = Counter[str]()
    for task in sorted(job.job_detail.task_details, key=lambda task: (task.create_time, task.task_id)):
        repeated, name = names[task.task_name], task.task_name
        names[name] += 1
        took = f"{(task.end_time - task.start_time).total_seconds():.0f} s" if task.end_time and task.start_time else ""
        shown = f"{name}[{repeated}]" if repeated else name
        yield f"{shown:32} {state(task):10} {took} {task.error.message}".rstrip()


def cancel(client: Client, run: str) -> None:
    """Cancel a run, by id or resource name; its steps then cancel their tuning jobs."""
    name = get(client, "", _full_name(client, run)).name
    translate_errors(lambda: pipeline_jobs.service(client).cancel_pipeline_job(name=name, timeout=WAIT_S))


def logs(client: Client, job: Any, step: str = "") -> Iterator[str]:
    """What the steps of a run logged, oldest first: those of one name, or all.

    A step runs as a custom job, whose output is in Cloud Logging under the resource `ml_job`.
    """
    attempts = [
        (name, task.task_name)
        for task in job.job_detail.task_details
        for container in [task.executor_detail.container_detail]
        for name in [*container.failed_main_jobs, container.main_job]
    ]
    jobs = {name.rsplit("/", 1)[-1]: task for name, task in attempts if name and step in ("", task)}
    if not jobs:
        raise UserError(f"no step {step} has started".replace("  ", " "), remedy="see gemtune runs show")
    quoted = " OR ".join(f'"{job_id}"' for job_id in jobs)
    request = {
        "resourceNames": [f"projects/{client.project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id=({quoted})',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    while True:
        page = client.rest("POST", "logging.googleapis.com", "v2/entries:list", request)
        for entry in page.get("entries", []):
            text = entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")
            yield f"{entry['timestamp'][:19]} {jobs[entry['resource']['labels']['job_id']]}: {text}".rstrip()
        if not page.get("nextPageToken"):
            return
        request["pageToken"] = page["nextPageToken"]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs, each started once under its id."""

from typing import Any

from gemtune.vertex import Client
from gemtune.vertex.calls import TransientError, retried, translate_errors

WAIT_S = 60.0


@retried
def create(client: Client, job: Any, job_id: str) -> Any:
    """The pipeline job with this id: created from `job` (a `PipelineJob` or its JSON), unless there is one already."""
    from google.cloud.aiplatform_v1.types import PipelineJob

    requested = PipelineJob.from_json(job) if isinstance(job, str) else job
    request = {"parent": client.parent, "pipeline_job": requested, "pipeline_job_id": job_id}
    created = translate_errors(lambda: service(client).create_pipeline_job(request, timeout=WAIT_S), {409: None})
    if job := created or get(client, f"{client.parent}/pipelineJobs/{job_id}"):
        return job
    raise TransientError(f"the pipeline job {job_id} exists, but cannot be read", 409)


@retried
def get(client: Client, name: str) -> Any:
    """The job of this resource name with the details of its steps; None where there is none."""
    return translate_errors(lambda: service(client).get_pipeline_job(name=name, timeout=WAIT_S), {404: None})


def service(client: Client) -> Any:
    """The generated client of pipeline jobs."""
    from google.cloud.aiplatform_v1 import PipelineServiceClient

    return client.generated(PipelineServiceClient)

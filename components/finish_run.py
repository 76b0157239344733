# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What always runs last."""

from kfp.dsl import PipelineTaskFinalStatus

from components.base import component


@component
def finish_run(name: str, bucket: str, notify: dict, vertex: dict, is_tuning: bool, status: PipelineTaskFinalStatus):
    """Undeploy what interrupted runs left deployed, and report how the run ended."""
    from gemtune.steps import finish_run as step

    end = (status.state, status.error_message, status.pipeline_job_resource_name)
    step.run(name, bucket, *end, is_tuning, notify=notify, vertex=vertex)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What all pipelines share: how their parameters are declared, and what every task gets: resources, repetitions, a
deadline, and on Kubeflow its secrets.
"""

import inspect
from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from gemtune.config import Config, step_resources
from gemtune.steps import DEADLINE

KEY_FOLDER = "/var/secrets/google"
BACKOFF, LONGEST_BACKOFF = "60s", "900s"
FORM = {"base_model": "evaluate", "max_cost": "plan", "bucket": "vertex"}  # parameter -> the section it goes before


def pipeline(
    name: str,
    description: str,
    default: dict[str, Any],
    wire: Callable[[dict[str, Any]], None],
    own: dict[str, str] | None = None,
) -> BaseComponent:
    """The pipeline that `wire` makes of its parameters by name; `default` are their values.

    The parameters' descriptions are `own`, or those of the configuration's fields.
    """
    described, lines = own or {}, ["Wire the steps.", "", "Args:"]
    lines += [f"    {key}: {described.get(key) or _description(key)}" for key in default]

    def wired(*values: Any) -> None:
        wire(dict(zip(default, values, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    wired.__name__, wired.__doc__ = name.replace("-", "_"), "\n".join(lines)
    wired.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(key, kind, default=value, annotation=type(value)) for key, value in default.items()]
    )
    return dsl.pipeline(name=name, description=description)(wired)


def _description(parameter: str) -> str:
    fields = Config.model_fields
    field = fields[FORM.get(parameter, parameter)]
    if parameter in FORM:
        field = field.annotation.model_fields[parameter]  # type: ignore[union-attr]
    return field.description or (getattr(field.annotation, "__doc__", "") or "").split("\n")[0]


def robust(task: Any, config: Config) -> Any:
    """The task with the resources, repetitions and deadline of its step."""
    resources = step_resources(task.component_spec.name, config.steps)
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.deadline_h:
        task.set_env_variable(DEADLINE, str(round(3600 * resources.deadline_h)))
    return task.set_retry(resources.retries, BACKOFF, backoff_factor=2.0, backoff_max_duration=LONGEST_BACKOFF)


def email(config: Config) -> Any:
    """The exit task by which Vertex AI sends how a run ended to `notify.email`."""
    from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp

    return VertexNotificationEmailOp(recipients=config.notify.email).set_caching_options(False)


def without_email(config: Config) -> Config:
    """The configuration for a pipeline whose end is not reported by e-mail."""
    return config.model_copy(update={"notify": config.notify.model_copy(update={"email": []})})


def with_secrets(task: Any, config: Config) -> Any:
    """The task with what a Kubeflow cluster mounts into it; Vertex AI does not read that."""
    backend = config.backend
    if backend.pull_secret or backend.key_secret:
        from kfp import kubernetes
    if backend.pull_secret:
        kubernetes.set_image_pull_secrets(task, [backend.pull_secret])
    if backend.key_secret:
        kubernetes.use_secret_as_volume(task, backend.key_secret, mount_path=KEY_FOLDER)
        task.set_env_variable("GOOGLE_APPLICATION_CREDENTIALS", f"{KEY_FOLDER}/key.json")
    return task

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The monitoring pipeline: load-logs -> analyze-drift -> estimate-quality -> decide-retraining -> start-retraining ->
report-monitoring. With `monitor.on_retrain: submit` a reason to retrain starts the tuning pipeline of the
configuration: on Vertex AI as a job of its own (`retraining_job`), elsewhere as a part of this pipeline. At its end,
whether a step failed or not, there is finish-run, or with `notify.email` the e-mail. No step is cached: logs, labels
and the champion change outside of it.
"""

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import monitoring
from gemtune.config import Config
from pipelines.tasks import email, pipeline, robust, with_secrets, without_email
from pipelines.tuning import tuning_pipeline

DESCRIPTION = (
    "From the production logs of the champion to a verdict (settling, fine, watch, retrain, cannot tell): exact checks "
    "of prompts and answers, drift against past windows within a yearly budget of false alarms, quality by labels of a "
    "sample; rows for people to label; a report."
)

PARAMETERS = {
    "name": "Name of the run whose champion is monitored.",
    "now": "Time in ISO 8601 up to which windows are examined; empty: the current time.",
    "new_baseline": "Whether the state of the newest window is accepted: the windows after it are a new baseline.",
    "retraining_job": "URI of the pipeline job that retrains; empty: the tuning pipeline in this one does.",
}
_SECTIONS = ("evaluate", "gate", "monitor", "notify", "reporting", "vertex")


def monitoring_pipeline(config: Config) -> BaseComponent:
    """The pipeline of a configuration, whose values are the parameters' defaults."""
    tuning = tuning_pipeline(without_email(config)) if config.monitor.on_retrain == "submit" else None

    def wire(parameters: dict[str, Any]) -> None:
        def step(component: Any, **arguments: Any) -> Any:
            own = {key: value for key, value in parameters.items() if key in component.component_spec.inputs}
            task = component(**own, **arguments).set_caching_options(False)
            return with_secrets(robust(task, config), config)

        at_the_end = email(config) if config.notify.email else step(monitoring.finish_run, bucket="", is_tuning=False)
        with dsl.ExitHandler(at_the_end):
            logs = step(monitoring.load_logs).outputs
            rows = {"rows": logs["rows"]}
            drift = {"drift": step(monitoring.analyze_drift, **rows, counts=logs["counts"]).outputs["drift"]}
            estimated = step(monitoring.estimate_quality, **rows, **drift).outputs
            quality = {"quality": estimated["quality"]}
            decided = step(monitoring.decide_retraining, **drift, **quality).outputs
            decision = {"retraining_decision": decided["retraining_decision"]}
            started = step(monitoring.start_retraining, **decision, includes_tuning=tuning is not None)
            shown = {**drift, **quality, **decision, "annotations": estimated["annotations"]}
            step(monitoring.report_monitoring, **shown).after(started)
            if tuning:
                with dsl.If(started.outputs["Output"] == True, name="retraining"):  # noqa: E712
                    tuning()

    own: dict[str, Any] = {"now": "", "new_baseline": False, "retraining_job": ""}
    return pipeline("monitoring", DESCRIPTION, {"name": config.name, **own, **arguments(config)}, wire, PARAMETERS)


def arguments(config: Config) -> dict[str, Any]:
    """The pipeline's parameters that come from the configuration."""
    sections = config.parameters()
    return {"name": config.name, **{name: sections[name] for name in _SECTIONS}}

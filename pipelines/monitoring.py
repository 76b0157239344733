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

from components.analyze_drift import analyze_drift
from components.decide_retraining import decide_retraining
from components.estimate_quality import estimate_quality
from components.finish_run import finish_run
from components.load_logs import load_logs
from components.report_monitoring import report_monitoring
from components.start_retraining import start_retraining
from gemtune.config import Config
from pipelines.tasks import email, robust, with_secrets, without_email
from pipelines.tuning import tuning_pipeline

DESCRIPTION = (
    "From the production logs of the champion to a verdict (settling, fine, watch, retrain, cannot tell): exact checks "
    "of prompts and answers, drift against past windows within a yearly budget of false alarms, quality by labels of a "
    "sample; rows for people to label; a report."
)

_SECTIONS = ("evaluate", "gate", "monitor", "notify", "reporting", "vertex")


def monitoring_pipeline(config: Config) -> BaseComponent:
    """The pipeline of a configuration, whose values are the parameters' defaults."""
    default = arguments(config)
    tuning = tuning_pipeline(without_email(config)) if config.monitor.on_retrain == "submit" else None

    def monitoring(
        name: str = config.name,
        now: str = "",
        new_baseline: bool = False,
        retraining_job: str = "",
        evaluate: dict = default["evaluate"],
        gate: dict = default["gate"],
        monitor: dict = default["monitor"],
        notify: dict = default["notify"],
        reporting: dict = default["reporting"],
        vertex: dict = default["vertex"],
    ) -> None:
        """Wire the steps.

        Args:
            name: Name of the run whose champion is monitored.
            now: Time in ISO 8601 up to which windows are examined; empty: the current time.
            new_baseline: Whether the state of the newest window is accepted: the windows after it are a new baseline.
            retraining_job: URI of the pipeline job that retrains; empty: the tuning pipeline in this one does.
            evaluate: How models are prompted and scored; here the judge.
            gate: What a candidate must show before it is deployed.
            monitor: Monitoring of the champion by its production logs, and when there is reason to retrain.
            notify: Notification of the end of a run.
            reporting: The report of a run: its language, and the key that signs its manifest.
            vertex: Where the services are called.
        """

        def step(component: Any, **arguments: Any) -> Any:
            values = {"name": name, "now": now, "new_baseline": new_baseline, "retraining_job": retraining_job}
            values |= {"evaluate": evaluate, "gate": gate, "monitor": monitor, "notify": notify}
            values |= {"reporting": reporting, "vertex": vertex}
            own = {key: value for key, value in values.items() if key in component.component_spec.inputs}
            task = component(**own, **arguments).set_caching_options(False)
            return with_secrets(robust(task, config), config)

        with dsl.ExitHandler(email(config) if config.notify.email else step(finish_run, bucket="", is_tuning=False)):
            logs = step(load_logs).outputs
            rows = {"rows": logs["rows"]}
            drift = {"drift": step(analyze_drift, **rows, counts=logs["counts"]).outputs["drift"]}
            estimated = step(estimate_quality, **rows, **drift).outputs
            quality = {"quality": estimated["quality"]}
            decision = {
                "retraining_decision": step(decide_retraining, **drift, **quality).outputs["retraining_decision"]
            }
            started = step(start_retraining, **decision, includes_tuning=tuning is not None)
            step(report_monitoring, **drift, **quality, **decision, annotations=estimated["annotations"]).after(started)
            if tuning:
                with dsl.If(started.outputs["Output"] == True, name="retraining"):  # noqa: E712
                    tuning()

    return dsl.pipeline(name="monitoring", description=DESCRIPTION)(monitoring)


def arguments(config: Config) -> dict[str, Any]:
    """The pipeline's parameters that come from the configuration."""
    sections = config.parameters()
    return {"name": config.name, **{name: sections[name] for name in _SECTIONS}}

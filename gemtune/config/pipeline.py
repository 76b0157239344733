# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the pipelines themselves: resources of steps, who is notified of the end, the report; monitoring."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from gemtune.config.section import JsonObject, Section


class StepResources(Section):
    """Resources of steps by their names, compiled into the pipeline: `steps: {preprocess: {memory: 64Gi}}`.

    What is left out is as in `gemtune/config/step_resources.yaml`, or else as here.
    """

    cpu: str = Field("2", pattern=r"^(\d*\.)?\d+m?$")
    """CPUs that a step may use, and requests."""
    memory: str = Field("8Gi", pattern=r"^\d+([EPTGMK]i?)?$")
    """Memory that a step may use, and requests, such as 16Gi."""
    retries: int = Field(2, ge=0)
    """Repetitions of a failed step, which goes on where it stopped; 0: none."""
    deadline_h: float = Field(24, ge=0)
    """Time after which a step ends itself and may be repeated (hours); 0: no deadline."""


class Notify(Section):
    """Notification of the end of a run."""

    webhook: str = Field("", pattern="^($|https?://|gs://)")
    """URL that receives a JSON message with a `text` (Slack, Google Chat, Mattermost), or a gs:// object that holds the
    URL; empty: none.
    """
    runs: Literal["failed", "all"] = "failed"
    """Runs to report to the webhook: those that failed, or all."""
    email: list[str] = Field(default_factory=list, max_length=3)
    """Addresses to which Vertex AI Pipelines sends how each run ended, compiled into the pipeline; empty: none."""


class Reporting(Section):
    """The report of a run: its language, and the key that signs its manifest."""

    language: Literal["en", "ja"] = "en"
    """Language of the page: English or Japanese."""
    signing_key: str = ""
    """PEM file of an Ed25519 private key that signs the manifest of each run, a local path or gs:// object; empty: no
    signature.
    """


class Monitor(Section):
    """Monitoring of the champion by its production logs, and when there is reason to retrain."""

    logs: str = ""
    """Production logs: bq://PROJECT.DATASET.TABLE, which `gemtune logging enable` lets the champion's endpoint write,
    or a file of rows, local or gs://; empty: none.
    """
    window_days: float = Field(7, ge=1, le=92)
    """Length of a window (days); each is examined once."""
    baseline_windows: int = Field(8, ge=3, le=26)
    """Windows after a promotion with which later ones are compared."""
    false_alarms_a_year: float = Field(0.05, gt=0, le=1)
    """Probability of any alarm by chance in a year, all checks together that vary by chance (max_skew does not)."""
    max_rows: int = Field(20_000, ge=100)
    """Distinct texts of a window that are compared; of more, a sample."""
    max_skew: float = Field(0.01, ge=0, lt=1)
    """Share of rows whose prompt may differ from the tuned one: an alarm when its 95 % interval is above."""
    max_drop: float = Field(0.03, ge=0, lt=1)
    """Drop of the score below that on test rows from which labels give an alarm."""
    labels_a_window: int = Field(100, ge=0)
    """Rows of a window to label: half to estimate quality, half to learn from; 0: none."""
    judge_rows: int = Field(0, ge=0)
    """Distinct texts of a window whose answers the judge rates (paid), if evaluate.judge.ratings validate it: they are
    the proxy of labelled quality instead of confidence; 0: none.
    """
    min_new_rows: int = Field(0, ge=0)
    """Newly labelled rows that are a reason to retrain; 0: 5 % of the training rows, at least 50."""
    retire_days: int = Field(60, ge=0)
    """Days before the base model retires from which that is a reason to retrain."""
    max_age_days: int = Field(0, ge=0)
    """Age of the champion that is a reason to retrain (days); 0: none."""
    on_retrain: Literal["notify", "submit"] = "notify"
    """What a reason to retrain starts: a notification, or the tuning pipeline."""
    max_bytes_billed: int = Field(10**10, ge=0)
    """Bytes that a query of the logs may bill; 0: no limit."""


@cache
def step_table() -> dict[str, JsonObject]:
    """Every step, with what differs from the defaults of `StepResources`."""
    table: dict[str, JsonObject] = yaml.safe_load(Path(__file__).with_name("step_resources.yaml").read_text("utf-8"))
    return table


def step_resources(step: str, own: dict[str, StepResources]) -> StepResources:
    """The resources of a step, with a configuration's `own`."""
    overridden = own[step].model_dump(exclude_unset=True) if step in own else {}
    return StepResources(**(step_table()[step] | overridden))

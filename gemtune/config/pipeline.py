# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the pipeline itself: the resources of its steps, and who is notified of its end."""

from __future__ import annotations

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


@cache
def step_table() -> dict[str, JsonObject]:
    """Every step, with what differs from the defaults of `StepResources`."""
    table: dict[str, JsonObject] = yaml.safe_load(Path(__file__).with_name("step_resources.yaml").read_text("utf-8"))
    return table


def step_resources(step: str, own: dict[str, StepResources]) -> StepResources:
    """The resources of a step, with a configuration's `own`."""
    overridden = own[step].model_dump(exclude_unset=True) if step in own else {}
    return StepResources(**(step_table()[step] | overridden))

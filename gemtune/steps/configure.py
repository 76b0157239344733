# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The first step: the single values of a run's form go before those of the sections, and the places are looked up once.

A console shows sections as JSON text; what a person changes there most are parameters of their own.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from gemtune.config import Evaluate, Plan, Preference, Vertex
from gemtune.data.sources import with_labels
from gemtune.errors import UserError
from gemtune.steps.context import Section, StepContext
from gemtune.vertex import connect

log = logging.getLogger("gemtune")


class Sections(NamedTuple):
    """The sections as the other steps read them."""

    task: dict[str, Any]
    evaluate: dict[str, Any]
    plan: dict[str, Any]
    vertex: dict[str, Any]


def run(form: Section, runner: str, starts_supervised: bool, **sections: Section) -> Sections:
    """The sections with `base_model`, `max_cost`, `bucket` of the form, project, region and the labels of their file.

    Raises `UserError` for a value that needs steps other than those that the pipeline was compiled with, and for a key
    that cannot sign.
    """
    context = StepContext(sections)
    context.signing_key  # noqa: B018 (checked before money is spent)
    preference = context.section("preference")
    epochs = Preference.of(preference).supervised_epochs if preference else 0
    if context.preprocess.runner != runner:
        raise _not_compiled("preprocess.runner", context.preprocess.runner)
    if preference and starts_supervised != (epochs > 0):
        raise _not_compiled("preference.supervised_epochs", epochs)
    own = {name: {name: value} if value != "" else {} for name, value in form.items()}  # an empty one replaces nothing
    evaluate = Evaluate.of(context.section("evaluate") | own["base_model"])
    plan = Plan.of(context.section("plan") | own["max_cost"])
    client = connect(Vertex.of(context.section("vertex") | own["bucket"]))
    places = {"project": client.project, "location": client.location, "bucket": client.bucket}
    log.info(
        "done: %s, at most %.2f USD, %s in %s", evaluate.base_model, plan.max_cost, client.project, client.location
    )
    written = (with_labels(context.task), evaluate, plan, client.settings.model_copy(update=places))
    return Sections(*(section.model_dump(exclude_none=True) for section in written))


def _not_compiled(setting: str, value: object) -> UserError:
    return UserError(
        f"{setting}={value!r} needs other steps than this pipeline was compiled with",
        remedy="set it in the configuration and recompile",
    )

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The first step: the single values of a run's form go before those of the sections, and the places are looked up once.

A console shows sections as JSON text; what a person changes there most are parameters of their own.
"""

from typing import Any, NamedTuple

from gemtune.config import Config
from gemtune.cost.preflight import problems
from gemtune.data.sources import with_labels
from gemtune.errors import UserError
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import connect, storage


class Sections(NamedTuple):
    """The sections as the other steps read them."""

    task: dict[str, Any]
    evaluate: dict[str, Any]
    plan: dict[str, Any]
    vertex: dict[str, Any]


def run(form: Section, runner: str, starts_supervised: bool, name: str, data: str, **sections: Section) -> Sections:
    """The sections with `base_model`, `max_cost`, `bucket` of the form, project, region and the labels of their file.

    Raises `UserError` for a value that needs steps other than those that the pipeline was compiled with, for a key
    that cannot sign, and for everything else that would stop the run after money was spent.
    """
    context = StepContext(sections)
    context.signing_key  # noqa: B018 (checked before money is spent)
    config = Config.of({"name": name, "data": data, **_merged(form, sections)})
    epochs = config.preference.supervised_epochs if config.method == "preference" else 0
    if config.preprocess.runner != runner:
        raise _not_compiled("preprocess.runner", config.preprocess.runner)
    if starts_supervised != (epochs > 0):
        raise _not_compiled("preference.supervised_epochs", epochs)
    client = connect(config.vertex)
    if listed := problems(config, client.location):
        raise UserError("\n".join(map(str, listed)))
    storage.require_bucket_name(client.bucket)
    places = {"project": client.project, "location": client.location, "bucket": client.bucket}
    done = (
        f"{config.evaluate.base_model}, at most {config.plan.max_cost:.2f} USD, {client.project} in {client.location}"
    )
    log.info("done: %s", done)
    written = (with_labels(config.task), config.evaluate, config.plan, config.vertex.model_copy(update=places))
    return Sections(*(section.model_dump(exclude_none=True) for section in written))


def _merged(form: Section, sections: dict[str, Section]) -> dict[str, Any]:
    """The sections that are wired, over which the form goes, and the method: pairs have a section of their own."""
    merged: dict[str, Any] = {name: dict(section) for name, section in sections.items() if section}
    for section, name in (("evaluate", "base_model"), ("plan", "max_cost"), ("vertex", "bucket")):
        if (value := form[name]) != "":  # an empty one replaces nothing
            merged[section] = {**merged.get(section, {}), name: value}
    return {"method": "preference" if "preference" in merged else "supervised", **merged}


def _not_compiled(setting: str, value: object) -> UserError:
    return UserError(
        f"{setting}={value!r} needs other steps than this pipeline was compiled with",
        remedy="set it in the configuration and recompile",
    )

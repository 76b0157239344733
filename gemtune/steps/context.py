# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The sections of the configuration that a step received, each validated when it is read, and what they open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from gemtune import config
from gemtune.catalogue import Catalogue
from gemtune.config import Task, Vertex
from gemtune.errors import UserError
from gemtune.vertex import Client, connect, count_tokens

if TYPE_CHECKING:
    from gemtune.artifacts.tuning import PriceList
    from gemtune.cost.tokens import CountTokens, TokenCounter
    from gemtune.evaluation.evaluator import Evaluator
    from gemtune.tuning.objective import Objective

log = logging.getLogger("gemtune")
Section = Mapping[str, Any]
Sections = Mapping[str, Section]
S = TypeVar("S", bound=config.Section)


def _validated(model: type[S], name: str) -> cached_property[S]:
    """A property of a context: the section of that name."""
    return cached_property(lambda context: model.of(context.section(name)))


class StepContext:
    """Typed access to a step's sections. Raises `UserError` naming the setting when one of them is not valid."""

    task = _validated(config.Task, "task")
    preprocess = _validated(config.Preprocess, "preprocess")
    split = _validated(config.Split, "split")
    augment = _validated(config.Augment, "augment")
    evaluate = _validated(config.Evaluate, "evaluate")
    plan = _validated(config.Plan, "plan")
    hard_examples = _validated(config.HardExamples, "hard_examples")
    tune = _validated(config.Tune, "tune")
    escalation = _validated(config.Escalation, "escalation")
    select = _validated(config.Select, "select")
    gate = _validated(config.Gate, "gate")
    deploy = _validated(config.Deploy, "deploy")
    notify = _validated(config.Notify, "notify")
    reporting = _validated(config.Reporting, "reporting")
    monitor = _validated(config.Monitor, "monitor")

    def __init__(self, sections: Sections, offline: bool = False) -> None:
        self._sections, self.offline = sections, offline

    def section(self, name: str) -> dict[str, Any]:
        """The section as it was received; {} where it was not."""
        return dict(self._sections.get(name) or {})

    @property
    def settings(self) -> dict[str, Section]:
        """All sections as they were received, without notifications, whose URL is a secret."""
        return {name: values for name, values in self._sections.items() if name != "notify" and values}

    def has(self, name: str) -> bool:
        """Whether the step received this section."""
        return self._sections.get(name) is not None

    def with_base_model(self, model: str) -> StepContext:
        """The same with another base model."""
        evaluate = {**self.section("evaluate"), "base_model": model}
        return StepContext({**self._sections, "evaluate": evaluate}, self.offline)

    @cached_property
    def vertex(self) -> Vertex:
        """Section `vertex`; offline with a project that is never called."""
        return Vertex.of({**self.section("vertex"), **({"project": "offline"} if self.offline else {})})

    @cached_property
    def signing_key(self) -> bytes:
        """The private key of `reporting.signing_key`, checked; empty where it is not set. Raises `UserError`."""
        from gemtune.artifacts.manifest import public_key
        from gemtune.data.sources import local_path

        if not self.reporting.signing_key:
            return b""
        with local_path(self.reporting.signing_key) as path:
            try:
                key = path.read_bytes()
            except OSError as error:
                problem = f"reporting.signing_key cannot be read: {error.strerror}"
                raise UserError(
                    problem, file=self.reporting.signing_key, remedy="name a PEM file, or leave it empty"
                ) from None
        public_key(key)
        return key

    @cached_property
    def objective(self) -> Objective:
        """The tuning method: preference tuning where the section `preference` was received."""
        from gemtune.tuning.objective import objective_of

        return objective_of(self._sections.get("preference"))

    @cached_property
    def evaluator(self) -> Evaluator:
        """What evaluates variants with these settings."""
        from gemtune.evaluation.evaluator import Evaluator

        return Evaluator(self.task, self.evaluate, self.vertex, self.objective.ranking)

    @cached_property
    def client(self) -> Client:
        """The service."""
        return connect(self.vertex)

    def token_counter(self, task: Task) -> TokenCounter:
        """Counts tokens of a run by a sample."""
        from gemtune.cost.tokens import TokenCounter

        return TokenCounter(self.count_tokens, self.evaluate, self.plan.token_sample, task)

    @property
    def count_tokens(self) -> CountTokens:
        """Counts the tokens of a request by the service with retries, or offline."""
        from gemtune.cost.tokens import count_offline

        return count_offline if self.offline else partial(count_tokens, self.client, self.evaluate.base_model)

    @property
    def catalogue(self) -> Catalogue:
        """Models, limits and prices."""
        return self.client.catalogue

    @property
    def prices(self) -> PriceList:
        """List prices of the base model, the judge and the metrics of the evaluation service."""
        from gemtune.cost.items import price_list

        return price_list(self.catalogue, self.evaluate, self.evaluate.base_model)

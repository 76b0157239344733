# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The sections of the configuration that a step received, each validated when it is read, and what they open."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gemtune.catalogue import Catalogue
from gemtune.config import (
    Augment,
    Deploy,
    Escalation,
    Evaluate,
    Gate,
    HardExamples,
    Plan,
    Preprocess,
    Select,
    Split,
    Task,
    Tune,
    Vertex,
)
from gemtune.vertex import Client, connect, count_tokens

if TYPE_CHECKING:
    from gemtune.cost.tokens import CountTokens, TokenCounter
    from gemtune.evaluation.evaluator import Evaluator
    from gemtune.tuning.objective import Objective

Section = Mapping[str, Any]
Sections = Mapping[str, Section]


class StepContext:
    """Typed access to a step's sections. Raises `UserError` naming the setting when one of them is not valid."""

    def __init__(self, sections: Sections, offline: bool = False) -> None:
        self._sections, self.offline = sections, offline

    def _section(self, name: str) -> dict[str, Any]:
        return dict(self._sections.get(name) or {})

    def has(self, name: str) -> bool:
        """Whether the step received this section."""
        return self._sections.get(name) is not None

    def with_base_model(self, model: str) -> StepContext:
        """The same with another base model."""
        evaluate = {**self._section("evaluate"), "base_model": model}
        return StepContext({**self._sections, "evaluate": evaluate}, self.offline)

    @cached_property
    def task(self) -> Task:
        """Section `task`."""
        return Task.of(self._section("task"))

    @cached_property
    def preprocess(self) -> Preprocess:
        """Section `preprocess`."""
        return Preprocess.of(self._section("preprocess"))

    @cached_property
    def split(self) -> Split:
        """Section `split`."""
        return Split.of(self._section("split"))

    @cached_property
    def augment(self) -> Augment:
        """Section `augment`."""
        return Augment.of(self._section("augment"))

    @cached_property
    def evaluate(self) -> Evaluate:
        """Section `evaluate`."""
        return Evaluate.of(self._section("evaluate"))

    @cached_property
    def plan(self) -> Plan:
        """Section `plan`."""
        return Plan.of(self._section("plan"))

    @cached_property
    def hard_examples(self) -> HardExamples:
        """Section `hard_examples`."""
        return HardExamples.of(self._section("hard_examples"))

    @cached_property
    def tune(self) -> Tune:
        """Section `tune`."""
        return Tune.of(self._section("tune"))

    @cached_property
    def escalation(self) -> Escalation:
        """Section `escalation`."""
        return Escalation.of(self._section("escalation"))

    @cached_property
    def select(self) -> Select:
        """Section `select`."""
        return Select.of(self._section("select"))

    @cached_property
    def gate(self) -> Gate:
        """Section `gate`."""
        return Gate.of(self._section("gate"))

    @cached_property
    def deploy(self) -> Deploy:
        """Section `deploy`."""
        return Deploy.of(self._section("deploy"))

    @cached_property
    def vertex(self) -> Vertex:
        """Section `vertex`; offline with a project that is never called."""
        return Vertex.of({**self._section("vertex"), **({"project": "offline"} if self.offline else {})})

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

        client, model = self.client, self.evaluate.base_model

        def count_by_service(system: str | None, contents: list[dict[str, Any]]) -> int:
            return count_tokens(client, model, system, contents)

        return count_offline if self.offline else count_by_service

    @property
    def catalogue(self) -> Catalogue:
        """Models, limits and prices."""
        return self.client.catalogue

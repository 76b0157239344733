# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between tuning methods, and nothing else: the rows, the jobs, how two variants are compared.

Supervised tuning trains on labelled rows in one job and compares variants by the task's metric. Preference tuning
(Rafailov et al. 2023; Vertex AI: two completions, scores 1 and 0, KL weight `beta`) trains on pairs of answers, after
a supervised job on the better ones, and compares by win rate. A further method is one more class with these members.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gemtune.config import Preference, Task, Trial
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.metrics import metric_names, primary_metric
from gemtune.evaluation.pairwise import WIN_RATE

log = logging.getLogger("gemtune")

BETA_LOW, BETA_HIGH = 0.01, 0.5  # recommended, both included


@dataclass(frozen=True)
class SupervisedObjective:
    """Labelled rows, one job per trial, the task's metric."""

    methods: ClassVar[tuple[str, ...]] = ("supervised",)
    """The methods of its jobs, the first job's first."""
    is_pairwise: ClassVar[bool] = False
    """Whether variants are compared answer by answer, not by a metric."""
    judge_ranks: ClassVar[bool] = False
    ranking: ClassVar[None] = None

    def metric(self, task: Task, configured: str = "", setting: str = "gate.metric") -> str:
        """The metric that selects and decides: the configured one, else the first of the task's kind.

        Raises `UserError` naming the `setting` for a metric that the task does not have.
        """
        names = metric_names(task)
        if configured and configured not in names:
            raise UserError(
                f"{setting} is {configured!r}; {task.kind} can be decided by {', '.join(names)}",
                remedy="a judge is used by gate.min_judge_good and gate.min_judge_win_rate",
            )
        return configured or primary_metric(task)

    def training_size(self, examples: Sequence[Example]) -> int:
        """How many rows training counts: the examples."""
        return len(examples)

    def first_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """The job that comes before the trials: none."""
        return None

    def prepared(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as they are."""
        return list(trials)


@dataclass(frozen=True)
class PreferenceObjective:
    """Pairs of answers, a supervised job first, win rates."""

    ranking: Preference = field(default_factory=Preference)
    methods: ClassVar[tuple[str, ...]] = ("supervised", "preference")
    is_pairwise: ClassVar[bool] = True

    @property
    def judge_ranks(self) -> bool:
        """Whether `preference.ranker` is the judge."""
        return self.ranking.ranker == "judge"

    def metric(self, task: Task, configured: str = "", setting: str = "gate.metric") -> str:
        """The win rate."""
        if configured not in ("", WIN_RATE):
            raise UserError(f"{setting} is {configured!r}", remedy=f"preference tuning is decided by {WIN_RATE}")
        return WIN_RATE

    def training_size(self, examples: Sequence[Example]) -> int:
        """The pairs."""
        return sum(len(example.pairs) for example in examples)

    def first_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """Supervised tuning on the better answers, unless it is off; raises `UserError` for several adapter sizes."""
        if not self.ranking.supervised_epochs:
            return None
        if len(sizes := sorted({trial.adapter_size for trial in trials})) > 1:
            raise UserError(
                f"trials of adapter sizes {', '.join(map(str, sizes))} cannot continue one supervised job",
                remedy="use one adapter_size, or preference.supervised_epochs=0",
            )
        return Trial(
            name="supervised",
            epoch_count=self.ranking.supervised_epochs,
            learning_rate_multiplier=self.ranking.supervised_learning_rate_multiplier,
            adapter_size=trials[0].adapter_size,
        )

    def prepared(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as preference jobs; warns of a `beta` outside the recommended range."""
        for trial in trials:
            if not BETA_LOW <= trial.beta <= BETA_HIGH:
                log.warning(
                    "%s: beta %g is outside the recommended %g to %g", trial.name, trial.beta, BETA_LOW, BETA_HIGH
                )
        return [trial.model_copy(update={"method": "preference"}) for trial in trials]


Objective = SupervisedObjective | PreferenceObjective


def objective_of(preference: Mapping[str, Any] | None) -> Objective:
    """The objective of a pipeline, from its section `preference`; without one it tunes on labelled rows."""
    return PreferenceObjective(Preference.of(dict(preference))) if preference else SupervisedObjective()

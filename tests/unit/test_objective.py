# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning methods: rows, the jobs before and after, what a plan counts, refuses and warns of."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gemtune.artifacts.cost import Estimate
from gemtune.config import Evaluate, Preference, Task, Trial
from gemtune.cost.tokens import TokenCounter
from gemtune.data.example import Example, Pair
from gemtune.errors import UserError
from gemtune.inference.prompts import tuning_rows
from gemtune.steps import plan_tuning
from gemtune.steps.context import StepContext
from gemtune.steps.plan_tuning import PlanRequest, reasons_against
from gemtune.tuning.objective import PreferenceObjective, SupervisedObjective, objective_of
from gemtune.tuning.trials import named

TASK = Task(kind="generation")


def preference(**settings: Any) -> PreferenceObjective:
    return PreferenceObjective(Preference.of(settings))


def prompt(identity: str, *rejected: str) -> Example:
    """A prompt with a pair per rejected answer."""
    pairs = tuple(Pair(identity, "better", answer) for answer in rejected)
    return Example(identity, f"text {identity}", "better", pairs=pairs)


def test_objective_follows_the_section_preference() -> None:
    assert objective_of(None) == SupervisedObjective()
    assert objective_of(Preference().model_dump()) == PreferenceObjective()
    assert objective_of({"ranker": "judge"}).judge_ranks


def test_objective_supervised_has_one_job_and_the_tasks_metric() -> None:
    objective, trials = SupervisedObjective(), [Trial(name="a"), Trial(name="b", adapter_size=8)]
    assert (objective.first_trial(trials), objective.prepared(trials)) == (None, trials)
    task = Task(labels=["a", "b"])
    assert objective.metric(task) == "accuracy"
    assert objective.metric(task, "macro_f1") == "macro_f1"
    with pytest.raises(UserError, match=r"gate\.metric is 'win_rate'"):
        objective.metric(task, "win_rate")
    assert objective.training_size([prompt("p", "a", "b")]) == 1


def test_objective_preference_jobs_are_supervised_then_preference() -> None:
    trials = [Trial(name="trial-1", epoch_count=3, adapter_size=8)]
    first = preference(supervised_epochs=5).first_trial(trials)
    assert first is not None
    assert (first.method, first.epoch_count, first.adapter_size) == ("supervised", 5, 8)
    prepared = preference().prepared(trials)
    assert [(trial.method, trial.name) for trial in prepared] == [("preference", "trial-1")]
    assert preference(supervised_epochs=0).first_trial(trials) is None


def test_objective_preference_compares_by_win_rate() -> None:
    assert preference().metric(TASK) == preference().metric(TASK, "win_rate") == "win_rate"
    with pytest.raises(UserError, match="preference tuning is decided by win_rate"):
        preference().metric(TASK, "rouge_l")
    assert preference().training_size([prompt("p", "a", "b"), prompt("q", "c")]) == 3


def test_objective_preference_refuses_several_adapter_sizes_after_one_job() -> None:
    trials = [Trial(name="a", adapter_size=4), Trial(name="b", adapter_size=8)]
    with pytest.raises(UserError, match="adapter sizes 4, 8 cannot continue"):
        preference().first_trial(trials)
    assert preference(supervised_epochs=0).first_trial(trials) is None


def test_trials_need_unique_names() -> None:
    with pytest.raises(UserError, match="unique names, got a, a"):
        named([Trial(name="a"), Trial(name="a", beta=0.3)], merge=True)


def test_objective_preference_warns_of_unusual_beta_and_zero_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="beta"):
        Trial.of({"beta": 0})
    with caplog.at_level(logging.WARNING, "gemtune"):
        preference().prepared([Trial(beta=0.9), Trial(beta=0.5), Trial(beta=0.005)])
    assert "beta 0.9 is outside the recommended 0.01 to 0.5" in caplog.text
    assert "beta 0.005" in caplog.text
    assert "beta 0.5 " not in caplog.text


def test_objective_rows_of_pairs_bill_the_prompt_twice() -> None:
    def count(system: str | None, contents: list[dict[str, Any]]) -> int:
        return len((system or "").split()) + sum(len(p["text"].split()) for turn in contents for p in turn["parts"])

    task = Task(kind="generation", instruction="be kind", text_name="Say", target_name="Answer")
    rows = [Example("p", "one two three", "a b", pairs=(Pair("p", "a b", "c"),))]
    counter = TokenCounter(count, Evaluate(base_model="m"), 8, task)
    (_, row), *_ = tuning_rows(task, rows, "supervised")
    sent = count("be kind", row["contents"][:-1])
    for method, billed in (("preference", 2 * sent + 3), ("supervised", sent + 2)):
        tokens, _, _ = counter.training_rows(tuning_rows(task, rows, method))
        assert tokens == Estimate.exact(billed)


def test_plan_fingerprint_names_the_pairs_whatever_the_order_of_rows() -> None:
    def digest(*train: Example) -> str:
        return plan_tuning._fingerprint(PlanRequest(StepContext({}), TASK, "run", [list(train), [], []]), [])

    rows, other = (prompt("p", "a", "b"), prompt("q", "c")), prompt("q", "d")
    assert digest(*rows) == digest(*reversed(rows))
    assert digest(*rows) != digest(rows[0], other)


def test_reasons_against_count_pairs_and_test_prompts() -> None:
    sections = {"preference": Preference().model_dump(), "plan": {"min_train_rows": 600, "required_lift": 0.1}}
    splits = [[prompt(f"t{n}", "a", "b") for n in range(250)], [], [prompt(f"x{n}", "a") for n in range(80)]]
    request = PlanRequest(StepContext(sections), TASK, "run", splits)
    few, weak = reasons_against(request, None, "win_rate", request.context.objective.training_size(splits[0]))
    assert "500 training pairs, fewer than 600" in few
    assert "with 80 test prompts, a lift of 0.313 or more can be detected, not the required 0.100" in weak

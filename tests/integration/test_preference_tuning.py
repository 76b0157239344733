# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning as steps: pairs, jobs on the emulator, forecast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import jobs_of
from samples import examples, sections

from gemtune.artifacts.cost import read_spent
from gemtune.artifacts.data import DataReport
from gemtune.artifacts.tuning import TuningRecord
from gemtune.config import ModelVariant, Trial
from gemtune.cost.items import JudgingCost
from gemtune.data.example import read_examples, write_examples
from gemtune.errors import UserError
from gemtune.steps import load_pairs, tune
from gemtune.steps.context import StepContext
from gemtune.tuning.trials import require_tunable
from gemtune.vertex import Client

PREFERENCE = (
    "method=preference",
    "task.labels=[]",
    "evaluate.base_model=gemini-2.5-flash",
    # the real service's preference models have retired; the catalogue's overrides may bring one back
    "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}",
)
SAMPLED = ("task.kind=classification", "preference.pairs_from=samples", "preference.chosen_from=reference")


# -- pairs -----------------------------------------------------------------------------------------------------------


def loaded(folder: Path, overrides: tuple[str, ...], rows: list[dict[str, Any]]) -> dict[str, Path]:
    """Files of prompts with their pairs, and of their first two thirds for training, the rest for validation."""
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: folder / name for name in ("examples", "dropped", "report", "train", "validation")}
    config = sections(*PREFERENCE, *overrides)
    load_pairs.run(
        str(folder / "rows.jsonl"), *(str(files[name]) for name in ("examples", "dropped", "report")), "tone",
        **{name: config[name] for name in ("task", "preprocess", "preference", "evaluate", "plan", "vertex")},
    )  # fmt: skip
    prompts = list(read_examples(files["examples"]))
    write_examples(files["train"], prompts[: 2 * len(prompts) // 3])
    write_examples(files["validation"], prompts[2 * len(prompts) // 3 :])
    return files


def labelled_rows(count: int = 24) -> list[dict[str, Any]]:
    return [{"text": row.text, "label": row.target} for row in examples(count, 4)]


def test_sample_pairs_uses_answers_of_the_model(client: Client, tmp_path: Path) -> None:
    """A model that does not know the labels answers by words of the prompt: wrong, so the reference is chosen."""
    files = loaded(tmp_path, SAMPLED, labelled_rows())
    report, prompts = DataReport.read(files["report"]), list(read_examples(files["examples"]))
    pairs = [(prompt, pair) for prompt in prompts for pair in prompt.pairs]
    assert len(pairs) == report.examples > 15
    assert all(pair.chosen == prompt.target != pair.rejected for prompt, pair in pairs)
    (spent,) = read_spent(files["report"])
    assert spent.stage == "actual"
    assert spent.tokens.expected > 0
    dropped = files["dropped"].read_text().splitlines()
    assert len(pairs) + len(dropped) == 24


def test_sample_pairs_are_paid_for_once(client: Client, tmp_path: Path) -> None:
    first = loaded(tmp_path / "a", (*SAMPLED, "preference.samples=3"), labelled_rows())
    limit = ("plan.max_cost=0.000001", "preference.supervised_epochs=0")  # would refuse to sample again
    again = loaded(tmp_path / "b", (*SAMPLED, "preference.samples=3", *limit), labelled_rows())
    assert read_spent(first["report"])[0].cost.expected > 0 == len(read_spent(again["report"]))
    for name in ("examples", "dropped"):
        assert again[name].read_bytes() == first[name].read_bytes()


def test_sample_pairs_over_the_limit_sends_no_request(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sampling 96 answers may cost .* more than plan\.max_cost"):
        loaded(tmp_path, (*SAMPLED, "preference.min_gap=11", "plan.max_cost=0.000001"), labelled_rows())


# -- jobs ------------------------------------------------------------------------------------------------------------


def variant(step: int) -> ModelVariant:
    return ModelVariant(name=str(step), model="m", step=step)


def test_preference_trials_start_at_the_lowest_validation_loss() -> None:
    variants = [variant(step) for step in (10, 20, 30)]
    assert tune.lowest_loss(variants, [(10, 0.5), (20, 0.3), (30, 0.4)]).name == "20"
    assert tune.lowest_loss(variants, []).name == "30"


def pair_rows(count: int = 45) -> list[dict[str, Any]]:
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]
    return [
        {
            "prompt": f"{words[n % 12]} {n} {words[n * 7 % 11]} {words[n * 5 % 12]}?",
            "chosen": f"kindly {words[n % 12]} {n}",
            "rejected": f"rude {n}",
        }
        for n in range(count)
    ]


def tuned(folder: Path, name: str, first: bool = True) -> tuple[TuningRecord | None, TuningRecord]:
    """The records of the supervised job, where there is one, and of the preference job after it."""
    files, config = loaded(folder, (), pair_rows()), sections(*PREFERENCE)
    rows = str(files["train"]), str(files["validation"])
    further = {section: config[section] for section in ("task", "evaluate", "tune", "preference", "vertex")}
    start, job, events = str(folder / "start") if first else "", str(folder / "job"), str(folder / "events")
    if first:
        supervised = Trial(name="supervised", epoch_count=2).model_dump(mode="json")
        tune.run_start(*rows, supervised, name, start, events, **further)
    trial = Trial(name="dpo", epoch_count=2, method="preference").model_dump(mode="json")
    tune.run(*rows, trial, name, job, events, start=start, **further)
    return TuningRecord.read(start) if first else None, TuningRecord.read(job)


def test_tune_preference_is_two_jobs_in_sequence(client: Client, tmp_path: Path) -> None:
    supervised, record = tuned(tmp_path, "recipe")
    assert supervised is not None
    start, (job,) = supervised.start, record.jobs
    assert start is not None
    assert len(jobs_of(client, "recipe")) == 2
    assert start.role == "supervised"
    assert job.spec["method"] == "preference"
    assert job.spec["base"] == start.tuned_model
    assert job.spec["checkpoint_id"] == start.checkpoint_id
    assert {"/preference_optimization_train_loss", "/eval_total_loss"} == set(job.curve)
    assert [one.name for one in record.variants] == ["dpo@1", "dpo@2"]
    # a continued job adds a version to the model it came from
    assert job.job.model.rpartition("@")[0] == supervised.jobs[0].job.model.rpartition("@")[0]
    billed = [one.jobs[0].job.billable_tokens for one in (supervised, record)]
    assert counted(tmp_path) == billed


def counted(folder: Path) -> list[float]:
    """The plan's count of the training rows of both jobs: every row is counted, as the service bills it."""
    context = StepContext(sections(*PREFERENCE, "plan.token_sample=1000"))
    splits = [list(read_examples(folder / name)) for name in ("train", "validation")] * 2
    training = context.token_counter(context.task).all_rows(context.objective, splits[:3], JudgingCost()).training
    return [training[method].expected for method in ("supervised", "preference")]


def test_tune_preference_with_pairs_only_is_one_job(client: Client, tmp_path: Path) -> None:
    tuned(tmp_path, "alone", first=False)
    start, record = tuned(tmp_path, "alone", first=False)
    assert start is None
    assert record.start is None
    assert len(jobs_of(client, "alone")) == 1


def test_require_tunable_refuses_a_model_and_lists_alternatives(client: Client) -> None:
    trials = [Trial(name="dpo", method="preference")]
    refused = r"cannot be tuned by the method 'preference' \(models for preference tuning now: none; see vertex\."
    with pytest.raises(UserError, match=refused):
        require_tunable(client.catalogue, client.location, "", "gemini-3.1-flash-lite", trials)

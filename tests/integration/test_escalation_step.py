# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Step escalation: larger base models tuned on an emulator where they answer exactly as well as the small one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections, splits

from gemtune.artifacts.cost import CostForecast, TokenUsage
from gemtune.artifacts.evaluation import EvaluationReport, Latency, Score, VariantReport
from gemtune.artifacts.tuning import BestPrompt, PriceList, TrialRecord, TuningPlan, TuningRecord
from gemtune.config import ModelVariant, Task, Trial
from gemtune.data.example import read_examples, write_examples
from gemtune.errors import UserError
from gemtune.steps import escalation, select_model
from gemtune.tuning import checkpoint_selection
from gemtune.tuning.objective import SupervisedObjective
from gemtune.vertex import Client

SMALL, LARGE = "gemini-3.1-flash-lite", "gemini-3.5-flash"
PROMPT = ModelVariant(name="zero_shot", model=SMALL)
PRICE = {"train": 1.0, "input": 0.1, "output": 0.4}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"labels": ["refund", "delivery", "login"]}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def escalated(
    folder: Path, name: str, tuned: float, *overrides: str, trials: int = 1, on_test: bool = False
) -> tuple[TuningRecord, EvaluationReport]:
    """The record and the report of the step after one small trial that scored `tuned`."""
    train, validation, _ = splits(folder, train=60, validation=20)
    if on_test:
        write_examples(validation, [replace(row, split="test") for row in [*read_examples(validation)]])
    settings = sections("escalation.models=[x]", *overrides)
    small = Trial(name="t", epoch_count=2, adapter_size=1)
    variant = ModelVariant(name="t@2", model="m", role="candidate", trial="t", epoch=2)
    scored = VariantReport(
        variant=variant,
        metrics={"accuracy": Score(value=tuned, low=tuned - 0.05, high=tuned + 0.05)},
        outcomes={"ok": 20},
        tokens=TokenUsage(),
        latency_s=Latency(median=0, p95=0),
        attempts=20,
        cached=0,
    )
    TuningRecord(jobs=[TrialRecord(trial=small, spec={}, base_model=SMALL, price=PRICE)]).write(folder / "small")
    EvaluationReport(dataset="validation", rows=20, task=Task.of(settings["task"]), variants=[scored]).write(
        folder / "scored"
    )
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=BestPrompt(variant=PROMPT, score=Score(value=0, low=0, high=0.1)),
        detectable_lift=0.1,
        rows={},
        trials=[small],
        escalation=[Trial(name=LARGE, base=LARGE, epoch_count=3)] * trials,
        prices=PriceList(base_model=SMALL, models={SMALL: PRICE}),
        forecast=CostForecast.of([], 1.0),
        fingerprint="f",
    ).write(folder / "plan")
    paths = {"train": train, "reweighted": train, "validation": validation}
    paths |= {file: str(folder / file) for file in ("plan", "job", "report", "events")}
    counts = escalation.run(paths, [str(folder / "small")], str(folder / "scored"), name, **settings)
    record, report = TuningRecord.read(folder / "job"), EvaluationReport.read(folder / "report")
    assert counts == {"tried": len(record.jobs)}
    return record, report


def test_escalation_continues_while_below_the_target(client: Client, tmp_path: Path) -> None:
    tuning, report = escalated(tmp_path, "climbs", 0.6, "escalation.stop_at_score=1.0")
    assert [job.state for job in jobs_of(client, "climbs")] == ["SUCCEEDED"]
    (record,) = tuning.jobs
    assert (record.base_model, record.trial.adapter_size, record.trial.epoch_count) == (LARGE, 1, 2)
    assert [result.variant.role for result in report.variants] == ["baseline", "candidate", "candidate"]
    scores = checkpoint_selection.variant_scores(report, "accuracy", tuning.jobs, SupervisedObjective())
    assert {s.variant.trial for s in scores if s.variant.role == "candidate"} == {LARGE}
    assert {s.price for s in scores if s.variant.role == "candidate"} == {10.5}
    prompt, others, notes = select_model._prompts(TuningPlan.read(tmp_path / "plan"), [report], "accuracy")
    assert prompt.model == LARGE
    assert others == []
    assert "the best prompt is that of" in notes[0]
    assert [item.kind for item in tuning.spent] == ["escalation", "checkpoints"]
    assert all(item.cost.expected > 0 for item in tuning.spent)


def test_escalation_refuses_test_rows_before_the_first_job(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="these are test rows"):
        escalated(tmp_path, "peeks", 0.6, "escalation.stop_at_score=1.0", on_test=True)
    assert jobs_of(client, "peeks") == []


def test_escalation_stops_without_a_gain(client: Client, tmp_path: Path) -> None:
    tuning, report = escalated(tmp_path, "stays", 0.005)
    assert jobs_of(client, "stays") == tuning.jobs == report.variants == []
    assert "was not tried: tuning gained +0.005" in tuning.notes[0]


def test_escalation_is_silent_without_models(client: Client, tmp_path: Path) -> None:
    assert escalated(tmp_path, "none", 0.6, trials=0)[0].notes == []

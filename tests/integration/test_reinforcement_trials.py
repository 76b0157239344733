# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement trials against the emulator: jobs with a supervised start, rewards that both sides compute alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from emulator_process import Emulator, jobs_of
from samples import examples, sections, splits
from typer.testing import CliRunner

from gemtune.artifacts.tuning import TuningRecord
from gemtune.cli.main import app
from gemtune.config import Evaluate, Reward, Task, Trial
from gemtune.data.example import Example
from gemtune.inference.prompts import reinforcement_rows
from gemtune.steps import tune
from gemtune.tuning import rewards
from gemtune.vertex import Client, jobs

BASE = "evaluate.base_model=gemini-3.5-flash"
PRICE = "vertex.catalogue={models: {gemini-3.5-flash: {price: {reinforcement: 1.0}}}}"
TRIAL = {"name": "r", "method": "reinforcement", "epoch_count": 3, "samples_per_prompt": 4, "batch_size": 16}


def tuned(folder: Path, name: str, *overrides: str, **trial: object) -> TuningRecord:
    train, validation, _ = splits(folder, seed=3)
    job = str(folder / "job.json")
    own = sections(BASE, PRICE, *overrides)
    tune.run(train, validation, {**TRIAL, **trial}, name, job, str(folder / "events"), **own)
    return TuningRecord.read(job)


def test_reinforcement_trial_leaves_checkpoints_and_rewards(client: Client, tmp_path: Path) -> None:
    (record,) = tuned(tmp_path, "rewarded").jobs
    assert [variant.epoch for variant in record.variants] == [1, 2, 3]
    assert {len(record.curve[name]) for name in record.curve} == {record.job.steps, 3}
    assert set(record.curve) == {"/train_mean_reward", "/eval_mean_reward"}
    assert record.diagnosis is not None
    assert record.diagnosis.kind in ("fine", "no_learning")
    assert record.billed_tokens == record.trial.forecast_tokens
    again = tuned(tmp_path, "rewarded").jobs
    assert again[0].job.name == record.job.name  # found by its fingerprint, not paid again
    other = tuned(tmp_path, "rewarded", rewards=[{"match": "contains"}]).jobs
    assert other[0].job.name != record.job.name


def test_reinforcement_trial_starts_from_its_supervised_job(client: Client, tmp_path: Path) -> None:
    record = tuned(tmp_path, "started", supervised_epochs=2)
    first, second = record.jobs
    assert (first.trial.name, first.trial.method, len(first.variants)) == ("r-supervised", "supervised", 2)
    assert second.trial.base == first.job.model
    assert second.trial.checkpoint_id in {variant.checkpoint_id for variant in first.variants}
    assert {variant.trial for variant in record.variants} == {"r", "r-supervised"}


def test_reward_by_a_judge_names_its_model_in_full(client: Client, tmp_path: Path) -> None:
    judge = "evaluate.judge={model: gemini-3.5-flash}"
    (record,) = tuned(tmp_path, "judged", judge, rewards=[{"rubric": "kind"}], epoch_count=1).jobs
    spec = client.genai().tunings.get(name=record.job.name).reinforcement_tuning_spec
    sent = spec.single_reward_config.model_dump()
    model = sent["autorater_scorer"]["autorater_config"]["autorater_model"]
    assert model == f"projects/{client.project}/locations/{client.location}/publishers/google/models/gemini-3.5-flash"


LABELS = Task(kind="classification", labels=["refund", "shipping"])
OBJECTS = Task(
    kind="extraction", output_schema={"type": "object", "properties": {"city": {}, "zip": {}, "rooms": {}}}
)  # fmt: skip
OBJECT = Example("1", "x", json.dumps({"city": "Utrecht", "zip": "3511", "rooms": 3}))
CODE = "def evaluate(example, response):\n    return len(response['parts'][0]['text']) / 10 - 0.2"


@pytest.mark.parametrize(
    ("task", "example", "chosen"),
    [
        (LABELS, Example("1", "x", "refund"), []),
        (LABELS, Example("1", "x", "refund"), [Reward(match="contains", extract="<a>(.*?)</a>", wrong=-1)]),
        (LABELS, Example("1", "x", "refund"), [Reward(match="regex", expression="(?i)^{{references.target}}.?$")]),
        (LABELS, Example("1", "x", "refund"), [Reward(name="a"), Reward(name="b", code=CODE, weight=3)]),
        (OBJECTS, OBJECT, []),
        (OBJECTS, OBJECT, [Reward(name="city", field="city", weight=2, wrong=-1), Reward(name="zip", field="zip")]),
    ],
)
def test_reward_here_and_at_the_service_are_equal(
    task: Task, example: Example, chosen: list[Reward], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        "refund", " refund\n", "refund.", "Refund", "<a>no</a><a>a refund</a>", "", "shipping refund " * 9, "[1]",
        example.target, '{"city": "Utrecht"}', '{"city": "Utrecht", "zip": 3511, "rooms": 3.0}', '{"city": ["Utrecht"]',
    ]  # fmt: skip
    running = Emulator(tmp_path, "--execute-rewards")
    try:
        client = running.point(monkeypatch)
        ((_, row),) = reinforcement_rows(task, [example])
        own = rewards.rewards_of(Trial(rewards=chosen), task, Evaluate())
        for answer in answers:
            value, error = jobs.validate_reward(client, row, answer, rewards.wire_config(own, ""))
            assert (value, error) == (pytest.approx(rewards.score(own, row, answer), abs=1e-9), "")
    finally:
        running.kill()


def checked(folder: Path, *overrides: str) -> tuple[int, str]:
    rows = [{"text": example.text, "label": example.target} for example in examples(200, 1)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "my.yaml").write_text("name: checked\n", encoding="utf-8")
    given = (BASE, f"data={folder}/rows.jsonl", *overrides)
    result = CliRunner().invoke(app, ["reward", "check", f"{folder}/my.yaml", "--rows", "8", *(
        part for setting in given for part in ("--set", setting))])  # fmt: skip
    return result.exit_code, result.output


def test_reward_check_command(client: Client, tmp_path: Path) -> None:
    code, output = checked(tmp_path, "plan.trials=[{method: reinforcement, supervised_epochs: 1}]")
    assert (code, "problem" in output) == (0, False), output
    assert "probe all labels: 0% of the highest reward" in output
    code, output = checked(tmp_path, "plan.trials=[{method: reinforcement, rewards: [{match: contains}]}]")
    assert code == 1
    assert "problem: all labels gets 100% of the highest reward" in output
    code, output = checked(tmp_path, "plan.trials=[{method: reinforcement, rewards: [{correct: 0.0}]}]")
    assert code == 1
    assert "no spread" in output
    code, output = checked(tmp_path)
    assert (code, "no trial has method: reinforcement" in output) == (1, True)
    assert not jobs_of(client, "checked")

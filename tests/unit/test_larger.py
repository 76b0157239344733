# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A larger model is tried only for a reason, with what did best so far, and is prompted before it is tuned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rehearsed import Emulator, jobs_of, sections, splits

from gemtune.config import Larger, ModelVariant, Trial
from gemtune.steps import escalation, select_model
from gemtune.steps.select_model import Standing
from gemtune.vertex import Client

LARGE = "gemini-3.5-flash"


def standing(value: float, name: str = "t@1") -> Standing:
    trial = name.split("@")[0]
    return Standing(
        ModelVariant(name=name, model="m", role="candidate", trial=trial), value, value - 0.04, value + 0.04
    )


@pytest.mark.parametrize(
    ("prompted", "best", "words"),
    [
        (0.5, None, "no smaller one was tuned to an end"),
        (0.5, standing(0.96), "reaches 0.960, the target is 0.95"),
        (0.7, standing(0.705), "tuning gained +0.005 over the prompt"),
        (0.9, standing(0.85), "more or better rows first"),
        (0.5, standing(0.8), ""),
    ],
)
def test_when_a_larger_model_is_worth_it(prompted: float, best: Standing | None, words: str) -> None:
    why = escalation.declined(prompted, best, Larger())
    assert words in why
    assert bool(why) == bool(words)


def test_the_best_hyperparameters_are_taken_within_what_was_allowed() -> None:
    won = Trial(name="t", epoch_count=12, adapter_size=1, learning_rate_multiplier=4, weighted=True)
    allowed = Trial(name=LARGE, base=LARGE, epoch_count=8, max_billable_tokens=77)
    made = escalation.like_the_best(allowed, standing(0.8), [{"trial": won.model_dump(mode="json")}])
    assert (made.epoch_count, made.adapter_size, made.learning_rate_multiplier, made.weighted) == (8, 1, 4, True)
    assert (made.base, made.name, made.max_billable_tokens) == (LARGE, LARGE, 77)
    assert escalation.like_the_best(allowed, standing(0.8, "other@1"), []) == allowed


# With the emulator, whose larger model answers exactly as well as the small one.


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"labels": ["refund", "delivery", "login"]}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def climbed(folder: Path, name: str, tuned: float, *overrides: str, trials: int = 1) -> dict[str, Any]:
    """The step after one small trial that scored so; its job's record and report."""
    train, validation, _ = splits(folder, train=60, validation=20)
    c = sections("larger.models=[x]", *overrides)
    small = {"name": "t", "epoch_count": 2, "adapter_size": 1, "learning_rate_multiplier": 1, "weighted": False}
    who = ModelVariant(name="t@2", model="m", role="candidate", trial="t", epoch=2).model_dump(mode="json")
    score = {"accuracy": {"value": tuned, "low": tuned - 0.05, "high": tuned + 0.05}}
    prompt = {"variant": c["baselines"][0][0], "value": 0.0}
    given = {
        "job": {"trial": small, "price": {"input": 0.1, "output": 0.4}},
        "report": {"rows": 20, "variants": [{"variant": who, "metrics": score}]},
        "plan": {"best_prompt": prompt},
    }
    for what, content in given.items():
        (folder / what).write_text(json.dumps(content))
    job, report, plan = (str(folder / what) for what in given)
    wanted = Trial(name=LARGE, base=LARGE, epoch_count=3).model_dump(mode="json")
    escalation.run(
        [job], [report], [wanted] * trials, train, train, validation, plan, c["task"], c["evaluate"], c["tune"],
        c["larger"], c["pick"], c["vertex"], name, str(folder / "jobs.json"), str(folder / "scored.json"),
    )  # fmt: skip
    told = json.loads((folder / "jobs.json").read_text())
    return {**told, **{"report": json.loads((folder / "scored.json").read_text())}}


def test_a_gain_that_misses_the_target_climbs(client: Client, tmp_path: Path) -> None:
    found = climbed(tmp_path, "climbs", 0.6, "larger.target=1.0")
    assert [job.state for job in jobs_of(client, "climbs")] == ["SUCCEEDED"]
    (record,) = found["jobs"]
    assert (record["base_model"], record["trial"]["adapter_size"], record["trial"]["epoch_count"]) == (LARGE, 1, 2)
    roles = [entry["variant"]["role"] for entry in found["report"]["variants"]]
    assert roles == ["baseline", "candidate", "candidate"]
    standings = select_model.read_standings([str(tmp_path / "scored.json")], "accuracy", found["jobs"])
    assert {s.variant.trial for s in standings if s.variant.role == "candidate"} == {LARGE}
    prompt, notes = select_model._opponent(sections()["baselines"][0][0], standings[:1])
    assert prompt.model == LARGE
    assert "the prompt to beat is asked of" in notes[0]


def test_no_gain_no_climb(client: Client, tmp_path: Path) -> None:
    found = climbed(tmp_path, "stays", 0.005)
    assert jobs_of(client, "stays") == found["jobs"] == found["report"]["variants"] == []
    assert "was not tried: tuning gained +0.005" in found["notes"][0]


def test_none_configured_none_told(client: Client, tmp_path: Path) -> None:
    assert climbed(tmp_path, "none", 0.6, trials=0)["notes"] == []

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Step escalation: larger base models tuned on an emulator where they answer exactly as well as the small one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections, splits

from gemtune.config import Contestant, Trial
from gemtune.steps import escalation, select_model
from gemtune.vertex import Client

LARGE = "gemini-3.5-flash"


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
    who = Contestant(name="t@2", model="m", role="candidate", trial="t", epoch=2).model_dump(mode="json")
    score = {"accuracy": {"value": tuned, "low": tuned - 0.05, "high": tuned + 0.05}}
    prompt = {"contestant": c["baselines"][0][0], "value": 0.0}
    given = {
        "job": {"trial": small, "price": {"input": 0.1, "output": 0.4}},
        "report": {"rows": 20, "contestants": [{"contestant": who, "metrics": score}]},
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


def test_escalation_continues_while_below_the_target(client: Client, tmp_path: Path) -> None:
    found = climbed(tmp_path, "climbs", 0.6, "larger.target=1.0")
    assert [job.state for job in jobs_of(client, "climbs")] == ["SUCCEEDED"]
    (record,) = found["jobs"]
    assert (record["base_model"], record["trial"]["adapter_size"], record["trial"]["epoch_count"]) == (LARGE, 1, 2)
    roles = [entry["contestant"]["role"] for entry in found["report"]["contestants"]]
    assert roles == ["baseline", "candidate", "candidate"]
    standings = select_model.read_standings([str(tmp_path / "scored.json")], "accuracy", found["jobs"])
    assert {s.contestant.trial for s in standings if s.contestant.role == "candidate"} == {LARGE}
    prompt, notes = select_model._opponent(sections()["baselines"][0][0], standings[:1])
    assert prompt.model == LARGE
    assert "the prompt to beat is asked of" in notes[0]


def test_escalation_stops_without_a_gain(client: Client, tmp_path: Path) -> None:
    found = climbed(tmp_path, "stays", 0.005)
    assert jobs_of(client, "stays") == found["jobs"] == found["report"]["contestants"] == []
    assert "was not tried: tuning gained +0.005" in found["notes"][0]


def test_escalation_is_silent_without_models(client: Client, tmp_path: Path) -> None:
    assert climbed(tmp_path, "none", 0.6, trials=0)["notes"] == []

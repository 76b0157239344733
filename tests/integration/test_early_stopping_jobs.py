# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Early stopping and follow-up jobs on the emulator."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, jobs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import sections, splits

from gemtune.config import Trial
from gemtune.steps import select_model, tune
from gemtune.tuning import early_stopping
from gemtune.vertex import Client

RUNGS = (0.4, 0.8, 1.6, 3.2)

runs = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), min_size=2, max_size=4)


def rungs(losses: list[float]) -> dict[str, float]:
    return {str(rung): loss for rung, loss in zip(RUNGS, losses, strict=False)}


# With the emulator.


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=runs, order=st.randoms())
def test_early_stopping_always_leaves_a_trial(client: Client, runs: list[list[float]], order: Any) -> None:
    plan, progress = f"p{uuid.uuid4().hex}", dict.fromkeys(range(len(runs)), 0)  # records outlive an example
    out: set[int] = set()
    while going := [n for n, done in progress.items() if done < len(runs[n]) and n not in out]:
        runner = order.choice(going)
        progress[runner] += 1
        early_stopping.tell(
            client, plan, f"r{runner}", rungs(runs[runner][: progress[runner]]), progress[runner] == len(runs[runner])
        )
        left = {n for n in range(len(runs)) if early_stopping.gave_up(client, plan, f"r{n}")}
        assert out <= left  # for good
        out = left
    assert len(out) < len(runs)


def test_early_stopping_stops_an_earlier_trial_for_a_better_one(client: Client) -> None:
    assert early_stopping.tell(client, "late", "first", rungs([1.0, 0.8]), ended=False) == ""
    assert early_stopping.tell(client, "late", "second", rungs([0.7]), ended=False) == ""
    assert early_stopping.gave_up(client, "late", "first").startswith("after 0.4 epochs its loss is 1,")
    assert (
        early_stopping.tell(client, "late", "first", rungs([1.0, 0.8]), ended=True) == ""
    )  # it ended before it was cancelled
    assert early_stopping.gave_up(client, "late", "first") == ""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"step_seconds": 0.12, "first_loss": 2.0, "last_loss": 2.0}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def tuned(folder: Path, name: str, **hyper: Any) -> dict[str, Any]:
    train, validation, _ = splits(folder)
    c, out = sections("tune.race=always"), str(folder / "job.json")
    return tune.run(
        train, validation, {"name": "slow", **hyper}, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out
    )


def test_early_stopping_cancels_a_trial_far_behind_for_good(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    trial = {"epoch_count": 10, "plan": "plan-a"}
    early_stopping.tell(
        client, early_stopping.name_of(Trial(**trial), "always"), "rival", rungs([0.5, 0.1]), ended=True
    )
    result = tuned(tmp_path, "race", **trial)
    record = json.loads((tmp_path / "job.json").read_text())
    assert result["contestants"] == []
    assert record["diagnosis"]["kind"] == "out_of_race"
    assert "another trial's was 0." in record["diagnosis"]["evidence"]
    assert [job.state for job in jobs_of(client, "race")] in (["CANCELLED"], ["CANCELLING"])
    assert tuned(tmp_path, "race", **trial)["contestants"] == []
    assert len(jobs_of(client, "race")) == 1


def test_early_stopping_continues_without_results_of_a_trial(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    early_stopping.tell(
        client, early_stopping.name_of(Trial(plan="plan-b"), "always"), "rival", rungs([0.5, 0.1]), ended=True
    )
    result = tuned(tmp_path, "gone", epoch_count=9, plan="plan-b")
    again = tuned(tmp_path, "gone", epoch_count=9, plan="plan-b")  # finds what was spent before
    assert again["contestants"] == result["contestants"]
    c = sections()
    paths = [str(tmp_path / name) for name in ("predictions.jsonl", "scored.json", "picked.json")]
    Path(paths[1]).write_text(json.dumps({"rows": 40, "contestants": result["contestants"]}))
    prompt = c["baselines"][0][0]
    job = str(tmp_path / "job.json")
    who = select_model.run([job], [paths[1]], prompt, c["task"], c["pick"], c["deploy"], c["vertex"], "gone", paths[2])[
        "finalists"
    ]
    assert [one["role"] for one in who] == ["baseline"]
    spent = json.loads(Path(paths[2]).read_text())["ledger"][0]
    told = json.loads(Path(job).read_text())["job"]
    begun = spent["tokens"] / told["billable_tokens"]
    assert begun == math.ceil(told["completed_steps"] / (told["steps"] / 9))
    assert begun - 1 <= told["completed_epochs"] <= begun < 9


def test_follow_up_of_a_flat_trial_stays_within_its_tokens(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    plain = tuned(tmp_path / "a", "plain", epoch_count=2)
    tokens = int(plain["metrics"]["billable_tokens"])
    result = tuned(tmp_path / "b", "follow", epoch_count=2, adapter_size=1, follow_ups=1, follow_up_tokens=9 * tokens)
    assert [c["name"] for c in result["contestants"]] == ["slow@1", "slow@2", "slow+@1", "slow+@2"]
    record = json.loads((tmp_path / "b" / "job.json").read_text())
    assert [one["trial"]["learning_rate_multiplier"] for one in [record, *record["follow_ups"]]] == [1.0, 5.0]
    assert len(jobs_of(client, "follow")) == 2

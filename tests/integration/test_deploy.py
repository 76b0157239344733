# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Into service and back, with genuine clients against the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samples import sections, splits

from gemtune.config import Contestant
from gemtune.data.cleaning import cleaner
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.steps import deploy, select_model, tune
from gemtune.vertex import Client, models

PROMPT = Contestant(name="zero_shot", model="gemini-3.1-flash-lite").model_dump(mode="json")


def report(folder: Path, contestants: list[dict[str, Any]], scores: list[float]) -> str:
    entries = [
        {
            "contestant": c,
            "metrics": {"accuracy": {"value": s, "low": s - 0.01, "high": s + 0.01}},
            "tokens": {"input": 400, "output": 40},
        }
        for c, s in zip(contestants, scores, strict=True)
    ]
    path = folder / "scored.json"
    path.write_text(json.dumps({"schema_version": 1, "rows": 40, "contestants": entries}))
    return str(path)


class Run:
    """One trial tuned and picked; the scores say which checkpoint wins."""

    def __init__(self, folder: Path, name: str, seed: int, scores: list[float]) -> None:
        self.name, self.folder, self.c = name, folder, sections()
        train, validation, _ = splits(folder, seed=seed)
        wanted = {"name": "trial-1", "epoch_count": len(scores), "plan": f"plan-{seed}"}
        c, job = self.c, str(folder / "job.json")
        tuned = tune.run(train, validation, wanted, c["task"], c["evaluate"], c["tune"], c["vertex"], name, job)
        self.contestants = tuned["contestants"]
        scored = report(folder, self.contestants, scores)
        self.picked = str(folder / "picked.json")
        self.finalists = select_model.run(
            [job], [scored], PROMPT, c["task"], c["pick"], c["deploy"], c["vertex"], name, self.picked
        )["finalists"]

    def deploy(self, step: Any = deploy.run, verdict: str = "deploy", *overrides: str) -> dict[str, Any]:
        decision = self.folder / "decision.json"
        decision.write_text(json.dumps({"verdict": verdict, "reasons": ["because"]}))
        out, c = str(self.folder / "endpoint.json"), sections(*overrides)
        result: dict[str, Any] = step(
            str(decision), self.picked, c["deploy"], c["vertex"], self.name, out, preprocess=c["preprocess"]
        )
        assert json.loads(Path(out).read_text())["model"] == result["model"]
        return result


def serving(client: Client, contestants: list[dict[str, Any]]) -> list[bool]:
    return [bool(models.deployed(client, c["model"])) for c in contestants]


def test_deploy_sets_alias_default_and_record_and_undeploys_rejected(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "first", 1, [0.5, 0.9, 0.85])
    outcome = run.deploy()
    winner = run.contestants[1]
    assert outcome["action"] == "deployed"
    assert outcome["endpoint"] == winner["model"]
    assert sorted(outcome["undeployed"]) == sorted([run.contestants[0]["model"], run.contestants[2]["model"]])
    assert serving(client, run.contestants) == [False, True, False]
    assert "champion" in models.aliases(client, winner["tuned_model"])
    assert models.default_checkpoint(client, winner["tuned_model"]) == "2"
    champion = select_model.read_champion(client, "first")
    assert champion is not None
    assert (champion.model, champion.role, champion.name) == (winner["model"], "champion", "champion")


def test_deploy_is_idempotent(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "again", 2, [0.5, 0.9])
    run.deploy()
    before = store.read(client, store.champion_key("again"))
    run.deploy()
    assert store.read(client, store.champion_key("again")) == before


def test_rollback_restores_the_previous_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "back", 3, [0.5, 0.9])
    one.deploy()
    two = Run(tmp_path / "two", "back", 4, [0.95, 0.2])
    assert [c["role"] for c in two.finalists] == ["baseline", "candidate", "champion"]
    outcome = two.deploy()
    assert outcome["champion_before"] == one.contestants[1]["model"]
    assert serving(client, [one.contestants[1], two.contestants[0]]) == [True, True]
    first, second = one.contestants[1]["tuned_model"], two.contestants[0]["tuned_model"]
    assert "champion" not in models.aliases(client, first)
    assert "champion" in models.aliases(client, second)

    back = deploy.rollback("back", sections()["vertex"])
    assert back.model == one.contestants[1]["model"]
    assert "champion" in models.aliases(client, first)
    assert "champion" not in models.aliases(client, second)
    record = store.read(client, store.champion_key("back"))
    assert record["history"] == []
    assert record["left"][0]["contestant"]["model"] == two.contestants[0]["model"]
    with pytest.raises(UserError, match="no champion to go back to"):
        deploy.rollback("back", sections()["vertex"])


def test_rollback_deploys_an_undeployed_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "down", 5, [0.9])
    one.deploy()
    two = Run(tmp_path / "two", "down", 6, [0.9])
    two.deploy()
    models.undeploy(client, one.contestants[0]["model"])
    deploy.rollback("down", sections()["vertex"])
    assert serving(client, one.contestants) == [True]


def test_rollback_without_a_champion_is_an_error(client: Client) -> None:
    with pytest.raises(UserError, match="no champion to go back to"):
        deploy.rollback("nobody", sections()["vertex"])


def test_keep_current_undeploys_what_trials_left(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "kept", 7, [0.5, 0.6])
    outcome = run.deploy(deploy.keep, "keep_prompt")
    assert (outcome["action"], outcome["model"], outcome["endpoint"]) == ("kept", PROMPT["model"], "")
    assert serving(client, run.contestants) == [False, False]
    assert select_model.read_champion(client, "kept") is None


def test_keep_current_never_touches_the_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "holds", 8, [0.9])
    one.deploy()
    two = Run(tmp_path / "two", "holds", 9, [0.5])
    outcome = two.deploy(deploy.keep, "keep_champion")
    assert outcome["model"] == one.contestants[0]["model"]
    assert serving(client, [*one.contestants, *two.contestants]) == [True, False]


def test_deploy_records_cleaning_and_rollback_restores_it(client: Client, tmp_path: Path) -> None:
    raw = "  <b>HELLO</b>\u200b there "

    def as_served(rules: dict[str, Any]) -> str:
        return cleaner(rules)(raw)

    one = Run(tmp_path / "one", "clean", 17, [0.8])
    outcome = one.deploy(deploy.run, "deploy", "preprocess.strip_html=true", "preprocess.lowercase=true")
    record = store.read(client, store.champion_key("clean"))
    assert as_served(outcome["cleaning"]) == as_served(record["current"]["cleaning"]) == "hello there"
    kept = Run(tmp_path / "two", "clean", 18, [0.5]).deploy(deploy.keep, "keep_champion")
    assert as_served(kept["cleaning"]) == "hello there"  # the champion's rules, not this run's
    prompted = Run(tmp_path / "three", "clean", 19, [0.5]).deploy(deploy.keep, "keep_prompt")
    assert as_served(prompted["cleaning"]) == "<b>HELLO</b> there"
    Run(tmp_path / "four", "clean", 20, [0.9]).deploy()
    assert as_served(store.read(client, store.champion_key("clean"))["current"]["cleaning"]) != "hello there"
    deploy.rollback("clean", sections()["vertex"])
    assert as_served(store.read(client, store.champion_key("clean"))["current"]["cleaning"]) == "hello there"


def test_cleanup_undeploys_crashed_runs_but_never_a_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "swept", 14, [0.5, 0.9])
    one.deploy(deploy.run, "deploy", "deploy.keep_losers=true")
    crashed = Run(tmp_path / "two", "swept", 15, [0.5, 0.9])
    removed = deploy.sweep("swept", sections()["vertex"])
    assert sorted(removed) == sorted(c["model"] for c in [one.contestants[0], *crashed.contestants])
    assert serving(client, [*one.contestants, *crashed.contestants]) == [False, True, False, False]
    assert deploy.sweep("swept", sections()["vertex"]) == []


def test_deploy_keeps_rejected_endpoints_by_setting(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "stay", 10, [0.5, 0.9])
    assert run.deploy(deploy.run, "deploy", "deploy.keep_losers=true")["undeployed"] == []
    assert serving(client, run.contestants) == [True, True]


def test_select_excludes_the_deployed_checkpoint(client: Client, tmp_path: Path) -> None:
    Run(tmp_path / "one", "self", 11, [0.5, 0.9]).deploy()
    same = Run(tmp_path / "two", "self", 11, [0.5, 0.9])
    assert [c["role"] for c in same.finalists] == ["baseline", "champion"]


def test_deploy_redeploys_checkpoints_of_a_reused_job(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path / "one", "redone", 12, [0.5, 0.9])
    run.deploy()
    assert serving(client, run.contestants) == [False, True]
    Run(tmp_path / "two", "redone", 12, [0.5, 0.9])
    assert serving(client, run.contestants) == [True, True]


def test_deploy_records_the_decision_for_the_next_plan(client: Client, tmp_path: Path) -> None:
    Run(tmp_path, "remember", 13, [0.5, 0.9]).deploy()
    assert store.last_plan(client, "remember") == "plan-13"
    assert store.last_plan(client, "nobody") == ""


def test_deploy_concurrent_runs_both_enter_the_history(client: Client) -> None:
    key = store.champion_key("race")
    other = {"seen": False}

    def edit(record: dict[str, Any]) -> dict[str, Any]:
        if not other["seen"]:  # somebody else writes between our reading and our writing
            other["seen"] = True
            store.change(client, key, lambda now: {**now, "by": [*now.get("by", []), "other"]})
        return {**record, "by": [*record.get("by", []), "us"]}

    assert store.change(client, key, edit)["by"] == ["other", "us"]


def test_deploy_never_undeploys_endpoints_of_another_name(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "shop", 21, [0.5, 0.9])
    one.deploy()
    other = Run(tmp_path / "other", "bank", 21, [0.5, 0.9])  # the same rows: the same job and checkpoints
    assert [c["model"] for c in other.contestants] == [c["model"] for c in one.contestants]
    other.deploy(deploy.keep, "keep_prompt")
    assert serving(client, one.contestants)[1] is True

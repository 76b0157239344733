# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune plan` and `gemtune sweep`: known before it is paid, listed before it is removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import jobs_of
from samples import examples, sections, splits
from typer.testing import CliRunner, Result

from gemtune.cli.steps import app
from gemtune.state import store
from gemtune.steps import preprocess, split, tune
from gemtune.vertex import Client, models


def planned(folder: Path, *arguments: str) -> Result:
    rows, config = folder / "rows.jsonl", folder / "c.yaml"
    rows.write_text("".join(json.dumps({"text": e.text, "label": e.target}) + "\n" for e in examples(300, 4)))
    config.write_text(f"name: dry\ndata: {rows}\npreprocess: {{fuzzy_threshold: 0}}\nsplit: {{near_threshold: 0}}\n")
    return CliRunner().invoke(app, ["plan", str(config), *arguments])


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout[result.stdout.index("{") :])
    return found


def test_plan_command_shows_costs_and_submits_nothing(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path)
    assert result.exit_code == 0, result.output
    for words in ("few_shot on validation", "tuning trial-1", "in all", "nothing speaks against tuning so far"):
        assert words in result.output
    assert "(spent)" not in result.output
    assert jobs_of(client, "dry") == []
    told = document(planned(tmp_path, "--json"))
    assert told["cost"] == pytest.approx(sum(line["cost"] for line in told["costs"]))
    assert [trial["name"] for trial in told["trials"]] == ["trial-1"]


def test_plan_command_forecasts_augmentation(client: Client, tmp_path: Path) -> None:
    plain = document(planned(tmp_path, "--json", "--offline"))
    setting = ("--set", "augment.below=100", "--set", "augment.recheck=model")
    told = document(planned(tmp_path, "--json", "--offline", *setting))
    (line,) = (one for one in told["costs"] if one["what"] == "augmentation")
    assert 0 < line["cost"] < line["at_most"] <= 5
    assert told["rows"][0] == 300 > plain["rows"][0]
    assert told["trials"][0]["forecast_tokens"] > plain["trials"][0]["forecast_tokens"]


def test_plan_command_exit_code_is_1_with_reasons_against(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path, "--set", "plan.max_cost=0.01", "--set", "plan.min_train_rows=1000")
    assert result.exit_code == 1
    assert "fewer than 1000" in result.output


def test_plan_command_offline_overestimates_without_a_project(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = document(planned(tmp_path, "--json"))
    for name in ("GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name)
    guessed = document(planned(tmp_path, "--json", "--offline"))
    assert guessed["cost_at_most"] > guessed["cost"]
    assert [line["what"] for line in guessed["costs"]] == [line["what"] for line in counted["costs"]]


def test_plan_command_uses_recorded_splits_unchanged(client: Client, tmp_path: Path) -> None:
    fresh = document(planned(tmp_path, "--json", "--set", "name=placed"))
    assert store.read(client, "splits/placed.json") == {}
    c, files = sections("split.near_threshold=0", "split.test=0.5"), [str(tmp_path / f"{n}.jsonl") for n in range(5)]
    preprocess.run(str(tmp_path / "rows.jsonl"), c["task"], {"fuzzy_threshold": 0}, files[0], files[1], files[2])
    cut = [str(tmp_path / f"cut{n}") for n in range(4)]
    split.run(files[0], c["split"], cut[0], cut[1], cut[2], cut[3], c["vertex"], "placed")
    kept = store.read(client, "splits/placed.json")
    again = document(planned(tmp_path, "--json", "--set", "name=placed"))
    assert again["rows"] == [len(kept["rows"][name]) for name in ("train", "validation", "test")] != fresh["rows"]
    assert store.read(client, "splits/placed.json") == kept


def preferring(folder: Path, rows: list[dict[str, Any]], *arguments: str) -> Result:
    """`gemtune plan` of a preference configuration on these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "c.yaml").write_text(
        f"name: dry\npipeline: preference_tuning\ndata: {folder / 'rows.jsonl'}\n"
        "task: {kind: generation, instruction: Answer.}\n"
        "preprocess: {fuzzy_threshold: 0}\nsplit: {near_threshold: 0}\nplan: {min_train_rows: 50}\n"
        "evaluate: {base_model: gemini-2.5-flash, baselines: [{name: zero_shot}, {name: few, shots: 2}]}\n"
        "vertex: {catalogue: {models: {gemini-2.5-flash: {retires: null}}}}\n"
    )
    return CliRunner().invoke(app, ["plan", str(folder / "c.yaml"), *arguments])


PAIRS = [{"prompt": f"{e.text} {n}?", "chosen": e.target, "rejected": "no"} for n, e in enumerate(examples(200, 4))]


def test_plan_command_forecasts_preference_tuning(client: Client, tmp_path: Path) -> None:
    shown = preferring(tmp_path, PAIRS)
    assert shown.exit_code == 0, shown.output
    for words in ("tuning supervised", "tuning trial-1", "few on validation", "test prompts notice a lift"):
        assert words in shown.output
    told = document(preferring(tmp_path, PAIRS, "--json"))
    assert told["cost"] == pytest.approx(sum(line["cost"] for line in told["costs"]))
    assert told["cost"] <= told["cost_at_most"] <= told["max_cost"]
    assert (told["supervised"]["name"], [trial["name"] for trial in told["trials"]]) == ("supervised", ["trial-1"])
    guessed = document(preferring(tmp_path, PAIRS, "--json", "--offline"))
    assert [line["what"] for line in guessed["costs"]] == [line["what"] for line in told["costs"]]
    assert jobs_of(client, "dry") == []


def test_plan_command_forecasts_sampling_without_requests(client: Client, tmp_path: Path) -> None:
    rows = [{"text": pair["prompt"], "label": pair["chosen"]} for pair in PAIRS]
    judged = "preference={pairs_from: answers, ranked_by: judge, judge: {model: gemini-2.5-flash}}"
    told = document(preferring(tmp_path, rows, "--json", "--set", judged))
    costs = {line["what"]: line for line in told["costs"]}
    for what in ("answers sampled for pairs", "judging answers for pairs", "judging prompts", "judging the finalists"):
        assert 0 < costs[what]["cost"] < costs[what]["at_most"]
    assert costs["tuning trial-1"]["at_most"] > 2 * costs["tuning trial-1"]["cost"]  # any answer may be long


def test_cleanup_command_lists_then_undeploys(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path)
    c, trial = sections(), {"name": "t", "epoch_count": 2}
    made = tune.run(
        train, validation, trial, c["task"], c["evaluate"], c["tune"], c["vertex"], "left", str(tmp_path / "job.json")
    )
    endpoints = [one["model"] for one in made["contestants"]]
    (tmp_path / "c.yaml").write_text("name: left\n")

    def swept(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["sweep", str(tmp_path / "c.yaml"), *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    listed = swept()
    assert all(endpoint in listed for endpoint in endpoints)
    assert "would be undeployed" in listed
    assert all(models.deployed(client, endpoint) for endpoint in endpoints)
    assert "left: 2 endpoints undeployed" in swept("--yes")
    assert not any(models.deployed(client, endpoint) for endpoint in endpoints)
    assert "0 endpoints are left over" in swept()


def doctored(folder: Path, *arguments: str) -> Result:
    (folder / "c.yaml").write_text("name: dry\n")
    return CliRunner().invoke(app, ["doctor", str(folder / "c.yaml"), *arguments])


def test_doctor_warns_of_an_old_catalogue_and_assumed_prices(client: Client, tmp_path: Path) -> None:
    fresh = doctored(tmp_path)
    assert fresh.exit_code == 0, fresh.output
    assert "is assumed" in fresh.output
    old = doctored(tmp_path, "--set", "vertex.catalogue={checked: 2020-01-01}")
    assert "warning: the model catalogue was checked on 2020-01-01" in old.output


@pytest.mark.parametrize("method", ["distillation", "reinforcement"])
def test_plan_command_refuses_methods_not_offered(client: Client, tmp_path: Path, method: str) -> None:
    result = planned(tmp_path, "--set", f"plan.trials=[{{method: {method}}}]")
    assert result.exit_code == 1
    assert f"{method} tuning is not offered yet" in result.output

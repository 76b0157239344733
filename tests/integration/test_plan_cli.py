# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune plan`, `gemtune cleanup` and `gemtune doctor`: what they print, and that they change nothing unasked."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Taken, jobs_of
from samples import TUNING_PRICES, entry, examples, sections, splits
from typer.testing import CliRunner, Result

from gemtune.artifacts.cost import Estimate
from gemtune.artifacts.records import SplitRecord
from gemtune.artifacts.tuning import TuningPlan, TuningRecord
from gemtune.cli.main import app
from gemtune.config import Config, ModelVariant
from gemtune.state import champion, store
from gemtune.steps import preprocess, split, tune
from gemtune.vertex import PROJECT_VARIABLES, Client, models, storage
from pipelines import runs
from pipelines.cloud import Source

SPLIT = "split: {jaccard_threshold: 0, semantic_threshold: 0}\n"


def planned(folder: Path, *arguments: str) -> Result:
    rows, config = folder / "rows.jsonl", folder / "c.yaml"
    rows.write_text("".join(json.dumps({"text": e.text, "label": e.target}) + "\n" for e in examples(300, 4)))
    config.write_text(
        f"name: dry\ndata: {rows}\npreprocess: {{jaccard_threshold: 0, find_label_issues: false}}\n{SPLIT}"
    )
    return CliRunner().invoke(app, ["plan", str(config), *arguments])


def document(result: Result) -> TuningPlan:
    """The plan that `--json` prints."""
    return TuningPlan.model_validate_json(result.stdout[result.stdout.index("{") :])


def costs(plan: TuningPlan) -> dict[str, Estimate]:
    """US dollars by label."""
    return {item.label: item.cost for item in plan.forecast.items}


def test_plan_command_shows_costs_and_submits_nothing(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path)
    assert result.exit_code == 0, result.output
    for words in ("few_shot on validation", "tuning trial-1", "total", "no reason against tuning so far"):
        assert words in result.output
    assert jobs_of(client, "dry") == []
    assert result.output.count("unknown") >= 3  # cost and bound of the job, and the note
    assert "total without tuning" in result.output
    assert "set vertex.catalogue={models: {gemini-3.1-flash-lite: {price: {train: USD" in result.output
    price = f"vertex.catalogue={json.dumps({'models': TUNING_PRICES})}"
    assert "without tuning" not in planned(tmp_path, "--set", price).output
    plan = document(planned(tmp_path, "--json"))
    assert {item.stage for item in plan.forecast.items} == {"forecast"}
    assert plan.forecast.cost.expected == pytest.approx(sum(cost.expected for cost in costs(plan).values()))
    assert [trial.name for trial in plan.trials] == ["trial-1"]
    assert (plan.best_prompt, plan.baselines) == (None, None)


def test_plan_command_forecasts_augmentation(client: Client, tmp_path: Path) -> None:
    plain = document(planned(tmp_path, "--json", "--offline"))
    plan = document(planned(tmp_path, "--json", "--offline", "--set", "augment.min_rows_per_label=100"))
    assert 0 < costs(plan)["augmentation"].expected < costs(plan)["augmentation"].upper <= 5
    assert plan.rows["train"] == 300 > plain.rows["train"]
    assert plan.trials[0].forecast_tokens > plain.trials[0].forecast_tokens


def test_plan_command_exit_code_is_3_with_reasons_against(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path, "--set", "plan.max_cost=0.01", "--set", "plan.min_train_rows=1000")
    assert result.exit_code == 3, result.output
    assert "fewer than 1000" in result.output
    assert planned(tmp_path, "--set", "plan.min_train_rows=1000", "--exit-zero").exit_code == 0


def test_plan_command_exit_code_is_5_when_no_path_fits_the_budget(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path, "--set", "plan.max_cost=0.0001")
    assert result.exit_code == 5, result.output


def test_plan_command_offline_overestimates_without_a_project(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = document(planned(tmp_path, "--json"))
    for name in ("GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name)
    estimated = document(planned(tmp_path, "--json", "--offline"))
    assert estimated.forecast.cost.upper > estimated.forecast.cost.expected
    assert estimated.forecast.cost.upper > counted.forecast.cost.upper
    assert list(costs(estimated)) == list(costs(counted))


def test_plan_command_uses_recorded_splits_unchanged(client: Client, tmp_path: Path) -> None:
    fresh = document(planned(tmp_path, "--json", "--set", "name=placed"))
    assert store.read(client, SplitRecord, "placed") is None
    c = sections("preprocess.jaccard_threshold=0", "split.jaccard_threshold=0", "split.test=0.5")
    rows, dropped, report, split_report = (str(tmp_path / name) for name in ("kept", "dropped", "data", "split"))
    preprocess.run(str(tmp_path / "rows.jsonl"), rows, dropped, report, "", **only(c, "task", "preprocess", "vertex"))
    paths = (str(tmp_path / "train"), str(tmp_path / "validation"), str(tmp_path / "test"))
    split.run(rows, paths, split_report, "", "placed", **only(c, "split", "vertex"))
    kept = store.read(client, SplitRecord, "placed")
    assert kept is not None
    again = document(planned(tmp_path, "--json", "--set", "name=placed"))
    assert again.rows == {name: len(kept.rows[name]) for name in ("train", "validation", "test")} != fresh.rows
    assert store.read(client, SplitRecord, "placed") == kept


def only(c: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some of the sections."""
    return {name: c[name] for name in names}


def preferring(folder: Path, rows: list[dict[str, Any]], *arguments: str) -> Result:
    """`gemtune plan` of a preference configuration on these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "c.yaml").write_text(
        f"name: dry\nmethod: preference\ndata: {folder / 'rows.jsonl'}\n"
        "task: {kind: generation, instruction: Answer.}\n"
        f"preprocess: {{jaccard_threshold: 0}}\n{SPLIT}plan: {{min_train_rows: 50}}\n"
        "evaluate: {base_model: gemini-2.5-flash, baselines: [{name: zero_shot}, {name: few, shots: 2}]}\n"
        "vertex: {catalogue: {models: {gemini-2.5-flash: {retires: null}}}}\n"
    )
    return CliRunner().invoke(app, ["plan", str(folder / "c.yaml"), *arguments])


PAIRS = [{"prompt": f"{e.text} {n}?", "chosen": e.target, "rejected": "no"} for n, e in enumerate(examples(200, 4))]


def test_plan_command_forecasts_preference_tuning(client: Client, tmp_path: Path) -> None:
    shown = preferring(tmp_path, PAIRS)
    assert shown.exit_code == 0, shown.output
    for words in ("tuning supervised", "tuning trial-1", "few on validation", "test prompts, a true lift of"):
        assert words in shown.output
    plan = document(preferring(tmp_path, PAIRS, "--json"))
    assert plan.forecast.cost.expected == pytest.approx(sum(cost.expected for cost in costs(plan).values()))
    assert plan.forecast.cost.expected <= plan.forecast.cost.upper <= plan.forecast.max_cost
    assert plan.first_trial is not None
    assert (plan.first_trial.name, [trial.name for trial in plan.trials]) == ("supervised", ["trial-1"])
    assert [trial.method for trial in plan.trials] == ["preference"]
    estimated = document(preferring(tmp_path, PAIRS, "--json", "--offline"))
    assert list(costs(estimated)) == list(costs(plan))
    assert jobs_of(client, "dry") == []


def test_plan_command_forecasts_sampling_without_requests(client: Client, taken: Taken, tmp_path: Path) -> None:
    rows = [{"text": pair["prompt"], "label": pair["chosen"]} for pair in PAIRS]
    judged = ("--set", "preference={pairs_from: samples, ranker: judge}")
    judged += ("--set", "evaluate.judge={model: gemini-2.5-flash}")
    forecast = costs(document(preferring(tmp_path, rows, "--json", *judged)))
    for label in (
        "answers sampled for pairs",
        "ranking answers for pairs",
        "ranking prompts",
        "ranking checkpoints of trial-1 on validation",
        "ranking the finalists on test",
    ):
        assert 0 < forecast[label].expected < forecast[label].upper
    tuning = forecast["tuning trial-1"]
    assert tuning.upper > 2 * tuning.expected  # any answer may be long
    assert not taken


def test_cleanup_command_lists_then_undeploys(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path)
    record, trial = str(tmp_path / "job.json"), {"name": "t", "epoch_count": 2}
    tune.run(train, validation, trial, "left", record, str(tmp_path / "events"), **sections())
    endpoints = [variant.model for variant in TuningRecord.read(record).variants]
    (tmp_path / "c.yaml").write_text("name: left\n")

    def cleanup(*arguments: str, age: str = "0") -> str:
        result = CliRunner().invoke(app, ["cleanup", str(tmp_path / "c.yaml"), "--older-than-days", age, *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert "0 endpoints to undeploy" in cleanup("--yes", age="7")
    listed = cleanup()
    assert len(endpoints) == 2
    assert all(endpoint in listed for endpoint in endpoints)
    assert "would be undeployed" in listed
    assert all(models.deployed(client, endpoint) for endpoint in endpoints)
    runs.submit(client, Config.load(None, ["name=left", "data=gs://b/d"]), Source("image"))
    result = CliRunner().invoke(app, ["cleanup", str(tmp_path / "c.yaml"), "--older-than-days", "0", "--yes"])
    assert result.exit_code == 1
    assert "a run of left is active: projects/" in result.output
    runs.cancel(client, runs.newest(client, "left", 1)[0].name)
    assert "left: 2 endpoints undeployed" in cleanup("--yes")
    assert not any(models.deployed(client, endpoint) for endpoint in endpoints)
    assert "0 endpoints to undeploy" in cleanup()


def test_cleanup_command_deletes_models_that_no_record_names(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path, seed=77)
    (tmp_path / "c.yaml").write_text("name: emptied\n")

    def tuned(epochs: int) -> ModelVariant:
        record, trial = str(tmp_path / "job.json"), {"name": "t", "epoch_count": epochs}
        tune.run(train, validation, trial, "emptied", record, str(tmp_path / "events"), **sections())
        for use in storage.list_times(client, "in_use"):
            storage.delete(client, use)
        return TuningRecord.read(record).variants[-1]

    def cleanup(*arguments: str, age: str = "0") -> list[str]:
        own = ["cleanup", str(tmp_path / "c.yaml"), "--older-than-days", age, "--json", "--models", *arguments]
        result = CliRunner().invoke(app, own)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["models"]  # type: ignore[no-any-return]

    left, serving = tuned(1), tuned(2)
    champion.promote(client, "emptied", 0, "champion", entry(serving))
    name = left.tuned_model.partition("@")[0]
    assert cleanup("--yes", age="7") == []
    assert cleanup() == [name]
    assert models.exists(client, left.tuned_model)
    assert cleanup("--yes") == [name]
    assert cleanup("--yes") == []
    assert [models.exists(client, own.tuned_model) for own in (left, serving)] == [False, True]
    assert len(jobs_of(client, "emptied")) == 2
    again = tuned(1)
    assert again.tuned_model != left.tuned_model
    assert models.deployed(client, again.model)
    assert len(jobs_of(client, "emptied")) == 3, "the model of the first is gone"


def doctored(folder: Path, *arguments: str) -> Result:
    (folder / "c.yaml").write_text("name: dry\n")
    return CliRunner().invoke(app, ["doctor", str(folder / "c.yaml"), *arguments])


def test_doctor_warns_of_an_old_catalogue_and_unknown_prices(client: Client, tmp_path: Path) -> None:
    fresh = doctored(tmp_path)
    assert fresh.exit_code == 0, fresh.output
    assert "warning: the tuning price of gemini-3.1-flash-lite is unknown" in fresh.output
    assert (
        "unknown" not in doctored(tmp_path, "--set", f"vertex.catalogue={json.dumps({'models': TUNING_PRICES})}").output
    )
    old = doctored(tmp_path, "--set", "vertex.catalogue={checked: 2020-01-01}")
    assert "warning: the model catalogue was last checked on 2020-01-01" in old.output


def test_doctor_offline_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROJECT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    done = doctored(tmp_path, "--offline")
    assert (done.exit_code, "project unknown, region us-central1" in done.output) == (0, True), done.output


def test_doctor_warns_of_every_model_that_retires_soon(client: Client, tmp_path: Path) -> None:
    soon = date.today() + timedelta(days=90)
    retiring = f"vertex.catalogue={{models: {{gemini-3.5-flash-lite: {{retires: {soon}}}}}}}"
    assert "retires on" not in doctored(tmp_path, "--set", retiring).output
    for setting in ("evaluate.judge={model: X}", "escalation.models=[X]", "plan.trials=[{base: X}]"):
        result = doctored(tmp_path, "--set", retiring, "--set", setting.replace("X", "gemini-3.5-flash-lite"))
        assert f"warning: gemini-3.5-flash-lite retires on {soon}" in result.output


def test_models_command_lists_what_can_be_tuned_today(tmp_path: Path) -> None:
    output = CliRunner().invoke(app, ["models"]).output
    assert "preference tuning: no model; retired: gemini-2.5-flash, 2026-10-20 (other sources: 2026-10-16" in output
    assert "reinforcement tuning: an unknown price is supplied by vertex.catalogue={models: {NAME: {price: {r" in output
    own = tmp_path / "own.yaml"
    own.write_text("vertex: {catalogue: {models: {gemini-2.5-flash: {retires: null}}}}\n")
    content = json.loads(CliRunner().invoke(app, ["models", str(own), "--json"]).output)
    assert content["today"]["preference"] == ["gemini-2.5-flash"]
    fact = content["models"]["gemini-2.5-pro"]["evidence"]["retires"]
    assert fact["others"] == {"model-lifecycle": "2026-10-16", "gemini-api-deprecations": "2026-12-01"}
    assert {"url", "read"} == content["sources"][fact["sources"][0]].keys()


def test_plan_command_refuses_methods_not_offered(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path, "--set", "plan.trials=[{method: distillation}]")
    assert result.exit_code == 1
    assert "distillation tuning is not offered yet" in result.output


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluate.base_model=gemini-3.1-flash-lite"], "cannot be tuned by the method 'reinforcement'"),
        (["vertex.location=europe-west4"], "set vertex.location to one of us-central1"),
        (["plan.trials=[{method: reinforcement, epoch_count: 400, batch_size: 2}]"], "steps, at most 500"),
        (["plan.trials=[{method: reinforcement, batch_size: 3}]"], "a multiple of 16"),
        (["plan.trials=[{method: reinforcement, learning_rate_multiplier: 5}]"], "from 0.25 to 4"),
        (["hard_examples.target_share=0.3"], "for supervised trials only"),
        (["task.kind=generation"], "needs evaluate.judge.model, or code in rewards"),
    ],
)
def test_plan_command_refuses_what_reinforcement_tuning_lacks(
    client: Client, tmp_path: Path, overrides: list[str], message: str
) -> None:
    own = ["evaluate.base_model=gemini-3.5-flash", "plan.trials=[{method: reinforcement}]", *overrides]
    result = planned(tmp_path, *[part for setting in own for part in ("--set", setting)])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deployment and rollback, with genuine clients against the emulator."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deployments import PROMPT, Run, serving
from emulator_process import Emulator
from google.cloud.aiplatform_v1 import EndpointServiceClient
from samples import sections
from typer.testing import CliRunner

import gemtune.serving
from gemtune.artifacts.decision import Verdict
from gemtune.artifacts.production_log import LogRow
from gemtune.artifacts.records import ChampionRecord, HardRows
from gemtune.artifacts.tuning import Selection
from gemtune.cli.main import app
from gemtune.config import ModelVariant
from gemtune.data.cleaning import load_cleaner
from gemtune.data.example import read_examples
from gemtune.data.sources import local_path
from gemtune.errors import UserError
from gemtune.monitoring import records
from gemtune.monitoring.logs import load_logs
from gemtune.monitoring.skew import skewed_fields
from gemtune.predictor import Predictor
from gemtune.serving import resolve
from gemtune.state import champion, endpoints, store
from gemtune.state.reconcile import logging_status, reconcile, record_logging
from gemtune.steps import deploy
from gemtune.vertex import Client, location_of, models, serving_location, storage

REPEATS = int(os.environ.get("REPEATS", "1"))
"""How often each pair of changes meets, and how many changes are killed; 100 before a release."""


def test_deploy_sets_alias_default_and_record_and_undeploys_rejected(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "first", 1, [0.5, 0.9, 0.85])
    outcome = run.deploy()
    winner = run.variants[1]
    assert outcome.action == "deployed"
    assert outcome.variant == winner
    assert sorted(outcome.undeployed) == sorted([run.variants[0].model, run.variants[2].model])
    assert serving(client, run.variants) == [False, True, False]
    assert "champion" in models.aliases(client, winner.tuned_model)
    assert models.default_checkpoint(client, winner.tuned_model) == "2"
    current = champion.read(client, "first").variant
    assert current is not None
    assert (current.model, current.role, current.name) == (winner.model, "champion", "champion")


def test_deploy_is_idempotent(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "again", 2, [0.5, 0.9])
    run.deploy()
    before = champion.read(client, "again")
    run.deploy()
    assert champion.read(client, "again") == before


def test_rollback_restores_the_previous_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "back", 3, [0.5, 0.9])
    one.deploy()
    two = Run(tmp_path / "two", "back", 4, [0.95, 0.2])
    assert [variant.role for variant in two.finalists] == ["baseline", "candidate", "champion"]
    outcome = two.deploy()
    assert outcome.champion_before == one.variants[1].model
    assert serving(client, [one.variants[1], two.variants[0]]) == [True, True]
    first, second = one.variants[1].tuned_model, two.variants[0].tuned_model
    assert "champion" not in models.aliases(client, first)
    assert "champion" in models.aliases(client, second)

    back = deploy.rollback("back", sections()["vertex"])
    assert back.model == one.variants[1].model
    assert "champion" in models.aliases(client, first)
    assert "champion" not in models.aliases(client, second)
    record = champion.read(client, "back")
    assert record.history == []
    assert record.rolled_back[0].variant.model == two.variants[0].model
    with pytest.raises(UserError, match="has no previous champion"):
        deploy.rollback("back", sections()["vertex"])


def test_rollback_deploys_an_undeployed_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "down", 5, [0.9])
    one.deploy()
    two = Run(tmp_path / "two", "down", 6, [0.9])
    two.deploy()
    models.undeploy(client, one.variants[0].model)
    deploy.rollback("down", sections()["vertex"])
    assert serving(client, one.variants) == [True]


def aliased(client: Client, variants: list[ModelVariant]) -> list[str]:
    """The tuned models that have the champion's alias."""
    names = sorted({variant.tuned_model for variant in variants})
    return [name for name in names if "champion" in models.aliases(client, name)]


def test_promotion_decided_against_an_earlier_champion_changes_nothing(client: Client, tmp_path: Path) -> None:
    one, two = Run(tmp_path / "one", "both", 31, [0.9]), Run(tmp_path / "two", "both", 32, [0.9])
    one.deploy()
    before = champion.read(client, "both")
    with pytest.raises(UserError, match=r"'both' has changed meanwhile.*generation 1.*against generation 0"):
        two.deploy()
    assert champion.read(client, "both") == before
    assert aliased(client, [*one.variants, *two.variants]) == [one.variants[0].tuned_model]
    one.deploy()  # the same promotion again is no conflict
    three = Run(tmp_path / "three", "both", 32, [0.9])
    assert three.deploy().variant.model == two.variants[0].model


class Killed(BaseException):
    """The process ends between two calls."""


def kill_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """End the process at its n-th call that changes something."""
    left = [calls]
    registry = ["deploy", "set_alias", "remove_alias", "set_default_checkpoint", "set_request_logging", "undeploy"]
    for module, names in ((models, registry), (store, ["write_record"])):
        for name in names:

            def dying(*arguments: Any, genuine: Any = getattr(module, name)) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return genuine(*arguments)

            monkeypatch.setattr(module, name, dying)


@pytest.mark.timeout(300 + 5 * REPEATS)
def test_killed_promotion_or_rollback_is_completed_by_the_next_command(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {}
    for number in range(3):
        runs[number] = Run(tmp_path / f"{number}", "mended", 33 + number, [0.5, 0.9])
        if number < 2:
            runs[number].deploy()
    variants = [variant for run in runs.values() for variant in run.variants]
    kills, refusals = 0, []
    for number in range(max(12, REPEATS)):
        calls = number % 12
        with monkeypatch.context() as patch:
            kill_after(patch, calls)
            try:
                if (calls + number // 12) % 2:
                    deploy.rollback("mended", sections()["vertex"])
                else:
                    generation = champion.read(client, "mended").generation
                    fresh = Selection.read(runs[2].selection).model_copy(update={"champion_generation": generation})
                    fresh.write(runs[2].selection)
                    runs[2].deploy(deploy.run, "deploy", "deploy.keep_rejected_endpoints=true")
            except Killed:
                kills += 1
            except UserError as error:
                refusals.append(str(error))
        current = reconcile(client, "mended")  # as the next command does first
        assert current is not None
        named = champion.read(client, "mended").variant
        assert named is not None
        assert current.model == named.model
        assert aliased(client, variants) == [current.tuned_model]
        assert models.default_checkpoint(client, current.tuned_model) == current.checkpoint_id
        assert serving(client, [current]) == [True]
    assert kills >= max(5, REPEATS // 3)
    assert all("no previous champion" in refusal for refusal in refusals)


class Contest:
    """Two champions and two rivals under one name, tuned once; `reset` puts the second champion back into service."""

    def __init__(self, client: Client, folder: Path, name: str, seed: int) -> None:
        self.client, self.name = client, name
        self.champions, self.rivals = [], []
        for number in range(4):
            run = Run(folder / str(number), name, seed + number, [0.5, 0.9])
            (self.champions if number < 2 else self.rivals).append(run)
            if number < 2:
                run.deploy()
        self.variants = [variant for run in (*self.champions, *self.rivals) for variant in run.variants]

    def reset(self) -> None:
        storage.delete(self.client, ChampionRecord.key(self.name))
        for model in aliased(self.client, self.variants):
            models.remove_alias(self.client, model, "champion")
        for run in self.champions:
            run.deploy()
        for run in self.rivals:
            for variant in run.variants:
                models.deploy(self.client, variant.model, variant.tuned_model, variant.checkpoint_id)

    def act(self, action: str, rival: Run) -> str:
        """Promote the rival, roll back or clean up; the refusal, "" where there was none."""
        try:
            if action == "promote":
                rival.deploy(deploy.run, "deploy", "deploy.keep_rejected_endpoints=true")
            elif action == "rollback":
                deploy.rollback(self.name, sections()["vertex"])
            else:
                endpoints.cleanup(self.client, self.name, older_than_days=0)
        except UserError as error:
            return str(error)
        return ""

    def check(self) -> ModelVariant:
        """The champion, which alone has the alias after the next command, and serves before it."""
        current = champion.read(self.client, self.name).variant
        assert current is not None
        assert serving(self.client, [current]) == [True]
        reconcile(self.client, self.name)
        assert aliased(self.client, self.variants) == [current.tuned_model]
        assert models.default_checkpoint(self.client, current.tuned_model) == current.checkpoint_id
        return current


@pytest.mark.timeout(300 + 20 * REPEATS)
@pytest.mark.parametrize(
    ("pair", "seed"), [("promote promote", 10_000), ("promote rollback", 20_000), ("promote cleanup", 30_000)]
)
def test_concurrent_changes_leave_one_champion_with_one_alias(
    client: Client, tmp_path: Path, pair: str, seed: int
) -> None:
    contest, actions = Contest(client, tmp_path, pair.replace(" ", "-"), seed), pair.split()
    for number in range(REPEATS):
        if number:
            contest.reset()
        with ThreadPoolExecutor(2) as pool:
            refusals = [refusal for refusal in pool.map(contest.act, actions, contest.rivals) if refusal]
        assert all("has changed meanwhile" in refusal for refusal in refusals)
        assert len(refusals) <= 1
        contest.check()
        assert champion.read(client, contest.name).generation == 4 - len(refusals) - (pair == "promote cleanup")


def test_damaged_record_is_named_and_stops_no_other_name(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path / "one", "sound", 45, [0.5, 0.9])
    shared, theirs = (Run(tmp_path / name, name, 46, [0.5, 0.9]) for name in ("sound", "broken"))
    theirs.deploy()
    storage.bucket(client).blob(ChampionRecord.key("broken")).upload_from_string("{ not JSON")
    try:
        assert run.deploy().undeployed == [run.variants[0].model]
        crashed = Run(tmp_path / "crashed", "sound", 49, [0.5])
        assert endpoints.cleanup(client, "sound", older_than_days=0) == [crashed.variants[0].model]
        assert serving(client, shared.variants) == [True, True], "their job is also that of the damaged name"
        assert "stays deployed, it may be the champion of broken: gs://" in caplog.text
        for act in (True, False):
            with pytest.raises(UserError, match=r"champions/broken\.json: the record is damaged"):
                endpoints.cleanup(client, "broken", act)
        with pytest.raises(UserError, match=r"champions/broken\.json: the record is damaged"):
            champion.read(client, "broken")
        storage.bucket(client).blob(ChampionRecord.key("broken")).upload_from_string('{"schema_version": 99}')
        with pytest.raises(UserError, match=r"champions/broken\.json: the record has schema version 99, expected 1"):
            champion.read(client, "broken")
    finally:
        storage.delete(client, ChampionRecord.key("broken"))


def test_logging_follows_promotion_and_rollback(
    client: Client, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")  # as in local runs: their logs are the emulator's all the same
    config = tmp_path / "config.yaml"
    table = f"bq://{client.project}.support.log"
    config.write_text(f"name: logged\nmonitor: {{logs: '{table}'}}\n")

    def command(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*words, str(config)], catch_exceptions=False)
        return result.exit_code, result.output

    assert command("logging", "enable") == (
        1,
        "logged logs no requests\nlogged has no champion: nothing is logged yet\n",
    )
    one = Run(tmp_path / "one", "logged", 71, [0.5, 0.9])
    one.deploy()
    assert models.request_logging(client, one.variants[1].model) == (table, 1.0)
    assert command("logging", "show") == (0, f"{one.variants[1].model} logs 100% of its requests to {table}\n")
    two = Run(tmp_path / "two", "logged", 72, [0.9])
    two.deploy()
    assert models.request_logging(client, two.variants[0].model) == (table, 1.0)
    models.set_request_logging(client, one.variants[1].model, "", 0.0)
    deploy.rollback("logged", sections()["vertex"])
    assert models.request_logging(client, one.variants[1].model) == (table, 1.0)
    assert command("logging", "enable", "--sampling-rate", "0.5")[1].count(" logs 50% of its requests ") == 1
    assert "request-response logging" not in command("doctor")[1]
    emulator.faults(log_double_rate=1.0)
    answer(client, one.variants[1], "where is my parcel")
    answer(client, one.variants[1], "i cannot sign in")
    window = (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    emulator.faults()
    (row,), counts = load_logs(table, window, [one.variants[1].model], max_bytes_billed=10**9, service=client)
    assert (counts.rows, counts.duplicates, counts.foreign) == (1, 1, 0)
    assert isinstance(row, LogRow)
    assert (row.text, row.endpoint) == ("i cannot sign in", one.variants[1].model)
    with pytest.raises(UserError, match="bytes billed"):
        load_logs(table, window, [], max_bytes_billed=10, service=client)
    assert command("logging", "disable") == (0, f"{one.variants[1].model} logs no requests\n")
    code, output = command("doctor")
    assert f"request-response logging is off at {one.variants[1].model}: run gemtune logging enable" in output
    assert code == 0
    _, output = command("logging", "show", "--set", "monitor.logs=rows.jsonl")
    assert "set monitor.logs to bq://PROJECT.DATASET.TABLE and run gemtune logging enable" in output


def answer(client: Client, variant: ModelVariant, text: str) -> None:
    service = client.genai(location_of(variant.model))
    service.models.generate_content(model=variant.model, contents=text)


def test_logging_into_another_region_is_reported(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "far", 75, [0.9])
    run.deploy()
    endpoint, table = run.variants[0].model, f"bq://{client.project}.far.log"
    other = endpoint.replace(f"/{location_of(endpoint)}/", "/europe-west4/")
    service = client.generated(EndpointServiceClient, "europe-west4")
    parent, _, number = other.rpartition("/endpoints/")
    service.create_endpoint(parent=parent, endpoint={"display_name": "far"}, endpoint_id=number).result()
    models.set_request_logging(client, other, table, 1.0)
    record_logging(client, "far", table, 1.0)
    reconcile(client, "far")
    (problem,) = logging_status(client, "far", table).problems
    assert problem == f"{table} is in europe-west4, the endpoint in us: name a table in the endpoint's region"
    problem = logging_status(client, "far", f"{table}2").problems[0]
    assert problem.startswith(f"{endpoint} logs to {table}, but monitor.logs is {table}2")
    for wrong in ("", "logs.jsonl", "bq://project.dataset"):
        with pytest.raises(UserError, match=r"not a BigQuery table.*monitor\.logs"):
            record_logging(client, "far", wrong, 1.0)


def test_prompt_is_proposed_promoted_monitored_and_rolled_back(client: Client, tmp_path: Path) -> None:
    table, config = f"bq://{client.project}.prompted.log", tmp_path / "config.yaml"
    config.write_text(f"name: prompted\nmonitor: {{logs: '{table}'}}\n")

    def command(*words: str) -> str:
        return CliRunner().invoke(app, [*words, str(config)], catch_exceptions=False).output

    start = datetime.now(UTC)
    one = Run(tmp_path / "one", "prompted", 101, [0.9])
    one.deploy()
    command("logging", "enable")
    two = Run(tmp_path / "two", "prompted", 102, [0.5])
    two.evaluate_finalists()
    assert two.deploy(deploy.keep_current, "keep_prompt").variant == PROMPT
    assert resolve("prompted").endpoint == one.variants[0].model  # until it is promoted
    assert command("promote").startswith(f"prompted: {PROMPT.model} is in production\n")
    assert aliased(client, [*one.variants, *two.variants]) == []
    assert f"{PROMPT.model} logs 100% of its requests to {table}\n" == command("logging", "show")
    monitored = records.read(client, "prompted")
    answers = [json.loads(line) for line in Path(two.predictions).read_text().splitlines()]
    right = [row["scores"]["accuracy"] for row in answers if row["variant"] == PROMPT.name]
    assert monitored.entry.decision
    assert monitored.entry.decision.score == pytest.approx(sum(right) / len(right))
    assert monitored.base_model == PROMPT.model
    gemtune.serving._cache.clear()
    served = resolve("prompted")
    with Predictor(served.recipe, generation=served.generation, labels={"shop": "north"}) as predictor:
        predictor(["where is my parcel"])
    asked = CliRunner().invoke(app, ["ask", "how do I sign in", "--config", str(config)], catch_exceptions=False)
    assert asked.exit_code == 0
    service = client.genai(serving_location(client, PROMPT.model))
    service.models.generate_content(model=PROMPT.model, contents="of another application")
    window = (start, start + timedelta(days=1))
    (row,), counts = load_logs(table, window, monitored.endpoints, monitored.reference.template)
    test_rows = Path(two.test).read_text().count("\n")
    # the champion was evaluated on the test rows while its endpoint logged; `ask` was sent to the prompt
    assert (counts.rows, counts.foreign, counts.own) == (1, 1, test_rows + 1)
    assert isinstance(row, LogRow)
    assert (row.text, row.follows_template, row.slices) == ("where is my parcel", True, {"shop": "north"})
    three = Run(tmp_path / "three", "prompted", 103, [0.5])
    three.deploy(deploy.keep_current, "keep_prompt")  # it serves already
    assert champion.read(client, "prompted").candidate is None
    assert f"{one.variants[0].model} is in production again" in command("rollback")
    assert aliased(client, one.variants) == [one.variants[0].tuned_model]
    command("logging", "disable")


@pytest.mark.parametrize("confidence", ["none", "votes"])
def test_requests_of_the_predictor_are_as_the_champion_was_evaluated(
    client: Client, tmp_path: Path, confidence: str
) -> None:
    name, table = f"sent-{confidence}", f"bq://{client.project}.sent.{confidence}"
    run = Run(tmp_path, name, 105, [0.9])
    record_logging(client, name, table, 1.0)
    run.evaluate_finalists()
    run.deploy(deploy.run, "deploy", f"evaluate.confidence={confidence}", "deploy.smoke_disagreement=1")
    gemtune.serving._cache.clear()
    served, monitored = resolve(name), records.read(client, name)
    with Predictor(served.recipe) as predictor:
        predictor(["where is my parcel"])
    window = (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    rows, counts = load_logs(table, window, monitored.endpoints, monitored.reference.template)
    assert counts.rows == (5 if confidence == "votes" else 1)
    template, sent = monitored.reference.template, monitored.generation_config
    assert [skewed_fields(row, template, sent) for row in rows if isinstance(row, LogRow)] == [[]] * counts.rows
    service = client.genai(location_of(monitored.entry.variant.model))
    service.models.generate_content(model=monitored.entry.variant.model, contents="where is my parcel")
    rows, _ = load_logs(table, window, monitored.endpoints, template)
    assert max(len(skewed_fields(row, template, sent)) for row in rows if isinstance(row, LogRow)) > 0


def test_prompt_with_shots_is_served_with_the_rows_that_it_shows(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "shown", 104, [0.5])
    shown = PROMPT.model_copy(update={"name": "few_shot", "prompt": PROMPT.prompt.model_copy(update={"shots": 2})})
    Selection.read(run.selection).model_copy(update={"best_prompt": shown}).write(run.selection)
    rows = (str(tmp_path / "train.jsonl"), run.test)
    run.deploy(partial(deploy.keep_current, rows=rows), "keep_prompt")
    deploy.promote("shown", sections()["vertex"])
    recipe = resolve("shown").recipe
    assert [row["id"] for row in recipe["train"]] == [row.id for row in read_examples(rows[0])]
    with Predictor(recipe) as predictor:
        assert predictor(["where is my parcel"])[0].text == "where is my parcel"


def test_rollback_without_a_champion_is_an_error(client: Client) -> None:
    with pytest.raises(UserError, match="has no previous champion"):
        deploy.rollback("nobody", sections()["vertex"])


def test_keep_current_undeploys_what_trials_left(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "kept", 7, [0.5, 0.6])
    outcome = run.deploy(deploy.keep_current, "keep_prompt")
    assert (outcome.action, outcome.variant) == ("kept", PROMPT)
    assert serving(client, run.variants) == [False, False]
    assert champion.read(client, "kept").current is None


@pytest.mark.parametrize("verdict", ["none_usable", "use_tfidf_baseline"])
def test_keep_current_lets_nothing_serve_where_nothing_may(client: Client, tmp_path: Path, verdict: Verdict) -> None:
    name = f"nothing-{verdict.replace('_', '-')}"
    run = Run(tmp_path / "one", name, 27, [0.5, 0.6])
    outcome = run.deploy(deploy.keep_current, verdict)
    assert (outcome.action, outcome.variant) == ("none", PROMPT)
    assert serving(client, run.variants) == [False, False]
    Run(tmp_path / "two", name, 28, [0.9]).deploy()
    outcome = Run(tmp_path / "three", name, 29, [0.5]).deploy(deploy.keep_current, verdict)
    assert (outcome.action, outcome.variant.role) == ("kept", "champion")  # it serves until it is replaced


def test_keep_current_never_touches_the_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "holds", 8, [0.9])
    one.deploy()
    two = Run(tmp_path / "two", "holds", 9, [0.5])
    outcome = two.deploy(deploy.keep_current, "keep_champion")
    assert outcome.variant.model == one.variants[0].model
    assert serving(client, [*one.variants, *two.variants]) == [True, False]


def test_deploy_records_cleaning_and_rollback_restores_it(client: Client, tmp_path: Path) -> None:
    raw = "  <b>HELLO</b>\u200b there "

    def as_served(rules: dict[str, Any]) -> str:
        return load_cleaner(rules)(raw)

    def recorded() -> dict[str, Any]:
        current = champion.read(client, "clean").current
        assert current is not None
        return current.cleaning

    one = Run(tmp_path / "one", "clean", 17, [0.8])
    outcome = one.deploy(deploy.run, "deploy", "preprocess.strip_html=true", "preprocess.lowercase=true")
    assert as_served(outcome.cleaning) == as_served(recorded()) == "hello there"
    kept = Run(tmp_path / "two", "clean", 18, [0.5]).deploy(deploy.keep_current, "keep_champion")
    assert as_served(kept.cleaning) == "hello there"  # the champion's rules, not this run's
    prompted = Run(tmp_path / "three", "clean", 19, [0.5]).deploy(deploy.keep_current, "keep_prompt")
    assert as_served(prompted.cleaning) == "<b>HELLO</b> there"
    Run(tmp_path / "four", "clean", 20, [0.9]).deploy()
    assert as_served(recorded()) != "hello there"
    deploy.rollback("clean", sections()["vertex"])
    assert as_served(recorded()) == "hello there"


def test_cleanup_undeploys_crashed_runs_but_never_a_champion(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "cleaned", 14, [0.5, 0.9])
    one.deploy(deploy.run, "deploy", "deploy.keep_rejected_endpoints=true")
    crashed = Run(tmp_path / "two", "cleaned", 15, [0.5, 0.9])
    assert endpoints.cleanup(client, "cleaned") == []  # younger than a week: a run may evaluate them
    removed = endpoints.cleanup(client, "cleaned", older_than_days=0)
    assert sorted(removed) == sorted(variant.model for variant in [one.variants[0], *crashed.variants])
    assert serving(client, [*one.variants, *crashed.variants]) == [False, True, False, False]
    assert endpoints.cleanup(client, "cleaned", older_than_days=0) == []


@pytest.mark.parametrize("first", [0, 1])
def test_end_of_a_run_leaves_deployed_what_another_run_calls(client: Client, tmp_path: Path, first: int) -> None:
    runs = [Run(tmp_path / name, name, 60 + first, [0.5, 0.9]) for name in ("ours", "theirs")]
    assert [v.model for v in runs[0].variants] == [v.model for v in runs[1].variants], "equal jobs are shared"
    ending, going = runs[first], runs[1 - first]
    assert ending.deploy(deploy.keep_current, "keep_prompt").undeployed == []
    assert endpoints.cleanup(client, ending.name) == []
    assert serving(client, going.variants) == [True, True], "the other run still evaluates"
    assert going.deploy().undeployed == [going.variants[0].model]
    assert serving(client, going.variants) == [False, True]


def test_cleanup_deploys_again_what_is_promoted_meanwhile(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, "meanwhile", 47, [0.9])
    genuine = models.undeploy

    def promoting(*arguments: Any) -> bool:
        monkeypatch.setattr(models, "undeploy", genuine)
        run.deploy()
        return genuine(*arguments)

    monkeypatch.setattr(models, "undeploy", promoting)
    assert endpoints.cleanup(client, "meanwhile", older_than_days=0) == []
    assert serving(client, run.variants) == [True]


def test_deploy_keeps_rejected_endpoints_by_setting(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "stay", 10, [0.5, 0.9])
    assert run.deploy(deploy.run, "deploy", "deploy.keep_rejected_endpoints=true").undeployed == []
    assert serving(client, run.variants) == [True, True]


def test_select_excludes_the_deployed_checkpoint(client: Client, tmp_path: Path) -> None:
    Run(tmp_path / "one", "self", 11, [0.5, 0.9]).deploy()
    same = Run(tmp_path / "two", "self", 11, [0.5, 0.9])
    assert [variant.role for variant in same.finalists] == ["baseline", "champion"]


def test_deploy_redeploys_checkpoints_of_a_reused_job(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path / "one", "redone", 12, [0.5, 0.9])
    run.deploy()
    assert serving(client, run.variants) == [False, True]
    Run(tmp_path / "two", "redone", 12, [0.5, 0.9])
    assert serving(client, run.variants) == [True, True]


def test_deploy_concurrent_runs_both_enter_the_history(client: Client) -> None:
    other = {"seen": False}

    def by(record: HardRows | None, run: str) -> HardRows:
        return HardRows(hard_ids=[*(record.hard_ids if record else []), run], label_issues=[])

    def edit(record: HardRows | None) -> HardRows:
        if not other["seen"]:  # another run writes between our reading and our writing
            other["seen"] = True
            store.update(client, HardRows, "contest", lambda now: by(now, "other"))
        return by(record, "us")

    assert store.update(client, HardRows, "contest", edit).hard_ids == ["other", "us"]


def test_deploy_never_undeploys_endpoints_of_another_name(client: Client, tmp_path: Path) -> None:
    one = Run(tmp_path / "one", "shop", 21, [0.5, 0.9])
    one.deploy()
    other = Run(tmp_path / "other", "bank", 21, [0.5, 0.9])  # the same rows: the same job and checkpoints
    assert other.variants == one.variants
    other.deploy(deploy.keep_current, "keep_prompt")
    assert serving(client, one.variants)[1] is True


def test_deploy_refuses_a_selection_without_a_candidate(client: Client, tmp_path: Path) -> None:
    Run(tmp_path / "one", "none", 22, [0.9]).deploy()
    with pytest.raises(UserError, match="there is no candidate to deploy"):
        Run(tmp_path / "two", "none", 22, [0.9]).deploy()


def test_deploy_keeps_the_test_rows_with_the_champion(client: Client, tmp_path: Path) -> None:
    run = Run(tmp_path, "tested", 23, [0.9])
    run.deploy()
    assert champion.read(client, "tested").test_uri == ""
    other = Run(tmp_path / "other", "tested-2", 24, [0.9])
    other.deploy(partial(deploy.run, rows=("", str(tmp_path / "other" / "test.jsonl"))))
    with local_path(champion.read(client, "tested-2").test_uri, client) as kept:
        assert kept.read_bytes() == (tmp_path / "other" / "test.jsonl").read_bytes()

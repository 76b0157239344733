# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Promotion without a gap: smoke test, what the record holds, approval by hand, callers that resolve the name."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import samples
from deployments import PROMPT, TASK, Run
from emulator_process import Emulator
from samples import sections
from typer.testing import CliRunner

import gemtune.serving
from gemtune.artifacts.tuning import Selection
from gemtune.cli.main import app
from gemtune.config import Task
from gemtune.data.example import Example, read_examples
from gemtune.errors import UserError
from gemtune.inference import prompts
from gemtune.monitoring import records
from gemtune.predictor import Predictor
from gemtune.serving import resolve
from gemtune.state import champion
from gemtune.steps import deploy
from gemtune.vertex import Client, location_of, models, storage


@pytest.fixture(scope="module")
def tested(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A candidate with its answers to the test rows."""
    with pytest.MonkeyPatch.context() as patch:
        emulator.point(patch)
        run = Run(tmp_path_factory.mktemp("smoke"), "smoke", 81, [0.9])
        run.evaluate_finalists()
    return run


def test_smoke_test_stops_a_candidate_that_answers_otherwise(
    client: Client, emulator: Emulator, tested: Run, tmp_path: Path
) -> None:
    genuine, name = Path(tested.predictions).read_text(), "smoke"
    rows = [json.loads(line) for line in genuine.splitlines()]
    drawn = sorted(row["id"] for row in rows if row["variant"] == tested.finalists[-1].name)[:20]
    for changed, stopped in ((2, False), (3, True)):
        altered = [{**row, "parsed": "other"} if row["id"] in drawn[:changed] else row for row in rows]
        tested.predictions = str(tmp_path / "altered")
        Path(tested.predictions).write_text("".join(f"{json.dumps(row)}\n" for row in altered))
        tested.name = f"{name}-{changed}"
        if stopped:
            with pytest.raises(UserError, match="of 20 test rows 3 answers differ from those at the gate"):
                tested.deploy()
            assert champion.read(client, tested.name).current is None
        else:
            smoke = tested.deploy().smoke_test
            assert smoke is not None
            assert (smoke.rows, smoke.different) == (20, 2)
    Path(tested.predictions).write_text(genuine)
    tested.name = f"{name}-blocked"
    emulator.faults(blocked_rate=1.0)
    with pytest.raises(UserError, match=r"20 answers are unusable \(blocked\), and were usable at the gate"):
        tested.deploy()
    emulator.faults()
    assert champion.read(client, tested.name).current is None
    tested.name = name


def test_deploy_records_what_monitoring_and_serving_need(
    client: Client, tested: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested.name = "known"
    monkeypatch.setenv("GEMTUNE_IMAGE", "registry/image@sha256:1")
    outcome = tested.deploy()
    assert outcome.smoke_test is not None
    assert outcome.smoke_test.different == 0
    assert outcome.smoke_test.tokens.total > 0
    assert outcome.smoke_test.latency_s.p95 >= outcome.smoke_test.latency_s.median > 0
    entry = champion.read(client, "known").current
    assert entry is not None
    assert entry.decision is not None
    reference = entry.reference
    assert reference is not None
    assert reference.template is not None
    turn = prompts.render(TASK, outcome.variant.prompt, Example("", "where is it", "")).contents[-1]["parts"][0]["text"]
    assert reference.template.text_of(turn) == "where is it"
    assert sum(reference.label_shares.values()) == pytest.approx(1.0)
    assert reference.train_rows == 120
    storage.download(client, reference.train, tmp_path / "train")
    kept = {row.id for row in read_examples(tmp_path / "train")}
    assert kept == {row.id for row in read_examples(tested.folder / "train.jsonl")}
    monitored = records.read(client, "known")  # what is recorded here is what monitoring reads
    answers = [json.loads(line) for line in Path(tested.predictions).read_text().splitlines()]
    right = [row["scores"]["accuracy"] for row in answers if row["variant"] == outcome.variant.name]
    assert monitored.entry == entry
    assert entry.decision.score == pytest.approx(sum(right) / len(right))
    assert monitored.endpoints == [outcome.variant.model]
    assert entry.decision.verdict == "deploy"
    assert entry.image == "registry/image@sha256:1"
    assert entry.actor
    served = resolve("known")
    assert (served.endpoint, served.generation) == (outcome.variant.model, 1)
    with Predictor(served.recipe, generation=served.generation) as predictor:
        assert predictor(["where is my parcel"])[0].outcome == "ok"


def test_promote_tests_a_prompt_with_the_examples_that_it_shows(
    client: Client, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.TASK", Task.of(sections()["task"]))  # a decision is about the evaluated task
    run, name = Run(tmp_path, "prompt-smoke", 106, [0.5]), "prompt-smoke"
    prompt = PROMPT.prompt.model_copy(update={"shots": 2, "constrained_output": True})
    shown = PROMPT.model_copy(update={"prompt": prompt})
    Selection.read(run.selection).model_copy(update={"best_prompt": shown}).write(run.selection)
    run.evaluate_finalists()
    run.deploy(deploy.keep_current, "keep_prompt")
    waiting = champion.read(client, name).candidate
    assert waiting is not None
    assert waiting.smoke is not None
    assert len(waiting.smoke.answers) == 20
    emulator.faults(blocked_rate=1.0)
    with pytest.raises(UserError, match=r"of 20 test rows 20 answers are unusable \(blocked\)"):
        deploy.promote(name, sections()["vertex"])
    emulator.faults()
    assert champion.read(client, name).candidate == waiting
    variant, smoke = deploy.promote(name, sections()["vertex"])
    assert variant == shown
    assert smoke is not None
    assert smoke.rows == 20


def test_manual_approval_waits_for_promote_which_tests_the_endpoint_again(
    client: Client, emulator: Emulator, tested: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    tested.name = "approved"
    config = tmp_path / "config.yaml"
    config.write_text("name: approved\n")
    with pytest.raises(UserError, match="no candidate of approved waits for approval"):
        deploy.promote("approved", sections()["vertex"])
    with caplog.at_level("INFO", "gemtune"):
        outcome = tested.deploy(deploy.run, "deploy", "deploy.approval=manual")
    rated = re.search(r"waits for gemtune promote; answers for people to rate: (gs://\S+\.csv)", caplog.text)
    assert rated
    lines = storage.read_text(client, rated[1]).splitlines()
    assert lines[0].removeprefix("\ufeff") == "id,text,reference,answer,rating"
    assert 20 <= len(lines) - 1 <= 100
    assert all(line.endswith(",") for line in lines[1:])
    assert (outcome.action, outcome.variant.role) == ("proposed", "candidate")
    assert champion.read(client, "approved").current is None
    assert outcome.variant.model in champion.known_models(client)[0]
    emulator.faults(blocked_rate=1.0)
    refused = CliRunner().invoke(app, ["promote", str(config)])
    emulator.faults()
    assert refused.exit_code == 1
    assert "20 answers are unusable (blocked), and were usable at the gate" in refused.output
    assert champion.read(client, "approved").current is None
    champion.record_manifest(client, "approved", outcome.variant, "a1")
    champion.record_manifest(client, "approved", PROMPT, "b2")  # of a run that decided on another model
    result = CliRunner().invoke(app, ["promote", str(config)], catch_exceptions=False)
    first, second = result.output.splitlines()
    assert first == f"approved: {outcome.variant.model} is in production"
    assert second.startswith("smoke test: 20 rows, 0 answers differ, ")
    current = champion.read(client, "approved").variant
    assert current is not None
    listed = CliRunner().invoke(app, ["champion", "history", str(config), "--json"], catch_exceptions=False)
    assert [entry["manifest"] for entry in json.loads(listed.output)] == ["a1"]
    assert current.model == outcome.variant.model
    assert champion.read(client, "approved").candidate is None
    other = outcome.variant.model_copy(update={"model": current.model + "0"})
    champion.propose(client, "approved", 0, "champion", samples.entry(other))
    monkeypatch.setattr(models, "deploy", lambda *_: None)
    with pytest.raises(UserError, match=r"changed meanwhile.*generation 1.*against generation 0"):
        deploy.promote("approved", sections()["vertex"])


@pytest.mark.timeout(300)
def test_a_caller_that_resolves_sees_no_failed_call(
    client: Client, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemtune.serving, "CACHE_S", 0.02)
    with pytest.raises(UserError, match="'gapless' has no champion"):
        resolve("gapless")
    one = Run(tmp_path / "one", "gapless", 91, [0.9])
    one.deploy()
    two = Run(tmp_path / "two", "gapless", 92, [0.9])
    calls: list[str] = []
    away_s, pause_s = (60.0, 0.05) if os.environ.get("WHOLE_RUNS") == "all" else (0.2, 0.005)
    ended = threading.Event()

    def call_throughout() -> None:
        service = client.genai(location_of(one.variants[0].model))
        while not ended.is_set():
            endpoint = resolve("gapless").endpoint
            service.models.generate_content(model=endpoint, contents="where is my parcel")
            calls.append(endpoint)
            time.sleep(pause_s)

    def reached(endpoint: str) -> None:
        deadline = time.monotonic() + 10
        while not calls or calls[-1] != endpoint:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(call_throughout)
        try:
            reached(one.variants[0].model)
            two.deploy()
            reached(two.variants[0].model)
            emulator.faults(error_rate=1.0, paths="^/storage|^/download")
            before = len(calls)
            time.sleep(away_s)
            assert len(calls) > before + away_s  # more than one a second
            emulator.faults()
            deploy.rollback("gapless", sections()["vertex"])
            reached(one.variants[0].model)
        finally:
            emulator.faults()
            ended.set()
        caller.result()
    assert set(calls) == {one.variants[0].model, two.variants[0].model}


def test_resolve_keeps_the_last_known_endpoint_while_the_bucket_is_away_for_a_minute(
    client: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(gemtune.serving, "monotonic", lambda: now[0])
    monkeypatch.setattr(gemtune.serving, "CACHE_S", 30.0)
    first, second = (samples.entry(PROMPT.model_copy(update={"model": model})) for model in ("e/1", "e/2"))
    champion.promote(client, "away", 0, "champion", first)
    reads: list[float] = []
    read = storage.read_if_changed
    monkeypatch.setattr(storage, "read_if_changed", lambda *own: (reads.append(now[0]), read(*own))[1])
    assert resolve("away").endpoint == "e/1"
    emulator.faults(error_rate=1.0, paths="^/storage|^/download")
    try:
        for _ in range(60):
            now[0] += 1.0
            assert resolve("away").endpoint == "e/1"
    finally:
        emulator.faults()
    assert reads == [1000.0, 1030.0, 1060.0]  # no call waits for the bucket more than once in 30 s
    champion.promote(client, "away", 1, "champion", second)
    now[0] += 30.0
    assert resolve("away").endpoint == "e/2"


def test_resolve_transfers_a_record_only_when_it_has_changed(client: Client) -> None:
    champion.promote(client, "still", 0, "champion", samples.entry(PROMPT))
    _, generation = storage.read_record(client, "champions/still.json")
    assert storage.read_if_changed(client, "champions/still.json", generation, 5) is None
    assert storage.read_if_changed(client, "champions/still.json", generation - 1, 5) is not None

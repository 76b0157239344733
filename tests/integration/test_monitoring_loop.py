# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""From a run to its champion's drift, labels and retraining, to the next champion and back, with genuine clients.

The steps are called as the pipelines call them, requests are sent by the predictor through `resolve` and logged by the
emulator, whose clock is set forward by a week at a time. What the endpoint answers is checked at each step.
"""

from __future__ import annotations

import json
import random
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator
from samples import FILLERS, PHRASES, sections, write_plan
from typer.testing import CliRunner

import gemtune.serving
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.monitoring import MonitoringDecision
from gemtune.artifacts.tuning import Selection, TuningRecord
from gemtune.cli.main import app
from gemtune.data import csv_safe
from gemtune.monitoring import labelling
from gemtune.predictor import Predictor
from gemtune.serving import resolve
from gemtune.state import champion
from gemtune.steps import (
    analyze_drift,
    check_budget,
    decide_retraining,
    deploy,
    estimate_quality,
    evaluate,
    finish_run,
    gate,
    load_logs,
    preprocess,
    select_model,
    split,
    start_retraining,
    tune,
)
from gemtune.vertex import Client

NAME, WEEK_S = "loop", 7 * 86400
NEW = {**PHRASES, "loyalty": ["bonus points expired unused", "loyalty tier dropped", "voucher wallet shows nothing"]}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tuned model answers with the label of the most similar row that it was tuned on."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "rules.json").write_text(json.dumps({"labels": sorted(PHRASES), "tuned_accuracy": 0.98}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'rules.json'}")
    yield running
    running.kill()


class Loop:
    """One name's data, runs, production traffic and monitoring."""

    def __init__(self, emulator: Emulator, folder: Path, settings: dict[str, Any]) -> None:
        self.emulator, self.folder, self.settings, self.rng, self.runs = emulator, folder, settings, random.Random(3), 0
        self.data, self.config = folder / "rows.jsonl", folder / "config.yaml"
        rows = [{"text": self.text(label), "label": label} for label in sorted(PHRASES) for _ in range(80)]
        self.data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        self.config.write_text(f"name: {NAME}\ndata: {self.data}\nmonitor: {{logs: '{settings['monitor']['logs']}'}}\n")

    def text(self, label: str) -> str:
        return " ".join([*self.rng.choices(FILLERS, k=4), self.rng.choice(NEW[label]), *self.rng.choices(FILLERS, k=3)])

    def command(self, *words: str) -> str:
        done = CliRunner().invoke(app, [*words, str(self.config)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def now(self, seconds: float = 0) -> datetime:
        """The emulator's time after setting it forward."""
        body = json.dumps({"seconds": seconds}).encode()
        request = urllib.request.Request(
            f"{self.emulator.url}/emulator/clock", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return datetime.fromisoformat(json.load(answer)["time"])

    def answers(self, labels: list[str]) -> list[str | None]:
        """What the champion answers to a text of each label."""
        served = resolve(NAME)
        with Predictor(served.recipe, generation=served.generation) as predictor:
            return [item.value for item in predictor([self.text(label) for label in labels])]

    def correct(self, *labels: str) -> int:
        """How many of 20 texts of these labels are answered correctly."""
        asked = [labels[i % len(labels)] for i in range(20)]
        return sum(answer == label for answer, label in zip(self.answers(asked), asked, strict=True))

    def week(self, rows: int, labels: list[str]) -> None:
        """A week of traffic."""
        self.answers([labels[i % len(labels)] for i in range(rows)])
        self.now(WEEK_S)

    def monitor(self) -> MonitoringDecision:
        def path(name: str) -> str:
            return str(self.folder / name)

        now, settings = (self.now() + timedelta(days=1, minutes=5)).isoformat(), self.settings
        load_logs.run(path("logged"), path("counts"), NAME, now, **settings)
        analyze_drift.run(path("logged"), path("counts"), path("drift"), NAME, **settings)
        estimate_quality.run(path("logged"), path("drift"), path("quality"), path("sheet"), NAME, **settings)
        decide_retraining.run(path("drift"), path("quality"), path("decided"), NAME, now, **settings)
        return MonitoringDecision.read(path("decided"))

    def label(self) -> str:
        """Fill in the annotation file and add it, as a person does."""
        rows = [{name: cell or "" for name, cell in cells.items()} for _, cells in csv_safe.read(
            self.folder / "sheet", labelling.COLUMNS
        )]  # fmt: skip
        for row in rows:
            row["label"] = next(label for label, said in NEW.items() if any(phrase in row["text"] for phrase in said))
        csv_safe.write(self.folder / "filled.csv", labelling.COLUMNS, [list(row.values()) for row in rows])
        return self.command("annotations", "add", "--new-label", "loyalty", str(self.folder / "filled.csv"))

    def tune(self) -> str:
        """A run of the tuning pipeline's steps; returns its verdict, or `unchanged`."""
        self.runs += 1
        folder, settings = self.folder / f"run-{self.runs}", self.settings
        folder.mkdir()

        def path(name: str) -> str:
            return str(folder / name)

        preprocess.run(str(self.data), path("rows"), path("dropped"), path("data"), **settings)
        train, validation, test = splits = (path("train"), path("validation"), path("test"))
        split.run(path("rows"), splits, path("split"), path("leakage"), NAME, **settings)
        assert check_budget.run(splits, path("budget"), NAME, **settings)
        write_plan(folder / "plan", settings)
        trial = {"name": "trial-1", "epoch_count": 1, "plan": f"plan-{self.runs}"}
        tune.run(train, validation, trial, NAME, path("job"), path("events"), **settings)
        assert TuningRecord.read(path("job")).variants
        evaluated = (path("answered"), path("scored"))
        evaluate.run_checkpoints(validation, train, [path("job")], path("plan"), *evaluated, **settings)
        select_model.run(path("plan"), path("selection"), NAME, [path("job")], path("scored"), **settings)
        tested = (path("predictions"), path("tested"))
        evaluate.run_finalists(test, train, path("selection"), NAME, *tested, **settings)
        passed = gate.run(
            path("predictions"), path("selection"), path("plan"), path("tested"), path("decision"), **settings
        )
        last = (path("decision"), path("selection"), NAME, path("deployment"))
        if passed:
            deploy.run(*last, (train, test), path("predictions"), path("leakage"), **settings)
        else:
            deploy.keep_current(*last, **settings)
        finish_run.run(NAME, "", "SUCCEEDED", "", f"run-{self.runs}", **settings)
        roles = {variant.role for variant in Selection.read(path("selection")).finalists}
        assert ("champion" in roles) is (self.runs > 1)
        assert EvaluationReport.read(path("tested")).rows
        return DecisionRecord.read(path("decision")).verdict


def test_champion_is_monitored_labelled_retrained_promoted_and_rolled_back(
    client: Client, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemtune.serving, "CACHE_S", 0.0)
    table = f"bq://{client.project}.loop.log"
    overrides = ("task.labels=[]", f"monitor.logs={table}", "evaluate.resamples=200", "evaluate.tfidf_baseline=false")
    settings = sections(
        *overrides, "preprocess.split_column=split", "monitor.on_retrain=submit", "monitor.labels_a_window=200"
    )
    loop = Loop(emulator, tmp_path, settings)
    monkeypatch.setattr(champion, "now", lambda: loop.now().replace(microsecond=0))

    assert loop.tune() == "deploy"
    first = resolve(NAME)
    assert "logs 100% of its requests" in loop.command("logging", "enable")
    known = sorted(PHRASES)
    assert (loop.correct(*known) >= 18, loop.correct("loyalty")) == (True, 0)

    loop.week(30, known)
    assert loop.monitor().verdict == "settling"
    for _ in range(4):
        loop.week(30, known)
    assert loop.monitor().verdict == "settling"
    for _ in range(4):
        loop.week(30, known)
    assert loop.monitor().verdict == "fine"
    loop.week(280, [*known, *["loyalty"] * 9])
    decided = loop.monitor()
    assert (decided.verdict, "similarity" in " ".join(decided.summary)) == ("watch", True)

    assert "200 labels kept" in loop.label()
    decided = loop.monitor()
    assert decided.verdict == "retrain"
    assert {reason.kind for reason in decided.reasons} >= {"new_rows", "new_topics"}
    assert start_retraining.run(str(tmp_path / "decided"), "job-1", NAME, True, **settings)
    assert resolve(NAME) == first
    assert loop.tune() == "deploy"
    second = resolve(NAME)
    assert (second.endpoint != first.endpoint, second.generation) == (True, 2)
    assert min(loop.correct(*known), loop.correct("loyalty")) >= 15
    assert f"{second.endpoint} logs 100% of its requests to {table}" in loop.command("logging", "show")
    loop.week(30, [*known, "loyalty"])
    decided = loop.monitor()
    assert decided.verdict == "settling", decided.summary
    assert not start_retraining.run(str(tmp_path / "decided"), "job-2", NAME, True, **settings)

    assert f"{first.endpoint} is in production again" in loop.command("rollback")
    assert resolve(NAME).endpoint == first.endpoint
    assert (loop.correct(*known) >= 18, loop.correct("loyalty")) == (True, 0)
    loop.week(30, known)
    decided = loop.monitor()
    assert decided.verdict == "settling", decided.summary

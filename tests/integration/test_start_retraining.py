# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a reason to retrain starts, once, and what is reported of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from samples import sections

from gemtune.artifacts.monitoring import MonitoringDecision, MonitoringRecord, Reason
from gemtune.state import store
from gemtune.steps import finish_run, start_retraining
from gemtune.vertex import Client, calls, notification


def decided(folder: Path, verdict: str) -> str:
    reason = Reason(kind="age", value=90, threshold=60, summary="90 days", ids=["age"])
    reasons = [reason] if verdict == "retrain" else []
    path = folder / f"{verdict}.json"
    MonitoringDecision(verdict=verdict, summary=["5 of 60 rows"], reasons=reasons).write(path)  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize("runs", ["failed", "all"])
def test_start_retraining_notifies_of_verdicts_that_need_a_person(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    posted: list[str] = []
    monkeypatch.setattr(notification, "send", lambda _client, _notify, text: posted.append(text))
    for verdict in ("settling", "fine", "watch", "retrain", "cannot_tell"):
        settings = sections(f"notify.runs={runs}", "notify.webhook=https://chat/x")
        start_retraining.run(decided(tmp_path, verdict), "gs://runs/1", "notified", False, **settings)
    expected = ["settling", "fine", "watch", "retrain", "cannot_tell"][0 if runs == "all" else 2 :]
    due = "; retraining is due (age): run it by gemtune submit, or gemtune run"
    ends = {verdict: due if verdict == "retrain" else "" for verdict in expected}
    assert posted == [f"notified: monitoring ended with {verdict}: 5 of 60 rows{end}" for verdict, end in ends.items()]


@pytest.mark.parametrize(
    ("name", "webhook"), [("unreachable", "http://127.0.0.1:1/secret"), ("missing", "gs://gone/webhook")]
)
def test_start_retraining_outlives_a_notification_that_fails(
    client: Client, tmp_path: Path, name: str, webhook: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(calls, "ATTEMPTS", 2)
    settings = sections(f"notify.webhook={webhook}", "monitor.on_retrain=submit")
    with caplog.at_level("INFO", "gemtune"):
        assert start_retraining.run(decided(tmp_path, "retrain"), "gs://runs/1", name, True, **settings)
    assert "no notification was sent" in caplog.text
    assert "/secret" not in caplog.text


def test_start_retraining_writes_one_line_of_json(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_retraining.run(decided(tmp_path, "fine"), "gs://runs/1", "logged", False, **sections())
    start_retraining.run(decided(tmp_path, "retrain"), "gs://runs/1", "logged", False, **sections())
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "severity": "WARNING", "message": "logged: retraining is due (age)", "event": "retraining due",
        "name": "logged", "job_id": "", "reasons": {"age": {"value": 90, "threshold": 60}},
    }  # fmt: skip


def test_start_retraining_claims_nothing_that_the_compiled_pipeline_cannot_start(
    client: Client, tmp_path: Path
) -> None:
    settings = sections("monitor.on_retrain=submit")
    path = decided(tmp_path, "retrain")
    assert not start_retraining.run(path, "gs://runs/1", "unwired", False, **settings)
    assert start_retraining.run(path, "gs://runs/2", "unwired", True, **settings)


def test_start_retraining_of_the_same_reasons_is_one_run_that_a_crash_does_not_lose(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, path = sections("monitor.on_retrain=submit"), decided(tmp_path, "retrain")

    def starts(job: str) -> bool:
        return start_retraining.run(path, job, "once", True, **settings)

    assert starts("job-1")
    assert not starts("job-2")
    assert starts("job-1")  # its step was killed after the claim, and is tried again
    finish_run.run("once", "", "SUCCEEDED", "", "job-3", False, notify={}, vertex={})  # a monitoring run without tuning
    finish_run.run("once", "", "FAILED", "", "job-1", notify={}, vertex={})
    monkeypatch.setattr(start_retraining, "CLAIM_DAYS", 1e-9)
    assert starts("job-1")
    assert starts("job-4")  # the claim has ended, and nothing was tuned
    finish_run.run("once", "", "SUCCEEDED", "", "job-4", notify={}, vertex={})
    assert not starts("job-5")


def test_start_retraining_of_concurrent_runs_with_the_same_reasons_is_one_run(client: Client, tmp_path: Path) -> None:
    settings, path = sections("monitor.on_retrain=submit"), decided(tmp_path, "retrain")

    def starts(number: int) -> bool:
        return start_retraining.run(path, f"gs://runs/{number}", "concurrent", True, **settings)

    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(starts, range(6)))
    assert first.count(True) == 1
    winner = first.index(True)
    assert [starts(number) for number in range(6)] == [number == winner for number in range(6)]
    finish_run.run("concurrent", "", "SUCCEEDED", "", "", notify={}, vertex={})
    assert not any(map(starts, range(6)))


def test_retraining_by_hand_handles_reasons_that_were_only_notified(client: Client, tmp_path: Path) -> None:
    path = decided(tmp_path, "retrain")
    assert not start_retraining.run(path, "gs://runs/1", "by-hand", True, **sections())
    finish_run.run("by-hand", "", "SUCCEEDED", "", "job-2", notify={}, vertex={})
    kept = store.read(client, MonitoringRecord, "by-hand")
    assert kept
    assert kept.retrained == ["age"]

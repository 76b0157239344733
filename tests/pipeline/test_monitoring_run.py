"""The monitoring pipeline on kfp's local runner, after a run that deployed a model."""

import json
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from golden_runs import MORE, RECORDER
from test_run import environment, run, summary_of, write_inputs

pytestmark = pytest.mark.pipeline


def write_logs(folder, weeks, new_topic):
    """Weeks of production rows from now on; in the last one 40 % are of a new topic."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    labelled, rng, start = [row for row in rows if "label" in row], random.Random(3), datetime.now(UTC)
    with (folder / "logs.jsonl").open("w") as file:
        for number in range(200 * weeks):
            row, is_new = rng.choice(labelled), number >= 200 * (weeks - 1) and rng.random() < new_topic
            text = f"where are my loyalty points {rng.randrange(10**6)}" if is_new else row["text"]
            moment = start + timedelta(minutes=5, days=7 * number / 200)
            file.write(json.dumps({"time": moment.isoformat(), "text": text, "answer": row["label"]}) + "\n")


def monitor_arguments(folder, days, *more):
    """What `gemtune` is called with, for the windows until so many days from now."""
    now = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    settings = [f"monitor.logs={folder / 'logs.jsonl'}", "monitor.baseline_windows=3", *more]
    engine = f"scripted:{folder / 'script.json'}"
    overrides = [part for item in settings for part in ("--set", item)]
    return ["monitor", "config.yaml", "--now", now, "--engine", engine, *overrides]


def monitor(folder, days, *more, **recorded):
    command, env = [sys.executable, "-m", "gemtune", *monitor_arguments(folder, days, *more)], environment() | recorded
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == (3 if "RETRAIN" in done.stdout else 0), done.stdout + done.stderr
    return done.stdout


@MORE
@pytest.mark.xdist_group("run-monitoring")
def test_monitor_is_fine_and_then_finds_a_new_topic(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97)
    assert summary_of(run(tmp_path), tmp_path)["verdict"] == "deploy"
    write_logs(tmp_path, 5, 0.4)
    assert "FINE" in monitor(tmp_path, 4 * 7 + 2)
    shown = monitor(tmp_path, 5 * 7 + 2)
    assert "WATCH" in shown
    assert "similarity to the training rows is lower" in shown
    (folder,) = (
        path.parent for path in tmp_path.glob("runs/*-monitoring-*/report.html") if "loyalty" in path.read_text()
    )
    assert "loyalty" in (folder / "annotations.csv").read_text(encoding="utf-8-sig")
    runner_log = (folder / "logs" / "kfp.log").read_text()
    assert "loyalty" not in runner_log
    assert "\x1b" not in runner_log, "no colours in files"
    log, due = tmp_path / "requests.jsonl", ("monitor.on_retrain=submit", "monitor.max_age_days=30")
    paths, start = os.pathsep.join([environment()["PYTHONPATH"], str(RECORDER)]), time.monotonic()
    shown = monitor(tmp_path, 5 * 7 + 2, *due, PYTHONPATH=paths, GEMTUNE_REQUEST_LOG=str(log))
    assert time.monotonic() - start < 60
    sent = [request for request in map(json.loads, log.read_text().splitlines()) if request["method"] == "POST"]
    assert sent
    assert not [request for request in sent if request["path"].endswith((":generateContent", "/tuningJobs"))]
    assert "RETRAIN" in shown
    (report,) = tmp_path.glob(
        "runs/*-monitoring-*/steps/**/report-unchanged/summary.json"
    )  # of the tuning pipeline inside
    assert json.loads(report.read_text())["verdict"] == "keep_champion"
    assert "tune" not in shown  # nothing is new
    assert "RETRAIN" not in monitor(tmp_path, 5 * 7 + 2, *due)  # the reason is handled

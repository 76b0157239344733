"""Whole local runs: the compiled YAML on kfp's local runner, genuine SDK clients, the emulator with a known truth.

Both branches of both conditions are run: tuning worth trying or not, the gate passing or not.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from golden_runs import MORE
from typer.testing import CliRunner

from gemtune.cli.exit_codes import of_verdict
from gemtune.cli.main import app

LABELS = {"billing": "invoice", "delivery": "parcel", "login": "password"}
pytestmark = pytest.mark.pipeline


def write_inputs(folder, base_accuracy, tuned_accuracy, step_seconds=0.0, answer=str, count=330):
    """Rows whose answers (made of labels) the scripted model knows; how often it is right before and after tuning."""
    draw = random.Random(5)
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]
    rows = []
    for number in range(count):
        label = sorted(LABELS)[number % 3]
        text = (
            " ".join(draw.sample(words, 6))
            + f" {LABELS[label]} {draw.randrange(10**6)} "
            + " ".join(draw.sample(words, 6))
        )
        rows.append({"text": text, "label": answer(label), "channel": draw.choice(["web", "phone"])})
    rows.append({"text": "no label here"})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = {
        "answers": {row["text"]: row["label"] for row in rows if "label" in row},
        "labels": sorted(map(answer, LABELS)),
        "base_accuracy": base_accuracy,
        "tuned_accuracy": tuned_accuracy,
        "step_seconds": step_seconds,
    }
    (folder / "script.json").write_text(json.dumps(script))
    (folder / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "preprocess: {slice_columns: [channel]}\n"
        "evaluate: {tfidf_baseline: false}\n"  # it reads these labels without a mistake
        "plan:\n  trials:\n  - {name: short, epoch_count: 2, adapter_size: 4}\n"
        "  - {name: long, epoch_count: 3, adapter_size: 8}\n"
        "tune: {poll_s: 0.2}\n"
        "vertex: {catalogue: {models: {gemini-3.1-flash-lite: {price: {train: 5.625}}}}}\n"
    )


def command(folder, *arguments):
    engine = f"scripted:{folder / 'script.json'}"
    return [sys.executable, "-m", "gemtune", "run", "config.yaml", "--engine", engine, *arguments]


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(folder, *arguments, timeout_s=250):
    return subprocess.run(
        command(folder, *arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout_s
    )


def summary_of(done, folder):
    newest = max((folder / "runs").glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    assert done.returncode == of_verdict(json.loads(newest.read_text())["verdict"]), done.stdout + done.stderr
    assert (newest.parent / "report.html").stat().st_size > 5000
    return json.loads(newest.read_text())


def steps_of(summary):
    return [step["step"] for step in summary["steps"]]


@pytest.mark.timeout(600)  # three runs
@pytest.mark.xdist_group("run-deploy")
def test_run_deploys_a_better_model_and_later_runs_must_beat_it(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97)
    done = run(tmp_path)
    first = summary_of(done, tmp_path)
    assert first["verdict"] == "deploy"
    assert first["passed"] is True
    assert {"tune[0]", "tune[1]", "select-model", "deploy", "report"} <= set(steps_of(first))
    assert "keep-current-model" not in steps_of(first)
    assert len({step.partition("[")[0] for step in steps_of(first)}) <= 14
    assert not any("dataflow" in step for step in steps_of(first))
    assert steps_of(first).count("select-model") == 1
    assert first["outcome"]["model"].startswith("projects/")
    assert (first["test_set_usage"]["candidates"], first["test_set_usage"]["uses"]) == (1, 1)
    assert {row["role"] for row in first["variants"]} == {"baseline", "candidate"}
    assert set(first["slices"]["channel"]) == {"web", "phone"}
    assert first["data"]["dropped"] == {"missing_target": 1}
    assert "DEPLOY" in done.stdout
    assert first["outcome"]["model"] in done.stdout.replace("\n", "")

    unchanged = summary_of(run(tmp_path), tmp_path)
    assert unchanged["verdict"] == "keep_champion"
    assert "unchanged: rows, settings and champion" in unchanged["reasons"][0]
    assert steps_of(unchanged) == ["configure", "preprocess", "split", "check-budget", "report-unchanged", "finish-run"]
    assert (unchanged["cost"]["actual"], unchanged["outcome"]) == (0, first["outcome"])

    other = "plan.trials=[{epoch_count: 2, adapter_size: 2}]"
    again = summary_of(run(tmp_path, "--set", other), tmp_path)
    assert {row["role"] for row in again["variants"]} == {"baseline", "candidate", "champion"}
    assert (again["test_set_usage"]["candidates"], again["test_set_usage"]["uses"]) == (2, 2)
    assert any("2 candidates have used a test row" in note for note in again["notes"])
    assert again["verdict"] == "keep_champion"  # an equal model does not replace the one in service
    assert again["outcome"]["model"] == first["outcome"]["model"]
    _finished_runs_answer_questions(tmp_path, first, unchanged, again)


def gemtune(folder, *arguments, code=0):
    """What a command prints in a folder, as JSON; its error where it prints none."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else done.stderr


def _finished_runs_answer_questions(folder, first, unchanged, again):
    """The commands that read runs, on runs that deployed, found nothing new, and kept the champion."""
    runs = [f"runs/{summary['run']}" for summary in (first, unchanged, again)]
    for run_folder, summary in zip(runs, (first, unchanged, again), strict=True):
        verified = gemtune(folder, "verify", run_folder)
        assert verified["matches"] is True
        assert summary["identity"]["digest"] == verified["digest"]
        assert summary["identity"]["job"] == summary["run"]
        assert summary["identity"]["started"] < summary["identity"]["decided"]
    decision = next((folder / runs[0]).rglob("gate/decision.json"))
    decision.write_text(decision.read_text().replace("deploy", "Deploy", 1))
    assert gemtune(folder, "verify", runs[0], code=1)["matches"] is False
    compared = gemtune(folder, "compare", runs[0], runs[2], "--out", "compared.html")
    assert list(compared["settings"]) == ["plan.trials"]
    assert compared["data"] == {}
    assert compared["changed_rows"][0]["rows"] == first["test_rows"]
    assert "<svg" in (folder / "compared.html").read_text()
    assert gemtune(folder, "explain", runs[0])["verdict"] == "deploy"
    text = json.loads((folder / "rows.jsonl").read_text().splitlines()[0])["text"]
    assert gemtune(folder, "ask", text, "--run", runs[0])["model"] == first["outcome"]["model"]
    champion = gemtune(folder, "champion", "show", "config.yaml", "--local")
    assert (champion["model"], champion["verdict"]) == (first["outcome"]["model"], "deploy")
    assert "no previous champion" in gemtune(folder, "rollback", "config.yaml", "--local", code=1)
    assert "none.csv: " in gemtune(folder, "annotations", "add", "none.csv", "config.yaml", "--local", code=1)


@MORE
@pytest.mark.xdist_group("run-keep")
def test_run_keeps_the_prompt_when_the_model_is_no_better(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.75, tuned_accuracy=0.75)
    summary = summary_of(run(tmp_path), tmp_path)
    assert summary["verdict"] == "keep_prompt"
    assert {"tune[0]", "keep-current-model"} <= set(steps_of(summary))
    assert "deploy" not in steps_of(summary)


@MORE
@pytest.mark.xdist_group("run-keep")
def test_run_skips_tuning_when_the_prompt_is_good_enough(tmp_path):
    write_inputs(tmp_path, 1.0, 1.0, answer=lambda label: json.dumps({"topic": label, "words": [LABELS[label]]}))
    overrides = ("plan.skip_if_baseline_reaches=0.9", "task.kind=extraction", "evaluate.max_output_tokens=100")
    summary = summary_of(run(tmp_path, *(part for one in overrides for part in ("--set", one))), tmp_path)
    assert summary["verdict"] == "keep_prompt"
    assert summary["variants"][0]["metrics"]["field_f1"]["value"] == 1.0
    assert {"select-model", "keep-current-model", "report"} <= set(steps_of(summary))
    assert not {"tune[0]", "evaluate-checkpoints", "deploy"} & set(steps_of(summary))


@MORE
@pytest.mark.xdist_group("run-deploy")
def test_run_ends_everything_on_ctrl_c_and_is_resumed(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.9, step_seconds=1.0)
    process = subprocess.Popen(
        command(tmp_path), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job would ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        logs = "".join(path.read_text() for path in tmp_path.glob("runs/*/logs/*tune*.log"))
        if "progress: tuning" in logs:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output
    assert "interrupted" in output
    logs = "".join(path.read_text() for path in tmp_path.glob("runs/*/logs/*tune*.log"))
    assert "cancelling projects/" in logs
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running
    assert not list(tmp_path.glob("runs/*/summary.json"))
    (folder,) = tmp_path.glob("runs/known-*")
    assert not list(folder.glob("tmp-*"))

    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.9)  # the same rows, without slow training
    resume = [sys.executable, "-m", "gemtune", "run", "--resume", str(folder.relative_to(tmp_path))]
    done = subprocess.Popen(resume, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)
    done.stdout.readline()
    done.stdout.close()
    assert done.wait(timeout=200) == 0
    summary = json.loads((folder / "summary.json").read_text())  # also when nobody reads what the command prints
    assert summary["verdict"] == "deploy"
    again = [log.name for log in (folder / "logs").glob("*-preprocess.log")]
    assert again == ["02-preprocess.log"], "finished steps are not run again"


@pytest.mark.xdist_group("run-keep")
def test_run_reports_a_failed_step_and_submits_no_job(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.9)
    (tmp_path / "one.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n')
    done = run(tmp_path, "--data", "one.jsonl")
    assert done.returncode == 1
    assert "one.jsonl" in done.stderr
    assert "only one label" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("runs/*/summary.json"))

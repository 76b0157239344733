# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whole pipelines submitted as PipelineJobs, or by kfp.Client, and executed by the emulator under the driver's rules.

Their decision, plan, selection and summary equal the golden files, which are those of kfp's local runner.
"""

import copy
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import strict_runs
import test_run
from golden_runs import GOLDEN, MORE, difference, read_facts, write_inputs
from typer.testing import CliRunner

from bench import strict_kills
from emulator.execution.edges import problems
from gemtune.cli.main import app
from gemtune.config import Config
from gemtune.errors import UserError
from pipelines.backend_rules import findings
from pipelines.compilation import compiled

CLUSTER = "projects/123456789012/locations/kubeflow/pipelineJobs"  # where the emulator keeps the runs of kfp.Client
pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("backend", ["vertex", "kubeflow"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=MORE) for name in ("quickstart", "preference")])
def test_strict_run_decides_as_the_local_runner(name, backend, tmp_path):
    config, _, engine, _, data, *arguments = write_inputs(name, tmp_path)
    emulator = strict_runs.start(tmp_path, tmp_path / engine.partition(":")[2])
    try:
        cluster = (
            ["--kubeflow", emulator.url, "--set", "backend.root=s3://artifacts/runs"] if backend == "kubeflow" else []
        )
        run = strict_runs.submit(emulator, config, Path(data), *cluster, *arguments)
        job = strict_runs.wait(emulator, f"{CLUSTER}/run-{run}" if cluster else run)
        failures = [task["error"]["message"] for task in job["jobDetail"]["taskDetails"] if "error" in task]
        assert job["state"] == "PIPELINE_STATE_SUCCEEDED", failures
        strict_runs.download(emulator, job, tmp_path / "run")
    finally:
        emulator.kill()
    differences = []
    for document, facts in read_facts(tmp_path / "run").items():
        differences += difference(GOLDEN / name / f"{document}.json", facts)
    assert not differences, "\n".join(differences[:80])


@MORE
@pytest.mark.timeout(600)
def test_monitoring_runs_submitted_at_once_with_one_reason_start_one_retraining(tmp_path):
    """A champion's base model retires: two runs start one job of its id; a third finds the reason handled."""
    test_run.write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97)
    (tmp_path / "log.jsonl").write_text('{"time": "2026-01-01", "text": "x", "answer": "y"}\n')
    emulator = strict_runs.start(tmp_path, tmp_path / "script.json")

    def submit(*arguments):
        return strict_runs.submit(emulator, tmp_path / "config.yaml", tmp_path / "rows.jsonl", *arguments)

    def parts(job):
        tasks = job["jobDetail"]["taskDetails"]
        assert job["state"] == "PIPELINE_STATE_SUCCEEDED", [task["error"] for task in tasks if "error" in task]
        return {task["taskName"] for task in tasks if task["state"] == "SUCCEEDED"}

    try:
        tuned = parts(strict_runs.wait(emulator, submit()))
        assert "deploy" in tuned
        logs = strict_runs.upload(emulator, tmp_path / "log.jsonl")
        overrides = (f"monitor.logs={logs}", "monitor.on_retrain=submit", "monitor.retire_days=20000")
        monitor = ["--pipeline", "monitoring", *(word for override in overrides for word in ("--set", override))]
        with ThreadPoolExecutor(2) as pool:
            names = list(pool.map(lambda _: submit(*monitor), range(2)))
        jobs = [parts(strict_runs.wait(emulator, name)) for name in names]
        assert not any({"report-unchanged", "check-budget"} & job for job in jobs)

        def retraining():
            return [name for name in strict_runs.names(emulator) if "-rt-" in name]

        (started,) = retraining()
        job = parts(strict_runs.wait(emulator, started))
        assert {"report-unchanged", "check-budget"} <= job  # the data is that of the last run
        parts(strict_runs.wait(emulator, submit(*monitor)))
        assert retraining() == [started]
    finally:
        emulator.kill()


@MORE
@pytest.mark.parametrize("policy", ["FAIL_FAST", "FAIL_SLOW"])
def test_failed_trial_ends_the_run_and_the_next_run_pays_for_no_trial_again(tmp_path, policy):
    test_run.write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.2)
    emulator, killed = strict_runs.start(tmp_path, tmp_path / "script.json"), []

    def submit(*overrides):
        return strict_kills.submit(emulator, tmp_path, *overrides, policy=f"PIPELINE_FAILURE_POLICY_{policy}")

    def kill(job):
        running = [pid for pid, step in strict_kills.steps(tmp_path) if step == "tune"]
        if len(running) == 2 == strict_kills.tuning_jobs(tmp_path) and not killed:
            os.kill(running[0], signal.SIGKILL)
            killed.append(running[0])

    try:
        job = strict_runs.wait(emulator, submit("steps={tune: {retries: 0}}"), look=kill)
        assert job["state"] == "PIPELINE_STATE_FAILED"
        ended = Counter((task["taskName"], task["state"]) for task in job["jobDetail"]["taskDetails"])
        assert ended[("tune", "FAILED")] == ended[("tune", "SUCCEEDED")] == 1, "the other trial was completed"
        assert ended[("evaluate-checkpoints", "NOT_TRIGGERED")] == ended[("report", "NOT_TRIGGERED")] == 1
        assert ended[("finish-run", "SUCCEEDED")] == 1
        job = strict_runs.wait(emulator, submit())
        strict_runs.download(emulator, job, tmp_path / "run")
        assert strict_kills.tuning_jobs(tmp_path) == 2
    finally:
        emulator.kill()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["verdict"] == "deploy"


def here(folder, verb, *options):
    """A command in a folder whose local backend is an emulator with a script."""
    command = [sys.executable, "-m", "gemtune", *verb.split(), "config.yaml", "--local", *options]
    env = {**os.environ, "PYTHONPATH": str(strict_runs.ROOT)}
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@MORE
def test_submit_local_runs_the_pipeline_and_writes_its_report(tmp_path):
    test_run.write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    process = here(tmp_path, "submit", "--engine", "scripted:script.json")
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    assert "DEPLOY\nreport   runs/known-" in output
    (summary,) = (tmp_path / "runs").glob("known-*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "deploy"
    assert (summary.parent / "report.html").exists()
    verified = CliRunner().invoke(app, ["verify", str(summary.parent)])
    assert verified.exit_code == 0, verified.output
    assert "all " in verified.output
    next((summary.parent / "steps").rglob("evaluate-finalists*/predictions.jsonl")).write_text("changed")
    assert CliRunner().invoke(app, ["verify", str(summary.parent)]).exit_code == 1


def test_schedule_local_starts_runs_until_it_is_interrupted(tmp_path):
    test_run.write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    process = here(tmp_path, "schedule", "--engine", "scripted:script.json", "--cron", "0 3 * * *")
    url = process.stderr.readline().split()[2].rstrip(",")
    assert "/schedules/" in process.stdout.readline(), process.stderr.read()
    body = json.dumps({"seconds": 86400}).encode()
    request = urllib.request.Request(url + "/emulator/clock", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()
    while "RUNNING" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert here(tmp_path, "schedules list").communicate()[0] == ""


def test_submission_is_refused_for_what_fails_in_any_case():
    spec = compiled(Config())
    assert problems(spec, {"name": "x" * 150_000}) == []
    (size,) = problems(spec, {"name": "x" * 200_000})
    assert size.startswith("the parameters have 20")
    spec["pipelineInfo"]["name"] = "Tuning_1"
    (name,) = problems(spec, {})
    assert name.startswith("the name of the pipeline, 'Tuning_1', must match")
    spec["pipelineInfo"]["name"] = "x"
    (loop,) = [
        t
        for c in spec["components"].values()
        for t in c.get("dag", {}).get("tasks", {}).values()
        if "parameterIterator" in t
    ]
    loop["parameterIterator"]["items"] = {"raw": json.dumps([{}] * 101)}
    assert "the loop gives 101 artifacts of one output, more than 100" in problems(spec, {})[0]
    loop["parameterIterator"]["items"] = {"raw": json.dumps([{}] * 100)}
    assert problems(spec, {}) == []


@pytest.mark.parametrize("method", ["supervised", "preference"])
def test_pipelines_are_accepted_and_refused_with_a_bare_list_of_trials(method):
    spec = compiled(Config(method=method))
    assert problems(spec, {}) == []
    (loop,) = [name for name in spec["components"] if name.startswith("comp-for-loop-")]
    (item,) = [key for key in spec["components"][loop]["inputDefinitions"]["parameters"] if key.endswith("-loop-item")]
    spec["components"][loop]["inputDefinitions"]["parameters"][item]["parameterType"] = "STRING"  # as for a bare list
    (problem,) = problems(spec, {})
    message = 'input parameter "trial" type mismatch: expect STRUCT, got string'
    assert problem == f'{message} (task "tune" of "{loop}")'


def damaged(spec):
    """The pipeline without a required input, without an output that is read, after no task: once for each DAG."""
    for name, component in spec["components"].items():
        tasks = component.get("dag", {}).get("tasks", {})
        for task in list(tasks)[:2]:
            declared = spec["components"][tasks[task]["componentRef"]["name"]]["inputDefinitions"]
            for kind, sources in tasks[task]["inputs"].items():
                required = [k for k in sources if declared[kind][k].keys().isdisjoint({"isOptional", "defaultValue"})]
                for key in required[:1]:
                    changed = copy.deepcopy(spec)
                    del changed["components"][name]["dag"]["tasks"][task]["inputs"][kind][key]
                    yield f"{name}: {task} without {key}", changed
            changed = copy.deepcopy(spec)
            changed["components"][name]["dag"]["tasks"][task]["dependentTasks"] = ["gone"]
            yield f"{name}: {task} after nothing", changed
        for key in component.get("dag", {}).get("outputs", {}).get("parameters", {}):
            for end in ("producerSubtask", "outputParameterKey"):
                changed = copy.deepcopy(spec)
                copied = changed["components"][name]["dag"]["outputs"]["parameters"][key]
                selector = copied.get("valueFromParameter") or copied["valueFromOneof"]["parameterSelectors"][-1]
                selector[end] = "gone"
                yield f"{name}: {key} of nothing", changed


def is_found(pipeline):
    """Whether the compiler's own checks find something."""
    try:
        return any(finding.rule.name == "edge_types" for finding in findings(pipeline))
    except UserError as error:
        return "the pipeline is damaged" in str(error)


def test_submission_and_compilation_refuse_a_pipeline_that_lacks_something():
    pipelines = list(damaged(compiled(Config())))
    assert len(pipelines) > 40
    assert [what for what, pipeline in pipelines if not problems(pipeline, {})] == []
    assert [what for what, pipeline in pipelines if not is_found(pipeline)] == []

"""Parts of the local run that need no emulator: timing, console output, messages for bad input."""

import io
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.cli.results import latest
from gemtune.errors import OverBudgetError, UserError
from pipelines.console_summary import snippets
from pipelines.emulator_process import environment
from pipelines.kfp_local_events import Observer, _about, _step_name
from pipelines.local_run import (
    _why,
    alone_in,
    create_folder,
    finished_steps,
    folder_of,
    listed,
    orchestration,
    read_start,
)
from pipelines.steps import Step, StepRecord


def test_orchestration_counts_parallel_steps_once():
    steps = [Step("a", 1, "", 1, 3), Step("b", 2, "", 2, 4), Step("c", 3, "", 6, 9)]
    assert orchestration(steps, 0, 10) == {"wall_s": 10, "steps_s": 6.0, "share": 0.4}


def test_step_is_shown_with_its_loop_iteration_and_its_trial():
    inputs = {"outputs": {"outputFile": "/r/for-loop-2-iteration-3/tune/o.json"}}
    assert _step_name(inputs) == "tune[3]"
    assert _step_name({"outputs": {"outputFile": "/r/supervised-tuning/select-model-2/o.json"}}) == "select-model"

    def about(**values):
        return _about({"inputs": {"parameterValues": values}})

    assert about(trial={"name": "long"}) == "long"
    assert about(trial={}) == about(data="rows.jsonl") == ""


def test_environment_points_the_sdks_at_the_emulator_and_hides_credentials(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "secret")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")
    found = environment("http://127.0.0.1:1")
    assert found["GOOGLE_VERTEX_BASE_URL"] == found["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:1"
    assert not {"GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"} & set(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nope.jsonl"], "nope.jsonl: no such file"),
        (["--data", "folder.jsonl"], "folder.jsonl: is a directory"),
        (["--data", "empty.jsonl"], "empty.jsonl: the file is empty"),
        (["--data", "latin.csv"], "latin.csv:3: byte 4 (0xe9) is not UTF-8"),
        (["--data", "other.jsonl"], "other.jsonl:1: no usable row among 1: 1 missing_text"),
        (["--engine", "scripted:nope.json"], "nope.json: the engine's script cannot be read"),
        (["--engine", "scripted:latin.csv"], "latin.csv: the engine's script cannot be read: not JSON"),
        (["--engine", "clever"], "unknown engine 'clever'"),
        (["--set", "split.sed=3"], "unknown setting 'split.sed'"),
        (["--set", "evaluate.base_model=gemini-0-none"], "gemini-0-none"),
        (["--set", "gate.metric=luck"], "gate.metric='luck': unknown metric 'luck'"),
    ],
)
def test_run_reports_bad_input_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.jsonl").mkdir()
    Path("empty.jsonl").touch()
    Path("latin.csv").write_bytes(b"text,label\ncaf\xc3\xa9,a\ncaf\xe9,a\n")
    Path("other.jsonl").write_text('{"body": "x"}\n')
    data = Path(__file__).parents[2] / "examples" / "support_en" / "rows.jsonl"
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {data}\n")
    done = CliRunner().invoke(app, ["run", str(config), "--runs", str(tmp_path / "runs"), *arguments])
    assert done.exit_code == 1
    assert message in done.output.replace("\n", "")
    assert not (tmp_path / "runs").exists()


def test_create_folder_never_takes_one_that_exists(tmp_path):
    folders = [create_folder(tmp_path, "support") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.is_dir() and folder.name.startswith("support-") for folder in folders)


def test_finished_steps_are_those_of_earlier_attempts(tmp_path):
    start = {"event": "start", "step": "split", "number": 1, "log": "x", "time": 1.0}
    finish = {"event": "finish", "step": "split", "number": 1, "code": 0, "last": "", "time": 2.0}
    failed = [{**start, "number": 2, "step": "gate"}, {**finish, "number": 2, "step": "gate", "code": 1}]
    lines = [json.dumps(event) for event in (start, finish, *failed, {"event": "end", "code": 1, "error": ""}, start)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines)[:-5])  # the last line was cut off by a kill
    steps, last = finished_steps(tmp_path)
    assert [(step.name, step.number) for step in steps] == [("split", 1)]
    assert last == 2, "numbers of failed steps are not used again"
    assert finished_steps(tmp_path / "new") == ([], 0)


def test_alone_in_refuses_a_second_process(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} is still going"):
        alone_in(tmp_path).__enter__()
    with alone_in(tmp_path):
        pass


def test_read_start_refuses_what_cannot_go_on(tmp_path):
    with pytest.raises(UserError, match="no run"):
        read_start(tmp_path)
    started = '{"data": "d", "engine": "student", "jobs": 1, "executes": [], "time": ""}'
    (tmp_path / "start.json").write_text(started)
    assert read_start(tmp_path)["data"] == "d"
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="the run is finished"):
        read_start(tmp_path)


def test_listed_names_damaged_runs_and_goes_on(tmp_path):
    sound = {"data": "d", "engine": "student", "jobs": 1, "executes": [], "time": "2026-11-26T09:00:00+00:00"}
    for number, content in enumerate(("{", "[]", {**sound, "time": 5}, {"time": ""}, sound)):
        folder = tmp_path / f"shop-20261126-09000{number}"
        folder.mkdir()
        (folder / "start.json").write_text(content if isinstance(content, str) else json.dumps(content))
    rows = sorted(listed(tmp_path, "shop"), key=lambda row: row["run"])
    assert [row["state"] for row in rows] == ["damaged"] * 4 + ["stopped"]
    assert folder_of(tmp_path, "shop").name == rows[-1]["run"]


@pytest.mark.parametrize("arguments", [[], ["c.yaml", "--resume", "runs/x"], ["--resume", "runs/x", "--data", "a.csv"]])
def test_run_takes_a_configuration_or_a_run_to_resume(arguments):
    done = CliRunner().invoke(app, ["run", *arguments])
    assert done.exit_code == 2
    assert "expected a configuration, or --resume RUN alone" in done.output


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("gemtune.errors.UserError: c.jsonl: no rows", UserError),
        ("gemtune.errors.OverBudgetError: it may cost 3 USD", OverBudgetError),
        ("ValueError: a fault", UserError),
    ],
)
def test_run_pipeline_raises_the_kind_of_error_of_the_step(raised, error, tmp_path):
    log = tmp_path / "log"
    log.write_text(f"Traceback (most recent call last):\n{raised}\n")
    step = Step("check-budget", 1, str(log), 1, 2, code=1, last=raised)
    kind, message = _why(StepRecord([step]))
    assert kind is error
    assert message == f"check-budget: {raised.removeprefix(f'gemtune.errors.{error.__name__}: ')}\nfull log: {log}"


def test_latest_needs_a_finished_run(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        latest(tmp_path)


def test_snippets_are_shell_and_python():
    text = snippets(
        {
            "model": "projects/p/locations/l/endpoints/1",
            "example_request": {"contents": [{"role": "user", "parts": [{"text": "it's"}]}]},
        },
        "http://h:1",
    )
    curl, python = text.split("\n\n", 1)
    assert "projects/p/locations/l/endpoints/1:generateContent" in curl
    assert "it'\\''s" in curl
    compile(python, "snippet", "exec")


def test_snippets_of_a_base_model_name_the_location_that_runs_call_and_log():
    """In another one nothing of it is logged, and monitoring sees no rows."""
    text = snippets({"model": "gemini-3.1-flash-lite", "example_request": {"contents": []}}, "http://h:1")
    assert "/locations/us/publishers/" in text
    assert 'location="us"' in text


def test_observer_ends_the_run_where_a_log_cannot_be_written(tmp_path, monkeypatch):
    events, server = io.StringIO(), SimpleNamespace(start=lambda *_: (io.StringIO("line\n"), io.StringIO("0")))
    monkeypatch.setattr(Path, "open", lambda *_, **__: open("/dev/full", "w"))  # noqa: SIM115
    inputs = {"outputs": {"outputFile": "steps/run/tune/executor_output.json"}}
    assert Observer(events, tmp_path, 0, server).run(["sh", "--executor_input", json.dumps(inputs)]) == 1
    finish, end = map(json.loads, events.getvalue().splitlines()[-2:])
    assert (finish["event"], finish["code"], end["event"], end["code"]) == ("finish", 1, "end", 1)
    assert end["error"].endswith("01-tune.log: No space left on device (free disk space, or quota)")


def test_durations_of_steps_survive_a_clock_that_is_set(tmp_path, monkeypatch):
    """The events of a step are those of one process."""
    events = io.StringIO()
    observer = Observer(events, tmp_path, 0, None)
    observer.emit(event="other")
    real = time.time
    for change in (-86400, 7200):
        monkeypatch.setattr(time, "time", lambda change=change: real() + change)
        observer.emit(event="other")
    times = [json.loads(line)["time"] for line in events.getvalue().splitlines()]
    assert times == sorted(times)
    assert times[-1] - times[0] < 60
    assert abs(times[0] - real()) < 3600

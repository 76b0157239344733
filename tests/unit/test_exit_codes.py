"""Exit codes: the table, its copies in the help and the documentation, and the commands that return them."""

import contextlib
import os
import signal
import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from typer.testing import CliRunner

from gemtune.artifacts.decision import Verdict
from gemtune.artifacts.monitoring import MonitoringVerdict
from gemtune.cli import commands, exit_codes, first_steps, main
from gemtune.errors import OverBudgetError, UserError
from pipelines import console_summary, emulator_process, local_run

CODES = {
    "deploy": 0, "keep_prompt": 3, "keep_champion": 3, "use_tfidf_baseline": 3, "none_usable": 3, "not_enough_data": 4,
}  # fmt: skip


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`gemtune run` whose pipeline ends with a verdict, or raises: the finished command."""
    (tmp_path / "c.yaml").write_text("data: rows.jsonl\n")
    server = contextlib.nullcontext(SimpleNamespace(url=""))
    monkeypatch.setattr(main, "_require_rows", lambda *_: None)
    monkeypatch.setattr(emulator_process, "emulator", lambda *_: server)
    monkeypatch.setattr(local_run, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(
        local_run, "read_start", lambda _: {"data": "d", "engine": "student", "jobs": 1, "executes": []}
    )
    monkeypatch.setattr(console_summary, "show", lambda *_: None)

    def invoke(ending, *arguments):
        def run_pipeline(*_):
            if isinstance(ending, BaseException):
                raise ending

        monkeypatch.setattr(local_run, "run_pipeline", run_pipeline)
        monkeypatch.setattr(console_summary, "finish", lambda *_: defaultdict(str, verdict=ending))
        return CliRunner().invoke(main.app, ["run", str(tmp_path / "c.yaml"), "--runs", str(tmp_path), *arguments])

    return invoke


def test_exit_codes_cover_every_verdict():
    assert set(CODES) == set(get_args(Verdict))
    codes = {verdict: exit_codes.of_verdict(verdict) for verdict in get_args(MonitoringVerdict)}
    assert codes == {"settling": 0, "fine": 0, "watch": 0, "retrain": 3, "cannot_tell": 4}


@pytest.mark.parametrize("verdict", CODES)
def test_run_exit_code_is_that_of_the_verdict(verdict, run):
    assert run(verdict).exit_code == CODES[verdict]
    assert run(verdict, "--exit-zero").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_and_its_temporary_files(number, monkeypatch, tmp_path):
    (tmp_path / "c.yaml").write_text("data: rows.jsonl\n")
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(commands, "check_own_rows", lambda *_: None)

    def execute(settings, folder, offline):
        assert list(temporary.iterdir()) == [Path(folder)]
        os.kill(os.getpid(), number)

    monkeypatch.setattr(first_steps, "execute", execute)
    before = signal.getsignal(number)
    result = CliRunner().invoke(main.app, ["plan", str(tmp_path / "c.yaml"), "--offline"])
    assert (result.exit_code, list(temporary.iterdir())) == (130, [])
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("error", "code"), [(UserError("no"), 1), (OverBudgetError("dear"), 5), (KeyboardInterrupt(), 130)]
)
def test_run_exit_code_of_errors_is_theirs_with_exit_zero_too(error, code, run):
    assert run(error).exit_code == code
    assert run(error, "--exit-zero").exit_code == code


@pytest.mark.parametrize(
    "arguments", [["run", "--no-such-option"], ["no-such-command"], ["run"], ["config", "show", "a", "b"]]
)
def test_exit_code_of_wrong_usage_is_2(arguments):
    assert CliRunner().invoke(main.app, arguments).exit_code == 2


def test_exit_codes_are_in_the_help():
    shown = " ".join(CliRunner().invoke(main.app, ["run", "--help"]).output.split())
    for code, meaning in exit_codes.EXIT_CODES.items():
        assert f"{code}: {meaning}" in shown

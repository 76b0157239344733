"""Steps as forks of one process: executed by kfp's executor, in their own environment, reported when they fail."""

import json
import os
import signal
import sys

import pytest

from pipelines.step_server import StepServer

SCRIPT = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true {} -m kfp.dsl.executor_main  --component_module_path  "$program_path/ephemeral_component.py"  "$@"
"""
SOURCE = """
from kfp.dsl import *
from typing import *

def {name}(word: str) -> str:
    import os, signal
    print(os.getppid(), "_KFP_RUNTIME" in os.environ, os.environ.get("WORD"))
    {body}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        running = StepServer(log)
        yield running
        running.close()
    assert not (tmp_path_factory.getbasetemp() / "server0" / "log").read_text()


def run(server, command, **variables):
    """The last lines of a step's output, and its exit code."""
    output, code = server.start(command, {**os.environ, **variables})
    with output, code:
        return output.read().splitlines(), code.read()


def component(folder, body, python=sys.executable):
    """The command of a component that takes `word`."""
    written = folder / "output.json"
    outputs = {"parameters": {"Output": {"outputFile": str(folder / "word")}}, "outputFile": str(written)}
    inputs = json.dumps({"inputs": {"parameterValues": {"word": "hello"}}, "outputs": outputs})
    source = SOURCE.format(name="echo", body=body)
    last = ["--executor_input", inputs, "--function_to_execute", "echo"]
    return ["sh", "-ec", SCRIPT.format(python), source, *last]


def test_step_server_executes_a_component_in_a_fork(server, tmp_path):
    lines, code = run(server, component(tmp_path, "return word.upper()"), WORD="mine")
    assert code == "0", lines
    parents = {line for line in lines if line.endswith(" True mine")}
    assert parents
    assert json.loads((tmp_path / "output.json").read_text())["parameterValues"] == {"Output": "HELLO"}
    lines, _ = run(server, component(tmp_path, "return word"))
    assert [line.split()[0] for line in lines if line.endswith(" True None")] == [parents.pop().split()[0]]


@pytest.mark.parametrize(
    ("body", "last"),
    [("raise ValueError('no such row')", "ValueError: no such row"), ("os.kill(os.getpid(), signal.SIGKILL)", "")],
)
def test_step_server_reports_a_step_that_fails(server, tmp_path, body, last):
    lines, code = run(server, component(tmp_path, body))
    assert code == ""
    assert last in lines[-1]


def test_step_server_starts_other_commands_as_they_are(server, tmp_path):
    assert run(server, ["sh", "-c", "echo $WORD; exit 3"], WORD="mine") == (["mine"], "3")
    own = tmp_path / "python"
    own.write_text(f'#!/bin/sh\necho own python\nexec {sys.executable} "$@"\n')
    own.chmod(0o755)
    lines, code = run(server, component(tmp_path, "return word", own))
    assert (lines[0], code) == ("own python", "0")


def test_step_server_that_was_killed_starts_no_step(tmp_path):
    with (tmp_path / "log").open("w") as log:
        killed = StepServer(log)
    killed._process.send_signal(signal.SIGKILL)
    killed._process.wait()
    assert run(killed, ["true"]) == ([], "")
    killed.close()

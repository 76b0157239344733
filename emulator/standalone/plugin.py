# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The pytest fixture `vertex_emulator`: an emulator for the session, empty at the start of each test that uses it."""

import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class VertexEmulator:
    """A running emulator: its address and the variables that lead Google's libraries to it."""

    url: str
    environment: dict[str, str]

    def reset(self) -> None:
        """Remove all jobs, models, endpoints, objects and faults."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/emulator/reset", method="POST"), timeout=60).close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the emulator's arguments."""
    parser.addini("vertex_emulator_args", "arguments of the emulator", type="args", default=["--engine", "scripted"])


@pytest.fixture(scope="session")
def vertex_emulator_process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VertexEmulator]:
    """An emulator process for the session, with the arguments of the setting `vertex_emulator_args`."""
    command = [sys.executable, "-m", __package__, "--port", "0", "--state-dir", str(tmp_path_factory.mktemp("vertex"))]
    command += request.config.getini("vertex_emulator_args")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = list(iter(process.stdout.readline, "\n"))
    ready = re.search(r"http://\S+", lines[0]) if lines and lines[-1] else None
    assert ready, "the emulator did not start"
    exports = (shlex.split(line)[1].partition("=") for line in lines[1:])
    yield VertexEmulator(ready[0], {name: value for name, _, value in exports})
    process.terminate()
    process.wait(20)


@pytest.fixture
def vertex_emulator(vertex_emulator_process: VertexEmulator, monkeypatch: pytest.MonkeyPatch) -> VertexEmulator:
    """The emulator without state, with its variables and credentials in the environment of the test."""
    vertex_emulator_process.reset()
    for name, value in vertex_emulator_process.environment.items():
        monkeypatch.setenv(name, value)
    return vertex_emulator_process

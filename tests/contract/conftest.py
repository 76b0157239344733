# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A running emulator for the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated import Server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts emulators with the scripted engine; all are killed at the end."""
    servers: list[Server] = []

    def run(*arguments: str, state_dir: Path | None = None) -> Server:
        engine = [] if "--engine" in arguments else ["--engine", "scripted"]
        servers.append(Server(state_dir or tmp_path / "state", *engine, *arguments))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One emulator for the tests of a file."""
    directory = tmp_path_factory.mktemp("emulator")
    running = Server(directory / "state", "--engine", "scripted")
    yield running
    running.kill()

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An emulator for the tests of a file, a client of it, and a meter of what is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulator_process import Emulator, Taken, meter
from report_documents import paths, recorded  # noqa: F401

from gemtune.vertex import Client


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A process with the scripted engine; files that need another start their own."""
    running = Emulator(tmp_path_factory.mktemp("emulator"))
    yield running
    running.kill()


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The environment points to the emulator."""
    return emulator.point(monkeypatch)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Tokens of every answer from now on."""
    return meter(monkeypatch)

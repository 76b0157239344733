# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An emulator process for tests of the steps, its jobs, and the tokens it answered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from samples import TUNING_PRICES

from gemtune import vertex
from gemtune.catalogue import Catalogue
from gemtune.config import Vertex
from gemtune.contents import ModelOutput
from gemtune.vertex import Client, connect
from gemtune.vertex.jobs import FINGERPRINT, TuningJob, find

PROJECT = "demo-project"
SHIPPED = Catalogue.load({"models": TUNING_PRICES})


class Emulator:
    """An emulator process with the scripted engine; `faults` puts a fault plan in force."""

    def __init__(self, state_dir: Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "emulator",
            "--engine",
            "scripted",
            "--port",
            "0",
            "--state-dir",
            str(state_dir),
        ]
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found, "the emulator did not start"
        self.url = found[0]

    @property
    def environment(self) -> dict[str, str]:
        """What to export so that the SDKs find it."""
        return {
            "GOOGLE_VERTEX_BASE_URL": self.url,
            "STORAGE_EMULATOR_HOST": self.url,
            "BIGQUERY_EMULATOR_HOST": self.url,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_LOCATION": "us-central1",
        }

    def faults(self, **plan: Any) -> None:
        """Put a fault plan in force; none: everything works."""
        request = urllib.request.Request(
            f"{self.url}/emulator/faults", json.dumps(plan).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()

    def point(self, monkeypatch: pytest.MonkeyPatch) -> Client:
        """Set the environment; a client of it."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return connect(Vertex.of({}))

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=20)


Taken = Counter[tuple[str, str]]


def meter(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Tokens of every answer that comes from the service from now on, by model and side."""
    found: Taken = Counter()
    real = vertex.generate

    async def generate(client: Client, model: str, *rest: Any) -> ModelOutput:
        answer = await real(client, model, *rest)
        known = model if model in SHIPPED.models else "gemini-3.1-flash-lite"
        found[known, "input"] += answer.input_tokens
        found[known, "output"] += answer.output_tokens
        return answer

    monkeypatch.setattr(vertex, "generate", generate)
    return found


def cost_of(taken: Taken) -> float:
    """US dollars at the shipped prices."""
    return sum(n * getattr(SHIPPED.price("", model), side) for (model, side), n in taken.items()) / 1e6


def jobs_of(client: Client, name: str) -> list[TuningJob]:
    """All jobs of a run's name."""
    return find(client, "gemtune-name", name)


def fingerprints(client: Client, name: str) -> list[str]:
    """The fingerprints of a run's jobs."""
    return sorted(job.labels[FINGERPRINT] for job in jobs_of(client, name))

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the steps share: an emulator process, a scripted answer, small splits, sections as plain dicts."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gemtune import vertex
from gemtune.catalogue import Catalogue
from gemtune.config import Config, Vertex
from gemtune.data.example import Example, example_id, write_examples
from gemtune.vertex import Client, connect
from gemtune.vertex.jobs import FINGERPRINT, TuningJob, find

PROJECT = "demo-project"
SHIPPED = Catalogue.load()
PHRASES = {
    "refund": ["money back", "refund please", "return my cash"],
    "delivery": ["where is my parcel", "late package", "shipping status"],
    "login": ["cannot sign in", "password lost", "account locked"],
}
FILLERS = ["the", "and", "a", "very", "really", "today", "please", "yesterday", "again", "now", "soon", "order"]


@dataclass(frozen=True)
class Said:
    """An answer of a model that a test scripts."""

    text: str
    finish_reason: str = "STOP"
    block_reason: str = ""
    input_tokens: int = 5
    output_tokens: int = 1
    logprob: float | None = None


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


def examples(count: int, seed: int) -> list[Example]:
    """Texts that say one of three things in passing."""
    rng, found = random.Random(seed), {}
    while len(found) < count:
        label = rng.choice(sorted(PHRASES))
        text = (
            f"{' '.join(rng.choices(FILLERS, k=5))} {rng.choice(PHRASES[label])} {' '.join(rng.choices(FILLERS, k=4))}"
        )
        found[text] = Example(id=example_id(text, label), text=text, target=label)
    return list(found.values())


def splits(folder: Path, train: int = 120, validation: int = 40, test: int = 60, seed: int = 1) -> list[str]:
    """Files of training, validation and test rows."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for offset, (name, count) in enumerate((("train", train), ("validation", validation), ("test", test))):
        paths.append(str(folder / f"{name}.jsonl"))
        write_examples(paths[-1], examples(count, 10 * seed + offset))
    return paths


def sections(*overrides: str) -> dict[str, Any]:
    """A run's sections with a fast poll."""
    return Config.load(
        None, ["tune.poll_s=0.05", "plan.token_sample=8", "task.labels=[refund,delivery,login]", *overrides]
    ).parameters()


Taken = Counter[tuple[str, str]]


def meter(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Tokens of every answer that comes from the service from now on, by model and side."""
    found: Taken = Counter()
    real = vertex.generate

    async def generate(client: Client, model: str, *rest: Any) -> vertex.GenerateResponse:
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

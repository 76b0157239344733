# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a local run, from the events of `pipelines.kfp_local_events`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLOCK = "GEMTUNE_RUN_CLOCK"  # what a run's command adds to the monotonic clock, for the process of its steps
EPOCH = float(os.environ.get(CLOCK) or time.time() - time.monotonic())


def steady_time() -> float:
    """Seconds since the epoch by a clock that setting the system's does not move: durations stay true."""
    return EPOCH + time.monotonic()


@dataclass(slots=True)
class Step:
    """A step of a run, running or finished (times in seconds since the epoch); `scores` as it reports them."""

    name: str
    number: int
    log: str
    start: float
    finish: float = 0.0
    code: int | None = None
    headline: str = ""
    last: str = ""
    about: str = ""
    scores: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The step's name without its iteration."""
        return self.name.split("[")[0]

    @property
    def share(self) -> float | None:
        """The part of its work that is done, from its progress (`114/384 rows`); None where it reports none."""
        if self.code == 0:
            return 1.0
        counts: list[tuple[str, str]] = re.findall(r"\b(\d+)/(\d+)\b", self.headline)
        return min(1.0, int(counts[-1][0]) / max(1, int(counts[-1][1]))) if counts else None

    def left(self, now: float) -> float | None:
        """The seconds until it ends: as it reports them, else by its rate so far; None where it reports no progress."""
        if reported := re.search(r"(\d+) s left", self.headline):
            return float(reported[1])
        return (now - self.start) * (1 - self.share) / self.share if self.share else None


@dataclass
class StepRecord:
    """The steps that have started, and how the run ended (`end`, {} before)."""

    steps: list[Step] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> StepRecord:
        """The record of a file of events; empty where there is none."""
        record = cls()
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as events:
            for line in events:
                with contextlib.suppress(ValueError):  # a last line that was cut off
                    record.add(json.loads(line))
        return record

    def add(self, event: dict[str, Any]) -> None:
        """Take one event."""
        if event["event"] == "start":
            step = Step(event["step"], event["number"], event["log"], event["time"], about=event.get("about", ""))
            self.steps.append(step)
        elif event["event"] == "line":
            kind, text = event["text"].split(": ", 1)
            if kind == "score":
                self._step(event).scores.append(text)
            else:
                self._step(event).headline = text
        elif event["event"] == "finish":
            step = self._step(event)
            step.finish, step.code, step.last = event["time"], event["code"], event["last"]
        else:
            self.end = event

    def of(self, names: Collection[str]) -> list[Step]:
        """The steps of these names."""
        return [step for step in self.steps if step.base in names]

    def _step(self, event: dict[str, Any]) -> Step:
        return next(step for step in self.steps if step.number == event["number"])

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the benchmarks, as JSON lines: what was measured, beside its peer and its goal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

FILE = "BENCH_FIGURES"  # environment variable: the file to which `record` appends


class Figure(BaseModel):
    """A measured value; less is better unless `more_is_better`.

    `reason` is why a goal is not reached: functions or steps with their shares of the time; `finding` says what else
    was measured about it. `earlier` is the ratio or value that was recorded before, `measured` the day, and `loop_s`
    what `loop_seconds` returned then: the larger, the slower the machine (0: not recorded).
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    goal: float | None = None
    more_is_better: bool = False
    reason: list[tuple[str, float]] = []
    finding: str = ""
    earlier: str = ""
    measured: str = ""
    loop_s: float = 0.0

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; None without a peer."""
        if self.peer_value is None:
            return None
        better, worse = (self.value, self.peer_value) if self.more_is_better else (self.peer_value, self.value)
        return better / worse if worse else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def loop_seconds() -> float:
    """CPU seconds of a fixed loop in Python, the least of five: how slow this machine is."""
    spent = []
    for _ in range(5):
        begin = time.process_time()
        sum(n * n % 7 for n in range(1_000_000))
        spent.append(time.process_time() - begin)
    return min(spent)


def record(figure: Figure) -> None:
    """Append the figure to the file that `python -m bench` names; a benchmark that runs alone keeps none."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(figure.model_dump_json(exclude_defaults=True) + "\n")


def read(path: Path) -> list[Figure]:
    """The figures of a file of JSON lines; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Figure.model_validate_json(line) for line in lines]


def write(path: Path, figures: Iterable[Figure]) -> None:
    """Write figures as JSON lines."""
    path.write_text("".join(f"{own.model_dump_json(exclude_defaults=True)}\n" for own in figures), encoding="utf-8")

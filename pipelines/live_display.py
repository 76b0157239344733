# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A run on the terminal: a line with its result for each finished phase, and a live block for the running one.

Where the output is no terminal, each finished phase is a line with its time of day.
"""

import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import yaml
from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipelines.steps import Step, StepRecord, steady_time

BAR_WIDTH, SPARKLINE_WIDTH, SECONDS_WIDTH, INDENT = 20, 24, 8, 12
BLOCKS = "▁▂▃▄▅▆▇█"
WATCH_S = 2.0  # between two readings of the loss curves
OPTIONAL = (r" \([^()]*\)", r"\. .*$", r"[,;:] [^,;:]*$")  # left out of a result that is too long, in this order

Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Phase:
    """Steps that are shown together; see `phases.yaml`."""

    name: str
    steps: tuple[str, ...]
    shows: tuple[str, ...]
    costs: tuple[str, ...] = ()


PHASES = tuple(Phase(**phase) for phase in yaml.safe_load(Path(__file__).with_name("phases.yaml").read_text("utf-8")))


class LiveDisplay:
    """Shows the steps of a record by their phases; `curves` returns the loss curves of the running job by name."""

    def __init__(
        self, console: Console, record: StepRecord, folder: Path, curves: Callable[[], Curves] = lambda: {}
    ) -> None:
        self._console, self._record, self._folder, self._read_curves = console, record, folder, curves
        self._shown: set[str] = set()
        self._curves: Curves = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._over = threading.Event()
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._running)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._live.stop()

    def update(self) -> None:
        """Print the phases that have ended since; called after each event of the record."""
        record = self._record
        started = [phase for phase in PHASES if record.of(phase.steps)]
        failed = [step for step in record.steps if step.code not in (0, None)]
        for phase in started if record.end else started[:-1]:
            if phase.name not in self._shown and all(step.code is not None for step in record.of(phase.steps)):
                self._shown.add(phase.name)
                self._print(phase, [step for step in failed if step.base in phase.steps])

    def _print(self, phase: Phase, failed: Sequence[Step]) -> None:
        steps = self._record.of(phase.steps)
        text = f"{failed[-1].name}: {failed[-1].last}" if failed else result(phase, steps)
        if not text:
            return
        seconds = f"{max(step.finish for step in steps) - min(step.start for step in steps):.0f} s"
        if not self._console.is_terminal:
            stamp = datetime.fromtimestamp(max(step.finish for step in steps)).strftime("%H:%M:%S")
            failure = "failed: " if failed else ""
            self._console.print(Text(f"{stamp} {phase.name}: {failure}{text} ({seconds})"), soft_wrap=True)
            return
        mark = Text("✗", "red") if failed else Text("✓", "green")
        width = self._console.width - INDENT - SECONDS_WIDTH - 2
        self._console.print(_line(mark, phase.name, Text(shortened(text, width), overflow="fold"), seconds))

    def _running(self) -> RenderableType:
        running = [step for step in self._record.steps if step.code is None]
        phase = next((phase for phase in PHASES if running and running[-1].base in phase.steps), None)
        if phase is None:
            return Text()
        steps, now, share = self._record.of(phase.steps), steady_time(), self._share(running)
        elapsed = now - min(step.start for step in steps)
        facts = Table.grid(padding=(0, 2))
        bar = ProgressBar(1.0, share or 0.0, BAR_WIDTH, pulse=share is None)
        left = [seconds for step in running if (seconds := step.left(now)) is not None]
        facts.add_row(bar, *([f"{max(left):.0f} s left"] if left else []), self._money(phase, share))
        first = _line(Spinner("dots"), phase.name, facts, f"{elapsed:.0f} s")
        lines: list[RenderableType] = [Text(step_text(step), overflow="fold") for step in running]
        if any(step.base.startswith("tune") for step in running):
            lines += [Text(f"{name} {sparkline(values)}") for name, values in self._curves.items() if values]
        if scores := [score for step in steps for score in step.scores]:
            lines.append(Columns([Text(score, overflow="fold") for score in scores], padding=(0, 2)))
        return Group(first, *(Padding(line, (0, 0, 0, INDENT)) for line in lines))

    def _share(self, running: Sequence[Step]) -> float | None:
        """The part of the running steps' work, with that of finished trials, that is done; None where none reports."""
        if all(step.share is None for step in running):
            return None
        same = self._record.of([running[-1].base])
        tuning = running[-1].base.startswith("tune")
        count = max(len(same), len(self._document("plan-tuning", "tuning_plan").get("trials", [])) if tuning else 0)
        return sum(step.share or 0.0 for step in same) / count

    def _money(self, phase: Phase, share: float | None) -> str:
        """What the phase has spent of its forecast so far, by the share that is done, in US dollars."""
        plan = self._document("plan-tuning", "tuning_plan") or self._document("check-budget", "budget")
        items = [item for item in plan.get("forecast", {}).get("items", []) if item["kind"] in phase.costs]
        forecast: float = sum(item["cost"]["expected"] for item in items)
        digits = 2 if forecast >= 1 else 4
        spent = "forecast" if share is None else f"about ${share * forecast:.{digits}f} of"
        return f"{spent} ${forecast:.{digits}f}" if forecast else ""

    def _document(self, step: str, output: str) -> dict[str, Any]:
        """A finished step's document; {} before it has finished."""
        if step not in self._documents and any(own.code == 0 for own in self._record.of([step])):
            path = next((self._folder / "steps").rglob(f"{step}*/{output}.json"), None)
            self._documents[step] = json.loads(path.read_text("utf-8")) if path else {}
        return self._documents.get(step, {})

    def _watch(self) -> None:
        while not self._over.wait(WATCH_S):
            tuning = any(step.code is None and step.base.startswith("tune") for step in self._record.steps)
            self._curves = self._read_curves() if tuning else {}


def _line(mark: RenderableType, name: str, content: RenderableType, seconds: str) -> Table:
    row = Table.grid(expand=True, padding=(0, 1, 0, 0))
    row.add_column(width=1)
    row.add_column(width=INDENT - 4, no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(width=SECONDS_WIDTH, justify="right", no_wrap=True)
    row.add_row(mark, name, content, seconds)
    return row


def step_text(step: Step) -> str:
    """A running step in words: its name, trial and progress."""
    progress = re.sub(", [^,]* s left", "", step.headline)
    return f"{step.base} {step.about}".strip() + (f": {progress}" if progress else "")


def result(phase: Phase, steps: Sequence[Step]) -> str:
    """A finished phase in words: the results of the steps that it shows; "" where it shows none of these steps."""
    texts = []
    for name in phase.shows:
        headlines = [step.headline for step in steps if step.base == name and step.headline]
        counts = [re.match(r"(\d+) checkpoints", headline) for headline in headlines]
        if len(headlines) > 1 and all(counts):
            points = sum(int(count[1]) for count in counts if count)
            texts.append(f"{len(headlines)} trials with {points} checkpoints")
        else:
            texts += headlines[-1:]
    return "; ".join(text for text in texts if not text.startswith("skipped") or len(texts) == 1)


def shortened(text: str, width: int) -> str:
    """The text in at most `width` cells where that is possible without a cut word: only whole clauses are left out."""
    for pattern in OPTIONAL:
        while cell_len(text) > width and (less := re.sub(pattern, "", text, count=1)) != text:
            text = less
    return text


def sparkline(values: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
    """The curve of some values in at most `width` characters, with its first and its last value."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    count = min(width, len(finite))
    edges = [round(n * len(finite) / count) for n in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    blocks = "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)
    return f"{finite[0]:.3g} {blocks} {finite[-1]:.3g}"

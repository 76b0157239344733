# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A whole run on this machine: the emulator, the compiled YAML itself on kfp's local runner, one line per step.

Whatever happens (success, a failing step, Ctrl-C), the steps are ended first, so that a tuning step can cancel its
job, and the emulator last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from gemtune.config import Config
from gemtune.errors import UserError
from pipelines.compilation import compile_pipeline

PROJECT, LOCATION = "demo-project", "us-central1"
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 20.0


@contextlib.contextmanager
def emulator(state: Path, log: Path, port: int = 0, engine: str = "student", jobs: int = 1) -> Iterator[str]:
    """Run the emulator with a state directory; yields its URL. `jobs` tuning jobs train at the same time.

    Raises `UserError` when it cannot start.
    """
    command = [sys.executable, "-m", "emulator", "--port", str(port), "--state-dir", str(state)]
    command += ["--engine", engine, "--concurrency", str(jobs)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        lines: list[str] = []
        ready = threading.Event()

        def follow() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                out.write(line)
                out.flush()
                if "http://" in line:
                    ready.set()
            ready.set()

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            ready.wait(START_TIMEOUT_S)
            url = re.search(r"http://[\d.]+:\d+", "".join(lines))
            if url is None or process.poll() is not None:
                last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
                raise UserError(f"the emulator did not start: {last}", remedy=f"see {log}")
            yield url[0]
        finally:
            _end(process)
            follower.join(5)


def check_engine(engine: str) -> None:
    """Refuse, before anything starts, an unknown engine, or a script that is not a JSON object."""
    kind, colon, script = engine.partition(":")
    if kind not in ("student", "scripted") or (colon and kind == "student"):
        raise UserError(f"unknown engine {engine!r}", remedy="write student, scripted or scripted:FILE.json")
    if not colon:
        return
    try:
        content = json.loads(Path(script).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise UserError(f"the engine's script cannot be read: {problem}", file=script) from None
    if not isinstance(content, dict):
        raise UserError("the engine's script is not a JSON object", file=script)


def environment(url: str) -> dict[str, str]:
    """What points the Google SDKs at the emulator: the variables they honour themselves, and no credentials."""
    names = ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_REGION")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return kept | {
        "GOOGLE_VERTEX_BASE_URL": url,
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GOOGLE_CLOUD_LOCATION": LOCATION,
        "TOKENIZERS_PARALLELISM": "false",
    }


def run_pipeline(config: Config, folder: Path, url: str, console: Console) -> list[Step]:
    """Compile, run, show. Returns the steps with their times; raises `UserError` with the failing step's message."""
    pipeline = compile_pipeline(config, folder / "pipeline.yaml")
    parameters = yaml.safe_load(pipeline.read_text())["root"]["inputDefinitions"]["parameters"]
    values = {name: value for name, value in config.parameters().items() if name in parameters}
    arguments = folder / "arguments.json"
    arguments.write_text(json.dumps(values, ensure_ascii=False, indent=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.kfp_local_events", str(pipeline), str(arguments), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(url),
        start_new_session=True,
    )
    board = Board(console)
    try:
        assert process.stdout is not None
        with board:
            for line in process.stdout:
                board.show(json.loads(line))
        process.wait()
    finally:
        _end(process)
    if board.end.get("code") != 0:
        raise UserError(_why(board))
    return board.steps


@dataclass(slots=True)
class Step:
    """A step of a run, running or finished (times in seconds since the epoch)."""

    name: str
    number: int
    log: str
    start: float
    finish: float = 0.0
    code: int | None = None
    headline: str = ""
    last: str = ""
    about: str = ""


@dataclass
class Board:
    """Shows steps as they run: a permanent line for each finished one, a live line for each running one."""

    console: Console
    steps: list[Step] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Board:
        self._live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self._running)
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Take one event of `pipelines.kfp_local_events`."""
        if event["event"] == "start":
            step = Step(event["step"], event["number"], event["log"], event["time"], about=event.get("about", ""))
            self.steps.append(step)
        elif event["event"] == "line":
            self._step(event).headline = event["text"].split(": ", 1)[1]
        elif event["event"] == "finish":
            step = self._step(event)
            step.finish, step.code, step.last = event["time"], event["code"], event["last"]
            mark = "[green]✓[/]" if step.code == 0 else "[red]✗[/]"
            self.console.print(_row(mark, step, step.finish))
        else:
            self.end = event

    def _step(self, event: dict[str, Any]) -> Step:
        return next(step for step in self.steps if step.number == event["number"])

    def _running(self) -> Table:
        grid = Table.grid()
        for step in self.steps:
            if step.code is None:
                grid.add_row(_row(Spinner("dots"), step, time.time()))
        return grid


def _row(mark: Any, step: Step, now: float) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_column(width=1)
    row.add_column(width=32, no_wrap=True, overflow="ellipsis")
    row.add_column(width=8, justify="right")
    row.add_column(overflow="fold")
    row.add_row(mark, f"{step.name.split('[')[0]} [dim]{step.about}[/]", f"{now - step.start:.1f} s", step.headline)
    return row


def _why(board: Board) -> str:
    """The failing step's own message, without its traceback; the place of the full log."""
    failed = next((step for step in board.steps if step.code not in (0, None)), None)
    if failed is None:
        return board.end.get("error") or "the local runner ended without a result; see logs/kfp.log"
    text = Path(failed.log).read_text(encoding="utf-8")
    _, marker, message = text.rpartition("gemtune.errors.UserError: ")
    problem = message.strip() if marker else failed.last
    return f"{failed.name}: {problem}\nfull log: {failed.log}"


def _end(process: subprocess.Popen[str]) -> None:
    """Terminate a process and all its children, then kill those that still run."""
    for sig, patience_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        try:
            os.killpg(process.pid, sig)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            break
    process.wait()


def orchestration(steps: list[Step], start: float, finish: float) -> dict[str, float]:
    """Wall time, the part of it with at least one step at work, and the share that is left (seconds, fraction)."""
    inside, reached = 0.0, start
    for step in sorted(steps, key=lambda step: step.start):
        inside += max(0.0, step.finish - max(step.start, reached))
        reached = max(reached, step.finish)
    wall = finish - start
    return {"wall_s": round(wall, 2), "steps_s": round(inside, 2), "share": round(1 - inside / wall, 4)}


def collect(folder: Path) -> dict[str, Any]:
    """Copy page and summary of the report step to the top of the run's folder; returns the summary."""
    (page,) = (folder / "steps").rglob("report*/page")
    (summary,) = (folder / "steps").rglob("report*/summary")
    shutil.copyfile(page, folder / "report.html")
    read: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return read

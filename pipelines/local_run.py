# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A whole run on this machine: the compiled YAML itself on kfp's local runner, one line per phase.

Whatever happens (success, a failing step, Ctrl-C, a signal, kill -9), the steps are ended first, so that a tuning step
can cancel its job, and the emulator last. A run that has not finished can be resumed: its folder has all it needs.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import itertools
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gemtune.artifacts.base import open_atomic
from gemtune.artifacts.manifest import Manifest, Verification, check_file, digest_of
from gemtune.config import Config
from gemtune.errors import SYSTEM_REMEDIES, OverBudgetError, TooFewRowsError, UserError
from gemtune.inference.vertex_generation import RUN_ANSWERS
from pipelines import process_tree
from pipelines.compilation import Pipeline, compile_pipeline
from pipelines.emulator_process import RunningEmulator, environment
from pipelines.kfp_local_events import ARGUMENTS, PIPELINE, STARTED
from pipelines.live_display import LiveDisplay
from pipelines.steps import CLOCK, EPOCH, Step, StepRecord
from pipelines.tasks import without_email

EVENTS, MANIFEST, STEP_MANIFEST = "events.jsonl", "manifest.json", "report*/manifest"


def create_folder(runs: Path, name: str) -> Path:
    """A new, empty folder for a run, named by the configuration and the time."""
    started = f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    for number in itertools.count(1):
        folder = runs / (started if number == 1 else f"{started}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def prepare(
    config: Config,
    folder: Path,
    engine: str,
    jobs: int,
    pipeline: Pipeline = "tuning",
    values: Mapping[str, Any] | None = None,
) -> None:
    """Write the compiled pipeline, its arguments and how the emulator is started to the run's folder.

    `values` are the arguments that differ from the pipeline's defaults; None: all are those of the configuration.
    """
    from pipelines.tuning import arguments

    compile_pipeline(without_email(config), folder / PIPELINE, pipeline=pipeline)  # only Vertex AI sends it
    passed = arguments(config) if values is None else dict(values)
    with open_atomic(folder / ARGUMENTS) as file:
        json.dump(passed, file, indent=1)
    runs_code = any(reward.code for trial in config.plan.trials for reward in trial.rewards)
    write_settings(folder, config.data, engine, jobs, ["rewards"] if runs_code else [])


def write_settings(folder: Path, data: str, engine: str, jobs: int, executes: Sequence[str]) -> None:
    """Keep in a run's folder what `read_settings` reads."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    digest = digest_of(data) if Path(data).is_file() else ""
    how = {"engine": engine, "jobs": jobs, "executes": list(executes)}
    started = {"data": data, "data_sha256": digest, **how, "time": now}
    with open_atomic(folder / STARTED) as file:
        json.dump(started, file, ensure_ascii=False)


def read_settings(folder: Path) -> dict[str, Any]:
    """Data, how the emulator of a run was started, and when; `UserError` for a folder without a run."""
    return _read(folder, STARTED, {"data": str, "engine": str | None, "jobs": int, "executes": list, "time": str})


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a finished run; `UserError` for a folder without one."""
    return _read(folder, "summary.json", {"outcome": dict})


def _read(folder: Path, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
        if all(field in document and isinstance(document[field], kind) for field, kind in fields.items()):
            return document
        problem = f"{name} is damaged"
    except OSError:
        problem = f"no {name}"
    except (ValueError, TypeError):
        problem = f"{name} is damaged"
    raise UserError(f"no run: {problem}", file=folder, remedy="give the folder of a run, runs/NAME-TIME")


def listed(runs: Path, name: str) -> list[dict[str, str]]:
    """The local runs of a configuration's name: folder, state (damaged: a file cannot be read) and start."""
    rows = []
    for path in runs.glob(f"{name}-*/{STARTED}"):
        if re.fullmatch(r"\d{8}-\d{6}(-\d+)?", path.parent.name.removeprefix(f"{name}-")):
            row = {"run": path.parent.name, "state": "damaged", "created": ""}
            with contextlib.suppress(UserError):
                row["created"] = read_settings(path.parent)["time"][:16].replace("T", " ")
                row["state"] = state(path.parent)
            rows.append(row)
    return rows


def folder_of(runs: Path, name: str, run: str = "") -> Path | None:
    """The folder of a local run, by default of the newest of a name; None where there is none."""
    if run:
        folder = next((path for path in (Path(run), runs / run) if (path / STARTED).is_file()), None)
    else:
        newest = max(listed(runs, name), key=lambda row: row["created"], default=None)
        folder = runs / newest["run"] if newest else None
    return folder


def state(folder: Path) -> str:
    """State of a local run: its verdict once it is finished, running, or stopped (it can be resumed)."""
    if (folder / "summary.json").exists():
        return str(read_summary(folder).get("verdict", "finished"))
    try:
        with alone_in(folder):
            return "stopped"
    except UserError:
        return "running"


def step_lines(folder: Path) -> list[str]:
    """A line for each step of a local run that has started: name, state, seconds, result."""
    return [
        f"{step.name:32} {'succeeded' if step.code == 0 else 'running' if step.code is None else 'failed':10} "
        f"{max(step.finish - step.start, 0):.0f} s {step.headline}".rstrip()
        for step in StepRecord.read(folder / EVENTS).steps
    ]


def logs(folder: Path, step: str = "") -> Iterator[str]:
    """What the steps of a local run printed, in their order: those of one name, or all; each line with its step.

    Raises `UserError` where no such step has started.
    """
    steps = [own for own in StepRecord.read(folder / EVENTS).steps if step in ("", own.name, own.base)]
    if not steps:
        raise UserError(f"no step {step} has started".replace("  ", " "), file=folder, remedy="see gemtune runs show")
    for own in steps:
        with (folder / "logs" / Path(own.log).name).open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                yield f"{own.name}: {line.rstrip()}"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """Hold a run's folder; yields the descriptor of its lock. `UserError` while another process has it; it is named."""
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            problem = f"the run of process {lock.read() or 'unknown'} is still going, or ending"
            raise UserError(problem, file=folder, remedy="wait, or end the process; then resume the run") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def read_start(folder: Path) -> dict[str, Any]:
    """As `read_settings`, for a run that can go on; `UserError` for one that is finished."""
    started = read_settings(folder)
    if (folder / "summary.json").exists():
        raise UserError("the run is finished", file=folder, remedy=f"its report is {folder / 'report.html'}")
    return started


def run_pipeline(folder: Path, server: RunningEmulator, console: Console, lock: int, again: str = "") -> list[Step]:
    """Run the prepared pipeline of a folder, without the steps that finished earlier; show each step.

    The guard of the steps holds `lock` until they have ended. Returns the steps with their times. Raises `UserError`
    with the failing step's message (`OverBudgetError` if the step raised that), and `again`: the command that goes on
    (default: --resume).
    """
    again = again or f"gemtune run --resume {folder}"
    earlier, last = finished_steps(folder)
    record = StepRecord(earlier)
    display = LiveDisplay(console, record, folder, lambda: server.loss_curves(folder.name))
    command = [sys.executable, "-m", "pipelines.kfp_local_events", str(folder), str(last)]
    over, died = threading.Event(), threading.Event()
    temporary = folder / f"tmp-{last}"
    variables = environment(server.url) | {RUN_ANSWERS: str((folder / "answers").resolve()), CLOCK: str(EPOCH)}
    with process_tree.started(command, variables, temporary, (server.users, lock)) as process:

        def end() -> None:
            if not over.is_set():
                died.set()
                process_tree.end_group(process.pid)

        server.when_it_ends(end)
        assert process.stdout is not None
        with display, (folder / EVENTS).open("a", encoding="utf-8") as events:
            for line in process.stdout:
                events.write(line)
                events.flush()
                record.add(json.loads(line))
                display.update()
                if record.end.get("code"):  # steps that still run are ended
                    break
        over.set()
    if died.is_set():
        raise UserError("the emulator ended during the run", remedy=f"see {server.log}; then go on with: {again}")
    if record.end.get("code") != 0:
        deciding = any(step.name == "deploy" and step.code for step in record.steps)  # its decision may be out of date
        error, problem = _why(record)
        raise error(problem if deciding else f"{problem}\nthen go on with: {again}")
    return record.steps


def finished_steps(folder: Path) -> tuple[list[Step], int]:
    """The steps of a run that have finished, from its events, and the highest number of a step; ([], 0) at first."""
    steps = StepRecord.read(folder / EVENTS).steps
    return [step for step in steps if step.code == 0], max((step.number for step in steps), default=0)


def _why(record: StepRecord) -> tuple[type[UserError], str]:
    """The failing step's own message, without its traceback, with the place of the full log; and its kind."""
    failed = next((step for step in record.steps if step.code not in (0, None)), None)
    if failed is None:
        return UserError, record.end.get("error") or "the local runner ended without a result; see logs/kfp.log"
    text = Path(failed.log).read_text(encoding="utf-8")
    *_, kind, message = ["", *re.split(r"^gemtune(?:\.\w+)*\.(\w+Error): ", text, flags=re.MULTILINE)]
    problem = message.strip() if kind else failed.last
    if system := re.search(r"^\w+Error: \[Errno (\d+)\]", problem):
        remedy = SYSTEM_REMEDIES.get(int(system[1]), "")
        problem += f" ({remedy})" if remedy else ""
    error = {own.__name__: own for own in (OverBudgetError, TooFewRowsError)}.get(kind, UserError)
    return error, f"{failed.name}: {problem}\nfull log: {failed.log}"


def orchestration(steps: list[Step], start: float, finish: float) -> dict[str, float]:
    """Wall time, the part of it with at least one step at work, and the share that is left (seconds, fraction)."""
    inside, reached = 0.0, start
    for step in sorted(steps, key=lambda step: step.start):
        inside += max(0.0, step.finish - max(step.start, reached))
        reached = max(reached, step.finish)
    wall = finish - start
    return {"wall_s": round(wall, 2), "steps_s": round(inside, 2), "share": round(1 - inside / wall, 4)}


def collect(folder: Path, report: str = "report*") -> dict[str, Any]:
    """Copy page and summary of the report step to the top of the run's folder; the summary."""
    shutil.copyfile(step_output(folder, f"{report}/page"), folder / "report.html")
    read: dict[str, Any] = json.loads(step_output(folder, f"{report}/summary").read_text(encoding="utf-8"))
    return read


def step_output(folder: Path, pattern: str) -> Path:
    """The file that a step of a run wrote, by STEP/OUTPUT; raises `UserError` where there is none."""
    for path in (folder / "steps").rglob(f"{pattern}.*"):
        return path
    raise UserError(f"no {pattern}", file=folder / "steps", remedy="the run has not come so far, or files were removed")


def copy_manifest(folder: Path) -> None:
    """Copy the manifest to the top of a finished run's folder, with the digests of the files that are there."""
    paths = [folder / name for name in ("report.html", "summary.json", PIPELINE, ARGUMENTS, STARTED)]
    manifest = Manifest.read(step_output(folder, STEP_MANIFEST))
    copies = {path.name: digest_of(path) for path in paths if path.is_file()}  # a submitted run has no YAML here
    manifest.model_copy(update={"copies": copies}).write(folder / MANIFEST)


def verify(folder: Path) -> tuple[Manifest, list[Verification]]:
    """The manifest of a finished run, and everything that it covers with its state.

    Raises `UserError` for a folder without a manifest.
    """
    started = read_settings(folder)
    if not (folder / MANIFEST).is_file():
        unfinished = state(folder) in ("running", "stopped")
        remedy = f"finish it: gemtune run --resume {folder}" if unfinished else "the report on monitoring has none"
        raise UserError("the run has no manifest", file=folder, remedy=remedy)
    copied = Manifest.read(folder / MANIFEST)
    path = step_output(folder, STEP_MANIFEST)
    manifest = Manifest.read(path)
    checks = list(manifest.check(path))
    is_same = copied.model_copy(update={"copies": {}}) == manifest
    text = (folder / MANIFEST).read_text("utf-8")
    checks.append(Verification(MANIFEST, "ok" if is_same and text == copied.document() else "changed"))
    checks += [check_file(folder, name, digest) for name, digest in copied.copies.items()]
    if started.get("data_sha256"):
        checks.append(check_file(Path(), started["data"], started["data_sha256"]))
    return manifest, checks

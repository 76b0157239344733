# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines submitted on this machine, to an emulator that executes them as Vertex AI would: gemtune submit --local.

Whoever uses the emulator keeps it alive: when the last command ends, so do the runs. Its state is that of local runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.vertex import Client, connect, storage
from pipelines import local_run, runs
from pipelines.cloud import files
from pipelines.compilation import Pipeline
from pipelines.emulator_process import check_engine, emulator, environment

POLL_S = 1.0
WATCHED = 20  # newest runs


@contextlib.contextmanager
def backend(folder: Path, engine: str | None, executes: Sequence[str] = ("pipelines", "rewards")) -> Iterator[str]:
    """Let this process address the emulator of a folder of runs, which executes what is named; its URL.

    Changes the environment of this process until the end of the context.
    """
    check_engine(engine or "student")
    with emulator(folder / "emulator", engine=engine, executes=executes) as server:
        before = dict(os.environ)
        _set_environment(environment(server.url))
        try:
            yield server.url
        finally:
            _set_environment(before)


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def uploads(config: Config, pipeline: Pipeline) -> list[str]:
    """A setting for each local file of the configuration, which is stored in its bucket; `UserError` if missing."""
    client, stored = connect(config.vertex), []
    for setting, path in files(config, pipeline).items():
        if not path or path.startswith(("gs://", "bq://")):
            continue
        if not Path(path).is_file():
            raise UserError(f"{setting}: there is no such file", file=path, remedy="correct the path")
        bucket = storage.bucket(client).name
        uri = f"gs://{bucket}/uploads/{config.name}/{setting}/{Path(path).name}"
        storage.put(client, path, uri)
        stored.append(f"{setting}={json.dumps(uri)}")
    return stored


def follow(client: Client, run: str, show: Callable[[str], object]) -> bool:
    """Show every change of a step until the run has ended; whether it succeeded."""
    return runs.follow(client, run, show, POLL_S)


def watch(client: Client, name: str, show: Callable[[str], object]) -> None:
    """Show the start and the end of each further run of a name, until this process is interrupted."""
    shown: set[str] = set()
    while True:
        lines = [f"{job.name.rsplit('/', 1)[-1]} {runs.state(job)}" for job in runs.newest(client, name, WATCHED)]
        for line in reversed(lines):
            if line not in shown:
                show(line)
        shown.update(lines)
        time.sleep(POLL_S)


def collect(client: Client, run: str, config: Config, folder: Path, engine: str) -> tuple[Path, dict[str, Any]]:
    """Write the page and the summary of a run to a new folder below `folder`; that folder, and the summary."""
    outputs: list[Any] = [task.outputs for task in runs.get(client, config.name, run).job_detail.task_details]
    report = next(output for output in outputs if "page" in output and "summary" in output)
    written = local_run.create_folder(folder, config.name)
    local_run.write_settings(written, config.data, engine, 1, ("pipelines", "rewards"))
    for key, file in (("page", "report.html"), ("summary", "summary.json")):
        storage.download(client, report[key].artifacts[0].uri, written / file)
    summary: dict[str, Any] = json.loads((written / "summary.json").read_text(encoding="utf-8"))
    return written, summary

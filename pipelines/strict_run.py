# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines submitted on this machine, to an emulator that executes them as Vertex AI would: gemtune submit --local.

Whoever uses the emulator keeps it alive: when the last command ends, so do the runs. Its state is that of local runs.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from gemtune.artifacts.base import open_atomic
from gemtune.artifacts.manifest import Manifest
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


def uploaded(config: Config, pipeline: Pipeline) -> Config:
    """The configuration with its local files stored in its bucket; raises `UserError` for one that is missing."""
    client, values = connect(config.vertex), config.model_dump()
    for setting, path in files(config, pipeline).items():
        if not path or path.startswith(("gs://", "bq://")):
            continue
        if not Path(path).is_file():
            raise UserError(f"{setting}: there is no such file", file=path, remedy="correct the path")
        bucket = storage.bucket(client).name
        uri = f"gs://{bucket}/uploads/{config.name}/{setting}/{Path(path).name}"
        storage.put(client, path, uri)
        *sections, name = setting.split(".")
        reduce(getitem, sections, values)[name] = uri
    return Config.model_validate(values)


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
    """Write the report of a run, and what its manifest covers, to a new folder below `folder` that looks like that of
    a local run; that folder, and the summary.
    """
    outputs: list[Any] = [task.outputs for task in runs.get(client, config.name, run).job_detail.task_details]
    report = next(output for output in outputs if "page" in output and "summary" in output)
    uris = {key: output.artifacts[0].uri for key, output in report.items()}
    written = local_run.create_folder(folder, config.name)
    local_run.write_settings(written, config.data, engine, 1, ("pipelines", "rewards"))
    files = {f"report/{key}": uri for key, uri in uris.items()}
    if "manifest" in uris:  # a report on monitoring has none
        storage.download(client, uris["manifest"], written / local_run.MANIFEST)
        manifest = Manifest.read(written / local_run.MANIFEST)
        root = uris["manifest"].removesuffix(manifest.path)
        files = {path: root + path for path in (manifest.path, *manifest.files, *manifest.outputs)}
    for path, uri in files.items():
        copy = written / "steps" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        storage.download(client, uri, copy)
    summary = local_run.collect(written)
    with open_atomic(written / "summary.json") as file:
        json.dump(summary, file, ensure_ascii=False, indent=1)
    if "manifest" in uris:
        local_run.copy_manifest(written)
    return written, summary

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The option `--local` of commands that otherwise address Google Cloud."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from gemtune.cli.options import Options, taking

Runs = Annotated[Path, typer.Option(help="Where local runs, and the emulator's state, are kept.")]
RUNS = Path("runs")


@contextlib.contextmanager
def local_vertex(runs: Path, engine: str | None = None) -> Iterator[None]:
    """Let Google's clients of this process call the emulator of the local runs in a folder, with its state."""
    from pipelines import strict_run

    with strict_run.backend(runs, engine, executes=()):
        yield


@contextlib.contextmanager
def _place(local: bool, runs: Path) -> Iterator[Path | None]:
    """The folder of the local runs, None on Google Cloud."""
    with local_vertex(runs) if local else contextlib.nullcontext():
        yield runs if local else None


LOCAL: Options = {
    "local": (
        Annotated[bool, typer.Option("--local", help="Use the emulator of the local runs instead of Google Cloud.")],
        False,
    ),
    "runs": (Runs, RUNS),
}
with_local = taking("place", _place, LOCAL)

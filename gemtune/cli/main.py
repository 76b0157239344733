# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The console command `gemtune`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune import __version__
from gemtune.cli import bundled, exit_codes, help
from gemtune.cli.cloud import app as cloud
from gemtune.cli.commands import (
    RUNS,
    ConfigFile,
    Data,
    Engine,
    ExitZero,
    Messages,
    Runs,
    check,
    check_own_rows,
    ended_by_signals,
    load,
    wide_console,
)
from gemtune.cli.commands import app as steps
from gemtune.cli.config import Overrides
from gemtune.errors import UserError

if TYPE_CHECKING:
    from gemtune.config import Config

app = typer.Typer(
    cls=Messages,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From labelled rows to a tested decision: deploy a tuned Gemini model, or keep the prompt.\n\n"
    "Start with [bold]gemtune run configs/quickstart.yaml[/]: a whole run on this machine, no cloud account needed.",
)

app.add_typer(steps)
app.add_typer(cloud)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gemtune {__version__}")
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Prepare what every command needs: the packages inside an installed wheel."""
    bundled.put_on_path()


@app.command()
def init(
    file: Annotated[
        str, typer.Argument(help="Labelled rows: .csv, .tsv, .xlsx, .jsonl, .parquet, also .gz; gs://...; bq://...")
    ],
    out: Annotated[Path | None, typer.Option(help="The configuration to write; default: NAME.yaml.")] = None,
    name: Annotated[str, typer.Option(help="Name of runs and models; default: from the file's name.")] = "",
    kind: Annotated[
        str, typer.Option(help="Kind of task, if the guess is wrong: classification, sentiment, extraction, ...")
    ] = "",
    text: Annotated[str, typer.Option(help="Column of the text.")] = "",
    target: Annotated[str, typer.Option(help="Column of the reference (label, object, summary, answer).")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; take the likeliest where several would fit.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing configuration.")] = False,
) -> None:
    """Write a configuration for your own file: columns, kind of task, language, groups and times are recognized.

    Every guess is printed, and is a comment in the file. Questions are only for what is unsure.
    """
    from gemtune.cli.init import init as write

    write(file, out, name, {"kind": kind, "text": text, "target": target}, not yes and sys.stdin.isatty(), force)


@app.command(epilog=exit_codes.HELP)
def run(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration: only what differs from the defaults.", metavar="CONFIG")
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of a run that has not finished: go on after its last finished step.", metavar="RUN"),
    ] = None,
    engine: Engine = "student",
    jobs: Annotated[
        int, typer.Option(min=1, help="Tuning jobs that the emulator trains at the same time; others wait.")
    ] = 1,
    exit_zero: ExitZero = False,
) -> None:
    """Run the whole pipeline on this machine against the emulator; ends with a verdict and a report.

    Ctrl-C, a signal or a lost terminal ends everything that it started. `gemtune run --resume RUN` goes on with a run
    that was interrupted or failed.
    """
    from pipelines import console_summary, emulator_process, local_run

    if (config is None) == (resume is None) or (resume is not None and (data or overrides)):
        raise typer.BadParameter("expected a configuration, or --resume RUN alone")
    if resume is not None:
        folder = resume
    else:
        settings = load(config, overrides, data, needs_data=True)
        _require_rows(settings, config, overrides, engine)
        folder = local_run.create_folder(runs, settings.name)
        local_run.prepare(settings, folder, engine, jobs)
    started = local_run.read_start(folder)
    console = wide_console()
    start = time.time()
    state, options = folder.parent / "emulator", [started[name] for name in ("engine", "jobs", "executes")]
    emulator = emulator_process.emulator(state, 0, *options)
    with local_run.alone_in(folder) as lock, ended_by_signals(), emulator as server:
        console.print(f"gemtune run [bold]{folder.name}[/]: {started['data']} (emulator at {server.url})")
        steps = local_run.run_pipeline(folder, server, console, lock)
        summary = console_summary.finish(folder, steps, start)
        console_summary.show(console, folder, summary)
    if not exit_zero:
        raise typer.Exit(exit_codes.of_verdict(summary["verdict"]))


@app.command()
def monitor(
    config: ConfigFile,
    overrides: Overrides = None,
    now: Annotated[
        str, typer.Option(help="Time in ISO 8601 up to which windows are examined; default: the current time.")
    ] = "",
    new_baseline: Annotated[
        bool, typer.Option("--accept", help="Accept the newest window: those after it are the new baseline.")
    ] = False,
    runs: Runs = RUNS,
    engine: Engine = "student",
    exit_zero: ExitZero = False,
) -> None:
    """Examine the champion's production logs on this machine; ends with a verdict, a report and rows to label.

    Exit code 3: retrain; 4: nothing can be concluded.
    """
    from gemtune.monitoring.logs import require_source
    from gemtune.monitoring.windows import moment
    from pipelines import emulator_process, local_run

    settings = load(config, overrides)
    require_source(settings.monitor.logs)
    moment(now)
    emulator_process.check_engine(engine)
    folder = local_run.create_folder(runs, f"{settings.name}-monitoring")
    local_run.prepare(settings, folder, engine, 1, "monitoring", {"now": now, "new_baseline": new_baseline})
    console = wide_console()
    emulator = emulator_process.emulator(runs / "emulator", 0, engine, 1)
    with local_run.alone_in(folder) as lock, ended_by_signals(), emulator as server:
        local_run.run_pipeline(folder, server, console, lock, f"gemtune monitor {config}")
        decided = local_run.collect(folder, "report-monitoring")
        (to_label,) = (folder / "steps").rglob("estimate-quality*/annotations")
    shutil.copyfile(to_label, folder / "annotations.csv")
    console.print(f"\n[bold]{decided['verdict'].replace('_', ' ').upper()}[/]")
    for line in decided["summary"]:
        console.print(f"  - {line}", soft_wrap=True, markup=False)
    console.print(f"report   {folder / 'report.html'}\nto label {folder / 'annotations.csv'}", soft_wrap=True)
    if not exit_zero:
        raise typer.Exit(exit_codes.of_verdict(decided["verdict"]))


def _require_rows(settings: Config, config: Path | None, overrides: list[str] | None, engine: str) -> None:
    """Raise `UserError` for what checks that cost nothing find in the configuration, its data and the engine."""
    from gemtune.cli import first_steps
    from pipelines import emulator_process

    check(settings)
    emulator_process.check_engine(engine)
    if not settings.data.startswith("gs://"):  # a local run's buckets are in the emulator, which has not started yet
        first_steps.require_acceptance(settings)
        check_own_rows(settings, config, overrides)


@app.command()
def report(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder; default: the latest.", metavar="RUN")] = None,
    runs: Runs = RUNS,
    browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print the path of a run's report page."""
    from pipelines import local_run

    folder = folder or latest(runs)
    local_run.read_summary(folder)
    page = folder / "report.html"
    typer.echo(page)
    if browser:
        typer.launch(page.resolve().as_uri())


@app.command()
def serve(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder; default: the latest.", metavar="RUN")] = None,
    runs: Runs = RUNS,
    port: Annotated[int, typer.Option(help="Port to serve at.")] = 8080,
) -> None:
    """Serve the endpoint of a local run again, until Ctrl-C."""
    from pipelines import console_summary, emulator_process, local_run

    folder = folder or latest(runs)
    summary = local_run.read_summary(folder)
    console = wide_console()
    engine = local_run.read_settings(folder)["engine"]
    with ended_by_signals(), emulator_process.emulator(folder.parent / "emulator", port, engine) as server:
        outcome = summary["outcome"]
        console.print(f"{outcome['model']} at {server.url}\n", soft_wrap=True)
        console.print(console_summary.snippets(outcome, server.url), soft_wrap=True, markup=False)
        console.print(console_summary.predictor_call(folder, server.url), soft_wrap=True, markup=False)
        console.print("Serving until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def emulator(context: typer.Context) -> None:
    """Run only the Vertex AI emulator (gemtune emulator --help lists its options)."""
    os.execv(sys.executable, [sys.executable, "-m", "emulator", *context.args])


def latest(runs: Path) -> Path:
    """The newest finished run's folder."""
    finished = sorted(runs.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise UserError("no finished run", file=runs, remedy="start with: gemtune run configs/quickstart.yaml")
    return finished[-1].parent


help.describe(app)

if __name__ == "__main__":
    app(prog_name="gemtune")

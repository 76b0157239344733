# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The console command `gemtune`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gemtune import __version__
from gemtune.cli import bundled, exit_codes, help
from gemtune.cli.cloud import app as cloud
from gemtune.cli.commands import Data, ExitZero, Messages, check, check_own_rows, wide_console
from gemtune.cli.commands import app as steps
from gemtune.cli.models import models
from gemtune.cli.options import RUNS, ConfigFile, Engine, Json, Overrides, Runs, echo, load, taking
from gemtune.cli.results import app as results
from gemtune.interruption import ended_with_caller

if TYPE_CHECKING:
    from gemtune.config import Config

app = typer.Typer(
    cls=Messages,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From labelled rows to a tested decision: deploy a tuned Gemini model, or keep the prompt.\n\n"
    "Start with [bold]gemtune try[/]: a whole run on this machine, no cloud account needed.",
)

app.add_typer(steps)
app.command()(models)
app.add_typer(results)
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


@dataclass
class Fixed:
    """What `init` is not to guess."""

    kind: Annotated[
        str, typer.Option(help="Kind of task, if the guess is wrong: classification, sentiment, extraction, ...")
    ] = ""
    text: Annotated[str, typer.Option(help="Column of the text.")] = ""
    target: Annotated[str, typer.Option(help="Column of the reference (label, object, summary, answer).")] = ""
    source: Annotated[
        Literal["automl", "openai", "vertex"] | None,
        typer.Option("--from", help="Where the file was exported; other rows are refused."),
    ] = None


@dataclass
class Emulator:
    """How the emulator of a run is started."""

    engine: Engine = "student"
    jobs: Annotated[
        int, typer.Option(min=1, help="Tuning jobs that the emulator trains at the same time; others wait.")
    ] = 1


@app.command()
@taking("fixed", Fixed)
def init(
    fixed: Fixed,
    file: Annotated[
        str, typer.Argument(help="Labelled rows: .csv, .tsv, .xlsx, .jsonl, .parquet, also .gz; gs://...; bq://...")
    ],
    out: Annotated[Path | None, typer.Option(help="The configuration to write; default: NAME.yaml.")] = None,
    name: Annotated[str, typer.Option(help="Name of runs and models; default: from the file's name.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; take the likeliest where several would fit.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing configuration.")] = False,
    as_json: Json = False,
) -> None:
    """Write a configuration for your own file: columns, kind of task, language, groups and times are recognized.

    Every guess is printed, and is a comment in the file. Questions are only for what is unsure.
    """
    from gemtune.cli.init import init as write

    interactive = sys.stdin.isatty()
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        written = write(file, out, name, asdict(fixed) | {"source": fixed.source or ""}, interactive and not yes, force)
    echo(written, as_json)


@app.command(epilog=exit_codes.HELP)
@taking("emulator", Emulator)
def run(
    emulator: Emulator,
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
    exit_zero: ExitZero = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on this machine against the emulator; ends with a verdict and a report.

    Ctrl-C, a signal or a lost terminal ends everything that it started. `gemtune run --resume RUN` goes on with a run
    that was interrupted or failed.
    """
    from pipelines import console_summary, emulator_process, local_run
    from pipelines.steps import steady_time

    if (config is None) == (resume is None) or (resume is not None and (data or overrides)):
        raise typer.BadParameter("expected a configuration, or --resume RUN alone")
    if resume is not None:
        folder = resume
    else:
        settings = check(load(config, overrides, data, needs_data=True), is_billed=False)
        _require_rows(settings, config, overrides, emulator.engine)
        folder = local_run.create_folder(runs, settings.name)
        local_run.prepare(settings, folder, emulator.engine, emulator.jobs)
    started = local_run.read_start(folder)
    console = wide_console(as_json)
    start = steady_time()
    state, options = folder.parent / "emulator", [started[name] for name in ("engine", "jobs", "executes")]
    process = emulator_process.emulator(state, 0, *options)
    with local_run.alone_in(folder) as lock, ended_with_caller(), process as server:
        console.print(f"gemtune run [bold]{folder.name}[/]: {started['data']}\nwatch: {server.url}/", soft_wrap=True)
        steps = local_run.run_pipeline(folder, server, console, lock)
        summary = console_summary.finish(folder, steps, start)
        console_summary.show(console, folder, summary)
    names = ("verdict", "headline", "reasons", "metric", "test_rows", "variants", "cost", "outcome")
    paths = {"run": str(folder), "report": str(folder / "report.html"), "summary": str(folder / "summary.json")}
    echo({**paths, **{name: summary[name] for name in names}}, as_json)
    if not exit_zero:
        raise typer.Exit(exit_codes.of_verdict(summary["verdict"]))


@app.command(name="try", epilog=exit_codes.HELP)
def try_sample(runs: Runs = RUNS, exit_zero: ExitZero = False, as_json: Json = False) -> None:
    """Run the sample, English support tickets, on this machine: from rows to a verdict in a few minutes."""
    config, data = (bundled.sample(name) for name in ("configs/quickstart.yaml", "examples/support_en/rows.jsonl"))
    own = {"overrides": None, "resume": None, "engine": "student", "jobs": 1}
    run(config=config, data=str(data), runs=runs, exit_zero=exit_zero, as_json=as_json, **own)


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
    as_json: Json = False,
) -> None:
    """Examine the production logs of the local runs' champion; ends with a verdict, a report and rows to label.

    Exit code 3: retrain; 4: nothing can be concluded. On Google Cloud: gemtune submit CONFIG --pipeline monitoring.
    """
    from gemtune.cost.preflight import without_charge
    from gemtune.monitoring.logs import require_source
    from gemtune.monitoring.windows import moment
    from pipelines import emulator_process, local_run

    settings = without_charge(load(config, overrides))
    require_source(settings.monitor.logs, is_local=True)
    moment(now)
    emulator_process.check_engine(engine)
    folder = local_run.create_folder(runs, f"{settings.name}-monitoring")
    local_run.prepare(settings, folder, engine, 1, "monitoring", {"now": now, "new_baseline": new_baseline})
    console = wide_console(as_json)
    emulator = emulator_process.emulator(runs / "emulator", 0, engine, 1)
    with local_run.alone_in(folder) as lock, ended_with_caller(), emulator as server:
        local_run.run_pipeline(folder, server, console, lock, f"gemtune monitor {config}")
        decided = local_run.collect(folder, "report-monitoring")
        to_label = local_run.step_output(folder, "estimate-quality*/annotations")
    shutil.copyfile(to_label, folder / "annotations.csv")
    console.print(f"\n[bold]{decided['verdict'].replace('_', ' ').upper()}[/]")
    for line in decided["summary"]:
        console.print(f"  - {line}", soft_wrap=True, markup=False)
    console.print(f"report   {folder / 'report.html'}\nto label {folder / 'annotations.csv'}", soft_wrap=True)
    echo({"run": str(folder), "report": str(folder / "report.html"), **decided}, as_json)
    if not exit_zero:
        raise typer.Exit(exit_codes.of_verdict(decided["verdict"]))


def _require_rows(settings: Config, config: Path | None, overrides: list[str] | None, engine: str) -> None:
    """Raise `UserError` for what checks that cost nothing find in the configuration's data and the engine."""
    from gemtune.cli import first_steps
    from pipelines import emulator_process

    emulator_process.check_engine(engine)
    if not settings.data.startswith("gs://"):  # a local run's buckets are in the emulator, which has not started yet
        first_steps.require_acceptance(settings)
        check_own_rows(settings, config, overrides)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def emulator(context: typer.Context) -> None:
    """Run only the Vertex AI emulator (gemtune emulator --help lists its options)."""
    os.execv(sys.executable, [sys.executable, "-m", "emulator", *context.args])


help.describe(app)

if __name__ == "__main__":
    app(prog_name="gemtune")

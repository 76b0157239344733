# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that compile pipelines, and run them on Vertex AI Pipelines at once or on a schedule."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gemtune.cli.commands import ConfigFile, Data, Messages, check, load
from gemtune.cli.config import Overrides
from gemtune.cli.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from gemtune.config import Config
    from gemtune.vertex import Client
    from pipelines.cloud import Source

Image = Annotated[str, typer.Option(help="Component image, as pushed by `make image`.")]
Template = Annotated[str, typer.Option(help="Published pipeline to run instead: REPOSITORY/PACKAGE/TAG.")]
Cache = Annotated[
    bool,
    typer.Option(
        help="Let the backend reuse steps whose inputs are unchanged; steps that read data or records always run."
    ),
]
Pipeline = Annotated[Literal["tuning", "monitoring"], typer.Option(help="Pipeline of the configuration.")]
Kubeflow = Annotated[str, typer.Option(metavar="HOST", help="Kubeflow Pipelines cluster to run on, by its URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON list.")]
Run = Annotated[str, typer.Argument(help="Id or resource name of a run; default: the newest.")]

app = typer.Typer(cls=Messages)
runs_app = typer.Typer(no_args_is_help=True, help="Runs on Vertex AI Pipelines.")
schedules_app = typer.Typer(no_args_is_help=True, help="Schedules on Vertex AI Pipelines.")
app.add_typer(runs_app, name="runs")
app.add_typer(schedules_app, name="schedules")


@app.command(name="compile")
def compile_command(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="Configuration; its values are the defaults of the pipeline's parameters.", metavar="CONFIG"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the YAML files.")] = Path("build"),
    data: Data = None,
    overrides: Overrides = None,
    image: Image = "",
    publish: Annotated[
        str, typer.Option(help="KFP repository to upload them to: https://REGION-kfp.pkg.dev/PROJECT/REPOSITORY.")
    ] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Tag of what is published; repeatable.")] = None,
) -> None:
    """Compile all pipelines to YAML for the Cloud console, Vertex AI or Kubeflow; without torch or credentials.

    The configuration's values are the defaults of the pipeline of its method, and of the others where they apply;
    project, region and bucket come from the environment where the configuration has none. What a backend would refuse
    is listed; `gemtune doctor --compiled FILE` explains it.
    """
    from pipelines import compilation
    from pipelines.backend_rules import findings, read_compiled

    settings = compilation.placed(load(config, overrides, data))
    if not settings.vertex.project:
        typer.echo(
            "warning: no project and no bucket are compiled in: set vertex.project or GOOGLE_CLOUD_PROJECT; "
            "without it a run uses the project of its steps' credentials",
            err=True,
        )
    paths = [
        compilation.compile_pipeline(own, out / f"{method}_tuning.yaml", image)
        for method, own in both_methods(settings)
    ]
    paths.append(compilation.compile_pipeline(settings, out / "monitoring.yaml", image, pipeline="monitoring"))
    for line in dict.fromkeys(str(finding) for path in paths for finding in findings(read_compiled(path))):
        typer.echo(line, err=True)
    for path in paths:
        typer.echo(compilation.publish(path, publish, tags or []) if publish else path)


def both_methods(settings: Config) -> list[tuple[str, Config]]:
    """The configuration for either tuning method; what only its own method has is left out of the other."""
    from gemtune.config import Config

    other = "supervised" if settings.method == "preference" else "preference"
    shared = settings.model_dump(exclude={"method", "plan", "hard_examples", "augment", "escalation", "preference"})
    return [(settings.method, settings), (other, Config.model_validate({**shared, "method": other}))]


def _with_source(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options that name a pipeline, which are its argument `source`."""
    options = {
        "image": (Image, ""),
        "template": (Template, ""),
        "cache": (Cache, True),
        "pipeline": (Pipeline, "tuning"),
    }

    @wraps(command)
    def with_options(**values: Any) -> None:
        from pipelines.cloud import Source

        source = Source(**{name: values.pop(name) for name in options})
        command(**values, source=source)

    signature = inspect.signature(command, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "source"]
    added = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    with_options.__signature__ = signature.replace(parameters=[kept[0], *added, *kept[1:]])  # type: ignore[attr-defined]
    return with_options


@app.command()
@_with_source
def submit(
    config: ConfigFile,
    source: Any,  # pipelines.cloud.Source
    data: Data = None,
    overrides: Overrides = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run to its end, step by step on Vertex AI; exit code 1: failed.")
    ] = False,
    kubeflow: Kubeflow = "",
) -> None:
    """Start a run on Vertex AI Pipelines, or on a Kubeflow cluster."""
    from gemtune.vertex import connect
    from pipelines import kubeflow as cluster
    from pipelines import runs

    settings = _to_run(config, overrides, data, source)
    if kubeflow:
        run, end = cluster.submit(kubeflow, settings, source), "end it in the cluster's UI"
    else:
        client = connect(settings.vertex)
        run = runs.submit(client, settings, source)
        end = f"end it with: gemtune runs cancel {config} {run.rsplit('/', 1)[-1]}"
    typer.echo(run)
    try:
        if wait and kubeflow:
            cluster.follow(kubeflow, settings, run)
        elif wait and not runs.follow(client, run, typer.echo):
            raise typer.Exit(1)
    except KeyboardInterrupt:
        typer.echo(f"the run goes on; {end}", err=True)
        raise typer.Exit(INTERRUPTED) from None


@app.command()
@_with_source
def schedule(
    config: ConfigFile,
    source: Any,  # pipelines.cloud.Source
    cron: Annotated[str, typer.Option(help="Five fields, UTC; or 'TZ=Asia/Tokyo 0 3 * * 1'.")] = "0 3 * * 1",
    data: Data = None,
    overrides: Overrides = None,
    kubeflow: Kubeflow = "",
) -> None:
    """Run by cron on Vertex AI Pipelines, or on a Kubeflow cluster; an earlier schedule is changed."""
    from gemtune.vertex import connect
    from pipelines import kubeflow as cluster
    from pipelines import schedules

    settings = _to_run(config, overrides, data, source)
    if kubeflow:
        name, active = cluster.schedule(kubeflow, settings, source, cron)
        start = "enable it in the cluster's UI"
    else:
        placed = schedules.put(connect(settings.vertex), settings, source, cron)
        name, active = placed.name, placed.state.name != "PAUSED"
        own = "" if source.pipeline == "tuning" else f" --pipeline {source.pipeline}"
        start = f"start it again: gemtune schedules resume {config}{own}"
    typer.echo(name)
    if not active:
        typer.echo(f"still paused, as it was before; {start}", err=True)


def _to_run(config: Path, overrides: list[str] | None, data: str | None, source: Source) -> Config:
    from gemtune.monitoring.logs import require_source

    settings = load(config, overrides, data, needs_data=source.pipeline == "tuning")
    if source.pipeline == "monitoring":
        require_source(settings.monitor.logs)
    if source.pipeline == "tuning" or settings.monitor.on_retrain == "submit":
        check(settings)
    return settings


def _connected(config: Path, overrides: list[str] | None) -> tuple[Config, Client]:
    from gemtune.vertex import connect

    settings = load(config, overrides)
    return settings, connect(settings.vertex)


@runs_app.command(name="list")
def list_runs(
    config: ConfigFile,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option(min=1, help="Most runs to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List a configuration's newest runs: id, state, start."""
    from pipelines import runs

    settings, client = _connected(config, overrides)
    listed = [
        {"run": job.name.rsplit("/", 1)[-1], "state": runs.state(job), "created": f"{job.create_time:%Y-%m-%d %H:%M}"}
        for job in runs.newest(client, settings.name, count)
    ]
    _print_table(listed, 10, as_json)


def _print_table(rows: list[dict[str, str]], width: int, as_json: bool) -> None:
    """The rows as lines of text, their states `width` wide, or as a JSON list."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for name, state, last in (row.values() for row in rows):
        typer.echo(f"{name}  {state:{width}} {last}")


@runs_app.command(name="show")
def show_run(config: ConfigFile, run: Run = "", overrides: Overrides = None) -> None:
    """Show a run and its steps: states, times, errors."""
    from pipelines import runs

    settings, client = _connected(config, overrides)
    job = runs.get(client, settings.name, run)
    typer.echo(f"{job.name}\n{runs.state(job)} {job.error.message}".rstrip())
    for line in runs.steps(job):
        typer.echo(line)


@runs_app.command(name="cancel")
def cancel_run(
    config: ConfigFile,
    run: Annotated[str, typer.Argument(help="Id or resource name of the run.")],
    overrides: Overrides = None,
) -> None:
    """Cancel a run; its steps cancel their tuning jobs."""
    from pipelines import runs

    runs.cancel(_connected(config, overrides)[1], run)
    typer.echo(f"{run} is being cancelled")


@runs_app.command(name="logs")
def run_logs(
    config: ConfigFile,
    run: Run = "",
    step: Annotated[str, typer.Option(help="Only this step, such as tune-supervised.")] = "",
    overrides: Overrides = None,
) -> None:
    """Print what the steps of a run logged, from Cloud Logging."""
    from pipelines import runs

    settings, client = _connected(config, overrides)
    for line in runs.logs(client, runs.get(client, settings.name, run), step):
        typer.echo(line)


@schedules_app.command(name="list")
def list_schedules(config: ConfigFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """List gemtune's schedules in the configuration's project and region."""
    from pipelines import schedules

    _, client = _connected(config, overrides)
    listed = [{"schedule": s.display_name, "state": s.state.name, "cron": s.cron} for s in schedules.listed(client)]
    _print_table(listed, 9, as_json)


@schedules_app.command(name="show")
def show_schedule(config: ConfigFile, overrides: Overrides = None, pipeline: Pipeline = "tuning") -> None:
    """Show the configuration's schedule: state, cron expression, next and last run."""
    from pipelines import schedules

    settings, client = _connected(config, overrides)
    placed, *_ = schedules.existing(client, settings, pipeline)
    following = f"{placed.next_run_time:%Y-%m-%d %H:%M} UTC" if placed.next_run_time else "none"
    typer.echo(f"{placed.name}\n{placed.state.name}  {placed.cron}\nnext run: {following}")
    typer.echo(
        f"started: {placed.started_run_count}; last: {placed.last_scheduled_run_response.run_response or 'none'}"
    )


def _add_schedule_verb(verb: str, description: str, done: str) -> None:
    def act(config: ConfigFile, overrides: Overrides = None, pipeline: Pipeline = "tuning") -> None:
        from pipelines import schedules

        settings, client = _connected(config, overrides)
        schedules.change(client, settings, verb, pipeline)
        typer.echo(f"{settings.name}: the schedule is {done}")

    schedules_app.command(name=verb, help=description)(act)


_add_schedule_verb("pause", "Start no more runs by the configuration's schedule.", "paused")
_add_schedule_verb("resume", "Start runs again, without those that were missed.", "active")
_add_schedule_verb("delete", "Delete the configuration's schedule; runs go on.", "deleted")

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that compile pipelines, and run them on Vertex AI Pipelines at once or on a schedule."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from gemtune.cli.commands import Data, Messages, check
from gemtune.cli.exit_codes import INTERRUPTED
from gemtune.cli.options import (
    RUNS,
    At,
    ConfigFile,
    Engine,
    Json,
    Overrides,
    Runs,
    echo,
    load,
    taking,
    this_machine,
    with_client,
)
from gemtune.errors import UserError

if TYPE_CHECKING:
    from gemtune.config import Config
    from pipelines.cloud import Source

Image = Annotated[str, typer.Option(help="Component image, as pushed by `make image`.")]
Pipeline = Annotated[Literal["tuning", "monitoring"], typer.Option(help="Pipeline of the configuration.")]
Run = Annotated[str, typer.Argument(help="Id or resource name of a run; default: the newest.")]

app = typer.Typer(cls=Messages)
runs_app = typer.Typer(no_args_is_help=True, help="Runs on Vertex AI Pipelines, and on this machine.")
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
    as_json: Json = False,
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
    problems = list(dict.fromkeys(str(finding) for path in paths for finding in findings(read_compiled(path), path)))
    for line in problems:
        typer.echo(line, err=True)
    places = [str(compilation.publish(path, publish, tags or []) if publish else path) for path in paths]
    echo({"pipelines": places, "findings": problems}, as_json, *places)


def both_methods(settings: Config) -> list[tuple[str, Config]]:
    """The configuration for either tuning method; what only its own method has is left out of the other."""
    from gemtune.config import Config

    other = "supervised" if settings.method == "preference" else "preference"
    shared = settings.model_dump(exclude={"method", "plan", "hard_examples", "augment", "escalation", "preference"})
    return [(settings.method, settings), (other, Config.model_validate({**shared, "method": other}))]


EXECUTED = ("pipelines", "rewards")  # by the emulator of this machine


@dataclass
class SourceOptions:
    """The pipeline to run: see `pipelines.cloud.Source`."""

    image: Image = ""
    template: Annotated[str, typer.Option(help="Published pipeline to run instead: REPOSITORY/PACKAGE/TAG.")] = ""
    cache: Annotated[
        bool,
        typer.Option(
            help="Let the backend reuse steps whose inputs are unchanged; steps that read data or records always run."
        ),
    ] = True
    pipeline: Pipeline = "tuning"


@dataclass
class Place:
    """Where a pipeline is to run: on Vertex AI, on the Kubeflow cluster `kubeflow`, or on this machine."""

    kubeflow: Annotated[str, typer.Option(metavar="HOST", help="Kubeflow Pipelines cluster to run on, by its URL.")] = (
        ""
    )
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Use an emulator on this machine that executes pipelines, until the command ends."
        ),
    ] = False
    runs: Runs = RUNS
    engine: Engine = "student"


class Submission(NamedTuple):
    """What is to run: the configuration with its file, the pipeline, the place, and its client (None of a cluster)."""

    config: Path
    settings: Config
    source: Source
    place: Place
    client: Any


@taking("source", SourceOptions)
@taking("place", Place)
@contextlib.contextmanager
def _checked(
    config: ConfigFile, source: SourceOptions, place: Place, data: Data = None, overrides: Overrides = None
) -> Iterator[Submission]:
    """The submission after its checks; where it runs on this machine, local files are uploaded first."""
    from gemtune.monitoring.logs import require_source
    from gemtune.vertex import connect
    from pipelines import strict_run
    from pipelines.backend_rules import has_registry
    from pipelines.cloud import Source

    if source.image and not has_registry(source.image):
        typer.echo(f"warning: the image {source.image!r} names no registry: it is looked up on Docker Hub", err=True)
    settings = load(config, overrides, data, needs_data=source.pipeline == "tuning")
    if source.pipeline == "monitoring":
        require_source(settings.monitor.logs)
    if source.pipeline == "tuning" or settings.monitor.on_retrain == "submit":
        settings = check(settings, is_billed=not place.local)
    if place.local and place.kubeflow:
        raise UserError("two places to run", remedy="give either --local or --kubeflow")
    own = Source(**asdict(source))
    with this_machine(place.runs, place.engine, EXECUTED) if place.local else contextlib.nullcontext():
        if place.local:
            own, settings = own.on_this_machine(), strict_run.uploaded(settings, own.pipeline)
        yield Submission(config, settings, own, place, None if place.kubeflow else connect(settings.vertex))


_with_submission, _with_client = taking("submission", _checked), with_client(EXECUTED)


@app.command()
@_with_submission
def submit(
    submission: Submission,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run to its end, step by step on Vertex AI; exit code 1: failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a run on Vertex AI Pipelines, on a Kubeflow cluster, or step by step as there on this machine."""
    from pipelines import kubeflow as cluster
    from pipelines import runs

    config, settings, source, place, client = submission
    if place.kubeflow:
        run, end = cluster.submit(place.kubeflow, settings, source), "end it in the cluster's UI"
    else:
        run = runs.submit(client, settings, source)
        end = f"end it with: gemtune runs cancel {config} {run.rsplit('/', 1)[-1]}"
    echo({"run": run}, as_json, run)
    show = partial(typer.echo, err=as_json)  # what follows is for people
    if place.local:
        _follow_here(submission, run, show)
        return
    try:
        if wait and place.kubeflow:
            cluster.follow(place.kubeflow, settings, run)
        elif wait and not runs.follow(client, run, show):
            raise typer.Exit(1)
    except KeyboardInterrupt:
        typer.echo(f"the run goes on; {end}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _follow_here(submission: Submission, run: str, show: Callable[[str], None]) -> None:
    """Show each step of a run on this machine, and its verdict; the exit code is 1 if it failed."""
    from pipelines import runs, strict_run

    _, settings, _, place, client = submission
    if not runs.follow(client, run, show, strict_run.POLL_S):
        raise typer.Exit(1)
    written, summary = strict_run.collect(client, run, settings, place.runs, place.engine)
    show(f"{summary.get('headline', summary['verdict'].replace('_', ' ')).upper()}\nreport   {written / 'report.html'}")
    if job_id := summary.get("job_id"):  # of the retraining, which would end with the emulator
        for job in runs.newest(client, settings.name, strict_run.WATCHED):
            if job.name.endswith(f"/pipelineJobs/{job_id}"):
                _follow_here(submission, job.name, show)


@app.command()
@_with_submission
def schedule(
    submission: Submission,
    cron: Annotated[str, typer.Option(help="Five fields, UTC; or 'TZ=Asia/Tokyo 0 3 * * 1'.")] = "0 3 * * 1",
    as_json: Json = False,
) -> None:
    """Run by cron on Vertex AI Pipelines, or on a Kubeflow cluster; an earlier schedule is changed.

    With --local, runs start on this machine until Ctrl-C, which also deletes the schedule.
    """
    from pipelines import kubeflow as cluster
    from pipelines import schedules, strict_run

    config, settings, source, place, client = submission
    if place.kubeflow:
        name, active = cluster.schedule(place.kubeflow, settings, source, cron)
        start = "enable it in the cluster's UI"
    else:
        placed = schedules.put(client, settings, source, cron)
        name, active = placed.name, placed.state.name != "PAUSED"
        own = "" if source.pipeline == "tuning" else f" --pipeline {source.pipeline}"
        start = f"start it again: gemtune schedules resume {config}{own}"
    echo({"schedule": name, "cron": cron, "active": active}, as_json, name)
    if not active:
        typer.echo(f"still paused, as it was before; {start}", err=True)
    if place.local:
        try:
            strict_run.watch(client, settings.name, partial(typer.echo, err=as_json))
        finally:
            schedules.change(client, settings, "delete", source.pipeline)


@runs_app.command(name="list")
@_with_client
def list_runs(
    at: At,
    count: Annotated[int, typer.Option(min=1, help="Most runs to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List a configuration's newest runs: id, state, start."""
    from pipelines import local_run, runs

    listed = [
        {"run": job.name.rsplit("/", 1)[-1], "state": runs.state(job), "created": f"{job.create_time:%Y-%m-%d %H:%M}"}
        for job in runs.newest(at.client, at.settings.name, count)
    ]
    listed += local_run.listed(at.runs, at.settings.name) if at.runs else []
    _print_table(sorted(listed, key=lambda row: row["created"], reverse=True)[:count], 18, as_json)


def _print_table(rows: list[dict[str, str]], width: int, as_json: bool) -> None:
    """The rows as lines of text, their states `width` wide, or as a JSON list."""
    echo(rows, as_json, *(f"{name}  {state:{width}} {last}" for name, state, last in (row.values() for row in rows)))


@runs_app.command(name="show")
@_with_client
def show_run(at: At, run: Run = "", as_json: Json = False) -> None:
    """Show a run and its steps: states, times, errors."""
    from pipelines import local_run, runs

    if at.runs and (folder := local_run.folder_of(at.runs, at.settings.name, run)):
        name, state, lines = str(folder), local_run.state(folder), local_run.step_lines(folder)
    else:
        job = runs.get(at.client, at.settings.name, run)
        name, state, lines = job.name, f"{runs.state(job)} {job.error.message}".rstrip(), list(runs.steps(job))
    echo({"run": name, "state": state, "steps": lines}, as_json, name, state, *lines)


@runs_app.command(name="cancel")
@_with_client
def cancel_run(
    at: At,
    run: Annotated[str, typer.Argument(help="Id or resource name of the run.")],
    as_json: Json = False,
) -> None:
    """Cancel a run; its steps cancel their tuning jobs."""
    from pipelines import runs

    runs.cancel(at.client, run)
    echo({"run": run, "state": "cancelling"}, as_json, f"{run} is being cancelled")


@runs_app.command(name="logs")
@_with_client
def run_logs(
    at: At,
    run: Run = "",
    step: Annotated[str, typer.Option(help="Only this step, such as tune.")] = "",
    as_json: Json = False,
) -> None:
    """Print what the steps of a run logged, from Cloud Logging or the folder of a local run."""
    from pipelines import local_run, runs

    folder = local_run.folder_of(at.runs, at.settings.name, run) if at.runs else None
    if folder:
        lines = local_run.logs(folder, step)
    else:
        lines = runs.logs(at.client, runs.get(at.client, at.settings.name, run), step)
    if as_json:
        typer.echo(json.dumps(list(lines), ensure_ascii=False, indent=1))
        return
    for line in lines:
        typer.echo(line)


@schedules_app.command(name="list")
@_with_client
def list_schedules(at: At, as_json: Json = False) -> None:
    """List gemtune's schedules in the configuration's project and region."""
    from pipelines import schedules

    listed = [{"schedule": s.display_name, "state": s.state.name, "cron": s.cron} for s in schedules.listed(at.client)]
    _print_table(listed, 9, as_json)


@schedules_app.command(name="show")
@_with_client
def show_schedule(at: At, pipeline: Pipeline = "tuning", as_json: Json = False) -> None:
    """Show the configuration's schedule: state, cron expression, next and last run."""
    from pipelines import schedules

    placed, *_ = schedules.existing(at.client, at.settings, pipeline)
    following = f"{placed.next_run_time:%Y-%m-%d %H:%M} UTC" if placed.next_run_time else "none"
    count, last = placed.started_run_count, placed.last_scheduled_run_response.run_response or "none"
    facts = {"schedule": placed.name, "state": placed.state.name, "cron": placed.cron, "next": following}
    lines = [f"{placed.name}\n{placed.state.name}  {placed.cron}\nnext run: {following}"]
    lines.append(f"started: {count}; last: {last}")
    echo({**facts, "started": int(count), "last": last}, as_json, *lines)


def _add_schedule_verb(verb: str, description: str, done: str) -> None:
    @_with_client
    def act(at: At, pipeline: Pipeline = "tuning", as_json: Json = False) -> None:
        from pipelines import schedules

        schedules.change(at.client, at.settings, verb, pipeline)
        name = at.settings.name
        echo({"name": name, "pipeline": pipeline, "state": done}, as_json, f"{name}: the schedule is {done}")

    schedules_app.command(name=verb, help=description)(act)


_add_schedule_verb("pause", "Start no more runs by the configuration's schedule.", "paused")
_add_schedule_verb("resume", "Start runs again, without those that were missed.", "active")
_add_schedule_verb("delete", "Delete the configuration's schedule; runs go on.", "deleted")

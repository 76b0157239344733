# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that run no pipeline: doctor, plan, cleanup, promote, rollback; what all commands share."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from gemtune.cli.annotations import annotations_app
from gemtune.cli.config import config_app
from gemtune.cli.data import data_app, dedup_command
from gemtune.cli.exit_codes import AGAINST, INTERRUPTED, OVER_BUDGET
from gemtune.cli.help import ORDER
from gemtune.cli.judge import judge_app
from gemtune.cli.options import (
    RUNS,
    At,
    ConfigFile,
    Json,
    Local,
    Overrides,
    Runs,
    echo,
    load,
    taking,
    this_machine,
    with_client,
)
from gemtune.cli.reward import reward_app
from gemtune.errors import ServiceError, UserError, actionable
from gemtune.interruption import ended_by_signals

if TYPE_CHECKING:
    from gemtune.artifacts.tuning import TuningPlan
    from gemtune.config import Config
    from gemtune.vertex import Client

Data = Annotated[str | None, typer.Option(help="Labelled rows, instead of the configuration's `data`.")]
RECENT_RUNS = 100  # of a name, among which those that go on are looked for
ExitZero = Annotated[
    bool, typer.Option("--exit-zero", help="Exit code 0 instead of 3, 4 and 5 (see gemtune run --help).")
]


def check_own_rows(settings: Config, config: Path | None, overrides: list[str] | None) -> None:
    """Raise `UserError` when `--data` names rows of another task than those for which the configuration was written."""
    from gemtune.inference.data_fit import require_same_task

    own = load(config, overrides).data
    if settings.method != "preference" and own != settings.data and Path(own).is_file():
        require_same_task(settings, own, str(config))


def check(config: Config, is_billed: bool = True) -> Config:
    """The configuration; where nothing is billed, with 0 for tuning prices that it needs and that are unknown.

    Raises `UserError` with everything in it that would stop a run after money was spent.
    """
    from gemtune.cost.preflight import problems, without_charge
    from gemtune.vertex import location

    checked = config if is_billed else without_charge(config)
    if listed := problems(checked, location(config.vertex)):
        raise UserError("\n".join(map(str, listed)))
    return checked


class _Console(Console):
    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wide_console(stderr: bool = False) -> Console:
    """A console, on `stderr` or not, that does not fold lines at 80 columns where there is no terminal to measure.

    Where nobody reads standard output any more (`gemtune run | head`), it goes on without output.
    """
    console = _Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else _Console(highlight=False, width=140, stderr=stderr)


class Messages(TyperGroup):
    """Commands whose user errors are a single message and an exit code of `gemtune.cli.exit_codes`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of their panels."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an exception that is none of the user, the system or a service is a bug and not caught.

        A signal ends it as Ctrl-C does, so that its temporary files go with it.
        """
        err = Console(stderr=True, highlight=False)
        try:
            with ended_by_signals():
                return super().invoke(ctx)
        except (UserError, ServiceError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # nobody reads the output any more: click ends quietly
                raise
            shown = error if isinstance(error, UserError) else actionable(error)
            err.print(f"[red]error:[/] {escape(str(shown))}", soft_wrap=True)
            raise typer.Exit(shown.exit_code) from None
        except KeyboardInterrupt:
            err.print("interrupted: all that it had started was ended")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Messages, no_args_is_help=True, pretty_exceptions_enable=False, help="Commands that run no pipeline."
)
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.add_typer(reward_app, name="reward")
app.add_typer(annotations_app, name="annotations")
app.add_typer(config_app, name="config")
champion_app = typer.Typer(no_args_is_help=True, help="What serves under a name, and what served before.")
app.add_typer(champion_app, name="champion")
app.command(name="dedup")(dedup_command)


def _place(local: Local = False, runs: Runs = RUNS) -> contextlib.AbstractContextManager[None]:
    return this_machine(runs) if local else contextlib.nullcontext()


@app.command()
@taking("place", _place)
def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration: only what differs from the defaults.", metavar="CONFIG")
    ] = None,
    overrides: Overrides = None,
    image: Annotated[str, typer.Option(help="Component image, to be looked up in Artifact Registry.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Check the settings only; send no request.")] = False,
    compiled: Annotated[
        Path | None, typer.Option(help="Compiled pipeline, to be checked by the rules of Vertex AI and Kubeflow.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a configuration against the model catalogue and the project: every problem that would stop a run.

    Looked up are the APIs, the bucket, service accounts, keys and the image. Exit code 1: one is missing or disabled.
    With --compiled, check a compiled pipeline: what a backend would refuse, why, and the remedy.
    """
    from gemtune.state import reconcile
    from gemtune.vertex import connect, named_project, project

    if (config is None) == (compiled is None):
        raise UserError("expected a configuration, or --compiled FILE alone", remedy="gemtune doctor CONFIG")
    if compiled is not None:
        _explain_findings(compiled, as_json)
        return
    settings = check(load(config, overrides), is_billed=False)
    unasked = {"project": named_project(settings.vertex) or "unknown"} if offline else {}
    client = connect(settings.vertex.model_copy(update=unasked))
    model = settings.evaluate.base_model
    place = {"project": client.project, "region": client.location, "bucket": client.bucket, "model": model}
    named = [model, settings.evaluate.judge.model, *settings.escalation.models, *(t.base for t in settings.plan.trials)]
    catalogue = client.catalogue
    warnings = list(dict.fromkeys(w for n in named for w in (*catalogue.warnings(n), *catalogue.price_notes(n))))
    checks = list[dict[str, str]]()
    if not offline:
        logs = settings.monitor.logs
        warnings += reconcile.logging_status(client, settings.name, logs).problems if logs.startswith("bq://") else []
        checks = [c._asdict() for c in project.checks(client, settings, image)]
    lacking = [check for check in checks if check["state"] in ("missing", "disabled")]
    echo(
        {**place, "catalogue": str(client.catalogue.checked), "warnings": warnings, "checks": checks},
        as_json,
        f"project {client.project}, region {client.location}, bucket {client.bucket}",
        f"{model} can be tuned in {client.location}; catalogue checked on {client.catalogue.checked}",
        *(f"warning: {warning}" for warning in warnings),
        *(f"{c['subject']}: {c['state']}" + (f" ({c['remedy']})" if c in lacking else "") for c in checks),
    )
    if lacking:
        raise typer.Exit(1)


def _explain_findings(path: Path, as_json: bool) -> None:
    """Print each finding with reason, remedy and source; exit code 1 if a backend would refuse the pipeline."""
    from pipelines.backend_rules import findings, read_compiled

    listed = findings(read_compiled(path), path)
    lines, rules = [], [finding.rule for finding in listed]
    for finding, rule in zip(listed, rules, strict=True):
        lines.append(f"{finding}\n  {rule.text}\n  remedy: {rule.remedy}\n  source: {rule.source} ({rule.date})")
    errors = sum(rule.severity == "error" for rule in rules)
    facts = [{"finding": str(f), "severity": f.rule.severity, "remedy": f.rule.remedy} for f in listed]
    counted = f"{path}: {'1 error' if errors == 1 else f'{errors} errors'}"
    echo({"pipeline": str(path), "errors": errors, "findings": facts}, as_json, *lines, counted)
    if errors:
        raise typer.Exit(1)


@app.command()
def plan(
    config: ConfigFile,
    data: Data = None,
    overrides: Overrides = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Estimate tokens from text lengths; send no request.")
    ] = False,
    as_json: Json = False,
    exit_zero: ExitZero = False,
) -> None:
    """Forecast what a run would cost, and list reasons against tuning: nothing is submitted, nothing is paid.

    Tokens are counted by the service, which is free of charge. Exit code 3: there is a reason not to tune; 5: not even
    the prompts can be evaluated within plan.max_cost.
    """
    import tempfile

    settings = check(load(config, overrides, data, needs_data=True), is_billed=False)
    check_own_rows(settings, config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        forecast = _dry_run(settings, offline, folder)
    echo(forecast.model_dump(mode="json"), as_json)
    if not as_json:
        _show(forecast, settings.data, settings.method)
    if forecast.reasons and not exit_zero:
        too_expensive = forecast.over_budget and forecast.forecast.cost.upper > forecast.forecast.max_cost
        raise typer.Exit(OVER_BUDGET if too_expensive else AGAINST)


def _dry_run(settings: Config, offline: bool, folder: str) -> TuningPlan:
    """The plan of the configuration's pipeline."""
    from gemtune.artifacts.data import DataReport
    from gemtune.cli import first_steps
    from gemtune.cli.data_commands import show_borderline
    from gemtune.data.example import read_examples
    from gemtune.data.split_assignment import SPLITS
    from gemtune.steps import plan_tuning

    try:
        sections = first_steps.execute(settings, folder, offline)
    finally:
        if Path(f"{folder}/data").exists():
            show_borderline(DataReport.read(f"{folder}/data").borderline_duplicates)
    sampled = settings.method == "preference" and settings.preference.pairs_from == "samples"
    labelled = list(read_examples(f"{folder}/rows")) if sampled else []
    splits = [f"{folder}/{name}" for name in SPLITS]
    return plan_tuning.dry_run(splits, sections, settings.name, offline, labelled)


def _show(plan: TuningPlan, data: str, method: str) -> None:
    """The forecast as a table, then the conclusion with its reasons."""
    from rich.table import Table

    console = wide_console()
    sizes = " / ".join(str(plan.rows[name]) for name in ("train", "validation", "test"))
    table = Table(title=f"{data}: {sizes} training / validation / test rows", title_justify="left")
    table.add_column("item")
    for heading in ("tokens", "USD", "at most, USD"):
        table.add_column(heading, justify="right")
    for item in plan.forecast.items:
        costs = ["unknown"] * 2 if item.is_unpriced else [f"{n:.4f}" for n in (item.cost.expected, item.cost.upper)]
        table.add_row(item.label, f"{item.tokens.expected:,.0f}", *costs)
    table.add_section()
    left_out = " without tuning" if any(item.is_unpriced for item in plan.forecast.items) else ""
    table.add_row(f"total{left_out}", "", f"{plan.forecast.cost.expected:.4f}", f"{plan.forecast.cost.upper:.4f}")
    console.print(table)
    trials = "1 trial" if len(plan.trials) == 1 else f"{len(plan.trials)} trials"
    console.print(f"{trials}; {plan.forecast.summary}", soft_wrap=True)
    unit, assumed = ("prompts", "if no answers tie") if method == "preference" else ("rows", "at an accuracy of 0.5")
    lift = f"with {plan.rows['test']} test {unit}, a true lift of {plan.detectable_lift:.3f} is detected with 80% power"
    console.print(f"{lift}, {assumed}", soft_wrap=True)
    methods = Table("method", "model", "data", "a job, USD", "evidence", title="tuning methods", title_justify="left")
    for row in plan.methods:
        job = f"{row.cost.expected:.2f}, at most {row.cost.upper:.2f}" if row.cost else f"needs {row.obstacle}"
        methods.add_row(row.method, row.model or "none", row.data, job, row.evidence)
    console.print(methods, markup=False)
    for assessment in plan.assessments:
        console.print(assessment.summary, soft_wrap=True, markup=False)
    for note in [*plan.over_budget, *plan.warnings]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for reason in plan.reasons:
        console.print(f"against tuning: {reason}", soft_wrap=True, markup=False)
    if not plan.reasons:
        console.print(
            "no reason against tuning so far; an evaluation is needed to show whether a prompt is good enough"
        )


@app.command()
@with_client()
def cleanup(
    at: At,
    yes: Annotated[
        bool, typer.Option("--yes", help="Undeploy them; without this option they are only listed.")
    ] = False,
    older_than_days: Annotated[float, typer.Option(min=0, help="Leave out jobs that are younger.")] = 7.0,
    with_models: Annotated[
        bool,
        typer.Option("--models", help="Also delete tuned models of which no version is or was in production."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Undeploy checkpoints that interrupted runs of this configuration left deployed; champions stay deployed.

    Current and previous champions are never undeployed, nor are checkpoints of young jobs or those that a run began to
    use since, and nothing while a run of the configuration's name is active.
    """
    from gemtune.state import endpoints

    client, name = at.client, at.settings.name
    if yes and (active := _active_run(client, name, at.runs)):
        remedy = f"wait for its end, or end it: gemtune runs cancel {at.config} RUN"
        raise UserError(f"a run of {name} is active: {active}", remedy=remedy)
    unused = endpoints.cleanup(client, name, yes, older_than_days)
    deleted = endpoints.delete_models(client, name, yes, older_than_days) if with_models else []
    lines = [*unused, f"{name}: {_outcome(unused, 'endpoint', 'undeploy', yes)}"]
    lines += [*deleted, f"{name}: {_outcome(deleted, 'model', 'delete', yes)}"] if with_models else []
    echo({"endpoints": unused, "undeployed": yes, "models": deleted}, as_json, *lines)


def _outcome(items: list[str], noun: str, verb: str, done: bool) -> str:
    """Such as: 2 models would be deleted (with --yes)."""
    past = f"{verb.removesuffix('e')}ed"
    outcome = f"to {verb}" if not items else past if done else f"would be {past} (with --yes)"
    return f"{len(items)} {noun}{'s' * (len(items) != 1)} {outcome}"


def _active_run(client: Client, name: str, folder: Path | None) -> str:
    """A run of this name that has not ended, on Vertex AI Pipelines or this machine; "" where there is none."""
    from pipelines import local_run, runs

    local = [row["run"] for row in local_run.listed(folder, name) if row["state"] == "running"] if folder else []
    jobs = [job.name for job in runs.newest(client, name, RECENT_RUNS) if runs.state(job) not in runs.ENDED]
    return next(iter([*local, *jobs]), "")


@app.command(name="logging")
@with_client()
def log_requests(
    action: Annotated[Literal["enable", "disable", "show"], typer.Argument(help="What to do.")],
    at: At,
    sampling_rate: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Share of the requests to log.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Log requests and answers of the champion's endpoint, and of each later champion's, to BigQuery (monitor.logs).

    Exit code 1 if monitoring would not see the requests.
    """
    from gemtune.state import reconcile

    client, name, logs = at.client, at.settings.name, at.settings.monitor.logs
    if action != "show":
        reconcile.record_logging(client, name, logs, sampling_rate if action == "enable" else 0.0)
        reconcile.reconcile(client, name)
    status = reconcile.logging_status(client, name, logs)
    share = f"{status.sampling_rate:.0%} of its" if status.sampling_rate else "no"
    problems = list(status.problems) if action != "disable" else []
    fields = ("endpoint", "sampling_rate", "table")
    content = {"name": name, **{field: getattr(status, field) for field in fields}, "problems": problems}
    table = f" to {status.table}" if status.table else ""
    echo(content, as_json, f"{status.endpoint or name} logs {share} requests{table}", *problems)
    if problems:
        raise typer.Exit(1)


@champion_app.command(name="show")
@with_client()
def show_champion(at: At, as_json: Json = False) -> None:
    """Show what serves under the configuration's name: endpoint, since when, and the decision behind it."""
    champion = next((entry for entry in _entries(at) if entry["state"] == "champion"), None)
    if champion is None:
        raise UserError(f"{at.settings.name}: no champion", remedy="deploy one: gemtune run, or gemtune promote")
    echo(champion, as_json, *(f"{key:10} {value}" for key, value in champion.items() if value not in (None, "")))


@champion_app.command(name="history")
@with_client()
def champion_history(at: At, as_json: Json = False) -> None:
    """List the waiting candidate, the champion, those before it and those that were rolled back."""
    entries = _entries(at)
    lines = [f"{entry['state']:12} {entry['since'] or '':26} {entry['model']}" for entry in entries]
    echo(entries, as_json, *(lines or [f"{at.settings.name}: no champion yet"]))


def _entries(at: At) -> list[dict[str, Any]]:
    from gemtune.state import champion

    return [
        {
            "state": state,
            "model": entry.variant.model,
            "variant": entry.variant.name,
            "since": entry.since.isoformat(),
            "until": entry.until and entry.until.isoformat(),
            **{name: getattr(entry.decision, name, None) for name in ("verdict", "metric", "score", "rows")},
            "actor": entry.actor,
            "gemtune": entry.gemtune,
            "manifest": entry.manifest.digest,
        }
        for state, entry in champion.read(at.client, at.settings.name).states
    ]


@app.command()
@with_client()
def promote(at: At, as_json: Json = False) -> None:
    """Take the candidate that passed the gate into service, after a smoke test of its endpoint.

    With deploy.approval: manual it waits for this command.
    """
    from gemtune.steps import deploy

    name = at.settings.name
    variant, smoke = deploy.promote(name, at.settings.vertex.model_dump())
    content = {"name": name, "model": variant.model, "smoke_test": smoke and smoke.model_dump()}
    lines = [f"{name}: {variant.model} is in production", *([smoke.summary] if smoke else [])]
    echo(content, as_json, *lines)


@app.command()
@with_client()
def rollback(at: At, as_json: Json = False) -> None:
    """Restore the previous champion: endpoint, default checkpoint, alias and record."""
    from gemtune.steps import deploy

    name = at.settings.name
    back = deploy.rollback(name, at.settings.vertex.model_dump())
    echo({"name": name, "model": back.model}, as_json, f"{name}: {back.model} is in production again")

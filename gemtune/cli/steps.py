# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Single steps from a shell, without an orchestrator: `python -m gemtune`; the command `gemtune` mounts them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from gemtune.cli.config import config_app
from gemtune.cli.data import DEDUP_EXAMPLES, data_app, dedup_command
from gemtune.cli.judge import judge_app
from gemtune.config import Config
from gemtune.errors import UserError

ConfigFile = Annotated[
    Path, typer.Argument(help="Configuration: only what differs from the defaults.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override one setting; repeatable.")
]


METHODS: dict[str, tuple[Literal["supervised", "preference"], ...]] = {
    "supervised_tuning": ("supervised",),
    "preference_tuning": ("supervised", "preference"),
}


def check(config: Config) -> None:
    """Refuse, before anything starts, what the service would refuse for its base model; raises `UserError`."""
    from gemtune.catalogue import Catalogue
    from gemtune.evaluation.metrics import metric_names
    from gemtune.vertex import location

    preference = config.pipeline == "preference_tuning"
    known = ["win_rate"] if preference else metric_names(config.task)
    for section, metric in (("pick", config.pick.metric), ("gate", config.gate.metric)):
        if metric and metric not in known:
            raise UserError(f"unknown metric {section}.metric={metric!r}", remedy=f"one of {', '.join(known)}")
    for method in METHODS[config.pipeline]:
        Catalogue.load(config.vertex.catalogue).require(
            config.evaluate.base_model,
            method,
            location(config.vertex),
            adapter_sizes=tuple(trial.adapter_size for trial in config.plan.trials),
            encryption_key=config.vertex.encryption_key,
        )


class Messages(TyperGroup):
    """Commands whose user errors are one message and exit code 1, and whose Ctrl-C is exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; anything but a user's error or an interrupt is a bug and shows itself."""
        err = Console(stderr=True, highlight=False)
        try:
            return super().invoke(ctx)
        except UserError as error:
            err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            err.print("interrupted: what was running was stopped")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Messages, no_args_is_help=True, pretty_exceptions_enable=False, help="Single steps, without an orchestrator."
)
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.add_typer(config_app, name="config")
app.command(name="dedup", epilog=DEDUP_EXAMPLES)(dedup_command)


@app.command()
def doctor(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check a configuration against the model catalogue and the environment; says what would go wrong, and when."""
    from gemtune.vertex import connect

    settings = Config.load(config, overrides or [])
    client = connect(settings.vertex)
    model = settings.evaluate.base_model
    check(settings)
    typer.echo(f"project {client.project}, region {client.location}, bucket {client.bucket}")
    typer.echo(f"{model} can be tuned in {client.location}; catalogue checked on {client.catalogue.checked}")
    for warning in client.catalogue.warnings(model):
        typer.echo(f"warning: {warning}")


@app.command()
def plan(
    config: ConfigFile,
    data: Annotated[str | None, typer.Option(help="Labelled rows, instead of the configuration's `data`.")] = None,
    overrides: Overrides = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Guess tokens from lengths; ask no service at all.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what a run would cost and what speaks against it, before anything is paid: nothing is submitted.

    Tokens are counted by the service, which is free of charge. Exit code 1: there is a reason not to tune.
    """
    import tempfile

    given = [*(overrides or []), *([f"data={json.dumps(data)}"] if data else [])]
    settings = Config.load(config, given)
    if not settings.data:
        raise UserError("no data", file=config, remedy="set data, or --data FILE")
    check(settings)
    with tempfile.TemporaryDirectory() as folder:
        found = _foreseen(settings, offline, folder)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        _show(found, settings.data)
    if found["reasons"]:
        raise typer.Exit(1)


def _foreseen(settings: Config, offline: bool, folder: str) -> dict[str, Any]:
    """The plan of the configuration's pipeline. Rows stand where the record of this name says, which is not changed."""
    from gemtune.config import Contestant

    sections = settings.parameters()
    baselines = [[Contestant.of(one) for one in group] for group in sections["baselines"]]
    if settings.pipeline == "preference_tuning":
        from gemtune.steps import preference

        return preference.forecast(settings.data, sections, baselines, settings.name, offline, folder)
    from gemtune.steps import plan_tuning as step
    from gemtune.steps import preprocess, split

    rows, dropped, told, cut = (f"{folder}/{name}" for name in ("rows.jsonl", "dropped.jsonl", "data.json", "cut.json"))
    splits = [f"{folder}/{name}.jsonl" for name in ("train", "validation", "test")]
    preprocess.run(settings.data, sections["task"], sections["preprocess"], rows, dropped, told, sections["vertex"])
    vertex = None if offline else sections["vertex"]
    split.run(rows, sections["split"], splits[0], splits[1], splits[2], cut, vertex, settings.name, keep=False)
    return step.forecast(splits, sections, baselines, settings.name, offline)


def _show(found: dict[str, Any], data: str) -> None:
    """The plan as a table, then the verdict with its reasons."""
    from rich.table import Table

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=140)
    table = Table(
        title=f"{data}: {' / '.join(map(str, found['rows']))} rows to train, choose, test", title_justify="left"
    )
    table.add_column("what")
    for heading in ("tokens", "US$", "at most, US$"):
        table.add_column(heading, justify="right")
    for line in found["costs"]:
        table.add_row(line["what"], f"{line['tokens']:,.0f}", f"{line['cost']:.4f}", f"{line['at_most']:.4f}")
    table.add_section()
    table.add_row("in all", "", f"{found['cost']:.4f}", f"{found['cost_at_most']:.4f}")
    console.print(table)
    console.print(f"{len(found['trials'])} trials; {found['sentence']}", soft_wrap=True)
    if found["metric"] == "win_rate":
        unit, supposed = "prompts", "were no answers to tie"
    else:
        unit, supposed = "rows", "were prompts right half the time"
    lift = f"{found['test_rows']} test {unit} notice a lift of {found['detectable_lift']:.3f} four times in five"
    console.print(f"{lift}, {supposed}", soft_wrap=True)
    for note in [*found["left_out"], *found["warnings"]]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for reason in found["reasons"]:
        console.print(f"against tuning: {reason}", soft_wrap=True, markup=False)
    if not found["reasons"]:
        console.print("nothing speaks against tuning so far; whether a prompt is good enough shows when it is asked")


@app.command()
def sweep(
    config: ConfigFile,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", help="Undeploy them; without it they are only listed.")] = False,
) -> None:
    """Undeploy checkpoints that crashed runs of this configuration left behind; never one that serves or served.

    Call it when no run of this name is going.
    """
    from gemtune.steps import deploy

    settings = Config.load(config, overrides or [])
    found = deploy.sweep(settings.name, settings.vertex.model_dump(), act=yes)
    for endpoint in found:
        typer.echo(endpoint)
    said = "undeployed" if yes else "would be undeployed: --yes does it"
    typer.echo(f"{settings.name}: {len(found)} endpoints {said if found else 'are left over'}")


@app.command()
def rollback(config: ConfigFile, overrides: Overrides = None) -> None:
    """Give service back to the champion before; it was left deployed for this."""
    from gemtune.steps import deploy

    settings = Config.load(config, overrides or [])
    back = deploy.rollback(settings.name, settings.vertex.model_dump())
    typer.echo(f"{settings.name}: {back.model} serves again")


if __name__ == "__main__":
    app(prog_name="python -m gemtune")

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Single steps from a shell, without an orchestrator: `python -m gemtune`; the command `gemtune` mounts them too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.judge import judge_app
from gemtune.rows.commands import data_app, dedup_command

ConfigFile = Annotated[
    Path, typer.Argument(help="Configuration: only what differs from the defaults.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override one setting; repeatable.")
]


def check(config: Config) -> None:
    """Refuse, before anything starts, what the service would refuse for its base model; raises `UserError`."""
    from gemtune.scoring.metrics import metric_names
    from gemtune.tuning.catalogue import Catalogue
    from gemtune.vertex import location

    known = metric_names(config.task)
    for section, metric in (("pick", config.pick.metric), ("gate", config.gate.metric)):
        if metric and metric not in known:
            raise UserError(f"unknown metric {section}.metric={metric!r}", remedy=f"one of {', '.join(known)}")
    Catalogue.load(config.vertex.catalogue).require(
        config.evaluate.base_model,
        "supervised",
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
app.command(name="dedup")(dedup_command)


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
def rollback(config: ConfigFile, overrides: Overrides = None) -> None:
    """Give service back to the champion before; it was left deployed for this."""
    from gemtune import deploy

    settings = Config.load(config, overrides or [])
    back = deploy.rollback(settings.name, settings.vertex.model_dump())
    typer.echo(f"{settings.name}: {back.model} serves again")


if __name__ == "__main__":
    app(prog_name="python -m gemtune")

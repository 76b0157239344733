# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune logging`: request-response logging of the champion's endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.config import Overrides

if TYPE_CHECKING:
    from gemtune.config import Config
    from gemtune.vertex import Client

logging_app = typer.Typer(
    no_args_is_help=True, help="Log the champion's requests and answers to BigQuery (monitor.logs), for monitoring."
)

ConfigFile = Annotated[Path, typer.Argument(help="Configuration: its name and monitor.logs are used.")]
Rate = Annotated[float, typer.Option(min=1e-6, max=1.0, help="Share of the requests to log.")]


@logging_app.command()
def enable(config: ConfigFile, overrides: Overrides = None, sampling_rate: Rate = 1.0) -> None:
    """Log the requests of the champion's endpoint, and of each later champion's, to the table monitor.logs."""
    _record(config, overrides, sampling_rate)


@logging_app.command()
def disable(config: ConfigFile, overrides: Overrides = None) -> None:
    """Log no more requests."""
    _record(config, overrides, 0.0)


@logging_app.command()
def show(config: ConfigFile, overrides: Overrides = None) -> None:
    """Show where the champion's endpoint logs; exit code 1 if monitoring would not see its requests."""
    _show(*_connected(config, overrides))


def _record(config: Path, overrides: list[str] | None, sampling_rate: float) -> None:
    from gemtune.state import request_logging
    from gemtune.state.reconcile import reconcile

    client, settings = _connected(config, overrides)
    request_logging.record(client, settings.name, settings.monitor.logs, sampling_rate)
    reconcile(client, settings.name)
    _show(client, settings, expected=bool(sampling_rate))


def _connected(config: Path, overrides: list[str] | None) -> tuple[Client, Config]:
    from gemtune.config import Config
    from gemtune.vertex import connect

    settings = Config.load(config, overrides or [])
    return connect(settings.vertex), settings


def _show(client: Client, settings: Config, expected: bool = True) -> None:
    from gemtune.state import request_logging

    status = request_logging.status(client, settings.name, settings.monitor.logs)
    if status.sampling_rate:
        typer.echo(f"{status.endpoint} logs {status.sampling_rate:.0%} of its requests to {status.table}")
    elif not expected:
        typer.echo(f"{status.endpoint or settings.name} logs no requests")
        return
    for problem in status.problems:
        typer.echo(problem)
    if status.problems:
        raise typer.Exit(1)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What several commands share: options, those that belong together as one argument, and how results are printed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gemtune.errors import UserError
from gemtune.interruption import ended_with_caller

if TYPE_CHECKING:
    from gemtune.config import Config
    from gemtune.vertex import Client

RUNS = Path("runs")
ConfigFile = Annotated[
    Path, typer.Argument(help="Configuration: only what differs from the defaults.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override one setting; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Runs = Annotated[Path, typer.Option(help="Where local runs, and the emulator's state, are kept.")]
Engine = Annotated[str, typer.Option(help="Model of the emulator: student, student:FOLDER-OR-HUB-NAME, scripted:FILE.")]
Local = Annotated[bool, typer.Option("--local", help="Use the emulator of the local runs instead of Google Cloud.")]


def echo(content: Any, as_json: bool, *lines: str) -> None:
    """Print the lines, if there are any, or the content as JSON."""
    if as_json or lines:
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1) if as_json else "\n".join(lines))


def load(config: Path | None, overrides: list[str] | None, data: str | None = None, needs_data: bool = False) -> Config:
    """The configuration with what the command line overrides; `--data` goes before the file's `data`."""
    from gemtune.config import Config

    settings = Config.load(config, [*(overrides or []), *([f"data={json.dumps(data)}"] if data else [])])
    if needs_data and not settings.data:
        raise UserError("no data", file=config, remedy="set data, or --data FILE")
    return settings


def taking(argument: str, bundle: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    """A decorator: the command with the parameters of `bundle` as options, and what it gives as one argument.

    A context manager is open while the command runs; a command without an argument of this name only runs inside it.
    """
    options = inspect.signature(bundle, eval_str=True).parameters

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)

        @wraps(command)
        def with_options(**values: Any) -> Any:
            bundled = bundle(**{name: values.pop(name) for name in options})
            with bundled if isinstance(bundled, AbstractContextManager) else nullcontext(bundled) as value:
                return command(**values, **({argument: value} if argument in signature.parameters else {}))

        own = [] if argument in signature.parameters else [*options.values()]
        for name, parameter in signature.parameters.items():
            own += options.values() if name == argument else [parameter]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return with_options

    return decorate


@contextmanager
def this_machine(runs: Path, engine: str | None = None, executes: Sequence[str] = ()) -> Iterator[None]:
    """Let Google's clients of this process call the emulator of the local runs in a folder, with its state."""
    from pipelines import strict_run

    with ended_with_caller(), strict_run.backend(runs, engine, executes) as url:
        if "pipelines" in executes:
            typer.echo(f"emulator at {url}, until this command ends", err=True)
        yield


class At(NamedTuple):
    """A configuration with its file, a client of the place of its runs, and the folder `runs` where that is local."""

    config: Path
    settings: Config
    client: Client
    runs: Path | None


def with_client(executes: Sequence[str] = ()) -> Callable[..., Callable[..., Any]]:
    """A decorator: the argument `at` of a command, whose emulator executes what is named."""

    @contextmanager
    def opened(
        config: ConfigFile, overrides: Overrides = None, local: Local = False, runs: Runs = RUNS
    ) -> Iterator[At]:
        from gemtune.vertex import connect

        settings = load(config, overrides)
        with this_machine(runs, executes=executes) if local else nullcontext():
            yield At(config, settings, connect(settings.vertex), runs if local else None)

    return taking("at", opened)

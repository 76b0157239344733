# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, or that belong together: a command takes them as one argument."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import typer

Bundle = contextlib.AbstractContextManager[Any]
Options = dict[str, tuple[Any, Any]]  # name: annotation, default
REQUIRED = inspect.Parameter.empty
RUNS = Path("runs")
Runs = Annotated[Path, typer.Option(help="Where local runs, and the emulator's state, are kept.")]
Engine = Annotated[str, typer.Option(help="Model of the emulator: student, student:FOLDER-OR-HUB-NAME, scripted:FILE.")]


def taking(argument: str, bundle: Callable[..., Bundle], options: Options) -> Callable[..., Callable[..., None]]:
    """A decorator: the command with these options, of which `bundle` gives one argument while the command runs.

    A command without an argument of this name only runs inside the bundle.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        is_passed = argument in signature.parameters

        @wraps(command)
        def with_options(**values: Any) -> None:
            own = {name: values.pop(name) for name in options}
            with bundle(**own) as value:
                command(**values, **({argument: value} if is_passed else {}))

        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
        own = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values() if p.name != argument
        ]
        parameters = sorted([*added, *own], key=lambda parameter: parameter.default is not REQUIRED)
        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return with_options

    return decorate


def as_dict(**values: Any) -> contextlib.nullcontext[dict[str, Any]]:
    """A bundle for `taking`: the options by their names."""
    return contextlib.nullcontext(values)


@contextlib.contextmanager
def local_vertex(runs: Path, engine: str | None = None, executes: Sequence[str] = ()) -> Iterator[None]:
    """Let Google's clients of this process call the emulator of the local runs in a folder, with its state."""
    from pipelines import strict_run

    with strict_run.backend(runs, engine, executes):
        yield


@contextlib.contextmanager
def _place(local: bool, runs: Path, executes: Sequence[str] = ()) -> Iterator[Path | None]:
    """The folder of the local runs, None on Google Cloud."""
    with local_vertex(runs, executes=executes) if local else contextlib.nullcontext():
        yield runs if local else None


LOCAL: Options = {
    "local": (
        Annotated[bool, typer.Option("--local", help="Use the emulator of the local runs instead of Google Cloud.")],
        False,
    ),
    "runs": (Runs, RUNS),
}
with_local = taking("place", _place, LOCAL)
with_local_rewards = taking("place", partial(_place, executes=("rewards",)), LOCAL)

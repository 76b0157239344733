# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Serve Vertex AI's tuning APIs on localhost and print the environment variables for the SDKs."""

import asyncio
import importlib.util
import ipaddress
import logging
import os
import select
import shlex
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import h11
import typer
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from emulator.app.server import Emulator, Settings
from emulator.catalogue import BaseModelEntry, load_catalogue
from emulator.core.faults import FaultPlan, parse_speed
from emulator.core.state import StateInUse
from emulator.documents import read_document
from emulator.engines.base import Engine
from emulator.engines.rules_engine import Rules, RulesEngine
from emulator.services.project import environment

HEADER_TIMEOUT_S = 20.0
_STUDENT = ("torch", "transformers", "peft", "tokenizers", "safetensors")  # what the student imports


def _missing() -> list[str]:
    return [name for name in _STUDENT if importlib.util.find_spec(name) is None]


_DEFAULT_ENGINE = "scripted" if _missing() else "student"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__, epilog="Example: gemtune emulator --port 8080 --state-dir state")
def command(
    port: Annotated[int, typer.Option(help="Port to listen at; 0 picks a free one.")] = 8085,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    state_dir: Annotated[Path, typer.Option(help="Directory of the persistent state.")] = Path("state"),
    engine: Annotated[str, typer.Option(help="student, student:MODEL, scripted[:FILE.json].")] = _DEFAULT_ENGINE,
    threads: Annotated[int, typer.Option(help="Threads of the student (0: chosen by the model's size).")] = 0,
    speed: Annotated[str, typer.Option(help="immediate, polls:N or seconds:T for each job state.")] = "",
    faults: Annotated[Path | None, typer.Option(help="Fault plan (JSON).")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="Catalogue of base models (JSON).")] = None,
    concurrency: Annotated[int, typer.Option(help="Tuning jobs that train at once.")] = 1,
    judge: Annotated[str, typer.Option(help="Judge of evaluateInstances: lexical, or a base model.")] = "lexical",
    seed: Annotated[int, typer.Option(help="Seed of all training.")] = 0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            envvar="EMULATOR_ALLOW_HOST",
            help="Host name by which clients may call it, beside localhost; repeatable.",
        ),
    ] = None,
    require_credentials: Annotated[
        bool,
        typer.Option(
            "--require-credentials", help="Refuse calls without an access token or key (401), except of Cloud Storage."
        ),
    ] = False,
    execute_pipelines: Annotated[
        bool,
        typer.Option(
            "--execute-pipelines", help="Run the steps of submitted pipeline jobs, which is any code; loopback only."
        ),
    ] = False,
    execute_rewards: Annotated[
        bool,
        typer.Option(
            "--execute-rewards", help="Run the Python snippets of rewards in confined processes; loopback only."
        ),
    ] = False,
    while_open: Annotated[
        int | None, typer.Option(metavar="FD", help="End when nobody can write to this pipe any more.")
    ] = None,
) -> None:
    """Take the options; exit code 2 for invalid ones or a port in use."""
    raise typer.Exit(_serve(SimpleNamespace(**locals())))


def engine_factory(choice: str, threads: int) -> Callable[[BaseModelEntry], Engine]:
    """A function that creates the engine of a base model; `ValueError` for an unknown choice."""
    name, _, path = choice.partition(":")
    if name == "scripted":
        engine = RulesEngine(read_document(Path(path), Rules) if path else None)
        return lambda entry: engine
    if name != "student":
        raise ValueError(f"--engine is student, student:MODEL, scripted or scripted:FILE.json, not {choice!r}")
    if missing := _missing():
        raise ValueError(
            f"--engine {choice} needs {', '.join(missing)}: install 'gemtune-emulator[student]' or 'gemtune[emulator]'"
        )
    weights = Path(path) if Path(path).is_dir() else path  # a folder, or a repository of the Hugging Face hub

    def student(entry: BaseModelEntry) -> Engine:
        from emulator.engines.student.engine import Student  # loads a deep-learning framework

        return Student(entry.weights or (weights if path else None), threads)

    return student


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # `::` answers IPv4 too
    try:
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        advice = "choose another --port, 0 picks a free one"
        raise ValueError(f"can't listen on {host}:{port}: {error}; {advice}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load(emulator: Emulator, model: BaseModelEntry) -> None:
    try:
        emulator.engines.engine(model)
    except (ValueError, OSError) as error:  # requests to this model will report it too
        logging.getLogger("emulator").warning("%s is not ready: %s", model.name, error)


class _Protocol(H11Protocol):
    """HTTP/1.1 whose request headers must arrive within `HEADER_TIMEOUT_S` of the connection or of their first byte."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers(True)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_headers(self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_headers(False)
        super().connection_lost(exc)

    def _expect_headers(self, expected: bool) -> None:
        if self._timer is not None and not expected:
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and expected:
            self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self.transport.abort)


class _Server(uvicorn.Server):
    """Exits within two seconds of the first signal, whatever the workers do."""

    def handle_exit(self, sig: int, frame: object) -> None:
        timer = threading.Timer(1.7, os._exit, (0,))
        timer.daemon = True
        timer.start()
        self.should_exit = True


def _end_without_users(pipe: int, server: _Server) -> None:
    """End the server when the last process that holds the pipe open for writing has closed it, or died."""
    used = select.poll()
    used.register(pipe, 0)  # reports POLLHUP alone: the last writer is gone

    def watch() -> None:
        used.poll()
        os.close(pipe)  # from now on nobody can begin to use it
        server.handle_exit(signal.SIGTERM, None)

    threading.Thread(target=watch, daemon=True).start()


def main(prog_name: str = "gemtune emulator") -> None:
    """The command, with the arguments of this process."""
    app(prog_name=prog_name)


def _serve(arguments: SimpleNamespace) -> int:
    """Serve until a signal; returns 2 for invalid arguments or a port in use."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        catalogue = load_catalogue(arguments.catalogue)
        plan = read_document(arguments.faults, FaultPlan) if arguments.faults else FaultPlan()
        if arguments.speed:
            plan = plan.model_copy(update={"pace": parse_speed(arguments.speed)})
        factory = engine_factory(arguments.engine, arguments.threads)
        for option in ("execute_pipelines", "execute_rewards"):
            if getattr(arguments, option) and not _is_loopback(arguments.host):
                name = "--" + option.replace("_", "-")
                raise ValueError(f"{name} runs any code it is sent: --host {arguments.host} is not loopback")
        listener = _listen(arguments.host, arguments.port)
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        settings = Settings(
            arguments.state_dir,
            factory,
            catalogue,
            plan,
            concurrency=arguments.concurrency,
            seed=arguments.seed,
            judge=arguments.judge,
            allowed_hosts=(arguments.host, *(arguments.allow_host or ())),
            execute_rewards=arguments.execute_rewards,
            require_credentials=arguments.require_credentials,
            pipeline_url=url if arguments.execute_pipelines else "",
        )
        emulator = Emulator(settings)
    except (ValueError, StateInUse, OSError, sqlite3.Error) as error:
        is_damaged = isinstance(error, sqlite3.Error)
        advice = f"{arguments.state_dir}: {error} (free disk space, or choose another --state-dir)"
        print(f"emulator: {advice if is_damaged else error}", file=sys.stderr)
        return 2
    # the engine loads while the first requests arrive
    threading.Thread(target=_load, args=(emulator, catalogue.models[0]), daemon=True).start()
    config = uvicorn.Config(
        emulator.app,
        http=_Protocol,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, server.handle_exit)
    if arguments.while_open is not None:
        _end_without_users(arguments.while_open, server)
    executes = [name for name in ("pipelines", "rewards") if getattr(arguments, f"execute_{name}")]
    owner = {"concurrency": arguments.concurrency, "executes": executes}
    emulator.state.describe_owner(url=url, engine=arguments.engine, **owner)
    print(f"emulator ready at {url} (state in {arguments.state_dir}); export these for the SDKs:")
    for variable, value in environment(url, arguments.state_dir).items():
        print(f"export {variable}={shlex.quote(value)}")
    print(flush=True)  # an empty line: the last variable was before it
    server.run(sockets=[listener])
    emulator.stop()
    sys.stdout.flush()
    os._exit(0)  # worker threads may still be inside a training step

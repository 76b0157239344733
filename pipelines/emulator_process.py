# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The emulator of local runs: started by the first run on a state directory, shared by runs that start meanwhile.

Each run holds the named pipe `STATE/users` open for writing; the emulator ends when no process does, however its users
ended. `STATE/lock` names its process, its URL and how it was started, `STATE/emulator.log` is its output.
"""

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gemtune.errors import UserError

PROJECT, LOCATION = "demo-project", "us-central1"
LOG = "emulator.log"
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 8.0


@dataclass(frozen=True)
class RunningEmulator:
    """The emulator at `url`, which runs as long as the descriptor `users` is open; `log` has its output."""

    url: str
    users: int
    log: Path
    closing: threading.Event = field(default_factory=threading.Event)
    watchers: list[threading.Thread] = field(default_factory=list)

    def when_it_ends(self, call: Callable[[], object]) -> None:
        """Call a function, in another thread, as soon as the emulator's process has ended."""

        def watch() -> None:
            ended = select.poll()
            ended.register(self.users, 0)  # reports POLLERR alone: nobody reads the pipe any more
            while not self.closing.wait(0.2):  # a poll in progress would keep the pipe open after it is closed here
                if any(event & select.POLLERR for _, event in ended.poll(0)):
                    call()
                    return

        self.watchers.append(threading.Thread(target=watch, daemon=True))
        self.watchers[-1].start()

    def loss_curves(self, run: str) -> dict[str, list[float]]:
        """Losses of the newest job of a run that is being tuned, by name; {} where there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/emulator/console", timeout=2) as response:
                jobs = json.load(response)["jobs"]
        except (OSError, ValueError):
            return {}
        own = (job for job in jobs if job["state"] == "RUNNING" and run.lower().startswith(job["run"] + "-"))
        curves: dict[str, Any] = next((job["curves"] for job in own if job["curves"]), {})
        names = {"train_total_loss": "training loss", "eval_total_loss": "validation loss"}
        return {
            label: [y for _, y in curves[f"/{name}"] if y is not None]
            for name, label in names.items()
            if f"/{name}" in curves
        }

    def close(self) -> None:
        """Use the emulator no longer."""
        self.closing.set()
        for watcher in self.watchers:
            watcher.join()
        os.close(self.users)


def check_engine(engine: str) -> None:
    """Refuse, before anything starts, an unknown engine, or a script that is not a JSON object."""
    kind, colon, script = engine.partition(":")
    if kind not in ("student", "scripted"):
        raise UserError(f"unknown engine {engine!r}", remedy="write student, student:MODEL or scripted:FILE.json")
    if not colon or kind == "student":
        return
    try:
        content = json.loads(Path(script).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise UserError(f"the engine's script cannot be read: {problem}", file=script) from None
    if not isinstance(content, dict):
        raise UserError("the engine's script is not a JSON object", file=script)


def environment(url: str) -> dict[str, str]:
    """What points the Google SDKs at the emulator: the variables they honour themselves, and no credentials."""
    names = ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_REGION")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return kept | {
        "GOOGLE_VERTEX_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GOOGLE_CLOUD_LOCATION": LOCATION,
        "TOKENIZERS_PARALLELISM": "false",
    }


@contextlib.contextmanager
def emulator(
    state: Path, port: int = 0, engine: str | None = None, jobs: int | None = None, executes: Sequence[str] = ()
) -> Iterator[RunningEmulator]:
    """Use the emulator that runs on a state directory, or start one; `jobs` tuning jobs train at the same time.

    Without `engine` and `jobs` any running one is used; a new one has the engine that the state had last (at first the
    student), and trains one job at a time. It executes submitted code only as `executes` names it: pipelines, rewards.
    Raises `UserError` when it cannot start, or when the running one has another engine or number of jobs, or does not
    execute these.
    """
    state.mkdir(parents=True, exist_ok=True)
    users, process = _open_users(state), None
    if users is None:
        users, process = _start(state, port, engine or _last_owner(state).get("engine", "student"), jobs or 1, executes)
    closing = contextlib.ExitStack()
    closing.callback(os.close, users)
    try:
        needed = {"engine": engine, "jobs": jobs, **{f"execute-{name}": True for name in executes}}
        owner = _wait_for(state, users, process, needed)
        server = RunningEmulator(owner["url"], users, state / LOG)
        closing.pop_all()
        closing.callback(server.close)
        yield server
    finally:
        closing.close()
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on where another run uses it
                process.wait(STOP_TIMEOUT_S)


def _open_users(state: Path) -> int | None:
    """A descriptor that keeps the running emulator alive; None when none runs."""
    try:
        return os.open(state / "users", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no such pipe, or nobody reads it
        return None


def _start(
    state: Path, port: int, engine: str, jobs: int, executes: Sequence[str] = ()
) -> tuple[int, subprocess.Popen[bytes]]:
    pipe = state / "users"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # without a reader it cannot be opened for writing
    users = os.open(pipe, os.O_WRONLY)
    command = [sys.executable, "-m", "emulator", "--port", str(port or _last_port(state)), "--state-dir", str(state)]
    command += ["--engine", engine, "--concurrency", str(jobs), "--while-open", str(reader)]
    command += [f"--execute-{name}" for name in executes]
    with (state / LOG).open("wb") as out:  # it inherits the reader: at no time is the pipe without one while it starts
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(reader,)
        )
    os.close(reader)
    return users, process


def _last_owner(state: Path) -> dict[str, Any]:
    """The lock's content of the emulator that serves a state, or served it last; {} where there was none."""
    try:
        owner: dict[str, Any] = json.loads((state / "lock").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner


def _last_port(state: Path) -> int:
    """The port at which this state was served last, if it is free (cached answers are kept by address); 0: any."""
    try:
        port = urlsplit(_last_owner(state)["url"]).port or 0
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    except (OSError, ValueError, KeyError):
        return 0
    return port


def _wait_for(
    state: Path, users: int, process: subprocess.Popen[bytes] | None, settings: dict[str, Any]
) -> dict[str, Any]:
    """What the emulator that owns the state wrote into its lock, once it is ready."""
    ended = select.poll()
    ended.register(users, 0)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and not ended.poll(20):
        owner = _owner(state)
        if "url" in owner and (process is None or owner["pid"] == process.pid or process.poll() is not None):
            owner |= {"jobs": owner["concurrency"]}
            owner |= {f"execute-{name}": name in owner["executes"] for name in ("pipelines", "rewards")}
            different = {name: owner[name] for name in settings if settings[name] not in (None, owner[name])}
            if different:
                listed = ", ".join(f"--{n} {value}" if value else f"no --{n}" for n, value in different.items())
                raise UserError(
                    f"an emulator with {listed} (process {owner['pid']}) already runs",
                    file=state,
                    remedy="wait until it has ended, or choose another folder with --runs",
                )
            return owner
    log = state / LOG
    written = log.read_text(encoding="utf-8", errors="replace").split("\n") if process else []
    last = next((line.strip() for line in reversed(written) if line.strip()), "it ended while this run joined it")
    raise UserError(f"the emulator did not start: {last}", remedy=f"see {log}" if process else "run again")


def _owner(state: Path) -> dict[str, Any]:
    """What the emulator that owns a state wrote into its lock; {} when none owns it."""
    try:
        with (state / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _last_owner(state)
    except OSError:
        pass
    return {}

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Steps of a local run as forks of one process that has loaded what they import: a run pays for its imports once.

While no step is to be started, the process loads the modules of the steps, then libraries that several of them use. A
step executes the source of its component by kfp's executor, as its compiled command does; a command of another form is
started as it is. The process has one thread; it ends when its socket is closed and its steps have ended.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import re
import select
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

STEPS = Path(__file__).parents[1] / "gemtune" / "steps"
LIBRARIES = (
    *("google.genai", "sklearn.linear_model", "sklearn.feature_extraction.text", "google.cloud.storage"),
    "google.cloud.aiplatform_v1",
)
FORKS = sys.platform == "linux"  # elsewhere system libraries do not work in a fork
COMMAND = re.compile(
    r'\s*program_path=\$\(mktemp -d\)\s*printf "%s" "\$0" > "\$program_path/ephemeral_component\.py"\s*'
    r"_KFP_RUNTIME=true (?P<python>\S+) -m kfp\.dsl\.executor_main\s+"
    r'--component_module_path\s+"\$program_path/ephemeral_component\.py"\s+"\$@"\s*'
)
"""The shell script of kfp's components that install nothing; their source is its first argument."""


class StepServer:
    """Starts the steps of a run, from any thread; what the process itself prints goes to `log`."""

    def __init__(self, log: IO[str]) -> None:
        self._channel, theirs = socket.socketpair()
        program = f"from pipelines.step_server import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> tuple[IO[str], IO[str]]:
        """Start a step: its output, which ends with it, and then its exit code (empty where a signal ended it)."""
        (output, output_end), (code, code_end) = os.pipe(), os.pipe()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as request:
            json.dump([list(command), dict(env)], request)
            request.flush()
            try:
                with contextlib.suppress(OSError):  # the process has been ended: so has the step
                    socket.send_fds(self._channel, [b"."], [request.fileno(), output_end, code_end])
            finally:
                os.close(output_end)
                os.close(code_end)
        return open(output, encoding="utf-8", errors="replace"), open(code, encoding="ascii")

    def close(self) -> None:
        """Return when the steps and the process have ended."""
        self._channel.close()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Start a step for each request; in the process of a step, return when it has ended."""
    os.environ["_KFP_RUNTIME"] = "true"  # kfp loads its compiler otherwise
    steps = [f"gemtune.steps.{module.name}" for module in pkgutil.iter_modules([str(STEPS)])]
    missing = ["kfp.dsl.executor_main", *steps, *LIBRARIES] if FORKS else []
    gc.disable()  # what is loaded stays
    with socket.socket(fileno=descriptor) as channel:
        while True:
            if missing and not select.select([channel], [], [], 0)[0]:
                with contextlib.suppress(Exception):  # the step that needs it reports it
                    importlib.import_module(missing.pop(0))
                continue
            _, received, _, _ = socket.recv_fds(channel, 1, 3)
            if not received:
                break
            if _forked():
                channel.close()
                _execute(*received)
                return
            for own in received:
                os.close(own)
            while _waited(os.WNOHANG):
                pass
    while _waited(0):
        pass


def _forked() -> bool:
    """Continue twice; whether this is the new process."""
    gc.freeze()
    with warnings.catch_warnings():  # the threads that Python counts belong to libraries, which stop them for a fork
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork() == 0


def _waited(options: int) -> bool:
    """Whether a step that had ended was taken note of."""
    try:
        return os.waitpid(-1, options)[0] != 0
    except ChildProcessError:
        return False


def _execute(request: int, output: int, code: int) -> None:
    """Execute a step in this process; raises what the step raises."""
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    with open(request, encoding="utf-8") as file:
        file.seek(0)
        command, variables = json.load(file)
    os.environ.clear()
    os.environ.update(variables)
    script = COMMAND.fullmatch(command[2]) if command[:2] == ["sh", "-ec"] else None
    exit_code = 0
    gc.enable()
    if FORKS and script and script["python"] == sys.executable:
        os.environ["_KFP_RUNTIME"] = "true"
        from kfp.dsl.executor_main import executor_main

        source = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
        source.write_text(command[3], encoding="utf-8")
        sys.argv = ["executor_main", "--component_module_path", str(source), *command[4:]]
        executor_main()
    else:
        exit_code = subprocess.call(command)
    with open(code, "w", encoding="ascii") as file:
        file.write(str(exit_code))

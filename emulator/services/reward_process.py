# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the Python snippet of a reward in a process of its own, confined as far as a process can confine itself.

No network, no other processes, no files but the interpreter's own for reading, limits of time and memory, no
environment. This is no boundary against a hostile snippet, so the emulator runs snippets only if it was started with
`--execute-rewards`, and on loopback. This file is also the program of the process, which reads {snippet, cases} and
writes a reward or the error of each case, so it imports nothing but the standard library.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

TIMEOUT_S, CASE_S = 10.0, 0.1
_MEMORY_BYTES = 1 << 30
_DENIED = ("socket.", "subprocess.", "os.", "pty.", "ctypes.", "shutil.", "webbrowser.", "urllib.", "ftplib.", "http.")
_HARMLESS = ("os.listdir", "os.scandir")


def run_snippet(snippet: str, cases: Sequence[tuple[Any, Any]]) -> list[float | str]:
    """`evaluate(example, response)` of each case: the reward, or the text of an error."""
    with tempfile.TemporaryDirectory(prefix="reward-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", __file__],
                input=json.dumps({"snippet": snippet, "cases": list(cases)}).encode(),
                capture_output=True,
                cwd=folder,
                env={},
                timeout=TIMEOUT_S + CASE_S * len(cases),
                check=True,
            )
            results: list[float | str] = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return ["the snippet took too long"] * len(cases)
        except (subprocess.CalledProcessError, ValueError) as error:
            return [f"the snippet ended its process: {type(error).__name__}"] * len(cases)
    return results


def _confine(prefixes: tuple[str, ...]) -> None:
    import resource

    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in (mode or "r") for letter in "wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            if writes or not os.path.realpath(os.fsdecode(path)).startswith(prefixes):
                raise PermissionError("a reward may not open files")
        elif event.startswith(_DENIED) and event not in _HARMLESS:
            raise PermissionError(f"a reward may not use {event}")

    sys.addaudithook(check)


def _evaluate(function: Any, case: tuple[Any, Any]) -> float | str:
    try:
        return float(function(*case))
    except BaseException as error:  # the snippet's, whatever it is
        return f"{type(error).__name__}: {error}"[:300]


def main() -> None:
    """Answer the request on standard input."""
    request, answers = json.load(sys.stdin), os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    import encodings.idna  # noqa: F401 - modules that are loaded late by others

    _confine(tuple(os.path.realpath(path) + os.sep for path in sys.path if os.path.isabs(path)))
    names: dict[str, Any] = {"__name__": "reward"}
    try:
        exec(compile(request["snippet"], "reward", "exec"), names)
        function = names["evaluate"]
    except BaseException as error:
        results: list[float | str] = [f"{type(error).__name__}: {error}"[:300]] * len(request["cases"])
    else:
        results = [_evaluate(function, case) for case in request["cases"]]
    json.dump(results, answers)
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

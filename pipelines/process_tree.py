# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Processes of a local run that end with the run, however the run ends (even kill -9).

A run starts its steps as one process group with a guard beside it: a small process outside of the group whose standard
input is a pipe from the run. When the run closes the pipe, or dies, the guard ends the group and deletes the run's
temporary folder. This file is also the guard's program, so it imports nothing but the standard library.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

STOP_TIMEOUT_S, KILL_TIMEOUT_S = 20.0, 5.0


@contextlib.contextmanager
def started(
    command: Sequence[str], env: dict[str, str], temporary: Path, keep_open: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start a process group, yield its first process, and end all of it afterwards; its standard output is a pipe.

    `temporary` is created as the group's folder for temporary files and deleted at the end. The guard holds the file
    descriptors `keep_open` open until the group has ended.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=env | {"TMPDIR": str(temporary.resolve())},
        start_new_session=True,
    )
    guard = subprocess.Popen(
        [sys.executable, "-I", __file__, str(process.pid), str(temporary.resolve())],
        stdin=subprocess.PIPE,
        start_new_session=True,
        pass_fds=keep_open,
    )
    assert guard.stdin is not None
    try:
        yield process
    finally:
        end_group(process.pid, process)
        assert process.stdout is not None
        process.stdout.close()
        guard.stdin.close()
        guard.wait()


def end_group(group: int, child: subprocess.Popen[str] | None = None) -> None:
    """Terminate all processes of a group, then kill those that still run; `child` is the caller's process among them.

    Returns when none is left.
    """
    for sig, patience_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, KILL_TIMEOUT_S)):
        deadline = time.monotonic() + patience_s
        try:
            os.killpg(group, sig)
            while time.monotonic() < deadline:
                if child is not None:
                    child.poll()
                os.killpg(group, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # macOS refuses to signal a group of which only zombies are left
            break
    if child is not None:
        child.wait()


def guard(group: int, temporary: str) -> None:
    """Wait until standard input is closed, then end the group and delete its temporary folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    end_group(group)
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2])

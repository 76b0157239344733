# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One group for all processes of a job that ends with the emulator, however the emulator ends (even kill -9).

A guard process keeps the group in being and waits for the end of its standard input, a pipe from the emulator: when the
emulator closes it, or dies, the guard ends the group. This file is also the guard's program, so it imports nothing but
the standard library.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S, KILL_TIMEOUT_S = 20.0, 5.0


class ProcessGroup:
    """The processes of one job; `end` terminates all of them, and none can be started after it."""

    def __init__(self) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._guard.stdout is not None
        self._id = int(self._guard.stdout.readline())
        self.guard_id = self._guard.pid

    def start(self, command: Sequence[str], env: Mapping[str, str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a process in a folder, its output appended to a file; `OSError` when it cannot be started."""
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=folder,
                process_group=self._id,
            )

    def end(self) -> None:
        """Terminate all processes, kill those that still run 20 seconds later; returns when none is left."""
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        if self._guard.wait() != 0:  # it was killed, and could not end the group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._id, signal.SIGKILL)


def guard() -> None:
    """Keep a process group in being until standard input is closed, then end it; its id is printed first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    anchor = os.fork()  # a group exists as long as it has a member
    if anchor == 0:
        os.setpgid(0, 0)
        os.write(1, f"{os.getpid()}\n".encode())
    while os.read(0, 4096):
        pass
    if anchor == 0:
        os._exit(0)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # no member is left
        os.killpg(anchor, signal.SIGTERM)
        os.waitpid(anchor, 0)
        for sent, timeout_s in ((0, STOP_TIMEOUT_S), (signal.SIGKILL, KILL_TIMEOUT_S)):
            deadline = time.monotonic() + timeout_s
            os.killpg(anchor, sent)
            while time.monotonic() < deadline:
                os.killpg(anchor, 0)
                time.sleep(0.02)


if __name__ == "__main__":
    guard()

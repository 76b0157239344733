# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command or a step, as exceptions: what is open is closed, what would go on is cancelled."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process as Ctrl-C does; a second signal does not disturb the ending.

    Only Python's main thread hears signals: in another one nothing changes.
    """

    def interrupt(number: int, _: object) -> None:
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(again, signal.SIG_IGN)
        raise KeyboardInterrupt(f"signal {number}")

    heard = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        heard = []
    before = {number: signal.signal(number, interrupt) for number in heard}  # nohup stays in force
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

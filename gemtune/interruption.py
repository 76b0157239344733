# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command or a step, as exceptions: what is open is closed, what would go on is cancelled."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.5


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process as Ctrl-C does; a second signal does not disturb the ending.

    Only Python's main thread receives signals: in another one nothing changes.
    """

    def interrupt(number: int, _: object) -> None:
        for again in _SIGNALS:
            signal.signal(again, signal.SIG_IGN)
        raise KeyboardInterrupt(f"signal {number}")

    handled = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    own = [number for number in handled if signal.getsignal(number) != signal.SIG_IGN]  # nohup stays in force
    before = {number: signal.signal(number, interrupt) for number in own}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_with_caller() -> Iterator[None]:
    """Let signals, and the loss of the process that waits for this one, even by kill -9, end it as Ctrl-C does.

    What was started in the background (`&`, nohup, setsid) has nobody who waits for it, and goes on.
    """
    parent, left = os.getppid(), threading.Event()

    def watch() -> None:
        while not left.wait(_POLL_S):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGHUP)  # as a lost terminal does
                return

    with ended_by_signals():
        if not _is_in_background():
            threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            left.set()


def _is_in_background() -> bool:
    """Whether a shell, or nohup or setsid, started this process to go on without them."""
    ignored = signal.SIG_IGN in (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP))
    if ignored or os.getsid(0) == os.getpid():
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is none
        return False
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    finally:
        os.close(terminal)

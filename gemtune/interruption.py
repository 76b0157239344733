# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command or a step, as exceptions: what is open is closed, what would go on is cancelled."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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

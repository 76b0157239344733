"""The guard of this folder: processes and sockets are refused, event loops are not."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "--version"]),
        lambda: os.system("true"),
        lambda: os.fork(),
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: socket.create_server(("127.0.0.1", 0)),
    ],
    ids=["subprocess", "system", "fork", "connect", "listen"],
)
def test_guard_refuses_processes_and_sockets(start):
    with pytest.raises(AssertionError, match="tests/integration"):
        start()


def test_guard_allows_event_loops():
    assert asyncio.run(asyncio.sleep(0, result=7)) == 7

"""Guard of the unit tests: no process, no socket; what needs one belongs in tests/integration."""

import os
import socket
import subprocess
from importlib.util import find_spec

import pytest
from report_documents import paths, recorded  # noqa: F401

# of the emulator's own packages; `make matrix` installs without it
collect_ignore = [] if find_spec("starlette") else ["test_emulator_parts.py", "test_pipeline_rules.py"]

GUARDED = (
    (subprocess.Popen, "__init__"),
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "system"),
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (socket.socket, "bind"),
)


@pytest.fixture(autouse=True, scope="module")
def _no_process_and_no_socket():
    """Fails a unit test, and the fixtures of its module, at the first process or connection; event loops are fine."""

    def refuse(*_, **__):
        raise AssertionError("a unit test started a process or opened a connection: move it to tests/integration")

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in GUARDED:
            patch.setattr(owner, name, refuse)
        yield

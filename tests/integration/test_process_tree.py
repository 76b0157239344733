"""Processes of a local run end with it, however it ends; the emulator ends with the last run that uses it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emulator.execution.process_group import ProcessGroup
from gemtune.errors import UserError
from pipelines import emulator_process, process_tree

PARENT = """
import sys, time
from pathlib import Path
from pipelines import process_tree
child = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print('ready', flush=True); time.sleep(600)"
with process_tree.started([sys.executable, "-c", child], {"PATH": "/usr/bin:/bin"}, Path(sys.argv[1])) as process:
    process.stdout.readline()
    print(process.pid, flush=True)
    if sys.argv[2] == "wait":
        time.sleep(600)
    if sys.argv[2] == "fail":
        raise RuntimeError
"""


def has_ended(group):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        running = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True).stdout
        if not any(line.split()[0] == group and "Z" not in line.split()[1] for line in running.strip().split("\n")):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("ending", ["return", "fail", signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_started_group_ends_with_its_parent(ending, tmp_path):
    temporary = tmp_path / "temporary"
    how = ending if isinstance(ending, str) else "wait"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(temporary), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    group = parent.stdout.readline().strip()
    assert group
    if how == "wait":
        assert (temporary).is_dir()
        parent.send_signal(ending)
    parent.communicate(timeout=60)
    assert has_ended(group)
    deadline = time.monotonic() + 10
    while temporary.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not temporary.exists()


COMMAND = """
import sys, time
from pathlib import Path
from gemtune.interruption import ended_with_caller
try:
    with ended_with_caller():
        Path(sys.argv[1], "started").touch()
        time.sleep(2)
    Path(sys.argv[1], "whole").touch()
except KeyboardInterrupt:
    Path(sys.argv[1], "interrupted").touch()
"""


@pytest.mark.parametrize(
    ("script", "end"),
    [('"$@"; :', "interrupted"), ('"$@" & wait', "whole"), ('nohup "$@"; :', "whole"), ('setsid "$@"; :', "whole")],
)
def test_command_ends_with_a_killed_shell_that_waits_for_it(script, end, tmp_path):
    command = [sys.executable, "-c", COMMAND, str(tmp_path)]
    shell = subprocess.Popen(["sh", "-c", script, "sh", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for(*names):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if done := [name for name in names if (tmp_path / name).exists()]:
                return done
            time.sleep(0.05)
        return []

    assert wait_for("started")
    shell.kill()
    shell.wait()
    assert wait_for("interrupted", "whole") == [end]


def test_end_group_kills_what_ignores_the_signal(monkeypatch):
    monkeypatch.setattr(process_tree, "STOP_TIMEOUT_S", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", deaf], stdout=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    process.stdout.readline()
    process_tree.end_group(process.pid, process)
    assert process.returncode == -signal.SIGKILL


def holder(state):
    """A process that uses the emulator of `state` until it is killed."""
    program = (
        "import sys, time; from pathlib import Path; from pipelines.emulator_process import emulator\n"
        "with emulator(Path(sys.argv[1]), engine='scripted') as server:\n"
        "    print(server.url, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(state)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_emulator_is_shared_and_ends_with_its_last_user(tmp_path):
    state = tmp_path / "state"
    first, url = holder(state)
    assert url, (state / "emulator.log").read_text()
    with emulator_process.emulator(state, engine="scripted") as server:
        assert server.url == url
        pid = emulator_process._owner(state)["pid"]
        first.kill()  # it had started the emulator
        first.wait()
        time.sleep(0.5)
        os.kill(pid, 0)
        with pytest.raises(UserError, match=rf"an emulator with --engine scripted \(process {pid}\) already runs"):
            emulator_process.emulator(state, engine="student").__enter__()
        command = [sys.executable, "-m", "emulator", "--port", "0", "--engine", "scripted", "--state-dir", str(state)]
        other = subprocess.run(command, capture_output=True, text=True)
        assert other.returncode == 2
        assert f"used by the emulator at {url} (process {pid}); end it (kill {pid})" in other.stderr
    deadline = time.monotonic() + 20
    while emulator_process._owner(state) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not emulator_process._owner(state)
    with emulator_process.emulator(state) as again:  # a command that does not name an engine
        assert (again.url, emulator_process._owner(state)["engine"]) == (url, "scripted")
    deadline = time.monotonic() + 20
    while emulator_process._owner(state) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_emulator_end_is_noticed(tmp_path):
    noticed = []
    with emulator_process.emulator(tmp_path / "state", engine="scripted") as server:
        server.when_it_ends(lambda: noticed.append(time.monotonic()))
        time.sleep(0.3)
        assert not noticed
        os.kill(emulator_process._owner(tmp_path / "state")["pid"], signal.SIGKILL)
        killed = time.monotonic()
        while not noticed and time.monotonic() < killed + 5:
            time.sleep(0.02)
    assert noticed
    assert noticed[0] - killed < 1


def test_emulator_that_cannot_start_says_why(tmp_path):
    with pytest.raises(UserError, match="choose another --port"):
        emulator_process.emulator(tmp_path / "state", port=99999, engine="scripted").__enter__()
    assert Path(tmp_path / "state" / "emulator.log").read_text()


def test_emulator_is_left_at_once(tmp_path):
    with emulator_process.emulator(tmp_path / "state", engine="scripted") as server:
        server.when_it_ends(lambda: None)
        left = time.monotonic()
    assert time.monotonic() - left < 5  # it ends when its last user leaves, and is waited for
    assert not emulator_process._owner(tmp_path / "state")


def test_emulator_ends_when_its_user_dies_while_it_starts(tmp_path):
    process, _ = holder(tmp_path / "other")
    process.kill()
    program = "import sys; from pathlib import Path; from pipelines import emulator_process as e\n"
    program += "(tmp := Path(sys.argv[1])).mkdir(); users, child = e._start(tmp, 0, 'scripted', 1); print(child.pid)"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "state")], capture_output=True, text=True)
    pid, deadline = int(done.stdout), time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_processes_end_though_their_guard_was_killed(tmp_path: Path) -> None:
    group = ProcessGroup()
    process = group.start(["sleep", "60"], os.environ, tmp_path, tmp_path / "log")
    os.kill(group.guard_id, signal.SIGKILL)
    threading.Thread(target=group.end).start()
    assert process.wait(timeout=10) == -signal.SIGKILL

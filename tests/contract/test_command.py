# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m emulator`: what it prints, how it refuses, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from emulated import Server


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulator", "--engine", "scripted", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refusal(run("--port", port, "--state-dir", str(tmp_path)))
    assert port in line
    assert "choose another --port" in line


def test_state_directory_in_use(start: Callable[..., Server], tmp_path: Path) -> None:
    owner = start(state_dir=tmp_path / "mine")
    place = f"used by the emulator at {owner.url} (process {owner.process.pid})"
    assert place in refusal(run("--port", "0", "--state-dir", str(tmp_path / "mine")))


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--speed", "fast", "polls:N"),
        ("--engine", "oracle", "--engine"),
        ("--engine", "scripted:absent.json", "absent.json"),
        ("--faults", "absent.json", "absent.json"),
        ("--catalogue", "absent.json", "absent.json"),
        ("--port", "99999", "99999"),
    ],
)
def test_bad_options(tmp_path: Path, option: str, value: str, word: str) -> None:
    assert word in refusal(run("--state-dir", str(tmp_path), "--port", "0", option, value))


def test_broken_files_tell_the_place(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"error_rate": 7}')
    result = run("--state-dir", str(tmp_path / "s"), "--port", "0", "--faults", str(path))
    assert result.returncode == 2
    assert "error_rate" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_zero(start: Callable[..., Server], sign: signal.Signals) -> None:
    server = start()
    assert httpx.get(f"{server.url}/emulator/health").json() == {"ready": True}
    with httpx.Client() as client:  # an open connection must not hold it up
        client.get(server.url)
        server.process.send_signal(sign)
        assert server.process.wait(timeout=10) == 0


def test_it_prints_what_to_export(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulator", "--engine", "scripted", "--port", "0", "--state-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(7)]
    process.kill()
    process.wait()
    export_rules = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
    urls = {export_rules[f"GOOGLE_{api}_BASE_URL"] for api in ("VERTEX", "GEMINI")}
    assert urls == {export_rules["STORAGE_EMULATOR_HOST"]}
    assert export_rules["GOOGLE_CLOUD_PROJECT"] == "demo-project"


def test_addresses_carry_the_callers_host(start: Callable[..., Server]) -> None:
    server = start("--allow-host", "emulator.internal")
    port = server.url.rsplit(":", 1)[1]
    created = httpx.post(f"http://localhost:{port}/storage/v1/b?project=p", json={"name": "hosted"}).json()
    assert created["selfLink"].startswith(f"http://localhost:{port}/")
    headers = {"host": "emulator.internal:99"}
    seen = httpx.get(f"{server.url}/storage/v1/b/hosted", headers=headers).json()
    assert seen["selfLink"].startswith("http://emulator.internal:99/")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_all_addresses_of_ipv6_include_those_of_ipv4(start: Callable[..., Server]) -> None:
    port = start("--host", "::").url.rsplit(":", 1)[1]
    assert httpx.get(f"http://127.0.0.1:{port}/emulator/health").json() == {"ready": True}


def test_only_loopback_listens(start: Callable[..., Server]) -> None:
    assert start().url.startswith("http://127.0.0.1:")


def test_emulator_imports_nothing_of_the_folder_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "attrs.py").write_text("raise SystemExit('a file of the user was imported')\n")
    command = [Path(sys.executable).with_name("gemtune"), "emulator", "--engine", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("emulator: --engine is student")

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Install a built wheel into fresh environments and run its commands: `python tools/check_wheel.py dist/gemtune-*.whl`.

The first environment has the wheel alone, the second its extra `emulator` (torch: a large download). The commands run
in a folder with packages of the user named `pipelines`, `components` and `emulator`, which must not be imported. Exit
code 1: a command failed; its output is printed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "support_en" / "rows.jsonl"
CONFIG = ROOT / "configs" / "quickstart.yaml"
START_TIMEOUT_S = 120


def main() -> int:
    """Check the wheel that is named on the command line."""
    wheel = Path(sys.argv[1]).resolve()
    os.environ.pop("PYTHONPATH", None)  # the repository's packages must not be importable
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = folder / "work"
        for package in ("pipelines", "components", "emulator"):
            (work / package).mkdir(parents=True)
            (work / package / "__init__.py").write_text("raise SystemExit('a package of the user was imported')\n")
        failed = check_base(install(folder / "base", str(wheel)), work)
        failed += check_emulator(install(folder / "emulator", f"{wheel}[emulator]"), work)
    print("failed:\n" + "\n".join(failed) if failed else "the wheel works")
    return int(bool(failed))


def install(folder: Path, requirement: str) -> Path:
    """A fresh environment with the requirement, at the locked versions; its folder of commands."""
    venv.create(folder, with_pip=True)
    commands = folder / "bin"
    lock = ["--constraint", str(ROOT / "requirements.lock")]
    print(f"installing {requirement}", flush=True)
    pip = [str(commands / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *lock, requirement], check=True)
    return commands


def check_base(commands: Path, work: Path) -> list[str]:
    """Run what needs no emulator; the commands that failed."""
    top = subprocess.run(
        [str(commands / "python"), "-c", "import importlib.util as u; print([u.find_spec(n) for n in "
         "('pipelines', 'components', 'emulator', 'torch', 'transformers')])"],
        cwd=commands, capture_output=True, text=True, check=True,
    )  # fmt: skip
    failed = [] if top.stdout.strip() == str([None] * 5) else [f"unexpected top-level packages: {top.stdout}"]
    for codes, arguments in [
        ((0,), ["--help"]),
        ((0,), ["--version"]),
        ((0,), ["config", "schema"]),
        ((0,), ["config", "show", str(CONFIG)]),
        ((0,), ["plan", str(CONFIG), "--data", str(EXAMPLE), "--offline", "--exit-zero"]),
        ((0, 1), ["data", "check", str(EXAMPLE)]),  # 1: the example has broken rows, planted
        ((0,), ["dedup", str(EXAMPLE), "--out", "kept.jsonl"]),
        ((0,), ["compile", str(CONFIG), "--out", "build"]),
    ]:
        done = subprocess.run([str(commands / "gemtune"), *arguments], cwd=work, capture_output=True, text=True)
        output = done.stdout + done.stderr
        passed = done.returncode in codes and "Traceback" not in output
        print(f"{'ok' if passed else 'FAILED'}  gemtune {' '.join(arguments)}", flush=True)
        if not passed:
            failed.append(f"gemtune {' '.join(arguments)} (exit code {done.returncode})\n{output}")
    return failed


def check_emulator(commands: Path, work: Path) -> list[str]:
    """Start the emulator with the shipped model and stop it; what failed."""
    command = [str(commands / "gemtune"), "emulator", "--port", "0", "--state-dir", "state"]
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(process.pid, signal.SIGKILL))
    signal.alarm(START_TIMEOUT_S)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(r"http://127\.0\.0\.1:\d+", line):
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            print("ok  gemtune emulator")
            return []
    return ["gemtune emulator did not start\n" + "".join(lines)]


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""CPU seconds before any work: commands that only show or compile, and the import of each step.

    python -m bench.starts [--repetitions 2]

Each is a process of its own; the figure is the least of the repetitions. Each step is imported once, the three slowest
as often as the commands, and the slowest is recorded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figures import Figure, record

ROOT = Path(__file__).resolve().parent.parent
STEP_S = 0.6  # goal


def least(command: list[str], repetitions: int, env: dict[str, str] | None = None) -> float:
    """The least CPU seconds of a command; raises when it fails."""
    spent = []
    for _ in range(repetitions):
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
        spent.append(used.ru_utime + used.ru_stime)
    return min(spent)


def main() -> None:
    """Print and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2)
    times = parser.parse_args().repetitions
    completion = {"_GEMTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "gemtune da", "COMP_CWORD": "1"}
    with tempfile.TemporaryDirectory() as folder:
        compiling = ["-m", "gemtune", "compile", "configs/quickstart.yaml", "--out", folder]
        commands: list[tuple[str, list[str], dict[str, str], float]] = [
            ("gemtune --help", ["-m", "gemtune", "--help"], {}, 0.25),
            ("gemtune compile", compiling, {}, 1.2),
            ("completion", ["-c", "from gemtune.cli.main import app; app(prog_name='gemtune')"], completion, 0.3),
        ]
        for name, command, env, goal in commands:
            seconds = least(command, times, env)
            print(f"{name}: {seconds:.2f} CPU s", flush=True)
            record(Figure(name=f"start: {name}", value=seconds, unit="CPU s", goal=goal))
    modules = sorted(path.stem for path in (ROOT / "gemtune" / "steps").glob("[a-z]*.py"))
    imports = {name: ["-c", f"import gemtune.steps.{name}"] for name in modules}
    spent = {name: least(command, 1) for name, command in imports.items()}
    for name in sorted(spent, key=lambda name: -spent[name])[:3]:
        spent[name] = min(spent[name], least(imports[name], times))
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"step {name}: {seconds:.2f} CPU s")
    slowest = max(spent, key=lambda name: spent[name])
    finding = f"It is {slowest}."
    record(Figure(name="start: the slowest step", value=spent[slowest], unit="CPU s", goal=STEP_S, finding=finding))


if __name__ == "__main__":
    main()

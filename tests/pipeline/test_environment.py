# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that need no service, where a machine offers little: one core, no home, the C locale, another time zone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gemtune.config import Config
from pipelines.compilation import compile_pipeline, placed

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "quickstart_ja.yaml"
MB = 1000  # of the kilobytes that the system reports
POOR = {"HOME": "/dev/null/home", "LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Kiritimati", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("arguments", [("compile", "--out", "build"), ("plan", "--offline")], ids=["compile", "plan"])
def test_command_runs_on_a_poor_machine(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    command, *options = arguments
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **POOR}
    # the measuring process is a new one: a process that is forked begins with the peak of the one that forks it
    measure = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    with (tmp_path / "output").open("wb") as output:
        status = subprocess.call(
            [sys.executable, "-c", measure, "taskset", "1", sys.executable, "-m", "gemtune", command, CONFIG, *options],
            cwd=tmp_path if command == "compile" else ROOT,  # the rows' path is that of the repository
            env=environment,
            stdout=output,
            stderr=output,
        )
    written = (tmp_path / "output").read_text(encoding="utf-8")
    assert status == 0, written
    assert "Traceback" not in written
    assert int(written.split()[-1]) < 1000 * MB
    if command == "compile":
        compile_pipeline(placed(Config.load(CONFIG)), tmp_path / "here.yaml")
        built = tmp_path / "build" / "supervised_tuning.yaml"
        assert built.read_bytes() == (tmp_path / "here.yaml").read_bytes()

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: the site builds and tables are those of the code (`pytest --golden` rewrites the emulator's)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from emulator.app.cli import engine_factory
from emulator.app.server import MISSING, Emulator, Settings, routes_table
from emulator.core.faults import FaultPlan
from emulator.core.google_rest import find_route

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference" / "emulator.md"


def faults_table() -> str:
    lines = ["| setting | default |", "| --- | --- |"]
    for name, info in FaultPlan.model_fields.items():
        default = '{"polls": 0, "seconds": 0}' if name == "pace" else info.default
        lines.append(f"| `{name}` | `{default}` |")
    meaning = " ".join((FaultPlan.__doc__ or "").split("\n\n", 1)[1].split())
    return "\n".join(lines) + f"\n\n{meaning}\n"


def test_tables_are_those_of_the_code(tmp_path: Path, golden: bool) -> None:
    emulator = Emulator(Settings(tmp_path, engine_factory("scripted", 1)))
    text = DOCS.read_text()
    expected = text
    for name, table in (("routes", routes_table(emulator.routes)), ("faults", faults_table())):
        pattern = rf"(?s)(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
        expected = re.sub(pattern, lambda match, table=table: match[1] + table + match[2], expected)
    if golden:
        DOCS.write_text(expected)
    assert expected == (DOCS.read_text()), "run pytest --golden tests/contract/test_docs.py"
    emulator.close()


def test_missing_is_missing(tmp_path: Path) -> None:
    emulator = Emulator(Settings(tmp_path, engine_factory("scripted", 1)))
    for name in MISSING:
        method, _, path = name.partition(" ")
        separator = "" if path.startswith(":") else "/"
        full = "/v1/projects/p/locations/l" + separator + re.sub(r"\{\w+\}", "1", path)
        assert find_route(emulator.routes, method, full) is None, name
    emulator.close()


def test_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()

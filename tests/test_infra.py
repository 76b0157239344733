# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""CI and Cloud Build files fit their schemas, what they call exists, and Terraform grants the roles of the docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from gemtune.cli.main import app

ROOT = Path(__file__).parents[1]
SCHEMAS = {".github/workflows/ci.yml": "vendor.github-workflows", "infra/cloudbuild.yaml": "vendor.cloudbuild"}
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
ROLE = re.compile(r"roles/\w+\.\w+")


@pytest.mark.parametrize("path", SCHEMAS)
def test_file_fits_its_schema(path: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[path], path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*SCHEMAS, *PAGES])
def test_commands_and_targets_exist(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    commands = get_command(app).commands
    verbs = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#") or path.endswith(".md")]
    for target in re.findall(r"(?:run: |^|`|\|\s*)make ([a-z-]+)", "\n".join(lines), re.M):
        assert target in verbs, target
    for call in re.findall(r"(?:`|bin/|^ +)gemtune ([a-z][^`#\n]*)", "\n".join(lines), re.M):
        words = call.split()
        command = commands[words[0]]
        while hasattr(command, "commands") and len(words) > 1 and words[1] in command.commands:
            words.pop(0)
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= options, call


def test_roles_of_terraform_are_those_of_the_docs() -> None:
    table = (ROOT / "docs" / "how-to" / "security.md").read_text(encoding="utf-8")
    table = table[table.index("| identity | setting | roles |") : table.index("More for steps, where used")]
    granted = {role for path in (ROOT / "infra").glob("*.tf") for role in ROLE.findall(path.read_text())}
    assert granted == set(ROLE.findall(table))


def test_terraform_refers_to_what_is_declared() -> None:
    text = "".join(path.read_text() for path in (ROOT / "infra").glob("*.tf"))
    code = re.sub(r"#.*|^\s*type\s*=.*", "", text, flags=re.M)
    blocks = re.findall(r'^(resource|data|variable) "(\w+)"(?: "(\w+)")?', code, re.M)
    declared = {
        {"resource": f"{kind}.{name}", "data": f"data.{kind}.{name}", "variable": f"var.{kind}"}[block]
        for block, kind, name in blocks
    }
    for block in re.findall(r"^locals \{\n(.*?)^\}", code, re.M | re.S):
        declared |= {f"local.{name}" for name in re.findall(r"^  (\w+) +=", block, re.M)}
    used = set(re.findall(r"(?<![\w.\"])((?:data\.)?google_\w+\.\w+|(?:var|local)\.\w+)", code))
    assert used - declared == set()
    assert {name for name in declared if name.startswith(("var.", "local."))} <= used, "declared and not used"


def test_terraform_is_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        ["terraform", "-chdir=infra", "fmt", "-check", "-diff"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout

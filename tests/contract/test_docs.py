# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: the site builds, its reference is that of the code, and every block runs or is marked."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from emulator.app.cli import engine_factory
from emulator.app.server import ROUTES, Emulator, Settings
from emulator.core.google_rest import find_route
from gemtune.cli.main import app
from gemtune.config import Config
from tools import reference

ROOT = Path(__file__).parents[2]
COMMANDS = get_command(app)
WHOLE = os.environ.get("WHOLE_RUNS") == "all"
FENCE = re.compile(r"(?ms)^ *(?:<!-- ([^>]+) -->\n *)?```([^\n]*)\n(.*?)^ *```$")
NOT_RUN = ("not run: installs packages", "not run: needs Google Cloud", "not run: needs a Kubeflow cluster",
           "not run: needs public data sets")  # fmt: skip
# without WHOLE_RUNS=all these are executed, up to their first whole run
QUICK = ("start/five-minutes.md", "how-to/personal-data.md")
# `gemtune` of the pages: the working tree, a scripted model for whole runs, and fewer rows
COMMAND = """\
#!/bin/bash
script=script.json
[[ $* == *preference* ]] && script=pairs.json
[[ $1 == try ]] && set -- run configs/quickstart.yaml
if [[ "$1 $* " =~ ^(run|submit|monitor)\\ .* && $* != *--engine* && $* != *--help* ]]; then
  set -- "$@" --engine "scripted:$script"
  [[ $1 != monitor ]] && set -- "$@" --set preprocess.max_rows=300
fi
exec {python} -m gemtune "$@"
"""


@pytest.mark.parametrize("path", reference.pages(), ids=lambda path: path.name)
def test_reference_is_that_of_the_code(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip("\n") == reference.pages()[path].rstrip("\n"), "make docs"


def test_each_client_is_in_the_table() -> None:
    folder, page = ROOT / "tools" / "clients", (ROOT / "docs" / "reference" / "clients.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| \[.*\]\(\.\./\.\./tools/clients/(.*?)\) \|.*$", page)
    files = [*folder.glob("python/*.py"), *folder.glob("node/*.mjs")]
    assert sorted(rows) == sorted(f"{path.parent.name}/{path.name}" for path in files)
    assert "not explained" not in page


def test_missing_is_missing(tmp_path: Path) -> None:
    emulator = Emulator(Settings(tmp_path, engine_factory("scripted", 1)))
    for row in ROUTES:
        if row["support"] != "missing":
            continue
        method, path = row["method"], row["path"]
        separator = "" if path.startswith(":") else "/"
        full = "/v1/projects/p/locations/l" + separator + re.sub(r"\{\w+\}", "1", path)
        assert find_route(emulator.routes, method, full) is None, path
    emulator.close()


def test_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()


def pages() -> list[str]:
    """The pages in the order of the site, which is the order in which a reader may follow them."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return [
        page for page in re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") :]) if (ROOT / "docs" / page).exists()
    ]


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Mark, language and content of each code block of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [(mark or "", language, content) for mark, language, content in FENCE.findall(text)]


def test_named_pages_exist() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    named = {
        (name, path)
        for name in listed
        if name.endswith((".py", ".md", ".yaml", ".tf", "Makefile")) and (ROOT / name).is_file()
        for path in re.findall(r"(?<![\w/.-])docs/[\w/-]+\.(?:md|png|svg)", (ROOT / name).read_text(encoding="utf-8"))
    }
    assert [(name, path) for name, path in sorted(named) if not (ROOT / path).is_file()] == []


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(pages()) == sorted(str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", pages())
def test_blocks_are_executed_or_marked(page: str) -> None:
    for mark, language, content in blocks(page):
        assert language in ("sh", "python", "js", "yaml", "json", "text", "mermaid"), (language, content)
        if language not in ("sh", "python", "js") or mark in ("", "whole run", *NOT_RUN):
            continue
        test = ROOT / mark.removeprefix("run by ")
        assert test.is_file(), mark
        assert Path(page).name in test.read_text(encoding="utf-8"), mark


@pytest.mark.parametrize("page", pages())
def test_commands_of_pages_exist(page: str) -> None:
    executed = [content for mark, language, content in blocks(page) if language == "sh" and mark not in NOT_RUN]
    before, command, _ = f"\n{''.join(executed)}".partition("\ngemtune ")
    assert "source .venv/bin/activate" in before or not command
    for _, language, content in blocks(page):
        for line in content.replace("\\\n", " ").splitlines() if language == "sh" else ():
            if line.startswith("gemtune ") and "--version" not in line:
                words = shlex.split(re.split(r" \|\| | > ", line)[0], comments=True)[1:]
                command = COMMANDS
                while words and hasattr(command, "commands"):
                    command = command.commands[words.pop(0)]
                command.make_context(line, words)


@pytest.mark.parametrize("page", pages())
def test_settings_of_pages_are_valid(page: str) -> None:
    for _, language, content in blocks(page):
        settings = yaml.safe_load(content) if language == "yaml" else {}
        if set(settings) <= set(Config.model_fields):
            Config.model_validate(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with an environment, as a reader has it."""
    from tests.pipeline import golden_runs

    folder = tmp_path_factory.mktemp("docs")
    for name in ("configs", "examples", "emulator"):
        (folder / name).symlink_to(ROOT / name)
    answers = [golden_runs._labels(sample, 0.5, 0.95) for sample in ("support_en", "support_ja")]
    script = answers[0] | {"answers": answers[0]["answers"] | answers[1]["answers"]}
    script["labels"] = sorted({*answers[0]["labels"], *answers[1]["labels"]})
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    (folder / "pairs.json").write_text(json.dumps(golden_runs._pairs()), encoding="utf-8")
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    commands = {"gemtune": COMMAND, "python": f'#!/bin/bash\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n'}
    for name, text in commands.items():
        (binaries / name).write_text(text.replace("{python}", sys.executable), encoding="utf-8")
        (binaries / name).chmod(0o755)
    (binaries / "activate").write_text(f"export PATH={binaries}:$PATH PYTHONPATH={ROOT}\n", encoding="utf-8")
    return folder


def script_of(page: str) -> str:
    """The page as a shell script; without WHOLE_RUNS=all up to its first whole run."""
    lines = []
    for mark, language, content in blocks(page):
        if mark == "whole run" and not WHOLE:
            break
        if language in ("sh", "python") and mark in ("", "whole run"):
            code = content if language == "sh" else f".venv/bin/python - <<'END_OF_BLOCK'\n{content}END_OF_BLOCK\n"
            lines += [f": block {len(lines) + 1}", code]
    return "\n".join(lines)


@pytest.mark.timeout(1800)
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize("page", [page for page in pages() if script_of(page) and (WHOLE or page in QUICK)])
def test_page_runs_as_printed(page: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")}
    command = ["bash", "-eu", "-o", "pipefail", "-c", script_of(page)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a step and a command load when they start; all else is imported by the function that uses it.

`HEAVY` are the packages that are slow to import. A step or command that loads one more than listed fails; steps with
the same list are loaded by one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = [
    "aiohttp",
    "asyncio",
    "google.api_core",
    "google.cloud.aiplatform_v1",
    "google.cloud.bigquery",
    "google.cloud.storage",
    "google.genai",
    "google.protobuf",
    "grpc",
    "httpx",
    "jinja2",
    "jsonschema",
    "kfp",
    "kubernetes",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "requests",
    "rich",
    "sacrebleu",
    "scipy",
    "sklearn",
    "tensorboard",
    "torch",
    "transformers",
]
# Sections and artifacts are pydantic models. `gemtune.vertex` sends requests concurrently (asyncio). Rows are compared
# and scores resampled as arrays (numpy).
STEPS = {
    "": "templates",
    "pydantic": "report_monitoring",
    "asyncio pydantic": "context finish_run start_retraining tune",
    "asyncio numpy pydantic": (
        "analyze_drift augment check_budget configure decide_retraining deploy escalation estimate_quality evaluate "
        "gate load_logs load_pairs plan_tuning preprocess report report_page reweight select_model split"
    ),
}
# typer prints help with rich and, below the first level, reads options with pydantic. kfp cannot be imported without
# its client, which imports the Kubernetes client and requests. `data check` executes the first steps
# of a run on a small file.
COMMANDS = {
    "--help": "rich",
    "data --help": "pydantic rich",
    "data check --help": "pydantic rich",
    "judge validate --help": "pydantic rich",
    "config schema": "pydantic rich",
    "ask text --config missing.yaml": "asyncio numpy pydantic rich",
    "compile configs/quickstart.yaml --out {out}": "asyncio google.protobuf kfp kubernetes pydantic requests rich",
    "data check examples/support_en/rows.jsonl": "asyncio numba numpy pydantic rich scipy",
}
RUN = """
import os, sys
from gemtune.cli.main import app
try:
    app(sys.argv[1:], prog_name="gemtune")
except SystemExit:
    pass
"""


def loaded_by(code: str, *arguments: str, **environment: str) -> set[str]:
    """The packages of `HEAVY` that a new process has loaded after `code`."""
    report = f"\nimport json, sys; print('LOADED', json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + report, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.rpartition("LOADED ")[2]))


def test_imports_list_every_step() -> None:
    listed = [step for steps in STEPS.values() for step in steps.split()]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "gemtune/steps").glob("[a-z]*.py"))


@pytest.mark.parametrize("packages", STEPS)
def test_step_imports_load_only_the_listed_packages(packages: str) -> None:
    steps = [f"import gemtune.steps.{step}" for step in STEPS[packages].split()]
    assert loaded_by("\n".join(steps)) == set(packages.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_load_only_the_listed_packages(command: str, tmp_path: Path) -> None:
    assert loaded_by(RUN, *command.format(out=tmp_path).split()) == set(COMMANDS[command].split())


def test_completion_loads_only_the_listed_packages() -> None:
    shell = {"_GEMTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "gemtune data ", "COMP_CWORD": "2"}
    assert loaded_by(RUN, **shell) == {"pydantic", "rich"}


def test_storage_errors_load_no_google_genai() -> None:
    code = """
from google.api_core.exceptions import NotFound
from gemtune.vertex.calls import PermanentError, translate_errors

def call(): raise NotFound("no such object")

try:
    translate_errors(call)
except PermanentError as error:
    assert error.code == 404
"""
    assert not loaded_by(code) & {"aiohttp", "google.genai", "httpx"}


def test_imports_no_jsonschema_for_a_task_without_a_schema() -> None:
    code = (
        "from gemtune.config import Config, Prompt, Task; from gemtune.inference.parsing import parse; "
        "Config.load(); parse(Task(kind='extraction'), Prompt(), '{}')"
    )
    assert "jsonschema" not in loaded_by(code)

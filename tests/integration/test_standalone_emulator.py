# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The distribution gemtune-emulator: its wheel, its requirements, and its pytest plugin in a user's tests."""

import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from emulator.app.cli import engine_factory
from gemtune import __version__

ROOT = Path(__file__).parents[2]
USER_TESTS = """
import json
import urllib.request

import pytest
from google import genai
from google.genai import types

ROW = {"contents": [{"role": r, "parts": [{"text": t}]} for r, t in (("user", "where is it"), ("model", "parcel"))]}


@pytest.mark.parametrize("repetition", range(2))
def test_state_is_empty_at_the_start(vertex_emulator, repetition):
    client = genai.Client(vertexai=True, project="demo-project", location="us-central1")
    assert not list(client.tunings.list())
    for path, body in (
        ("/storage/v1/b?project=p", json.dumps({"name": "data-of-test"})),
        ("/upload/storage/v1/b/data-of-test/o?uploadType=media&name=rows.jsonl", (json.dumps(ROW) + "\\n") * 900),
    ):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(vertex_emulator.url + path, body.encode(), headers)
        urllib.request.urlopen(request).close()
    data = types.TuningDataset(gcs_uri="gs://data-of-test/rows.jsonl")
    assert client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=data).name
    assert client.models.generate_content(model="gemini-2.5-flash", contents="hello there").text == "hello there"
"""


def test_wheel_of_the_emulator_alone_runs_in_tests_of_a_user(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT / "emulator", check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert {path.name for path in site.iterdir()} == {"gemtune_emulator", f"gemtune_emulator-{__version__}.dist-info"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT / "emulator", check=True, capture_output=True, text=True)
    bundled = site / "gemtune_emulator" / "_bundled" / "emulator"
    own = ("standalone/", "Dockerfile", "README.md", "pyproject.toml")
    assert not [name for name in listed.stdout.split() if not name.startswith(own) and not (bundled / name).exists()]
    (tmp_path / "test_user.py").write_text(USER_TESTS)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("GOOGLE_")} | {"PYTHONPATH": str(site)}
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_user.py"]
    done = subprocess.run(run, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_requirements_of_the_emulator_alone_are_those_of_the_project() -> None:
    own = tomllib.loads((ROOT / "emulator" / "pyproject.toml").read_text())["project"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *project["optional-dependencies"]["emulator"]}
    extras = [line for lines in own["optional-dependencies"].values() for line in lines]
    assert {*own["dependencies"], *extras} - known <= {"google-crc32c>=1.6"}  # comes with google-cloud-storage
    assert not [
        line for line in own["dependencies"] if line.startswith(("torch", "transformers", "google-cloud", "kfp"))
    ]
    assert own["version"] == __version__


def test_student_without_one_of_its_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else known(name))
    with pytest.raises(ValueError, match=r"needs peft: install 'gemtune-emulator\[student\]'"):
        engine_factory("student", 1)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whole pipelines submitted as PipelineJobs and executed by the emulator under the driver's rules.

Their decision, plan, selection and summary equal the golden files, which are those of kfp's local runner.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from emulator_process import Emulator
from golden_runs import GOLDEN, MORE, ROOT, difference, read_facts, write_inputs

BUCKET = "demo-project-gemtune"
pytestmark = pytest.mark.pipeline


@pytest.fixture
def emulator(tmp_path):
    running = None

    def start(engine):
        nonlocal running
        running = Emulator(tmp_path / "state", "--execute-pipelines", "--engine", engine)
        return running

    yield start
    running.kill()


def objects(emulator):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": emulator.url}
    return storage.Client(project="demo-project", credentials=AnonymousCredentials(), client_options=options)


def submit(emulator, arguments, folder):
    """Put the data into a bucket and submit; the job's name."""
    config, *rest = [part for part in arguments if not part.startswith("scripted:") and part != "--engine"]
    data = Path(folder, rest.pop(rest.index("--data") + 1))
    rest.remove("--data")
    objects(emulator).create_bucket(BUCKET).blob(data.name).upload_from_filename(str(data))
    command = ["submit", config, "--image", "registry.test/image", "--data", f"gs://{BUCKET}/{data.name}", *rest]
    done = subprocess.run(
        [sys.executable, "-m", "gemtune", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **emulator.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ended(emulator, name, timeout_s=280):
    """The job once it has ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{emulator.url}/v1/{name}") as response:
            job = json.load(response)
        if job["state"] in ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED"):
            return job
        time.sleep(0.5)
    raise TimeoutError(name)


def download(emulator, job, folder):
    """Write the artifacts of a job to `folder`, as a local run lays them out."""
    for task in job["jobDetail"]["taskDetails"]:
        for key, value in task["outputs"].items():
            for artifact in value["artifacts"]:
                bucket, _, name = artifact["uri"].removeprefix("gs://").partition("/")
                blob = objects(emulator).bucket(bucket).blob(name)
                path = folder / "steps" / task["taskUniqueName"] / task["taskName"] / key
                if task["execution"]["schemaTitle"] == "system.ContainerExecution" and blob.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    blob.download_to_filename(str(path))
    (summary,) = (folder / "steps").glob("**/report/summary")
    (folder / "summary.json").write_bytes(summary.read_bytes())


@pytest.mark.parametrize("name", [pytest.param(name, marks=MORE) for name in ("quickstart", "preference")])
def test_strict_run_decides_as_the_local_runner(name, tmp_path, emulator):
    arguments = write_inputs(name, tmp_path)
    server = emulator(f"scripted:{tmp_path / 'script.json'}")
    job = ended(server, submit(server, arguments, tmp_path))
    failed = [task["error"]["message"] for task in job["jobDetail"]["taskDetails"] if "error" in task]
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", failed
    download(server, job, tmp_path / "run")
    differences = []
    for document, facts in read_facts(tmp_path / "run").items():
        differences += difference(GOLDEN / name / f"{document}.json", facts)
    assert not differences, "\n".join(differences[:80])

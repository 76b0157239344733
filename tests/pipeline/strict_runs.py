# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines submitted to an emulator that executes them, and their artifacts laid out as a local run has them."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from emulator_process import PROJECT, Emulator

ROOT = Path(__file__).parents[2]
BUCKET = f"{PROJECT}-gemtune"
ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED")


def start(folder, script):
    """An emulator that executes pipelines, with its state in `folder`/state and a bucket."""
    running = Emulator(folder / "state", "--execute-pipelines", "--engine", f"scripted:{script}")
    storage(running).create_bucket(BUCKET)
    return running


def storage(emulator):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": emulator.url}
    return storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)


def submit(emulator, config, data, *arguments):
    """Store the data and run `gemtune submit`; the job's name."""
    uri = upload(emulator, data)
    command = ["submit", str(config), "--image", "registry.test/image", "--data", uri, *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "gemtune", *command],
        cwd=data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **emulator.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def upload(emulator, path):
    """Store a file; its URI."""
    storage(emulator).bucket(BUCKET).blob(path.name).upload_from_filename(str(path))
    return f"gs://{BUCKET}/{path.name}"


def read(emulator, name):
    """A job as the API shows it."""
    with urllib.request.urlopen(f"{emulator.url}/v1/{name}") as response:
        return json.load(response)


def names(emulator):
    """The names of all pipeline jobs."""
    with urllib.request.urlopen(f"{emulator.url}/v1/projects/{PROJECT}/locations/us-central1/pipelineJobs") as response:
        return [job["name"] for job in json.load(response)["pipelineJobs"]]


def wait(emulator, name, timeout_s=280, look=lambda job: None):
    """The job once it has succeeded or failed; `look` gets it several times a second until then."""
    deadline = time.monotonic() + timeout_s
    while (job := read(emulator, name))["state"] not in ENDED:
        assert time.monotonic() < deadline, job["state"]
        look(job)
        time.sleep(0.2)
    return job


def download(emulator, job, folder):
    """Write the artifacts of a job's steps to `folder`, laid out so that golden_runs reads them."""
    for task in job["jobDetail"]["taskDetails"]:
        for value in task["outputs"].values():
            for artifact in value["artifacts"]:
                bucket, _, name = artifact["uri"].removeprefix("gs://").partition("/")
                blob = storage(emulator).bucket(bucket).blob(name)
                path = folder / "steps" / task["taskUniqueName"] / task["taskName"] / Path(name).name
                if task["execution"]["schemaTitle"] == "system.ContainerExecution" and blob.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    blob.download_to_filename(str(path))
    (summary,) = (folder / "steps").glob("**/report/summary.json")
    (folder / "summary.json").write_bytes(summary.read_bytes())

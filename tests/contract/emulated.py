# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An emulator process, the genuine SDK clients that speak to it, and small data sets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT, NUMBER, LOCATION = "demo-project", "123456789012", "us-central1"
PARENT = f"projects/{NUMBER}/locations/{LOCATION}"


class Server:
    """An emulator process; `stop` ends it softly, `kill` as a power cut would."""

    def __init__(self, state_dir: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "emulator", "--port", "0", "--state-dir", str(state_dir), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, f"the emulator did not start: {line!r}"
        self.url = match[0]
        self.state_dir = state_dir
        lines = iter(self.process.stdout.readline, "export METADATA_SERVER_DETECTION=assume-present\n")
        self.exports = dict(shlex.split(line)[1].split("=", 1) for line in lines)

    def stop(self) -> float:
        """Send SIGTERM; the seconds until the process ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        return time.monotonic() - started

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self.process.kill()
        self.process.wait(timeout=20)


def genai_client(url: str, location: str = LOCATION, **options: Any) -> Any:
    """A google-genai client."""
    from google import genai
    from google.genai import types
    from google.oauth2.credentials import Credentials

    return genai.Client(
        vertexai=True,
        project=PROJECT,
        location=location,
        credentials=Credentials("any-token"),
        http_options=types.HttpOptions(base_url=url, **options),
    )


def gapic(kind: type, url: str) -> Any:
    """A generated aiplatform client over REST."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    return kind(credentials=AnonymousCredentials(), transport="rest", client_options=ClientOptions(api_endpoint=url))


def storage_client(url: str) -> Any:
    """A google-cloud-storage client."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    return storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": url})


def supervised_lines(count: int = 40) -> list[dict[str, Any]]:
    """Training rows of two plain classes."""
    words = {"refund": "money back please", "shipping": "where is my parcel"}
    return [
        {
            "systemInstruction": {"parts": [{"text": "Classify."}]},
            "contents": [
                {"role": "user", "parts": [{"text": f"{text} number {n}"}]},
                {"role": "model", "parts": [{"text": label}]},
            ],
        }
        for n in range(count // 2)
        for label, text in words.items()
    ]


def preference_lines(count: int = 20) -> list[dict[str, Any]]:
    """Pairs of a good and a bad answer."""
    return [
        {
            "contents": [{"role": "user", "parts": [{"text": f"say {n}"}]}],
            "completions": [
                {"score": 1, "completion": {"role": "model", "parts": [{"text": f"kind {n}"}]}},
                {"score": 0, "completion": {"role": "model", "parts": [{"text": f"rude {n}"}]}},
            ],
        }
        for n in range(count)
    ]


def upload(url: str, name: str, rows: Sequence[Any], bucket: str = "tuning-data") -> str:
    """Write rows as JSONL; the gs:// address."""
    from google.api_core.exceptions import Conflict

    client = storage_client(url)
    with contextlib.suppress(Conflict):
        client.create_bucket(bucket)
    client.bucket(bucket).blob(name).upload_from_string("\n".join(json.dumps(row) for row in rows) + "\n")
    return f"gs://{bucket}/{name}"


def wait(client: Any, job: Any, timeout_s: float = 60.0) -> Any:
    """The job once it has ended."""
    deadline = time.monotonic() + timeout_s
    while not job.has_ended:
        assert time.monotonic() < deadline, f"{job.name} is still {job.state}"
        time.sleep(0.05)
        job = client.tunings.get(name=job.name)
    return job


def curves(url: str, experiment: str) -> dict[str, list[float]]:
    """The values of every metric of a job, read with Google's generated clients."""
    from google.cloud.aiplatform_v1 import MetadataServiceClient, TensorboardServiceClient

    context = gapic(MetadataServiceClient, url).get_context(name=experiment)
    board, boards = context.metadata["backing_tensorboard_resource"], gapic(TensorboardServiceClient, url)
    (run,) = boards.list_tensorboard_runs(parent=f"{board}/experiments/{context.name.rsplit('/', 1)[1]}")
    return {
        series.display_name: [
            point.scalar.value
            for point in boards.read_tensorboard_time_series_data(
                tensorboard_time_series=series.name
            ).time_series_data.values
        ]
        for series in boards.list_tensorboard_time_series(parent=run.name)
    }

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What each pipeline step does: files in, files out; the work is in the packages below.

A step that runs for longer than its deadline (`steps.NAME.deadline_h`) ends itself, since Kubeflow Pipelines has no
timeout of a task: first as if it had been terminated, so that a tuning step cancels its job, then at once.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

DEADLINE = "GEMTUNE_STEP_DEADLINE_S"
GRACE_S = 60.0
EXTENSIONS = {"Artifact": ".json", "Dataset": ".jsonl", "HTML": ".html", "Markdown": ".md"}


def output(artifact: Any, extension: str = "") -> str:
    """The path of a component's output, with the extension of its file, by default that of its type.

    The artifact gets this path: every backend takes an artifact's URI from what the component returns.
    """
    artifact.path += extension or EXTENSIONS[type(artifact).__name__]
    return str(artifact.path)


def sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of the configuration among a component's parameters, by their names."""
    from gemtune.config import Config

    return {name: value for name, value in values.items() if name in Config.model_fields and isinstance(value, dict)}


def _end(deadline_s: float) -> None:
    sys.stderr.write(f"the step is ended: it has run for {deadline_s / 3600:g} hours (steps.NAME.deadline_h)\n")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(124)  # the exit code of timeout(1)


if deadline := float(os.environ.get(DEADLINE, 0)):
    timer = threading.Timer(deadline, _end, [deadline])
    timer.daemon = True
    timer.start()

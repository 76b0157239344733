# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One attempt of a container step as a process on this machine: its inputs, its command, what it wrote.

Follows Kubeflow's launcher (kubeflow/pipelines, backend/src/v2/component/launcher_v2.go, read 2026-11-26). Instead of
mounting buckets below `/gcs`, it gives a step the local paths of its artifacts as their URIs, and turns local paths
back into URIs in what the step writes.
"""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from emulator.execution.process_group import ProcessGroup
from emulator.execution.values import Json, command_line, from_text, json_numbers

_UNKNOWN_TO_CONTAINERS = {
    *("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "CLOUD_ML_REGION"),
}
_SCHEMES = ("gs", "s3", "minio")


class StepError(Exception):
    """Why an attempt of a step failed."""


class Store(Protocol):
    """Objects by URI, such as gs://bucket/name."""

    def download(self, uri: str, path: Path) -> None:
        """Write the object, or all objects below the URI, to a path; nothing when there is none."""

    def upload(self, path: Path, uri: str) -> None:
        """Store a file, or all files of a folder, at a URI."""


@dataclass(frozen=True)
class Files:
    """The job's local copies of objects, below one folder."""

    folder: Path
    store: Store
    lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, uri: str) -> str:
        """The local path of a URI; other URIs, such as paths, stay."""
        scheme, separator, rest = uri.partition("://")
        return str(self.folder / scheme / rest) if separator and scheme in _SCHEMES else uri

    def uris(self, value: Any) -> Any:
        """A JSON value with URIs in place of local paths in its texts."""
        if isinstance(value, dict):
            return {key: self.uris(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.uris(item) for item in value]
        if isinstance(value, str) and str(self.folder) in value:
            return re.sub(re.escape(str(self.folder)) + rf"/({'|'.join(_SCHEMES)})/", r"\1://", value)
        return value

    def fetch(self, artifact: Json) -> None:
        """Copy an input artifact from the store, unless it is here."""
        path = Path(self.path(artifact["uri"]))
        with self.lock:
            if str(path) != artifact["uri"] and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self.store.download(artifact["uri"], path)

    def publish(self, artifact: Json) -> None:
        """Copy an output artifact to the store, if the step wrote it."""
        path = Path(self.path(artifact["uri"]))
        if str(path) != artifact["uri"] and path.exists():
            self.store.upload(path, artifact["uri"])


@dataclass(frozen=True)
class Step:
    """A container step that is about to run; `uri` is the folder of its outputs."""

    container: Json
    component: Json
    parameters: Json
    artifacts: Mapping[str, list[Json]]
    uri: str
    log: Path
    names: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Outputs:
    """What a step or a DAG produced: values of parameters and lists of artifacts, by key."""

    parameters: Json = field(default_factory=dict)
    artifacts: dict[str, list[Json]] = field(default_factory=dict)

    def of(self, kind: str) -> Json:
        """The values of a kind, Parameter or Artifact."""
        return self.parameters if kind == "Parameter" else self.artifacts


def run_step(step: Step, files: Files, group: ProcessGroup) -> Outputs:
    """The outputs of one attempt in a new process, in a folder of its own; `StepError` when it failed."""
    for artifacts in step.artifacts.values():
        for artifact in artifacts:
            files.fetch(artifact)
    with contextlib.suppress(FileNotFoundError):  # what an earlier attempt left
        shutil.rmtree(files.path(step.uri))
    with tempfile.TemporaryDirectory(prefix="step-", dir=files.folder) as scratch:
        executor_input = _executor_input(step, files, Path(scratch))
        parts = [*step.container.get("command", []), *step.container.get("args", [])]
        command = command_line(parts, executor_input, files.path, step.names)
        try:
            process = group.start(command, _environment(step, scratch), Path(scratch), step.log)
        except (OSError, IndexError) as error:
            raise StepError(f"The command {command[:1]} cannot be started: {error}") from error
        code = process.wait()
        if code != 0:
            how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
            raise StepError(f"The step {how}: {_last_line(step.log)} (log: {step.log})")
        outputs = _outputs(step, executor_input, files)
    for artifacts in outputs.artifacts.values():
        for artifact in artifacts:
            files.publish(artifact)
    return outputs


def _executor_input(step: Step, files: Files, scratch: Path) -> Json:
    defined = step.component.get("outputDefinitions", {})
    artifacts = {
        key: {
            "artifacts": [{"name": key, "uri": f"{step.uri}/{key}", "type": definition["artifactType"], "metadata": {}}]
        }
        for key, definition in defined.get("artifacts", {}).items()
    }
    folder = Path(files.path(step.uri))
    folder.mkdir(parents=True)
    parameters = {key: {"outputFile": str(scratch / "outputs" / key)} for key in defined.get("parameters", {})}
    (scratch / "outputs").mkdir()
    return {
        "inputs": {
            "parameterValues": json_numbers(step.parameters),
            "artifacts": {key: {"artifacts": items} for key, items in step.artifacts.items()},
        },
        "outputs": {
            "parameters": parameters,
            "artifacts": artifacts,
            "outputFile": str(folder / "executor_output.json"),
        },
    }


def _environment(step: Step, scratch: str) -> dict[str, str]:
    """This process's environment without credentials and places, with this Python first and what the container sets."""
    inherited = {name: value for name, value in os.environ.items() if name not in _UNKNOWN_TO_CONTAINERS}
    packages = f"{scratch}/packages"  # of steps that install some: never into this Python
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), packages])),
        "PIP_TARGET": packages,
        "TMPDIR": scratch,
        **step.environment,
        **{variable["name"]: variable.get("value", "") for variable in step.container.get("env", [])},
    }


def _outputs(step: Step, executor_input: Json, files: Files) -> Outputs:
    """What the step wrote: the file of the executor before the files of single parameters."""
    path = Path(executor_input["outputs"]["outputFile"])
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else "{}"
        written = files.uris(json.loads(text, parse_constant=_refuse_constant))
    except ValueError as error:
        raise StepError(f"failed to unmarshal the executor's output: {error}") from error
    parameters = dict(written.get("parameterValues", {}))
    for key, declared in step.component.get("outputDefinitions", {}).get("parameters", {}).items():
        if key not in parameters:
            file = Path(executor_input["outputs"]["parameters"][key]["outputFile"])
            try:
                text = file.read_text(encoding="utf-8")
                parameters[key] = files.uris(from_text(text, declared["parameterType"]))
            except (OSError, ValueError) as error:
                kind = declared["parameterType"]
                raise StepError(f'failed to read output parameter name="{key}" type="{kind}": {error}') from error
    artifacts = {}
    for key, expected in executor_input["outputs"]["artifacts"].items():
        (artifact,) = expected["artifacts"]
        for changed in written.get("artifacts", {}).get(key, {}).get("artifacts", [])[:1]:
            merged = {**artifact["metadata"], **changed.get("metadata", {})}
            artifact = {**artifact, "uri": changed.get("uri") or artifact["uri"], "metadata": merged}
        artifacts[key] = [artifact]
    return Outputs(parameters, artifacts)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "no output")

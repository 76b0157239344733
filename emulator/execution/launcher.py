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
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from emulator.execution.process_group import ProcessGroup
from emulator.execution.values import Json, command_line, from_text, json_numbers, mapped

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
class Outputs:
    """What a step or a DAG produced, or takes: values of parameters and lists of artifacts, by key."""

    parameters: Json = field(default_factory=dict)
    artifacts: dict[str, list[Json]] = field(default_factory=dict)

    def of(self, kind: str) -> Json:
        """The values of a kind, Parameter or Artifact."""
        return self.parameters if kind == "Parameter" else self.artifacts


@dataclass(frozen=True)
class Launcher:
    """Starts the steps of a job, with local copies of objects below one folder; `environment` is added to theirs."""

    folder: Path
    store: Store
    environment: Mapping[str, str]
    group: ProcessGroup = field(default_factory=ProcessGroup)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, container: Json, component: Json, inputs: Outputs, uri: str, log: Path, names: Json) -> Outputs:
        """The outputs of one attempt of a step in a new process; `StepError` when it failed.

        `uri` is the folder of its outputs, `names` are what placeholders of names stand for.
        """
        defined = component.get("outputDefinitions", {})
        for artifact in chain(*inputs.artifacts.values()):
            self._fetch(artifact)
        folder = Path(self._path(uri))
        with contextlib.suppress(FileNotFoundError):  # what an earlier attempt left
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="step-", dir=self.folder) as scratch:
            outputs = self._expected(defined, uri, Path(scratch, "outputs"))
            artifacts = {
                key: {"artifacts": [{**artifact, "uri": self._path(artifact["uri"])} for artifact in items]}
                for key, items in inputs.artifacts.items()
            }
            taken = {"parameterValues": json_numbers(inputs.parameters), "artifacts": artifacts}
            parts = [*container.get("command", []), *container.get("args", [])]
            command = command_line(parts, {"inputs": taken, "outputs": outputs}, self._uris, names)
            try:
                process = self.group.start(command, self._environment(container, scratch), Path(scratch), log)
            except (OSError, IndexError) as error:
                raise StepError(f"The command {command[:1]} cannot be started: {error}") from error
            code = process.wait()
            if code != 0:
                how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
                raise StepError(f"The step {how}: {_last_line(log)} (log: {log})")
            produced = self._outputs(defined.get("parameters", {}), outputs)
        for artifact in chain(*produced.artifacts.values()):
            path = self._path(artifact["uri"])
            if path != artifact["uri"] and Path(path).exists():
                self.store.upload(Path(path), artifact["uri"])
        return produced

    def _path(self, uri: str) -> str:
        """The local path of a URI; other URIs, such as paths, stay."""
        scheme, separator, rest = uri.partition("://")
        # not a `Path`, which drops slashes that `_uris` could not restore
        return f"{self.folder}/{scheme}/{rest}" if separator and scheme in _SCHEMES else uri

    def _uris(self, value: Any) -> Any:
        """A JSON value with URIs in place of local paths in its texts."""
        pattern = re.compile(re.escape(str(self.folder)) + rf"/({'|'.join(_SCHEMES)})/")
        return mapped(value, lambda text: pattern.sub(r"\1://", text) if isinstance(text, str) else text)

    def _fetch(self, artifact: Json) -> None:
        """Copy an input artifact from the store, unless it is here."""
        path = Path(self._path(artifact["uri"]))
        with self.lock:
            if str(path) != artifact["uri"] and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self.store.download(artifact["uri"], path)

    def _expected(self, defined: Json, uri: str, files: Path) -> Json:
        """Where a step writes what its component defines: artifacts below the URI, parameters to a new folder."""
        files.mkdir()
        folder = self._path(uri)
        return {
            "parameters": {key: {"outputFile": str(files / key)} for key in defined.get("parameters", {})},
            "artifacts": {
                key: {
                    "artifacts": [{"name": key, "uri": f"{folder}/{key}", "type": of["artifactType"], "metadata": {}}]
                }
                for key, of in defined.get("artifacts", {}).items()
            },
            "outputFile": f"{folder}/executor_output.json",
        }

    def _environment(self, container: Json, scratch: str) -> dict[str, str]:
        """This process's environment without credentials and places, with this Python first; the container's last."""
        inherited = {name: value for name, value in os.environ.items() if name not in _UNKNOWN_TO_CONTAINERS}
        packages = f"{scratch}/packages"  # of steps that install some: never into this Python
        return {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), packages])),
            "PIP_TARGET": packages,
            "TMPDIR": scratch,
            **self.environment,
            **{variable["name"]: variable.get("value", "") for variable in container.get("env", [])},
        }

    def _outputs(self, defined: Json, expected: Json) -> Outputs:
        """What the step wrote: the file of the executor before the files of single parameters."""
        path = Path(expected["outputFile"])
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else "{}"
            written = self._uris(json.loads(text, parse_constant=_refuse_constant))
        except ValueError as error:
            raise StepError(f"failed to unmarshal the executor's output: {error}") from error
        parameters = dict(written.get("parameterValues", {}))
        for key in [key for key in defined if key not in parameters]:
            kind = defined[key]["parameterType"]
            try:
                text = Path(expected["parameters"][key]["outputFile"]).read_text(encoding="utf-8")
                parameters[key] = self._uris(from_text(text, kind))
            except (OSError, ValueError) as error:
                raise StepError(f'failed to read output parameter name="{key}" type="{kind}": {error}') from error
        artifacts = {}
        for key, of in expected["artifacts"].items():
            (artifact,) = self._uris(of["artifacts"])
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

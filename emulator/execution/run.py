# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A compiled pipeline from its specification to its end, as Vertex AI Pipelines and Kubeflow run it.

`Execution(job, store, cache, on_change).run()` runs the steps of a job as processes and returns how it ended;
`on_change` gets all tasks each time one of them changes. Inputs are resolved, checked and converted by the rules of
Kubeflow's driver (kubeflow/pipelines, backend/src/v2/driver, 2.17.0, read 2026-11-26), which refuses more than kfp's
local runner. States are those of Vertex AI's PipelineTaskDetail: a cached task is SKIPPED, a task whose condition does
not hold or whose upstream tasks did not succeed is NOT_TRIGGERED.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from emulator.execution.launcher import Launcher, Outputs, StepError, Store
from emulator.execution.values import (
    Json,
    Refusal,
    as_text,
    converted,
    fill_names,
    fill_parameters,
    holds,
    items_of,
    selected,
)

SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"
CACHED, NOT_TRIGGERED = "SKIPPED", "NOT_TRIGGERED"
STEPS_AT_ONCE = max(4, os.cpu_count() or 1)  # many steps wait for a service
# Limits of Vertex AI on one input of a step and on the metadata of an execution or artifact. Sources:
# kubeflow/kubeflow#7513; google-cloud-aiplatform 1.165.1, types/execution.py and types/artifact.py.
MAX_ARTIFACTS, MAX_METADATA_BYTES = 100, 200_000
_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"


class Cache(Protocol):
    """Outputs of steps that succeeded, by fingerprint."""

    def get(self, fingerprint: str) -> Json | None:
        """What was stored, or None."""

    def put(self, fingerprint: str, value: Json) -> None:
        """Store a JSON value."""


@dataclass(frozen=True)
class Job:
    """A pipeline job: compiled specification, values of its parameters, the URI of the folder of its outputs.

    `folder` is a local folder for logs and copies of files; `environment` is added to that of each step.
    """

    name: str
    spec: Json
    parameters: Json
    root: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    fail_fast: bool = False
    create_time: str = ""


@dataclass(eq=False)
class Task:
    """A task of a running job: a step, a DAG, a loop or one of its iterations."""

    name: str
    display_name: str
    parent: Task | None
    kind: str  # STEP, DAG (also an iteration of a loop) or LOOP
    at_end: bool = False  # it runs, with all below it, even where other tasks failed
    id: int = field(default_factory=lambda: _new_id())
    state: str = "PENDING"
    error: str = ""
    history: list[tuple[str, str, str]] = field(default_factory=list)  # time, state, error of each state
    inputs: Outputs = field(default_factory=Outputs)
    outputs: Outputs = field(default_factory=Outputs)
    attempts: list[int] = field(default_factory=list)  # ids of the attempts of a step
    children: dict[str, Task] = field(default_factory=dict)  # the tasks of a DAG that have ended

    @property
    def succeeded(self) -> bool:
        """Whether tasks that depend on it can run."""
        return self.state in (SUCCEEDED, CACHED)

    @property
    def ended(self) -> bool:
        """Whether the state is the last one."""
        return self.state not in ("PENDING", "RUNNING")

    @property
    def path(self) -> str:
        """The names of the task and its parents below the root."""
        return f"{self.parent.path}.{self.name}" if self.parent and self.parent.parent else self.name


@dataclass(frozen=True)
class Outcome:
    """How a job ended: SUCCEEDED, FAILED or CANCELLED, with the reason."""

    state: str
    error: str
    tasks: tuple[Task, ...]


class _List(list[Any]):
    """Values that a loop collected; an outer loop joins them into its own."""


class Execution:
    """One run of a job; `cancel` may be called from another thread."""

    def __init__(
        self,
        job: Job,
        store: Store,
        cache: Cache,
        on_change: Callable[[Sequence[Task]], None] = lambda tasks: None,
        slots: threading.Semaphore | None = None,
    ) -> None:
        self._job, self._cache, self._on_change = job, cache, on_change
        self._store = store
        self._launcher: Launcher | None = None
        self._folder = job.folder.resolve()
        self._slots = slots or threading.Semaphore(STEPS_AT_ONCE)
        self._tasks: list[Task] = []
        self._lock = threading.RLock()
        self._stopping, self._failed = threading.Event(), threading.Event()
        self._components: Json = job.spec.get("components", {})
        self._executors: Json = job.spec.get("deploymentSpec", {}).get("executors", {})

    def cancel(self) -> None:
        """Start no further task and end the steps that run."""
        self._stopping.set()
        if self._launcher is not None:
            self._launcher.group.end()

    def run(self) -> Outcome:
        """Run all tasks; how the job ended. Local copies of files are deleted, logs stay."""
        root, files = self._job.spec["root"], self._folder / "files"
        for folder in (files, self._folder / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self._launcher = Launcher(files, self._store, self._job.environment)
        task = self._begin(self._job.spec["pipelineInfo"]["name"], {}, None)
        try:
            definitions = root.get("inputDefinitions", {}).get("parameters", {})
            values = self._with_defaults(definitions, self._job.parameters)
            self._run_dag(root, Outputs(values), task)
        except Refusal as error:
            self._end(task, FAILED, str(error))
        finally:
            self._launcher.group.end()
            shutil.rmtree(files, ignore_errors=True)
        return Outcome(task.state, task.error, tuple(self._tasks))

    def _begin(self, name: str, spec: Json, parent: Task | None, iteration: int | None = None) -> Task:
        kind, display_name = "DAG", spec.get("taskInfo", {}).get("name", name)
        if iteration is not None:
            name, display_name = f"{name}-{iteration}", f"{display_name}-{iteration}"
        elif "parameterIterator" in spec:
            kind = "LOOP"
        elif parent is not None and "dag" not in self._components[spec["componentRef"]["name"]]:
            kind = "STEP"
        task = Task(name, display_name, parent, kind, _is_always(spec) or bool(parent and parent.at_end))
        with self._lock:  # who reads the tasks meanwhile finds none without a state
            self._tasks.append(task)
            self._set(task, "RUNNING")
        return task

    def _set(self, task: Task, state: str, error: str = "") -> None:
        with self._lock:
            task.state = state
            task.error = error if state == FAILED else ""
            task.history.append((datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), state, error))
            if state == FAILED:
                self._failed.set()
            self._on_change(self._tasks)

    def _end(self, task: Task, state: str, error: str = "", outputs: Outputs | None = None) -> None:
        task.outputs = outputs or task.outputs
        is_cancelled = self._stopping.is_set() and state == FAILED
        self._set(task, CANCELLED if is_cancelled else state, "" if is_cancelled else error)

    def _run_dag(self, component: Json, inputs: Outputs, task: Task) -> None:
        """Run the tasks of a DAG in the order of their dependencies, and end its own task."""
        task.inputs, ended = inputs, task.children
        specs: Json = component["dag"]["tasks"]
        waiting, stopped = dict(specs), False
        with ThreadPoolExecutor(max_workers=max(1, len(specs))) as pool:
            running: dict[Future[Task], str] = {}
            while waiting or running:
                for name in [n for n in waiting if dependencies(waiting[n]) <= set(ended)]:
                    spec = waiting.pop(name)
                    is_ready = _is_always(spec) or all(ended[n].succeeded for n in dependencies(spec))
                    if self._is_stopped(spec, task) or not is_ready:
                        stopped |= is_ready
                        ended[name] = self._begin(name, spec, task)
                        self._set(ended[name], CANCELLED if self._stopping.is_set() else NOT_TRIGGERED)
                        break  # its own dependents may be ready now
                    running[pool.submit(self._run_task, name, spec, task)] = name
                else:
                    if not running:
                        raise Refusal(f"the tasks {sorted(waiting)} wait for each other")
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        ended[running.pop(future)] = future.result()
        self._conclude(task, list(ended.values()), _dag_outputs(component, ended), stopped)

    def _conclude(self, task: Task, children: Sequence[Task], outputs: Outputs, stopped: bool = False) -> None:
        """End the task of a DAG or loop as its children ended; `stopped`: some that could were not started."""
        failed = sorted(child.name for child in children if child.state == FAILED)
        if any(child.state == CANCELLED for child in children) or (self._stopping.is_set() and not failed):
            self._end(task, CANCELLED)
            return
        reason = "Tasks were not started, since another task of the run failed." if stopped else ""
        if failed:
            reason = f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(failed)}]."
        self._end(task, FAILED if reason else SUCCEEDED, reason, outputs)

    def _is_stopped(self, spec: Json, parent: Task) -> bool:
        """Whether nothing more is started here: the job is cancelled, or fails fast."""
        fails_fast = self._job.fail_fast and self._failed.is_set()
        return self._stopping.is_set() or (fails_fast and not (_is_always(spec) or parent.at_end))

    def _run_task(self, name: str, spec: Json, parent: Task) -> Task:
        component = self._components[spec["componentRef"]["name"]]
        task = self._begin(name, spec, parent)
        try:
            task.inputs = self._resolve(spec, component, task, parent)
            condition = spec.get("triggerPolicy", {}).get("condition")
            if condition and not holds(condition, task.inputs.parameters):
                self._set(task, NOT_TRIGGERED)
            elif task.kind == "LOOP":
                self._run_loop(spec, component, task)
            elif task.kind == "DAG":
                self._run_dag(component, task.inputs, task)
            else:
                self._run_executor(spec, component, task)
        except (Refusal, StepError) as error:
            self._end(task, FAILED, str(error))
        except Exception as error:  # a specification that no rule foresaw ends its job, not the thread alone
            self._end(task, FAILED, f"{type(error).__name__}: {error}")
        return task

    def _resolve(self, spec: Json, component: Json, task: Task, parent: Task) -> Outputs:
        """The inputs of a task, of the types that its component declares; `Refusal` as the driver refuses."""
        definitions = component.get("inputDefinitions", {}).get("parameters", {})
        values: Json = {}
        for name, source in spec.get("inputs", {}).get("parameters", {}).items():
            value = self._value(source, parent, task, spec)
            if "parameterExpressionSelector" in source:
                value = selected(value, source["parameterExpressionSelector"])
            if value is None and definitions.get(name, {}).get("isOptional"):
                continue
            values[name] = value
        for name, source in spec.get("inputs", {}).get("parameters", {}).items():
            if "runtimeValue" in source and isinstance(values[name], str):  # its placeholders are other inputs
                values[name] = fill_parameters(values[name], values)
        iterator = spec.get("parameterIterator", {})
        defined = {name: d for name, d in definitions.items() if name != iterator.get("itemInput")}
        artifacts: dict[str, list[Json]] = {}
        for name, source in spec.get("inputs", {}).get("artifacts", {}).items():
            resolved = self._value(source, parent, task, spec, "Artifact")
            definition = component.get("inputDefinitions", {}).get("artifacts", {}).get(name, {})
            if resolved is not None:
                artifacts[name] = resolved
            elif not definition.get("isOptional"):
                raise Refusal(f'failed to resolve input artifact "{name}": parent DAG does not have it')
        return Outputs(self._with_defaults(defined, values), artifacts)

    def _with_defaults(self, definitions: Json, values: Json) -> Json:
        """Checked and converted values, with the default of each parameter that has no value."""
        result = {name: value for name, value in values.items() if name not in definitions}  # for placeholders
        for name, definition in definitions.items():
            if values.get(name) is not None:
                result[name] = converted(name, values[name], definition.get("parameterType", ""))
            elif "defaultValue" in definition:
                result[name] = definition["defaultValue"]
            elif not definition.get("isOptional"):
                raise Refusal(f'neither value nor default value provided for non-optional parameter "{name}"')
        return result

    def _value(self, source: Json, parent: Task, task: Task, spec: Json, kind: str = "Parameter") -> Any:
        """The parameter or the artifacts that an input takes, or None."""
        if f"componentInput{kind}" in source:
            return parent.inputs.of(kind).get(source[f"componentInput{kind}"])
        if f"taskOutput{kind}" in source:
            output = source[f"taskOutput{kind}"]
            producer, key = output["producerTask"], output[f"output{kind}Key"]
            values = parent.children[producer].outputs.of(kind)
            if key not in values and not _is_always(spec):  # that one runs even where there is none
                raise Refusal(f"failed to resolve inputs: producer task, {producer}, has no output {key!r}")
            return values.get(key)
        if "taskFinalStatus" in source:
            ended = parent.children[source["taskFinalStatus"]["producerTask"]]
            return {
                "state": ended.state,
                "pipelineTaskName": ended.name,
                "pipelineJobResourceName": self._job.name,
                "error": {"code": 9, "message": ended.error} if ended.error else {},
            }
        return fill_names(source["runtimeValue"]["constant"], self._names(task))

    def _names(self, task: Task) -> dict[str, str]:
        """What placeholders of names stand for."""
        project, location = (self._job.name.split("/") + [""] * 4)[1:4:2]
        return {
            "pipeline_job_name": self._job.name.rsplit("/", 1)[-1],
            "pipeline_job_resource_name": self._job.name,
            "pipeline_job_uuid": self._job.name.rsplit("/", 1)[-1],
            "pipeline_job_create_time_utc": self._job.create_time,
            "pipeline_task_name": task.name,
            "pipeline_task_uuid": str(task.id),
            "pipeline_root": self._job.root,
            "pipeline_google_cloud_project_id": project,
            "pipeline_google_cloud_location": location,
        }

    def _run_loop(self, spec: Json, component: Json, task: Task) -> None:
        iterator = spec["parameterIterator"]
        source = iterator["items"]
        over = source.get("inputParameter", "")
        items = items_of(task.inputs.parameters[over] if over else json.loads(source["raw"]))
        inputs = {name: value for name, value in task.inputs.parameters.items() if name != over}
        definition = component.get("inputDefinitions", {}).get("parameters", {}).get(iterator["itemInput"], {})
        declared = definition.get("parameterType", "")

        def iterate(index: int) -> Task:
            iteration = self._begin(task.name, spec, task, index)
            try:
                item = converted(iterator["itemInput"], items[index], declared)
                values = {**inputs, iterator["itemInput"]: item}
                self._run_dag(component, Outputs(values, task.inputs.artifacts), iteration)
            except Refusal as error:
                self._end(iteration, FAILED, str(error))
            return iteration

        limit = int(spec.get("iteratorPolicy", {}).get("parallelismLimit", 0)) or len(items)
        with ThreadPoolExecutor(max_workers=max(1, limit)) as pool:
            iterations = list(pool.map(iterate, range(len(items))))
        self._conclude(task, iterations, _collected([iteration.outputs for iteration in iterations]))

    def _run_executor(self, spec: Json, component: Json, task: Task) -> None:
        _check_limits(task.inputs)
        executor = self._executors[component["executorLabel"]]
        if "importer" in executor:
            self._end(task, SUCCEEDED, "", self._import(executor["importer"], task))
        elif "VertexNotificationEmail" in executor.get("container", {}).get("args", []):
            self._end(task, SUCCEEDED)  # the service itself sends the e-mail; its container fails
        elif "container" not in executor:
            raise Refusal(f"executors of the kind {sorted(executor)} are not supported")
        else:
            container, is_cached = executor["container"], spec.get("cachingOptions", {}).get("enableCache")
            fingerprint = self._fingerprint(component, container, task.inputs)
            if is_cached and (stored := self._cache.get(fingerprint)) is not None:
                self._end(task, CACHED, "", Outputs(**stored))
                return
            outputs = self._attempts(spec, component, container, task)
            if is_cached:
                self._cache.put(fingerprint, asdict(outputs))
            self._end(task, SUCCEEDED, "", outputs)

    def _attempts(self, spec: Json, component: Json, container: Json, task: Task) -> Outputs:
        """The outputs of the first attempt that succeeds; `StepError` of the last one when none does."""
        assert self._launcher is not None
        policy = spec.get("retryPolicy", {})
        uri, names = f"{self._job.root}/{task.name}_{task.id}", self._names(task)
        while True:
            try:
                with self._slots:
                    if self._stopping.is_set():
                        raise StepError("cancelled")
                    task.attempts.append(_new_id())
                    log = self._folder / "logs" / f"{task.path}-{task.attempts[-1]}.log"
                    outputs = self._launcher.run(container, component, task.inputs, uri, log, names)
                _check_limits(outputs)
                return self._named(outputs)
            except StepError as error:
                failed = len(task.attempts)
                if failed > int(policy.get("maxRetryCount", 0)) or self._stopping.is_set():
                    raise
                self._set(task, "RUNNING", str(error))
            factor = float(policy.get("backoffFactor", 2)) ** (failed - 1)
            pause_s = _seconds(policy.get("backoffDuration", "0s")) * factor
            self._stopping.wait(min(pause_s, _seconds(policy.get("backoffMaxDuration", "3600s"))))

    def _named(self, outputs: Outputs) -> Outputs:
        """Outputs whose artifacts have resource names, new ones."""
        parent = "/".join(self._job.name.split("/")[:-2])
        named = {
            key: [{**a, "name": f"{parent}/metadataStores/default/artifacts/{_new_id()}"} for a in items]
            for key, items in outputs.artifacts.items()
        }
        return replace(outputs, artifacts=named)

    def _import(self, importer: Json, task: Task) -> Outputs:
        """The imported artifact; without `reimport`, the one that was imported before from the same URI."""
        source = importer["artifactUri"]
        is_parameter = "runtimeParameter" in source
        uri = task.inputs.parameters[source["runtimeParameter"]] if is_parameter else source["constant"]
        metadata = fill_names(importer.get("metadata", {}), self._names(task))
        metadata = {
            key: fill_parameters(value, task.inputs.parameters) if isinstance(value, str) else value
            for key, value in metadata.items()
        }
        artifact = {"name": "artifact", "uri": uri, "type": importer["typeSchema"], "metadata": metadata}
        key = _digest(["import", artifact])
        stored = None if importer.get("reimport") else self._cache.get(key)
        if stored is None:
            stored = self._named(Outputs({}, {"artifact": [artifact]})).artifacts
            self._cache.put(key, stored)
        return Outputs({}, stored)

    def _fingerprint(self, component: Json, container: Json, inputs: Outputs) -> str:
        """Of what the cache goes by: pipeline, image, command, values, input artifacts by name, outputs by type."""
        artifacts = {key: [artifact["name"] for artifact in items] for key, items in inputs.artifacts.items()}
        name = self._job.spec["pipelineInfo"]["name"]
        return _digest([name, container, inputs.parameters, artifacts, component.get("outputDefinitions", {})])


def dependencies(spec: Json) -> set[str]:
    """The tasks that a task comes after: those it names and those whose outputs it takes."""
    sources = [source for kind in spec.get("inputs", {}).values() for source in kind.values()]
    producers = {
        source[kind]["producerTask"]
        for source in sources
        for kind in ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus")
        if kind in source
    }
    return producers | set(spec.get("dependentTasks", []))


def _is_always(spec: Json) -> bool:
    return bool(spec.get("triggerPolicy", {}).get("strategy") == _COMPLETED)


def _dag_outputs(component: Json, ended: Mapping[str, Task]) -> Outputs:
    """The outputs of a DAG's tasks that are its own; one of several branches is the first that ran."""
    outputs = Outputs()
    for kind in ("Parameter", "Artifact"):
        for key, source in component["dag"].get("outputs", {}).get(f"{kind.lower()}s", {}).items():
            for selector in selectors(source):
                task, name = ended[selector["producerSubtask"]], selector[f"output{kind}Key"]
                if task.state in (SUCCEEDED, CACHED, FAILED) and name in task.outputs.of(kind):
                    outputs.of(kind)[key] = task.outputs.of(kind)[name]
                    break
    return outputs


def selectors(output: Json) -> list[Json]:
    """The tasks, and their outputs, that an output of a DAG takes its value from."""
    branches: list[Json] = output.get("valueFromOneof", {}).get("parameterSelectors", [])
    return output.get("artifactSelectors") or branches or [output["valueFromParameter"]]


def _collected(iterations: list[Outputs]) -> Outputs:
    """The outputs of a loop: lists of what its iterations produced, in their order."""
    outputs = Outputs()
    for iteration in iterations:
        for key, value in iteration.parameters.items():
            values = outputs.parameters.setdefault(key, _List())
            values.extend(value if isinstance(value, _List) else [value])
        for key, artifacts in iteration.artifacts.items():
            outputs.artifacts.setdefault(key, []).extend(artifacts)
    return outputs


def _check_limits(values: Outputs) -> None:
    """`Refusal` for inputs or outputs of a step that are beyond the limits of Vertex AI."""
    for key, artifacts in values.artifacts.items():
        if len(artifacts) > MAX_ARTIFACTS:
            raise Refusal(f'"{key}" has {len(artifacts)} artifacts, more than {MAX_ARTIFACTS}')
    metadata = [artifact["metadata"] for artifacts in values.artifacts.values() for artifact in artifacts]
    size = max(len(as_text(value).encode()) for value in (values.parameters, *metadata))
    if size > MAX_METADATA_BYTES:
        raise Refusal(f"the metadata of an execution or artifact has {size} bytes, more than {MAX_METADATA_BYTES}")


def _new_id() -> int:
    return uuid.uuid4().int >> 66  # 62 bits: an int64


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

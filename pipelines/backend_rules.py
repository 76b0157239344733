# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What Vertex AI Pipelines or a Kubeflow cluster would refuse in a compiled pipeline; kfp's local runner refuses none.

`backend_rules.yaml` has the text, remedy, source and date of each rule. A check yields what breaks its rule: the
step, the value, its size.

The types along the edges are one of the rules: kfp's compiler checks those between tasks of one DAG; a wrong type that
crosses a condition or a loop, a constant of a wrong type, or the item of a list of no declared type is found only when
a backend starts the task. Integers and doubles count as one type: JSON has one.
"""

import datetime
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from gemtune.config import Section
from gemtune.errors import UserError, actionable

Spec = dict[str, Any]
Backend = Literal["vertex", "kubeflow"]
Check = Callable[[Spec, int], Iterator[str]]
FILE = Path(__file__).with_name("backend_rules.yaml")
VERTEX_PLACEHOLDER = re.compile(r"\{\{\$\.pipeline_(?:google_cloud_\w+|service_account)\}\}")

CONSTANTS = {
    str: "STRING",
    bool: "BOOLEAN",
    int: "NUMBER_INTEGER",
    float: "NUMBER_DOUBLE",
    list: "LIST",
    dict: "STRUCT",
    type(None): "NULL",
}
NOTHING, LIST_OF = "nothing", "list of "


class Rule(Section):
    """A rule of a backend: what it refuses, with source and date."""

    name: str
    severity: Literal["error", "warning", "note"]
    backends: list[Backend]
    limit: int = 0
    text: str
    remedy: str
    source: str
    date: datetime.date


class Finding(NamedTuple):
    """A place in a pipeline that breaks a rule."""

    rule: Rule
    detail: str

    def __str__(self) -> str:
        backends = " and ".join(backend.capitalize() for backend in self.rule.backends)
        return f"{self.rule.severity}: {backends}: {self.detail} ({self.rule.name})"


class Task(NamedTuple):
    """A task with its component, the values of inputs that are known before a run, and where it is."""

    name: str
    task: Spec
    component: Spec
    values: dict[str, Any]
    is_read: bool
    in_branch: bool

    @property
    def display_name(self) -> str:
        """Its name in the console."""
        return str(self.task.get("taskInfo", {}).get("name", self.name))

    @property
    def items(self) -> list[Any] | None:
        """The items that a loop repeats; None where a step computes them, or for other tasks."""
        source = self.task.get("parameterIterator", {}).get("items", {})
        items: list[Any] | None = (
            json.loads(source["raw"]) if "raw" in source else self.values.get(source.get("inputParameter", ""))
        )
        return items


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order of the file."""
    return tuple(Rule(name=name, **rule) for name, rule in yaml.safe_load(FILE.read_text(encoding="utf-8")).items())


def findings(spec: Spec, file: Path | None = None) -> list[Finding]:
    """Every place in a compiled pipeline that breaks a rule, by rule. `UserError` for one that refers to nothing."""
    try:
        return [Finding(rule, detail) for rule in rules() for detail in CHECKS[rule.name](spec, rule.limit)]
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        problem = f"the pipeline is damaged: {reason}"
        raise UserError(problem, file=file, remedy="compile it again: gemtune compile CONFIG") from None


def require_accepted(spec: Spec, backend: Backend) -> None:
    """Raise `UserError` with all that the backend refuses in the pipeline."""
    refused = [f for f in findings(spec) if f.rule.severity == "error" and backend in f.rule.backends]
    if refused:
        remedies = dict.fromkeys(finding.rule.remedy for finding in refused)
        problems = "\n".join(f"{finding.detail} ({finding.rule.name})" for finding in refused)
        raise UserError(f"{backend.capitalize()} refuses the pipeline: {problems}", remedy="; ".join(remedies))


def read_compiled(path: Path) -> Spec:
    """The specification in a compiled file, or in the JSON of a pipeline job; `UserError` for any other file."""
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader))
    except OSError as error:
        raise actionable(error, path) from None
    except (ValueError, yaml.YAMLError):
        documents = []
    for document in documents:
        spec = document.get("pipelineSpec", document) if isinstance(document, dict) else {}
        if {"components", "deploymentSpec", "root"} <= set(spec):
            return dict(spec)
    raise UserError("not a compiled pipeline", file=path, remedy="write it with: gemtune compile CONFIG")


def tasks(spec: Spec) -> Iterator[Task]:
    """All tasks of all DAGs, outer ones first."""
    yield from _tasks(spec["components"], spec["root"]["dag"], _defaults(spec), False)


def _tasks(components: Spec, dag: Spec, values: dict[str, Any], in_branch: bool) -> Iterator[Task]:
    readers = json.dumps([dag.get("outputs", {}), [task.get("inputs", {}) for task in dag["tasks"].values()]])
    read = set(re.findall(r'"producer(?:Task|Subtask)": "([^"]+)"', readers))
    for name, task in dag["tasks"].items():
        component = components[task["componentRef"]["name"]]
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        own = {key: form["defaultValue"] for key, form in declared.items() if "defaultValue" in form}
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if source.get("componentInputParameter") in values and "parameterExpressionSelector" not in source:
                own[key] = values[source["componentInputParameter"]]
            elif "runtimeValue" in source:
                own[key] = source["runtimeValue"]["constant"]
        yield Task(name, task, component, own, name in read, in_branch)
        if "dag" in component:
            branch = in_branch or "condition" in task.get("triggerPolicy", {})
            yield from _tasks(components, component["dag"], own, branch)


def _edge_types(spec: Spec, _: int) -> Iterator[str]:
    yield from (str(edge) for edge in edges(spec) if not edge.matches)


def _run_parameters(spec: Spec, limit: int) -> Iterator[str]:
    yield from _too_large("the parameters of a run have", _defaults(spec), limit)


def _metadata(spec: Spec, limit: int) -> Iterator[str]:
    for task in tasks(spec):
        if "executorLabel" in task.component:
            yield from _too_large(f"{task.name}: its parameters have", task.values, limit)


def _specification_size(spec: Spec, limit: int) -> Iterator[str]:
    yield from _too_large("the specification has", spec, limit)


def _names(spec: Spec, limit: int) -> Iterator[str]:
    name = spec["pipelineInfo"]["name"]
    if len(name) > limit or not re.fullmatch("[a-z][-a-z0-9]*", name):
        yield f"{name!r} is no name of a pipeline"
    for task in tasks(spec):
        if not 0 < len(task.display_name) <= limit:
            yield f"{task.name}: the display name has {len(task.display_name)} characters, not 1 to {limit}"


def _labels(spec: Spec, limit: int) -> Iterator[str]:
    section = _defaults(spec).get("vertex")  # in the pipeline of another project it may be anything
    own = section.get("labels") if isinstance(section, dict) else None
    if not isinstance(own, dict):
        return
    if len(own) > limit:
        yield f"vertex.labels has {len(own)} labels, more than {limit}"
    for key, value in own.items():
        if not (
            re.fullmatch(r"[^\W\d_A-Z]([^\WA-Z]|-){0,62}", key) and re.fullmatch(r"([^\WA-Z]|-){0,63}", str(value))
        ):
            yield f"vertex.labels: {key}={value} is no label"


def _image_name(spec: Spec, _: int) -> Iterator[str]:
    executors = spec["deploymentSpec"]["executors"].values()
    for image in sorted({executor["container"]["image"] for executor in executors if "container" in executor}):
        if not has_registry(image):
            yield f"image {image!r} names no registry"


def has_registry(image: str) -> bool:
    """Whether the name of an image begins with the host of a registry."""
    registry, slash, _rest = image.partition("/")
    return bool(slash) and bool(set(".:") & set(registry) or registry == "localhost")


def _zero_iterations(spec: Spec, _: int) -> Iterator[str]:
    for task in tasks(spec):
        empty = task.items == [] or (task.items is None and not task.in_branch)
        if "parameterIterator" in task.task and task.is_read and empty:
            yield f"{task.name}: the list of the loop {'may be' if task.items is None else 'is'} empty"


def _collected_artifacts(spec: Spec, limit: int) -> Iterator[str]:
    for task in tasks(spec):
        count = len(task.items or [])
        if count > limit and task.component.get("outputDefinitions", {}).get("artifacts"):
            yield f"{task.name}: {count} artifacts are collected, more than {limit}"


def _vertex_placeholders(spec: Spec, _: int) -> Iterator[str]:
    for task in tasks(spec):
        label = task.component.get("executorLabel")
        executor = spec["deploymentSpec"]["executors"][label] if label else {}
        for placeholder in sorted(set(VERTEX_PLACEHOLDER.findall(json.dumps([task.values, executor])))):
            yield f"{task.name}: {placeholder}"


def _vertex_components(spec: Spec, _: int) -> Iterator[str]:
    for label, executor in spec["deploymentSpec"]["executors"].items():
        if "VertexNotificationEmail" in executor.get("container", {}).get("args", []):
            yield f"{label.removeprefix('exec-')} sends no e-mail"


def _loop_in_exit_handler(spec: Spec, _: int) -> Iterator[str]:
    for task in tasks(spec):
        if task.task["componentRef"]["name"].startswith("comp-exit-handler"):
            for name, inner in task.component["dag"]["tasks"].items():
                if "parameterIterator" in inner:
                    yield f"{task.name}: {name} is a loop"


def _backend_version(spec: Spec, _: int) -> Iterator[str]:
    needs = [((2, 0), "")]
    for task in tasks(spec):
        if "taskFinalStatus" in json.dumps(task.task):
            needs.append(((2, 14), f"{task.name} reads the final status of other tasks"))
        if task.display_name != task.name and task.is_read:
            version = (2, 16) if "parameterIterator" in task.task else (2, 14)
            needs.append((version, f"outputs of {task.name}, displayed as {task.display_name}, are read"))
        outputs = task.component.get("dag", {}).get("outputs", {}).get("artifacts", {})
        if any(len(output["artifactSelectors"]) > 1 for output in outputs.values()):
            needs.append(((2, 17), f"{task.name} gives an artifact from either of two branches"))
    version, reason = max(needs, key=lambda need: need[0])
    if reason:
        yield f"needs Kubeflow Pipelines {version[0]}.{version[1]} or newer: {reason}"


def _defaults(spec: Spec) -> dict[str, Any]:
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {name: form["defaultValue"] for name, form in inputs.items() if "defaultValue" in form}


def _too_large(what: str, value: Any, limit: int) -> Iterator[str]:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > limit:
        yield f"{what} {size:,} bytes, more than {limit:,}"


class Edge(NamedTuple):
    """An input of a task or an output of a DAG, with the type of its source and the type that is declared."""

    task: str
    name: str
    source_type: str
    declared_type: str

    @property
    def matches(self) -> bool:
        """Whether the source can be passed; an artifact of no special type fits every type of artifact."""
        source, declared = _json_type(self.source_type), _json_type(self.declared_type)
        lists = [name.startswith(LIST_OF) for name in (source, declared)]
        titles = [name.removeprefix(LIST_OF) for name in (source, declared)]
        are_artifacts = all("." in title for title in titles)
        return source == declared or (are_artifacts and lists[0] == lists[1] and "system.Artifact" in titles)

    def __str__(self) -> str:
        return f"{self.task}: {self.name} is {self.source_type}, declared as {self.declared_type}"


def edges(spec: Spec) -> list[Edge]:
    """Defaults of the pipeline, inputs of tasks, lists and items of loops, outputs of DAGs with those of `dsl.OneOf`.

    An input that is required and has no value, or has one and is not declared, is an edge from or to nothing. What an
    expression selects from an input has no declared type and is left out.
    """
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    defaults = [
        Edge("pipeline", name, CONSTANTS[type(form["defaultValue"])], _type(form))
        for name, form in parameters.items()
        if form.get("defaultValue") is not None
    ]
    return [*defaults, *_edges(spec["components"], "root", spec["root"], False)]


def _edges(components: Spec, name: str, parent: Spec, in_loop: bool) -> Iterator[Edge]:
    tasks = parent["dag"]["tasks"]
    for task_name, task in tasks.items():
        component = components[task["componentRef"]["name"]]
        for earlier in task.get("dependentTasks", []):
            tasks[earlier]  # `LookupError`: it comes after a task that its DAG does not have
        for kind in ("parameters", "artifacts"):
            declared = component.get("inputDefinitions", {}).get(kind, {})
            sources = task.get("inputs", {}).get(kind, {})
            for key, source in sources.items():
                if "parameterExpressionSelector" not in source:
                    expected = _type(declared[key]) if key in declared else NOTHING
                    yield Edge(task_name, key, _type(_source(components, parent, kind, source)), expected)
            iterator = task.get("parameterIterator") or task.get("artifactIterator") or {}
            for key in declared.keys() - sources.keys() - {iterator.get("itemInput")}:
                if not ("defaultValue" in declared[key] or declared[key].get("isOptional")):
                    yield Edge(task_name, key, NOTHING, _type(declared[key]))
        if "parameterIterator" in task:
            yield from _loop(task_name, task["parameterIterator"], component["inputDefinitions"]["parameters"])
        if "dag" in component:
            yield from _edges(components, task_name, component, "parameterIterator" in task)
    for kind, outputs in parent["dag"].get("outputs", {}).items():
        for key, output in outputs.items():
            declared_type = _type(parent["outputDefinitions"][kind][key])
            for task_name, producer_key in selected(output):
                producer = components[tasks[task_name]["componentRef"]["name"]]
                source_type = _type(producer["outputDefinitions"][kind][producer_key])
                if in_loop:  # the outputs of a loop are lists of what an iteration gives
                    source_type = "LIST" if kind == "parameters" else LIST_OF + source_type.removeprefix(LIST_OF)
                yield Edge(name, key, source_type, declared_type)


def _loop(task_name: str, iterator: Spec, declared: Spec) -> Iterator[Edge]:
    """The list of a loop; where it is a constant, its items."""
    item, items = iterator["itemInput"], iterator["items"]
    if "raw" in items:
        for value in json.loads(items["raw"]):
            yield Edge(task_name, item, CONSTANTS[type(value)], _type(declared[item]))
    else:
        yield Edge(task_name, items["inputParameter"], _type(declared[items["inputParameter"]]), "LIST")


def selected(output: Spec) -> list[tuple[str, str]]:
    """Task and output that an output of a DAG takes its value from; `dsl.OneOf` has one for each branch."""
    selectors = output.get("artifactSelectors") or output.get("valueFromOneof", {}).get("parameterSelectors")
    return [
        (selector["producerSubtask"], selector.get("outputParameterKey") or selector["outputArtifactKey"])
        for selector in selectors or [output["valueFromParameter"]]
    ]


def _source(components: Spec, parent: Spec, kind: str, source: Spec) -> Spec:
    kind_of_source = {"parameters": "Parameter", "artifacts": "Artifact"}[kind]
    if f"componentInput{kind_of_source}" in source:
        definition: Spec = parent["inputDefinitions"][kind][source[f"componentInput{kind_of_source}"]]
    elif output := source.get(f"taskOutput{kind_of_source}"):
        producer = parent["dag"]["tasks"][output["producerTask"]]["componentRef"]["name"]
        definition = components[producer]["outputDefinitions"][kind][output[f"output{kind_of_source}Key"]]
    elif "taskFinalStatus" in source:
        definition = {"parameterType": "TASK_FINAL_STATUS"}
    else:
        definition = {"parameterType": CONSTANTS[type(source["runtimeValue"]["constant"])]}
    return definition


def _type(definition: Spec) -> str:
    if "parameterType" in definition:
        return str(definition["parameterType"])
    title = definition["artifactType"].get("schemaTitle", "system.Artifact")
    return f"{LIST_OF}{title}" if definition.get("isArtifactList") else str(title)


def _json_type(name: str) -> str:
    return "NUMBER" if name.startswith("NUMBER_") else name


CHECKS: dict[str, Check] = {
    check.__name__.removeprefix("_"): check
    for check in (
        *(_edge_types, _run_parameters, _metadata, _specification_size, _names, _labels, _image_name, _zero_iterations),
        *(_collected_artifacts, _vertex_placeholders, _vertex_components, _loop_in_exit_handler, _backend_version),
    )
}

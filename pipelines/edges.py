# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The types along the edges of a compiled pipeline: what a task or an output gets, against what is declared.

kfp's compiler checks the edges between tasks of one DAG; a wrong type that crosses a condition or a loop, a constant of
a wrong type, or the item of a list of no declared type is found only when a backend starts the task. Integers and
doubles count as one type: JSON has one.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Spec = dict[str, Any]
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

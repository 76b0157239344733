# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The types along the edges of a compiled pipeline: what a task gets against what its component declares.

kfp's compiler checks the edges between tasks of one DAG; a wrong type that crosses a condition or a loop, or a constant
of a wrong type, is found only when a backend starts the task. Integers and doubles count as one type: JSON has one.
"""

from __future__ import annotations

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
}


class Edge(NamedTuple):
    """An input of a task, with the type of its source and the type that the component declares."""

    task: str
    input: str
    source_type: str
    declared_type: str

    @property
    def matches(self) -> bool:
        """Whether the source can be passed."""
        return _json_type(self.source_type) == _json_type(self.declared_type)


def edges(spec: Spec) -> list[Edge]:
    """All inputs of all tasks, except items and fields that an expression selects, whose types are not declared."""
    return list(_edges(spec["components"], spec["root"]))


def _edges(components: Spec, parent: Spec) -> Iterator[Edge]:
    for name, task in parent["dag"]["tasks"].items():
        component = components[task["componentRef"]["name"]]
        for kind in ("parameters", "artifacts"):
            declared = component.get("inputDefinitions", {}).get(kind, {})
            for key, source in task.get("inputs", {}).get(kind, {}).items():
                for definition in _sources(components, parent, kind, source):
                    yield Edge(name, key, _type(definition), _type(declared[key]))
        if "dag" in component:
            yield from _edges(components, component)


def _sources(components: Spec, parent: Spec, kind: str, source: Spec) -> Iterator[Spec]:
    """The definition of what is passed; none where an expression selects a part of it."""
    kind_of_source = {"parameters": "Parameter", "artifacts": "Artifact"}[kind]
    if "parameterExpressionSelector" in source:
        return
    if f"componentInput{kind_of_source}" in source:
        yield parent["inputDefinitions"][kind][source[f"componentInput{kind_of_source}"]]
    elif output := source.get(f"taskOutput{kind_of_source}"):
        producer = parent["dag"]["tasks"][output["producerTask"]]["componentRef"]["name"]
        yield components[producer]["outputDefinitions"][kind][output[f"output{kind_of_source}Key"]]
    else:
        yield {"parameterType": CONSTANTS[type(source["runtimeValue"]["constant"])]}


def _type(definition: Spec) -> str:
    if "parameterType" in definition:
        return str(definition["parameterType"])
    title = definition["artifactType"].get("schemaTitle", "system.Artifact")
    return f"list of {title}" if definition.get("isArtifactList") else str(title)


def _json_type(name: str) -> str:
    """The type as JSON knows it: one kind of number."""
    return "NUMBER" if name.startswith("NUMBER_") else name

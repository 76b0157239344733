# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What can be seen to fail in a compiled pipeline before it runs: types along its edges, references to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from emulator.execution.run import dependencies
from emulator.execution.values import TYPES, Json, accepts, type_of


def problems(spec: Json, values: Json) -> list[str]:
    """Why a pipeline with these values of its parameters cannot run, one message for each edge; [] when it may.

    An input of type STRING takes any value, as the driver converts it; values of the pipeline's own parameters are not
    converted. `LookupError`, `TypeError` or `AttributeError` for what is no specification.
    """
    mismatches = []
    root = spec.get("root", {})
    for name, definition in root.get("inputDefinitions", {}).get("parameters", {}).items():
        value = values.get(name, definition.get("defaultValue"))
        declared = definition["parameterType"]
        if value is not None and type_of(value) != TYPES.get(declared):
            mismatches.append(_mismatch(name, declared, type_of(value)) + " (parameter of the pipeline)")
    return mismatches + list(_walk(spec, "root", root, (), set()))


def _mismatch(name: str, declared: str, actual: str) -> str:
    return f'input parameter "{name}" type mismatch: expect {declared}, got {actual}'


def _walk(spec: Json, title: str, parent: Json, above: tuple[str, ...], walked: set[str]) -> Iterator[str]:
    tasks = parent.get("dag", {}).get("tasks", {})
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for name, task in tasks.items():
        reference = task["componentRef"]["name"]
        component = spec.get("components", {}).get(reference)
        where = f' (task "{name}" of "{title}")'
        missing = [producer for producer in dependencies(task) if producer not in tasks]
        if component is None:
            yield f'component spec for "{reference}" not found{where}'
        elif missing:
            yield f'unknown producer task "{missing[0]}" in DAG{where}'
        elif reference in above:
            yield f'component "{reference}" contains itself{where}'
        elif "dag" not in component and component["executorLabel"] not in executors:
            yield f'executor with label "{component["executorLabel"]}" not found{where}'
        else:
            yield from (text + where for text in _inputs(spec, parent, task, component))
            if "dag" in component and reference not in walked:
                walked.add(reference)
                yield from _walk(spec, reference, component, (*above, reference), walked)


def _inputs(spec: Json, parent: Json, task: Json, component: Json) -> Iterator[str]:
    defined = component.get("inputDefinitions", {}).get("parameters", {})
    for name, source in task.get("inputs", {}).get("parameters", {}).items():
        if name in defined and "parameterExpressionSelector" not in source:
            declared = defined[name]["parameterType"]
            try:
                actual = _source_type(spec, parent, source)
            except LookupError as error:
                yield str(error.args[0])
                continue
            if not accepts(declared, actual):
                yield _mismatch(name, declared, actual)
    iterator = task.get("parameterIterator")
    if "artifactIterator" in task:
        yield "artifact iterator not implemented"
    if iterator is not None:
        yield from _items(iterator, defined)


def _source_type(spec: Json, parent: Json, source: Json) -> str:
    """The type of what an input takes; `LookupError` with a message where that does not exist."""
    if "componentInputParameter" in source:
        name, definitions = source["componentInputParameter"], parent.get("inputDefinitions", {})
        missing = f"parent DAG does not have input parameter {name}"
    elif "taskOutputParameter" in source:
        producer, name = (source["taskOutputParameter"][key] for key in ("producerTask", "outputParameterKey"))
        reference = parent["dag"]["tasks"][producer]["componentRef"]["name"]
        definitions = spec["components"][reference].get("outputDefinitions", {})
        missing = f"producer task, {producer}, has no output {name!r}"
    elif "taskFinalStatus" in source:
        return "struct"
    else:
        return type_of(source["runtimeValue"]["constant"])
    if name not in definitions.get("parameters", {}):
        raise LookupError(missing)
    declared: Any = definitions["parameters"][name]["parameterType"]
    return TYPES.get(declared, "null")


def _items(iterator: Json, defined: Json) -> Iterator[str]:
    """The items of a loop: a list, or a list as JSON text; fixed ones of the type of the loop's item."""
    item = iterator["itemInput"]
    over = iterator["items"].get("inputParameter")
    if over is not None:
        if defined[over]["parameterType"] not in ("LIST", "STRING"):
            yield f'iterating on item input "{item}" failed: a {defined[over]["parameterType"]} cannot be iterated'
        return
    try:
        items = json.loads(iterator["items"]["raw"])
    except ValueError:
        items = None
    if not isinstance(items, list):
        yield f'iterating on item input "{item}" failed: its items are not a list in JSON'
        return
    declared = defined[item]["parameterType"]
    yield from (_mismatch(item, declared, type_of(value)) for value in items if not accepts(declared, type_of(value)))

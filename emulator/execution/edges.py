# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What can be seen to fail in a compiled pipeline before it runs: types along its edges, references to nothing."""

import json
import re
from collections.abc import Iterator

from emulator.execution.run import MAX_ARTIFACTS, MAX_METADATA_BYTES, dependencies, selectors
from emulator.execution.values import TYPES, Json, accepts, as_text, type_of


def problems(spec: Json, values: Json) -> list[str]:
    """Why a pipeline with these values of its parameters cannot run, one message for each edge; [] when it may.

    An input of type STRING takes any value, as the driver converts it; values of the pipeline's own parameters are not
    converted. `LookupError`, `TypeError` or `AttributeError` for what is no specification.
    """
    mismatches, defaults = [], {}
    root, name = spec.get("root", {}), spec.get("pipelineInfo", {}).get("name", "x")
    if not re.fullmatch("[a-z][-a-z0-9]{0,127}", name):
        mismatches.append(f"the name of the pipeline, {name[:130]!r}, must match [a-z][-a-z0-9]{{0,127}}")
    for name, definition in root.get("inputDefinitions", {}).get("parameters", {}).items():
        value = values.get(name, definition.get("defaultValue"))
        declared = definition.get("parameterType", "")
        if value is not None and type_of(value) != TYPES.get(declared, type_of(value)):
            mismatches.append(_mismatch(name, declared, type_of(value)) + " (parameter of the pipeline)")
        defaults[name] = value
    if (size := len(as_text(defaults).encode())) > MAX_METADATA_BYTES:  # the parameters are metadata of the run
        mismatches.append(f"the parameters have {size} bytes, more than {MAX_METADATA_BYTES}")
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
    yield from (f'{text} (outputs of "{title}")' for text in _outputs(spec, parent, tasks))


def _outputs(spec: Json, parent: Json, tasks: Json) -> Iterator[str]:
    """Outputs of a DAG that are those of no task, or of a task that has no such output."""
    for kind in ("Parameter", "Artifact"):
        for output in parent.get("dag", {}).get("outputs", {}).get(f"{kind.lower()}s", {}).values():
            for selector in selectors(output):
                producer = selector["producerSubtask"]
                if producer not in tasks:
                    yield f'unknown producer task "{producer}" in DAG'
                    continue
                try:
                    _definition(spec, parent, {f"taskOutput{kind}": {**selector, "producerTask": producer}}, kind)
                except LookupError as error:
                    yield str(error.args[0])


def _inputs(spec: Json, parent: Json, task: Json, component: Json) -> Iterator[str]:
    defined = component.get("inputDefinitions", {}).get("parameters", {})
    inputs = task.get("inputs", {})
    sources, artifacts = inputs.get("parameters", {}), inputs.get("artifacts", {})
    for kind in ("Parameter", "Artifact"):
        for name, source in inputs.get(f"{kind.lower()}s", {}).items():
            try:
                actual = _source_type(spec, parent, source, kind)
            except LookupError as error:
                yield str(error.args[0])
                continue
            declared = defined.get(name, {}).get("parameterType", "")
            is_typed = kind == "Parameter" and "parameterExpressionSelector" not in source
            if is_typed and not accepts(declared, actual):
                yield _mismatch(name, declared, actual)
    iterator = task.get("parameterIterator", {})
    for name, definition in defined.items():
        is_set = name in sources or name == iterator.get("itemInput")
        if not (is_set or "defaultValue" in definition or definition.get("isOptional")):
            yield f'neither value nor default value provided for non-optional parameter "{name}"'
    for name, definition in component.get("inputDefinitions", {}).get("artifacts", {}).items():
        if name not in artifacts and not definition.get("isOptional"):
            yield f'failed to resolve input artifact "{name}"'
    if "artifactIterator" in task:
        yield "artifact iterator not implemented"
    if iterator:
        yield from _items(iterator, defined, bool(component.get("outputDefinitions", {}).get("artifacts")))


def _source_type(spec: Json, parent: Json, source: Json, kind: str) -> str:
    """The type of what an input takes, "" when it is unknown; `LookupError` with a message when it does not exist."""
    if "runtimeValue" in source:
        return type_of(source["runtimeValue"]["constant"])
    if "taskFinalStatus" in source:
        return "struct"
    return TYPES.get(_definition(spec, parent, source, kind).get("parameterType", ""), "")


def _definition(spec: Json, parent: Json, source: Json, kind: str) -> Json:
    """The definition of the parameter or artifact that an input takes; `LookupError` with a message without one."""
    if f"componentInput{kind}" in source:
        name, definitions = source[f"componentInput{kind}"], parent.get("inputDefinitions", {})
        missing = f"parent DAG does not have input {kind.lower()} {name}"
    else:
        output = source[f"taskOutput{kind}"]
        producer, name = output["producerTask"], output[f"output{kind}Key"]
        reference = parent["dag"]["tasks"][producer]["componentRef"]["name"]
        definitions = spec["components"].get(reference, {}).get("outputDefinitions", {})
        missing = f"producer task, {producer}, has no output {name!r}"
    if name not in definitions.get(f"{kind.lower()}s", {}):
        raise LookupError(missing)
    definition: Json = definitions[f"{kind.lower()}s"][name]
    return definition


def _items(iterator: Json, defined: Json, collects: bool) -> Iterator[str]:
    """The items of a loop: a list, or a list as JSON text; fixed ones of the type of the loop's item, not too many."""
    item = iterator["itemInput"]
    over = iterator["items"].get("inputParameter")
    if over is not None:
        kind = defined[over].get("parameterType", "")
        if kind not in ("LIST", "STRING", ""):
            yield f'iterating on item input "{item}" failed: a {kind} cannot be iterated'
        return
    try:
        items = json.loads(iterator["items"]["raw"])
    except ValueError:
        items = None
    if not isinstance(items, list):
        yield f'iterating on item input "{item}" failed: its items are not a list in JSON'
        return
    if collects and len(items) > MAX_ARTIFACTS:
        yield f"the loop gives {len(items)} artifacts of one output, more than {MAX_ARTIFACTS}"
    declared = defined[item].get("parameterType", "")
    yield from (_mismatch(item, declared, type_of(value)) for value in items if not accepts(declared, type_of(value)))

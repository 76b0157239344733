# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The structure of a compiled pipeline in a few hundred lines: parameters with defaults, components, tasks and edges.

It shows what a change of the wiring changes: conditions, loops, caching, display names, dependencies and types.
Docstrings, source code of components and versions are left out. Edges name their source (`split.train`), also across
conditions and loops, where kfp passes them through inputs of its own. Parts of a task that this module does not know
are copied.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

Spec = dict[str, Any]


def structure_yaml(spec: Spec) -> str:
    """The structure as YAML: innermost collections on one line each."""
    return yaml.safe_dump(structure(spec), sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def structure(spec: Spec) -> Spec:
    """The structure of a compiled pipeline as plain values."""
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {
        "name": spec["pipelineInfo"]["name"],
        "parameters": {name: _default(inputs[name]) for name in sorted(inputs)},
        "images": sorted(
            {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values() if "container" in e}
        ),
        "components": _components(spec),
        "tasks": _tasks(spec, spec["root"]["dag"], {name: name for name in inputs}),
    }


def _default(definition: Spec) -> Any:
    """A parameter's type and, where it has one, its default."""
    kind = definition["parameterType"]
    return {kind: definition["defaultValue"]} if "defaultValue" in definition else kind


def _components(spec: Spec) -> Spec:
    """Signatures of what runs in a container; the copies that kfp numbers are listed once."""
    signatures: Spec = {}
    for key in sorted(spec["components"]):
        component = spec["components"][key]
        if "executorLabel" in component:
            name, signature = key.removeprefix("comp-"), _signature(component)
            container = spec["deploymentSpec"]["executors"][component["executorLabel"]].get("container", {})
            if own := container.get("resources"):
                signature["resources"] = f"{own['resourceCpuLimit']} CPU, {own['resourceMemoryLimit']}"
                signature |= {variable["name"]: variable["value"] for variable in container.get("env", [])}
            base = re.sub(r"-\d+$", "", name)
            signatures[base if signatures.get(base, signature) == signature else name] = signature
    return signatures


def _signature(component: Spec) -> Spec:
    signature: Spec = {}
    for side in ("input", "output"):
        definitions = component.get(f"{side}Definitions", {})
        typed = {name: _parameter_type(value) for name, value in definitions.get("parameters", {}).items()}
        typed |= {name: _artifact_type(value) for name, value in definitions.get("artifacts", {}).items()}
        signature[f"{side}s"] = {name: typed[name] for name in sorted(typed)}
    return signature


def _parameter_type(definition: Spec) -> str:
    optional = f" = {json.dumps(definition['defaultValue'])}" if "defaultValue" in definition else ""
    return definition["parameterType"] + (optional or (" (optional)" if definition.get("isOptional") else ""))


def _artifact_type(definition: Spec) -> str:
    title = definition["artifactType"].get("schemaTitle", "system.Artifact").removeprefix("system.")
    return f"list of {title}" if definition.get("isArtifactList") else str(title)


def _tasks(spec: Spec, dag: Spec, sources: dict[str, str]) -> Spec:
    """The tasks of a DAG by name; `sources` tells where each of its inputs comes from."""
    return {name: _task(spec, dag["tasks"][name], sources) for name in sorted(dag["tasks"])}


def _task(spec: Spec, task: Spec, sources: dict[str, str]) -> Spec:
    name = task["componentRef"]["name"]
    component = spec["components"][name]
    inputs = task.get("inputs", {})
    edges = {
        key: _source(value, sources)
        for kind in ("parameters", "artifacts")
        for key, value in inputs.get(kind, {}).items()
    }
    described: Spec = {}
    if "triggerPolicy" in task:
        described["if"] = _readable(task["triggerPolicy"].get("condition", ""), edges)
        described |= {key: value for key, value in task["triggerPolicy"].items() if key != "condition"}
    for kind in ("parameterIterator", "artifactIterator"):
        if kind in task:
            item, items = task[kind]["itemInput"], task[kind]["items"]
            items_source = edges.get(items.get("inputParameter", items.get("inputArtifact")), items.get("raw"))
            described["for each"] = items_source
            edges[item] = f"item of {items_source}"
    after = set(task.get("dependentTasks", [])) - {source.split(".")[0] for source in edges.values()}
    if after:
        described["after"] = sorted(after)
    if task["taskInfo"]["name"] != name.removeprefix("comp-"):
        described["display name"] = task["taskInfo"]["name"]
    handled = (
        "cachingOptions",
        "componentRef",
        "dependentTasks",
        "inputs",
        "taskInfo",
        "triggerPolicy",
        "parameterIterator",
        "artifactIterator",
    )
    described |= {key: value for key, value in task.items() if key not in handled}
    if "dag" not in component:
        described["cached"] = bool(task.get("cachingOptions", {}).get("enableCache"))
        described["inputs"] = {key: edges[key] for key in sorted(edges)}
        return described
    described["tasks"] = _tasks(spec, component["dag"], edges)
    outputs = component["dag"].get("outputs", {})
    selected = {
        key: _selected(value) for kind in ("parameters", "artifacts") for key, value in outputs.get(kind, {}).items()
    }
    if selected:
        described["outputs"] = {key: selected[key] for key in sorted(selected)}
    return described


def _source(value: Spec, sources: dict[str, str]) -> str:
    """Where an input comes from: `task.output`, a parameter of the pipeline, or `= constant`."""
    text = json.dumps(value, sort_keys=True)
    for kind in ("componentInputParameter", "componentInputArtifact"):
        if kind in value:
            text = sources.get(value[kind], value[kind])
    for kind, output in (("taskOutputParameter", "outputParameterKey"), ("taskOutputArtifact", "outputArtifactKey")):
        if kind in value:
            text = f"{value[kind]['producerTask']}.{value[kind][output]}"
    if "taskFinalStatus" in value:
        text = f"{value['taskFinalStatus']['producerTask']}.status"
    if "runtimeValue" in value:
        constant = value["runtimeValue"].get("constant", value["runtimeValue"])
        text = f"= {json.dumps(_readable(constant, sources), sort_keys=True, ensure_ascii=False)}"
    return text + (f" | {value['parameterExpressionSelector']}" if "parameterExpressionSelector" in value else "")


def _readable(value: Any, sources: dict[str, str]) -> Any:
    """A condition or a constant with its references to inputs replaced by their sources."""
    if not isinstance(value, str):
        return value
    return re.sub(
        r"inputs\.parameter_values\['([^']+)'\]|\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}",
        lambda match: sources.get(match[1] or match[2], match[0]),
        value,
    )


def _selected(output: Spec) -> Any:
    """Which task's output leaves a condition or a loop."""
    sources = []
    for selector in _selectors(output):
        key = selector.get("outputParameterKey", selector.get("outputArtifactKey"))
        sources.append(f"{selector['producerSubtask']}.{key}")
    return sources[0] if len(sources) == 1 else sources


def _selectors(output: Any) -> list[Spec]:
    if isinstance(output, list):
        return [selector for item in output for selector in _selectors(item)]
    if not isinstance(output, dict):
        return []
    return [output] if "producerSubtask" in output else _selectors(list(output.values()))

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Placeholders in the commands, constants and importers of a compiled pipeline."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emulator.execution.values import Json, Refusal, as_text

_KEYED = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\[['\"](.+?)['\"]\](?:\.(\w+))?\}\}")


def fill_parameters(text: str, parameters: Mapping[str, Any]) -> str:
    """Text with the values of input parameters in place of their placeholders."""

    def value(match: re.Match[str]) -> str:
        is_parameter = match[1] == "inputs" and match[2] == "parameters" and match[3] in parameters
        return as_text(parameters[match[3]]) if is_parameter else match[0]

    return _KEYED.sub(value, text)


def fill_names(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value whose texts have the names of job and task in place of placeholders such as
    `{{$.pipeline_job_name}}`."""
    if isinstance(value, dict):
        return {key: fill_names(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_names(item, names) for item in value]
    if isinstance(value, str) and "{{$." in value:
        for name, replacement in names.items():
            value = value.replace("{{$." + name + "}}", replacement)
    return value


def command_line(
    parts: Sequence[str], executor_input: Json, local_path: Callable[[str], str], names: Mapping[str, str]
) -> list[str]:
    """A command with everything filled in; in the executor input as a whole, URIs are the local paths of artifacts."""
    present = {*executor_input["inputs"]["parameterValues"], *executor_input["inputs"]["artifacts"]}
    whole = json.dumps(_localised(executor_input, local_path), ensure_ascii=False)
    names = {
        **names,
        "outputs.output_file": executor_input["outputs"]["outputFile"],
        "outputMetadataUri": executor_input["outputs"]["outputFile"],
    }
    filled = []
    for part in _flat(parts, present):
        pieces = str(fill_names(part, names)).split("{{$}}")
        # values are filled in last: those of parameters may look like placeholders
        filled.append(whole.join(_fill_keyed(piece, executor_input, local_path) for piece in pieces))
    return filled


def _localised(executor_input: Json, local_path: Callable[[str], str]) -> Json:
    def local(artifacts: Json) -> Json:
        return {
            key: {"artifacts": [{**artifact, "uri": local_path(artifact["uri"])} for artifact in items["artifacts"]]}
            for key, items in artifacts.items()
        }

    return {side: {**values, "artifacts": local(values["artifacts"])} for side, values in executor_input.items()}


def _fill_keyed(text: str, executor_input: Json, local_path: Callable[[str], str]) -> str:
    def value(match: re.Match[str]) -> str:
        side, kind, key, field = match.groups()
        if kind == "parameters":
            available = executor_input[side]["parameterValues" if side == "inputs" else "parameters"]
        else:
            available = executor_input[side]["artifacts"]
        if key not in available:
            raise Refusal(f"the command names {side[:-1]} {key!r}, which the task does not have")
        if kind == "parameters":
            return as_text(available[key]) if side == "inputs" else str(available[key]["outputFile"])
        (artifact, *_) = available[key]["artifacts"]
        return local_path(artifact["uri"]) if field == "path" else as_text(artifact.get(field or "", {}))

    return _KEYED.sub(value, text)


def _flat(parts: Sequence[Any], present: set[str]) -> list[str]:
    """The parts of a command with `{"IfPresent": ...}` and `{"Concat": ...}` resolved."""
    return [text for part in parts for text in _resolved(_structure(part), present)]


def _structure(part: Any) -> Any:
    is_structure = isinstance(part, str) and part.startswith(('{"IfPresent":', '{"Concat":'))
    return json.loads(part) if is_structure else part


def _resolved(part: Any, present: set[str]) -> list[str]:
    if isinstance(part, list):
        return [text for item in part for text in _resolved(item, present)]
    if isinstance(part, dict) and "Concat" in part:
        return ["".join(_resolved(part["Concat"], present))]
    if isinstance(part, dict):
        choice = part["IfPresent"]
        return _resolved(choice.get("Then" if choice["InputName"] in present else "Else", []), present)
    return [str(part)]

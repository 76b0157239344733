# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Values of parameters under the rules of Kubeflow's driver: types, conversion, conditions, selections, placeholders.

Source: kubeflow/pipelines, backend/src/v2/driver/resolve.go and expression/expression.go (2.17.0, read 2026-11-26).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

TYPES = {
    "STRING": "string",
    "BOOLEAN": "bool",
    "NUMBER_INTEGER": "number",
    "NUMBER_DOUBLE": "number",
    "LIST": "list",
    "STRUCT": "struct",
    "TASK_FINAL_STATUS": "struct",
    "TASK_CONFIG": "struct",
}  # the driver's names of the types of JSON values, by the types of parameters


class Refusal(Exception):
    """What the driver refuses, in its words."""


def type_of(value: Any) -> str:
    """The driver's name for the type of a JSON value."""
    names = {bool: "bool", int | float: "number", str: "string", list: "list", dict: "struct"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "null")


def accepts(declared: str, type_name: str) -> bool:
    """Whether an input of a declared parameter type takes a value of a type ("" is an unknown one of either).

    A string takes any value, as JSON text.
    """
    return declared == "STRING" or "" in (declared, type_name) or TYPES.get(declared) == type_name


def converted(name: str, value: Any, declared: str) -> Any:
    """The value as an input of its declared type; `Refusal` for a value of another type."""
    if declared == "STRING":
        return as_text(value)
    if value is None:
        raise Refusal(f'got null for input parameter "{name}"')
    if not accepts(declared, type_of(value)):
        raise Refusal(f'input parameter "{name}" type mismatch: expect {declared}, got {type_of(value)}')
    return value


def as_text(value: Any) -> str:
    """A value as text: strings as they are, other values as compact JSON, whole numbers without a fraction."""
    if isinstance(value, str):
        return value
    return json.dumps(json_numbers(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A JSON value with other texts, numbers and constants."""
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return [mapped(item, change) for item in value] if isinstance(value, list) else change(value)


def json_numbers(value: Any) -> Any:
    """A value as protobuf's JSON writes it: a whole number has no fraction, whether it was an integer or a double."""
    return mapped(value, lambda v: int(v) if isinstance(v, float) and v.is_integer() and abs(v) < 1e21 else v)


def from_text(text: str, declared: str) -> Any:
    """The value of an output parameter that a step wrote to a file; `ValueError` when it does not have its type."""
    if declared == "STRING":
        return text
    value = json.loads(text.lower() if declared == "BOOLEAN" else text)
    if not accepts(declared, type_of(value)):
        raise ValueError(f"expect {declared}, got {type_of(value)}")
    return value


def items_of(value: Any) -> list[Any]:
    """What a loop goes over: a list, or a list as JSON text; `Refusal` for other values."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise Refusal(f"the items of the loop are not JSON: {error}") from error
    if not isinstance(value, list):
        raise Refusal(f"value of type {type_of(value)} cannot be iterated")
    return value


def holds(condition: str, parameters: Json) -> bool:
    """Whether a compiled condition (CEL) holds for the parameters of a task; `Refusal` when it cannot be evaluated."""
    result = _evaluate(condition, {"inputs": {"parameter_values": parameters}})
    if not isinstance(result, bool):
        raise Refusal(f"evaluation error: return type is not bool, got {result!r}")
    return result


def selected(value: Any, expression: str) -> Any:
    """The part of a value that a selector (CEL over its JSON text, `string_value`) chooses; `Refusal` for none."""
    return _evaluate(expression, {"string_value": as_text(value)})


def _evaluate(expression: str, variables: Json) -> Any:
    import cel  # loads a parser

    context = cel.Context(variables)
    context.add_function("parseJson", json.loads)
    try:
        return cel.evaluate(expression, context)
    except Exception as error:  # the library raises built-in exceptions of many kinds
        raise Refusal(f"evaluation of {expression!r} failed: {error}") from error


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

    def filled(text: Any) -> Any:
        if isinstance(text, str) and "{{$." in text:
            for name, replacement in names.items():
                text = text.replace("{{$." + name + "}}", replacement)
        return text

    return mapped(value, filled)


def command_line(
    parts: Sequence[str], executor_input: Json, to_uris: Callable[[Any], Any], names: Mapping[str, str]
) -> list[str]:
    """A command with everything filled in; the URIs of the executor input are local paths, which `to_uris` undoes."""
    present = {*executor_input["inputs"]["parameterValues"], *executor_input["inputs"]["artifacts"]}
    whole = json.dumps(executor_input, ensure_ascii=False)
    names = {
        **names,
        "outputs.output_file": executor_input["outputs"]["outputFile"],
        "outputMetadataUri": executor_input["outputs"]["outputFile"],
    }
    filled = []
    for part in _resolved(list(parts), present):
        pieces = str(fill_names(part, names)).split("{{$}}")
        # values are filled in last: those of parameters may look like placeholders
        filled.append(whole.join(_fill_keyed(piece, executor_input, to_uris) for piece in pieces))
    return filled


def _fill_keyed(text: str, executor_input: Json, to_uris: Callable[[Any], Any]) -> str:
    def value(match: re.Match[str]) -> str:
        side, kind, key, field = match.groups()
        is_value = (side, kind) == ("inputs", "parameters")
        available = executor_input[side]["parameterValues" if is_value else kind]
        if key not in available:
            raise Refusal(f"the command names {side[:-1]} {key!r}, which the task does not have")
        if kind == "parameters":
            return as_text(available[key]) if is_value else str(available[key]["outputFile"])
        (artifact, *_) = available[key]["artifacts"]
        return str(artifact["uri"]) if field == "path" else as_text(to_uris(artifact.get(field or "", {})))

    return _KEYED.sub(value, text)


def _resolved(part: Any, present: set[str]) -> list[str]:
    """The parts of a command with `{"IfPresent": ...}` and `{"Concat": ...}` resolved."""
    if isinstance(part, list):
        return [text for item in part for text in _resolved(item, present)]
    if isinstance(part, str) and part.startswith(('{"IfPresent":', '{"Concat":')):
        return _resolved(json.loads(part), present)
    if isinstance(part, dict) and "Concat" in part:
        return ["".join(_resolved(part["Concat"], present))]
    if isinstance(part, dict):
        choice = part["IfPresent"]
        return _resolved(choice.get("Then" if choice["InputName"] in present else "Else", []), present)
    return [str(part)]

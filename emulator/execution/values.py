# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Values of parameters under the rules of Kubeflow's driver: types, conversion, conditions, selections.

Source: kubeflow/pipelines, backend/src/v2/driver/resolve.go and expression/expression.go (2.17.0, read 2026-11-26).
"""

import json
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


def json_numbers(value: Any) -> Any:
    """A value as protobuf's JSON writes it: a whole number has no fraction, whether it was an integer or a double."""
    if isinstance(value, dict):
        return {key: json_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


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

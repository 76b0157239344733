# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests as messages of the API: their fields, types, ranges and choices are those of `messages.yaml`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import re2
import yaml
from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

from emulator.core.google_rest import ApiError, Call, Json, bad_field, labels_problem, snake, unknown_field

_EMPTY: Json = {"string": "", "object": {}, "boolean": False, "integer": 0}
_MESSAGES: dict[str, Json] = yaml.safe_load(Path(__file__).with_name("messages.yaml").read_text("utf-8"))
_TEXTS: dict[str, str] = _MESSAGES.pop(".refusals")
RE2_OPTIONS = re2.Options()
RE2_OPTIONS.log_errors = False


def check(value: Any, message: str, path: str | None = None) -> Json:
    """A request as a message: numbers that are written as text converted, enumerations by name, defaults filled in,
    without nulls. A 400 for the first field that does not have the form; `path`, by default the message's `title`, is
    the place of the message in it.
    """
    schema = _MESSAGES[message]
    path = schema.get("title", "") if path is None else path
    for error in _errors(schema, value, ""):
        parts = [f"[{key}]" if isinstance(key, int) else f".{snake(key)}" for key in list(error.relative_path)[1:]]
        where = (path + "".join(parts)).removeprefix(".")
        if error.validator == "additionalProperties":
            raise unknown_field(next(key for key in error.instance if key not in error.schema["properties"]), where)
        limit = error.validator_value
        limit = ", ".join(limit) if isinstance(limit, list) else limit
        names = {"value": json.dumps(error.instance)[:80], "limit": limit, "form": error.schema.get("description")}
        text = _TEXTS[error.validator].format(**names) if error.validator in _TEXTS else error.message
        raise bad_field((where or "body", text))
    normal: Json = _normal(schema, value)
    return normal


def changes(call: Call, message: str) -> Json:
    """The fields that a PATCH changes, by its mask or else those sent; one that the mask alone names is empty."""
    schema, mask = _MESSAGES[message], call.update_mask()
    parts = schema["properties"]
    names = mask if schema.get("additionalProperties") is False else mask & parts.keys()
    return check({key: call.body.get(key, _EMPTY.get(parts.get(key, {}).get("type"))) for key in names}, message)


def _normal(schema: Json, value: Any) -> Any:
    """A value that has the form of a schema, as services read it."""
    if "names" in schema:
        return schema["names"][value] if isinstance(value, int) else value.upper()
    if "items" in schema:
        return [_normal(schema["items"], item) for item in (value if isinstance(value, list) else [value])]
    parts, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
    if parts or others:
        present = {key: _normal(parts.get(key, others), item) for key, item in value.items() if item is not None}
        return {key: _normal(part, part["default"]) for key, part in parts.items() if "default" in part} | present
    kind = schema.get("type")
    return int(float(value)) if kind == "integer" else float(value) if kind == "number" else value


def _is_number(_: TypeChecker, value: Any) -> bool:
    """Whether it is a finite number, also when it is written as a string."""
    try:
        return isinstance(value, int | float | str) and not isinstance(value, bool) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _is_integer(checker: TypeChecker, value: Any) -> bool:
    """Whether it is an integer of 64 bits."""
    return _is_number(checker, value) and float(value).is_integer() and abs(float(value)) < 2**63


def _properties(_: Any, properties: Json, value: Any, __: Json) -> Iterator[ValidationError]:
    for name, item in value.items() if isinstance(value, dict) else ():
        if item is not None and (schema := properties.get(name)):
            yield from _errors(schema, item, name)


def _items(_: Any, schema: Json, value: Any, __: Json) -> Iterator[ValidationError]:
    for n, item in enumerate(value if isinstance(value, list) else [value]):
        yield from _errors(schema, item, n)


def _errors(schema: Json, value: Any, place: str | int) -> Iterator[Any]:
    """The errors of a part. The library itself makes a new validator for each part of each value: twice the time."""
    if id(schema) not in _VALIDATORS:
        _VALIDATORS[id(schema)] = _Validator(schema)
    for error in _VALIDATORS[id(schema)].iter_errors(value):
        error.relative_path.appendleft(place)
        yield error


def _required(_: Any, names: list[str], value: Any, schema: Json) -> Iterator[ValidationError]:
    missing = [name for name in names if isinstance(value, dict) and value.get(name) is None]
    yield from (ValidationError("is required.", path=[name]) for name in missing)


def _exactly_one(_: Any, groups: dict[str, list[str]], value: Any, schema: Json) -> Iterator[ValidationError]:
    for group, names in groups.items() if isinstance(value, dict) else ():
        if sum(value.get(name) is not None for name in names) != 1:
            text = f"exactly one of {' and '.join(map(snake, names))} must be set."
            yield ValidationError(text, path=[group] if group else [])


def _names(_: Any, names: list[str], value: Any, schema: Json) -> Iterator[ValidationError]:
    is_number = type(value) is int and 0 <= value < len(names)
    if not is_number and not (isinstance(value, str) and value.upper() in names):
        yield ValidationError(f"Invalid value: {json.dumps(value)[:80]}.")


def _expression(_: Any, __: bool, value: Any, schema: Json) -> Iterator[ValidationError]:
    try:
        re2.compile(str(value), RE2_OPTIONS)
    except re2.error as error:
        yield ValidationError(f"is not a regular expression in RE2's syntax: {error.args[0].decode()}.")


def _labels(_: Any, __: bool, value: Any, schema: Json) -> Iterator[ValidationError]:
    if problem := labels_problem(value):
        yield ValidationError(problem)


def _unimplemented(_: Any, name: str, value: Any, schema: Json) -> Iterator[ValidationError]:
    raise ApiError(400, f"{name} is not implemented by the emulator.")


def _range(validator: Any, _: float, value: Any, schema: Json) -> Iterator[ValidationError]:
    """The message of a value below the least or above the most; each of the keywords calls this."""
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above = schema.get("exclusiveMinimum", -math.inf)
    if validator.is_type(value, "number") and not (least <= float(value) <= most and float(value) > above):
        is_between = "minimum" in schema and "maximum" in schema
        positive = "must not be negative." if least == 0 else "must be a positive number."
        yield ValidationError(f"must be between {least:g} and {most:g}." if is_between else positive)


_KEYWORDS = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum"), _range),
    "properties": _properties,
    "items": _items,
    "required": _required,
    "exactlyOne": _exactly_one,
    "names": _names,
    "expression": _expression,
    "labels": _labels,
    "unimplemented": _unimplemented,
}
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer})
_Validator: Any = extend(Draft202012Validator, _KEYWORDS, type_checker=_TYPES)  # type: ignore[no-untyped-call]
_VALIDATORS: dict[int, Any] = {}  # by the identity of their schemas, which are never changed

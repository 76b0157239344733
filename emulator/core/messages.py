# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests as messages of the API: their fields, types, ranges and choices are those of `messages.yaml`.

Each is read in one pass, which refuses and converts: a validator that only refuses took three times as long.
"""

import json
import math
import re
from collections.abc import Callable
from copy import copy
from pathlib import Path
from types import NoneType
from typing import Any

import re2
import yaml

from emulator.core.google_rest import ApiError, Call, Json, snake

_EMPTY: Json = {"string": "", "object": {}, "boolean": False}
_MESSAGES: dict[str, Json] = yaml.safe_load(Path(__file__).with_name("messages.yaml").read_text("utf-8"))
_TEXTS: dict[str, str] = _MESSAGES.pop(".refusals")
RE2_OPTIONS = re2.Options()
RE2_OPTIONS.log_errors = False


class _Refusal(Exception):
    """Why a value does not have the form of its schema: a text, or the name of an unknown field."""

    def __init__(self, text: str, *path: str | int, unknown: str = "") -> None:
        super().__init__(text)
        self.path, self.unknown = list(path), unknown


def check(value: Any, message: str, path: str | None = None) -> Any:
    """A request as a message: numbers that are written as text converted, enumerations by name, defaults filled in,
    without nulls. A 400 for the first field that does not have the form; `path`, by default the message's `title`, is
    the place of the message in it.
    """
    schema = _MESSAGES[message]
    try:
        return _read(value, schema)
    except _Refusal as refusal:
        parts = [f"[{key}]" if isinstance(key, int) else f".{snake(key)}" for key in refusal.path]
        where = "".join([schema.get("title", "") if path is None else path, *parts]).removeprefix(".")
        if refusal.unknown:
            raise ApiError.unknown_field(refusal.unknown, where) from None
        raise ApiError.field(where or "body", str(refusal)) from None


def changes(call: Call, message: str) -> Json:
    """The fields that a PATCH changes, by its mask or else those sent. Without a value they become empty; numbers stay.
    Left out are fields that the message does not have or has as `{}`: a PATCH does not change them.
    """
    schema, mask = _MESSAGES[message], call.update_mask()
    parts = schema["properties"]
    if unknown := sorted(mask - parts.keys()):
        raise ApiError.field("update_mask", f'"{unknown[0][:80]}" is not a field of the emulator\'s {schema["title"]}.')
    sent = {key: call.body.get(key) for key in mask or call.body}
    for key in sent.keys() & parts.keys():
        if sent[key] is None:
            sent[key] = copy(_EMPTY.get(parts[key].get("type")))
    return {key: value for key, value in check(sent, message).items() if parts.get(key)}


def _read(value: Any, schema: Json) -> Any:
    """A value as its schema describes it. A reader does nothing with values of other types: `type` refuses them."""
    for keyword, limit in schema.items():
        if reader := _READERS.get(keyword):
            value = reader(value, limit, schema)
        elif (test := _TESTS.get(keyword)) and not test(value, limit):
            raise _refusal(keyword, schema, value)
    return value


def _refusal(keyword: str, schema: Json, value: Any) -> _Refusal:
    limit = schema[keyword]
    if keyword in ("minimum", "maximum") and {"minimum", "maximum"} <= schema.keys():
        keyword, limit = "range", f"{schema['minimum']} and {schema['maximum']}"
    elif keyword == "minimum" and limit:
        keyword = "exclusiveMinimum"
    elif keyword == "const":
        limit = json.dumps(limit)
    shown = ", ".join(map(str, limit)) if isinstance(limit, list) else limit
    text = schema.get("refusals", {}).get(keyword) or _TEXTS[keyword]
    return _Refusal(text.format(value=json.dumps(value)[:80], limit=shown, form=schema.get("description")))


def _typed(value: Any, kinds: str | list[str], schema: Json) -> Any:
    """A value of one of the types; a number may be written as text, an integer has 64 bits, a double may be NaN."""
    classes = _TYPES.get(kinds, ()) if isinstance(kinds, str) else tuple(_TYPES[kind] for kind in kinds)
    if isinstance(value, classes):
        return value
    if kinds in ("number", "integer", "double") and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _refusal("type", schema, value) from None
        if kinds == "double" or (kinds == "number" and math.isfinite(number)):
            return number
        if kinds == "integer" and number.is_integer() and abs(number) < 2**63:
            return int(number)
    raise _refusal("type", schema, value)


def _read_other_fields(value: Any, allowed: bool | Json, schema: Json) -> Any:
    """Fields that `properties` does not name: refused, or the values of a map."""
    if not isinstance(value, dict):
        return value
    if allowed is False and (unknown := [name for name in value if name not in schema["properties"]]):
        text, name = schema.get("refusals", {}).get("additionalProperties", ""), unknown[0]
        raise _Refusal(text, name[:80]) if text else _Refusal("", unknown=name)
    return value if allowed is False or "properties" in schema else _properties(value, {}, schema)


def _properties(value: Any, properties: dict[str, Json], schema: Json) -> Any:
    if not isinstance(value, dict):
        return value
    others = schema.get("additionalProperties") or {}
    result = {
        key: _read_at(key, item, properties.get(key, others))
        for key, item in value.items()
        if item is not None or (others and key not in properties)
    }
    for name, part in properties.items():
        if "default" in part and name not in result:
            result[name] = _read(copy(part["default"]), part)
    return result


def _items(value: Any, schema: Json, _: Json) -> list[Any]:
    """A list of parts; a single one is read as a list."""
    return [_read_at(n, item, schema) for n, item in enumerate(value if isinstance(value, list) else [value])]


def _read_at(place: str | int, value: Any, schema: Json) -> Any:
    """A field or an item: its place is added to the path of a refusal."""
    try:
        return _read(value, schema)
    except _Refusal as refusal:
        refusal.path.insert(0, place)
        raise


def _required(value: Any, names: list[str | list[str]], schema: Json) -> Any:
    """Of a list among the names one at least is required."""
    for name in names if isinstance(value, dict) else ():
        first, *others = [name] if isinstance(name, str) else name
        if value.get(first) is None and all(value.get(other) is None for other in others):
            raise _Refusal(schema.get("refusals", {}).get("required", "is required."), first)
    return value


def _exactly_one(value: Any, groups: dict[str, list[str]], _: Json) -> Any:
    for group, names in groups.items() if isinstance(value, dict) else ():
        if sum(value.get(name) is not None for name in names) != 1:
            text = f"exactly one of {' and '.join(map(snake, names))} must be set."
            raise _Refusal(text, *filter(None, [group]))
    return value


def _enumeration_name(value: Any, names: list[str], _: Json) -> str:
    """The name of an enumeration's value, which may be its number."""
    if type(value) is int and 0 <= value < len(names) and names[value]:  # a boolean is none
        return names[value]
    if not isinstance(value, str) or value.upper() not in names:
        raise _Refusal(f"Invalid value: {json.dumps(value)[:80]}.")
    return value.upper()


def _expression(value: Any, _: bool, __: Json) -> Any:
    try:
        if isinstance(value, str):
            re2.compile(value, RE2_OPTIONS)
    except re2.error as error:
        raise _Refusal(f"is not a regular expression in RE2's syntax: {error.args[0].decode()}.") from None
    return value


def _labels(labels: Any, most: int, _: Json) -> Any:
    if not isinstance(labels, dict):
        return labels
    if len(labels) > most:
        raise _Refusal(f"must be a map of at most {most} labels.")
    for name, value in labels.items():
        if not isinstance(value, str):
            raise _Refusal(f'the value of label "{name}" must be a string.')
        if not name[:1].isalpha():
            raise _Refusal(f'the key of label "{name}" must begin with a letter.')
        for part in (name, value):
            if len(part) > 64 or not all(c.islower() or c.isdigit() or c in "_-" or ord(c) > 127 for c in part):
                raise _Refusal(f'label "{part}" may have 64 lower-case letters, digits, "_" and "-".')
    return labels


def _unimplemented(value: Any, names: list[str], _: Json) -> Any:
    for name in names if isinstance(value, dict) else ():
        if value.get(name) is not None:
            raise ApiError(400, f"{name} is not implemented by the emulator.")
    return value


def _read_if(value: Any, condition: Json, schema: Json) -> Any:
    try:
        _read(value, condition)
    except _Refusal:
        return value
    return _read(value, schema["then"])


_TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": NoneType}
_READERS: dict[str, Callable[[Any, Any, Json], Any]] = {
    "type": _typed,
    "additionalProperties": _read_other_fields,
    "properties": _properties,
    "items": _items,
    "required": _required,
    "exactlyOne": _exactly_one,
    "names": _enumeration_name,
    "expression": _expression,
    "labels": _labels,
    "unimplemented": _unimplemented,
    "if": _read_if,
}
_TESTS: dict[str, Callable[[Any, Any], object]] = {
    "enum": lambda value, choices: value in choices,
    "const": lambda value, other: value == other,
    "not": lambda value, _: False,
    "pattern": lambda value, pattern: not isinstance(value, str) or re.search(pattern, value),
    **dict.fromkeys(("minLength", "minItems"), lambda value, least: len(value) >= least),
    **dict.fromkeys(("maxLength", "maxItems"), lambda value, most: len(value) <= most),
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
    "exclusiveMinimum": lambda value, limit: value > limit,
}

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""JSON Schema of a task's answers: checked once when the settings are loaded, enforced on every answer.

Draft 2020-12 unless `$schema` names another. Nothing is ever fetched: a `$ref` must point into the schema itself.
`jsonschema` is imported by the first schema that is looked at, so tasks without one never load it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gemtune.config.section import JsonObject

if TYPE_CHECKING:
    from jsonschema.exceptions import SchemaError, ValidationError
    from jsonschema.protocols import Validator
    from referencing import Resource

DRAFT = "https://json-schema.org/draft/2020-12/schema"
LONGEST = 200  # characters of a message


def schema_problem(schema: JsonObject) -> str | None:
    """What is wrong with the schema itself, with the place in it; None when answers can be checked by it."""
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import EMPTY_REGISTRY, UnknownDialect, specification_with

    draft = schema.get("$schema", DRAFT)
    try:
        resource = specification_with(str(draft)).create_resource(schema)
        _validator(schema).check_schema(schema)
    except UnknownDialect:
        return f"$schema: {draft!r} is not a draft of JSON Schema; leave it out for draft 2020-12"
    except SchemaError as error:
        return _shown(error)
    for resolver, part in _parts(EMPTY_REGISTRY.resolver_with_root(resource), resource):
        if "nullable" in part:
            return "'nullable' is a keyword of OpenAPI that JSON Schema ignores; write type: [string, 'null']"
        for keyword in ("$ref", "$dynamicRef"):
            try:
                resolver.lookup(part.get(keyword, "#"))
            except Unresolvable:
                return f"{keyword}: {part[keyword]!r} is not in the schema, and nothing is fetched; put it under $defs"
    if answer_problem({"type": schema.get("type", "object")}, {}):
        return f"type: {schema['type']!r}, but the answer of an extraction is an object"
    if _holds_null(schema):
        return "null is no value that a pipeline parameter can carry; write type: 'null' for it"
    return None


def without_null_defaults(schema: Any) -> Any:
    """The schema without `default: null`, which checks nothing and is not allowed in a pipeline parameter."""
    if isinstance(schema, list):
        return [without_null_defaults(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: part for name, part in schema.items() if (name, part) != ("default", None)}
    return {name: without_null_defaults(part) for name, part in kept.items()}


def answer_problem(schema: JsonObject, answer: Any) -> str | None:
    """The error that explains best why an answer does not fit the schema, as "place: problem"; None when it fits."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(schema).iter_errors(answer))
    return _shown(error) if error else None


def missing_property(schema: JsonObject, path: str) -> str | None:
    """The first part of a path (`items.price`) that is no property of the schema; None if all are, or if it is open.

    Only plain properties and items are followed: what a `$ref` or an alternative (anyOf) allows is taken to be open.
    """
    for name in path.split("."):
        while isinstance(schema.get("items"), dict) and "properties" not in schema:
            schema = schema["items"]
        properties = schema.get("properties")
        if not isinstance(properties, dict) or {"$ref", "anyOf", "oneOf", "allOf", "patternProperties"} & {*schema}:
            return None
        if name not in properties:
            return f"{name!r} is not in task.output_schema, which has {', '.join(properties)}"
        schema = properties[name] if isinstance(properties[name], dict) else {}
    return None


def _validator(schema: JsonObject) -> Validator:
    return _compiled(json.dumps(schema, sort_keys=True))


@lru_cache(maxsize=16)
def _compiled(schema: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing.jsonschema import EMPTY_REGISTRY

    contents = json.loads(schema)
    return validator_for(contents, default=Draft202012Validator)(contents, registry=EMPTY_REGISTRY)


def _parts(resolver: Any, resource: Resource[Any]) -> Iterator[tuple[Any, JsonObject]]:
    """The schema and every schema inside it, each with what resolves its references; true and false are left out."""
    if isinstance(resource.contents, dict):
        yield resolver, resource.contents
    for part in resource.subresources():
        yield from _parts(resolver.in_subresource(part), part)


def _holds_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_holds_null, inner))


def _shown(error: ValidationError | SchemaError) -> str:
    """The place, then the problem: of alternatives that all fail (anyOf), what is wrong with each."""
    reasons = [cause.message for cause in error.context or ()] or [error.message]
    place, problem = error.json_path.removeprefix("$").lstrip("."), ", or ".join(dict.fromkeys(reasons))
    text = f"{place}: {problem}" if place else problem
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `generationConfig` and `tools` of a request ask for: the shape of an answer, functions it may call, thinking.

The engines do not reason: a thought repeats the last turn, so that it takes tokens and room as thinking does. Ranges
and messages: cloud.google.com/vertex-ai/generative-ai/docs/thinking.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jsonschema
from jsonschema.validators import validator_for

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Json, camelize, snake
from emulator.core.messages import check
from emulator.engines.base import Engine, Function, GenerateRequest, Generation
from emulator.engines.grammar import answer_schema

JSON_VALUE: Json = {"type": ["object", "array"]}
_LIMITS = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "minimum", "maximum")
_COPIED = ("title", "description", "pattern", "propertyOrdering", "required")
_FORMATS = ("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid")


def response_shape(config: Json) -> tuple[tuple[str, ...] | None, Json | None]:
    """(allowed texts, JSON Schema) of an answer by `responseMimeType` and its schema; 400 for an invalid one."""
    mime = config["responseMimeType"] or "text/plain"
    schema = _schema(config, "responseJsonSchema", "responseSchema", "generation_config")
    if mime == "text/plain" and not schema:
        return None, None
    if mime == "text/plain":
        place = "generation_config.response_mime_type"
        raise ApiError.field(place, "must be application/json or text/x.enum with a schema.")
    choices = schema.get("enum")
    texts = tuple(map(str, choices)) if isinstance(choices, list) and all(isinstance(c, str) for c in choices) else ()
    if mime == "text/x.enum":
        if schema.get("type", "string") != "string" or not texts:
            place = "generation_config.response_schema"
            raise ApiError.field(place, "must be a STRING with an enum for text/x.enum.")
        return texts, None
    if schema.get("type", "string") == "string" and texts:
        return tuple(json.dumps(text, ensure_ascii=False) for text in texts), None
    return None, schema or JSON_VALUE


def _schema(body: Json, json_key: str, key: str, place: str) -> Json:
    schema = body.get(json_key)
    if not schema and key in body:
        place = f"{place}.{snake(key)}"
        schema = _plain_schema(check(camelize(body[key]), "Schema", place), place)
    if problem := _problem(json.dumps(schema or {})):
        raise ApiError.field(f"{place}.{snake(json_key)}", f"is not a JSON Schema: {problem}")
    result: Json = _ordered(schema or {})
    return result


@lru_cache(maxsize=256)
def _problem(text: str) -> str:
    """Why a JSON text is no JSON Schema; "" if it is one."""
    schema = json.loads(text)
    try:
        validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        return error.message[:300]
    return ""


def _ordered(schema: Any) -> Any:
    """A JSON Schema with the properties of each object in their `propertyOrdering`."""
    if isinstance(schema, list):
        return [_ordered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _ordered(item) for key, item in schema.items()}
    order, properties = result.get("propertyOrdering"), result.get("properties")
    if isinstance(order, list) and isinstance(properties, dict):
        names = [name for name in order if isinstance(name, str) and name in properties]
        result["properties"] = {name: properties[name] for name in dict.fromkeys([*names, *properties])}
    return result


def _plain_schema(schema: Json, place: str, depth: int = 0) -> Json:
    """Google's Schema as JSON Schema."""
    if depth > 20:
        raise ApiError.field(place, "has more than 20 levels.")
    below = partial(_plain_schema, place=place, depth=depth + 1)
    kind = schema.get("type", "TYPE_UNSPECIFIED").lower()
    result: Json = {} if kind == "type_unspecified" else {"type": kind}
    result |= {key: schema[key] for key in _COPIED if key in schema}
    result |= {key: _exact(schema[key]) for key in _LIMITS if key in schema}
    if schema.get("format") in _FORMATS:
        result["format"] = schema["format"]
    if "ref" in schema:
        result["$ref"] = schema["ref"].replace("#/defs/", "#/$defs/")
    for key, own_key in (("properties", "properties"), ("defs", "$defs")):
        if key in schema:
            result[own_key] = {name: below(part) for name, part in schema[key].items()}
    if "anyOf" in schema:
        result["anyOf"] = [below(part) for part in schema["anyOf"]]
    for key in ("items", "additionalProperties"):
        if key in schema:
            result[key] = schema[key] if isinstance(schema[key], bool) else below(schema[key])
    if choices := schema.get("enum"):
        result["enum"] = _choices(choices, place, kind)
    return {"anyOf": [result, {"type": "null"}]} if schema["nullable"] else result


def _exact(number: float) -> float | int:
    return int(number) if number == int(number) else number


def _choices(choices: Any, place: str, kind: str) -> list[Any]:
    """The values of an enum, which are strings in Google's Schema even where they are numbers."""
    try:
        if kind in ("integer", "number"):
            return [_exact(float(choice)) for choice in choices]
        return [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
    except (TypeError, ValueError, OverflowError) as error:
        raise ApiError.field(f"{place}.enum", f"must be a list of values of type {kind}.") from error


def read_functions(body: Json) -> tuple[tuple[Function, ...], bool]:
    """(functions that the answer may call, whether it must) of `tools` and `toolConfig`; 400 for an invalid one."""
    functions, calling = declared_functions(body), body["toolConfig"]["functionCallingConfig"]
    mode, allowed, place = calling["mode"], calling["allowedFunctionNames"], "tool_config.function_calling_config"
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise ApiError.field(f"{place}.allowed_function_names", "needs the mode ANY or VALIDATED.")
    names = [function.name for function in functions]
    if unknown := [name for name in allowed if name not in names]:
        problem = f"{unknown[0][:80]!r} is not a declared function."
        raise ApiError.field(f"{place}.allowed_function_names", problem)
    if mode == "ANY" and not functions:
        raise ApiError.field(f"{place}.mode", "ANY needs function declarations in tools.")
    if mode == "NONE":
        return (), False
    return tuple(f for f in functions if not allowed or f.name in allowed), mode == "ANY"


def declared_functions(body: Json) -> list[Function]:
    """The functions of `tools`."""
    functions = []
    for n, tool in enumerate(body.get("tools", ())):
        for m, declaration in enumerate(tool["functionDeclarations"]):
            place = f"tools[{n}].function_declarations[{m}]"
            parameters = _schema(declaration, "parametersJsonSchema", "parameters", place)
            parameters = parameters or {"type": "object", "properties": {}}
            functions.append(Function(declaration["name"], declaration["description"], parameters))
    names = [function.name for function in functions]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ApiError.field("tools", f"Duplicate function declaration found: {doubled[0]}")
    return functions


def functions_text(functions: Sequence[Function]) -> str:
    """The functions for the prompt of a model."""
    lines = [json.dumps({"name": f.name, "description": f.description, "parameters": f.parameters}) for f in functions]
    return "\n".join(['Functions, called by [{"name": ..., "args": ...}]:', *lines])


def answer_parts(text: str, functions: Sequence[Function]) -> list[Json]:
    """The parts of a Content for an answer: its function calls, or its text."""
    if functions and text.startswith("["):
        try:
            return [{"functionCall": {"name": call["name"], "args": call["args"]}} for call in json.loads(text)]
        except (ValueError, TypeError, KeyError):
            return []  # cut off
    return [{"text": text}]


def fits(generation: Generation, request: GenerateRequest) -> bool:
    """Whether all answers that are whole have the required shape: the grammar leaves out what it cannot express."""
    schema = answer_schema(request)
    if schema is None:
        return True
    validator = validator_for(schema, jsonschema.Draft202012Validator)(schema)
    for candidate in generation.candidates:
        try:
            value = json.loads(candidate.text)
        except ValueError:  # cut off, or text instead of a call
            continue
        if not validator.is_valid(value):
            return False
    return True


DYNAMIC_TOKENS = 8192  # longest thought of a model that decides by itself


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought; `reserved` of its tokens are taken from `maxOutputTokens`, `included` says whether it is returned."""

    text: str = ""
    token_count: int = 0
    reserved: int = 0
    included: bool = False


def read_thinking(config: Json, model: BaseModelEntry, is_tuned: bool) -> tuple[int, bool]:
    """(budget in tokens, whether thoughts are returned); a budget of -1: the model decides; 400 if it cannot.

    A tuned model, whose training rows have no thoughts, thinks on request only.
    """
    fields, thinking = config["thinkingConfig"], model.thinking
    level, included = fields["thinkingLevel"], fields["includeThoughts"]
    if thinking is None:
        return 0, False
    budget = fields.get("thinkingBudget", -1 if thinking.by_default and (included or not is_tuned) else 0)
    low, high = thinking.budgets
    if level != "THINKING_LEVEL_UNSPECIFIED":
        if "thinkingBudget" in fields:
            raise _refused("thinking_budget and thinking_level cannot both be set.")
        if level not in thinking.levels:
            raise _refused("thinking_level is not supported by this model.")
        budget = 0 if level == "MINIMAL" else -1
    elif "thinkingBudget" in fields and not (low <= budget <= high or budget == -1 or (budget == 0 and thinking.off)):
        raise _refused(f"thinking_budget is out of range; supported values are integers from {low} to {high}.")
    if included and not budget and not thinking.levels:
        raise _refused("Thinking_config.include_thoughts is only enabled when thinking is enabled.")
    return budget, included


def think(
    config: Json, model: BaseModelEntry, is_tuned: bool, engine: Callable[[BaseModelEntry], Engine], prompt: str
) -> Thought:
    """The thought about a prompt. A budget of the request is part of `maxOutputTokens`; a model that decides by itself
    leaves room for its answer.
    """
    budget, included = read_thinking(config, model, is_tuned)
    if not budget:
        return Thought()
    text = f"The last turn is: {prompt}"
    most = budget if budget > 0 else DYNAMIC_TOKENS
    if reserves := budget > 0 and "maxOutputTokens" in config:
        most = min(most, config["maxOutputTokens"])
    (length,) = engine(model).count_tokens([text])
    count = min(length, most)
    return Thought(text[: len(text) * count // length], count, count if reserves else 0, included)


def _refused(reason: str) -> ApiError:
    learn = "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
    return ApiError(400, f"Unable to submit request because {reason} {learn}")

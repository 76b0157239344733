# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What each setting means, its type and its default; the JSON schema: from the models in `gemtune.config`."""

import json
from functools import cache

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gemtune.config import Config, JsonObject, Section
from gemtune.config.section import sections
from gemtune.errors import UserError, did_you_mean

BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true, false", "object": "mapping"}


def json_schema() -> str:
    """The JSON schema of configuration files."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(content, ensure_ascii=False, indent=1)


def explanation(setting: str) -> tuple[list[str], JsonObject]:
    """What a setting is: description, type, default; of a section, its own description and each of its settings.

    As lines and as an object. Raises `UserError` for an unknown setting.
    """
    contents = _explanations()
    if setting not in contents:
        remedy = f"gemtune config show lists all{did_you_mean(setting, tuple(contents))}"
        raise UserError(f"unknown setting {setting!r}", remedy=remedy)
    content = contents[setting]
    lines = [f"{setting}: {content['description']}"]
    if "settings" in content:
        lines += [f"  {name}: {description}" for name, description in content["settings"].items()]
    else:
        lines += [f"type: {content['type']}", f"default: {content['default']}"]
    return lines, {"setting": setting, **content}


def descriptions() -> dict[str, str]:
    """What each setting and section means, by its path."""
    return {name: content["description"] for name, content in _explanations().items()}


@cache
def _explanations() -> dict[str, JsonObject]:
    contents: dict[str, JsonObject] = {}
    for path, model in sections("", Config):
        properties = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            facts = {"type": type_of(properties[name]).replace("`", ""), "default": default_of(field).replace("`", "")}
            contents[f"{path}.{name}".lstrip(".")] = {"description": field.description or "", **facts}
        if path:
            own = {name: field.description or "" for name, field in model.model_fields.items()}
            contents[path.removesuffix("[]")] = {"description": summary(model), "settings": own}
    return contents


def summary(model: type[BaseModel]) -> str:
    """What a section is about."""
    return " ".join((model.__doc__ or "").split())


def type_of(schema: JsonObject) -> str:
    """A property's type, choices and bounds in words, as Markdown."""
    if "anyOf" in schema:
        return " or ".join(type_of(choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if schema.get("type") == "null":
        return "null"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS if key in schema]
    return ", ".join([TYPES.get(schema.get("type", ""), "any"), *bounds])


def default_of(field: FieldInfo) -> str:
    """A setting's default as Markdown."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return ""
    if isinstance(value, list):
        value = [
            item.model_dump(mode="json", exclude_unset=True) if isinstance(item, Section) else item for item in value
        ]
    return f"`{json.dumps(value, ensure_ascii=False)}`"

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all sections of the settings: frozen, without unknown keys, with errors that name the setting."""

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from gemtune.errors import UserError, similar

LONGEST_VALUE = 200  # characters of a refused value that an error shows


JsonObject = dict[str, Any]
"""A JSON object whose keys are not ours to type: a raw row, the body of a request or of a response."""


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys; the docstring below a field is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Join the lines of descriptions, before the schema is built from them (at the first use)."""
        for field in cls.model_fields.values():
            field.description = " ".join((field.description or "").split()) or None

    @classmethod
    def of(cls, values: JsonObject) -> Self:
        """Validate a section that travelled through a pipeline parameter; raises `UserError` naming the setting."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error, cls)) from None


def fingerprint(*parts: Any) -> str:
    """16 hex digits that name a value: equal for equal content, whatever the key order; sections may be passed."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def is_resource_name(model: str) -> bool:
    """Whether a model is a full resource name (a tuned model or its endpoint), not the id of a base model."""
    return model.startswith("projects/")


def explain(error: ValidationError, within: type[BaseModel]) -> str:
    """One line per wrong setting: dotted name, what was given, what is allowed."""
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name!r}{_known_settings(item['loc'], within)}")
        else:
            value = repr(item["input"])
            shown = value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"
            lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}, got {shown}")
    return "; ".join(lines)


def _known_settings(loc: tuple[int | str, ...], within: type[BaseModel]) -> str:
    """The settings beside the unknown one, and the most similar of all."""
    names = {path: sorted(model.model_fields) for path, model in sections("", within)}
    *parents, last = ("[]" if isinstance(part, int) else str(part) for part in loc)
    parent = ".".join(parents).replace(".[]", "[]")
    beside = names.get(parent, [])
    anywhere = {name: f"{path}.{name}".lstrip(".") for path in reversed(names) for name in names[path]}
    near = "" if last in anywhere else similar(last, tuple(beside))
    setting = f"{parent}.{near}".lstrip(".") if near else anywhere.get(similar(last, tuple(anywhere)))
    own = f": its settings are {', '.join(beside)}" if beside else ""
    return own + (f"; did you mean {setting!r}?" if setting else "")


def sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all models inside it, each with its dotted path; `[]` marks the items of a list."""
    yield path, model
    for name, field in model.model_fields.items():
        inner, suffix = section_of(field)
        if inner is not None:
            yield from sections(f"{path}.{name}{suffix}".lstrip("."), inner)


def section_of(field: FieldInfo) -> tuple[type[BaseModel] | None, str]:
    """The section class of a field, and `[]` for a list of sections."""
    suffix = "[]" if get_origin(field.annotation) is list else ""
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate, suffix
    return None, ""


def unquoted_off(value: Any) -> Any:
    """The text `off`, which YAML 1.1 reads as false when it is not quoted."""
    return "off" if value is False else value


def plain(value: Any) -> Any:
    """The value in the form of a pipeline parameter: without nulls, dates as text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return "" if value is None else value.isoformat() if isinstance(value, date) else value

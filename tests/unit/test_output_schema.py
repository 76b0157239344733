# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Output schemas: a wrong schema is refused when it is loaded, a wrong answer when it is parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gemtune.config import Config, Prompt, Task
from gemtune.errors import UserError
from gemtune.inference.parsing import parse

FINE = {"n": 7, "d": "12", "k": None, "c": "x", "t": "text"}
SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 5},
        "d": {"type": "string", "pattern": "^[0-9]+$"},
        "k": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "c": {"const": "x"},
        "t": {"type": ["string", "null"]},
        "e": {"enum": [1, 2]},
        "r": {"$ref": "#/$defs/Person"},
        "l": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"Person": {"type": "object", "properties": {"age": {"type": "number"}}, "required": ["age"]}},
}


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


def problem(schema: dict[str, Any], answer: Any) -> str | None:
    return parse(Task(kind="extraction", output_schema=schema), Prompt(), json.dumps(answer)).problem


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 1}, "n: 1 is less than the minimum of 5"),
        ({"d": "abc"}, "d: 'abc' does not match '^[0-9]+$'"),
        ({"k": 5}, "k: 5 is not of type 'string', or 5 is not of type 'null'"),
        ({"c": "y"}, "c: 'x' was expected"),
        ({"t": []}, "t: [] is not of type 'string', 'null'"),
        ({"e": 3}, "e: 3 is not one of [1, 2]"),
        ({"n": True}, "n: True is not of type 'integer'"),
        ({"r": {"age": "old"}}, "r.age: 'old' is not of type 'number'"),
        ({"r": {}}, "r: 'age' is a required property"),
        ({"l": ["a", 1]}, "l[1]: 1 is not of type 'string'"),
        ({"m": 1}, "Additional properties are not allowed ('m' was unexpected)"),
    ],
)
def test_parse_enforces_each_keyword(wrong: dict[str, Any], message: str) -> None:
    assert problem(SCHEMA, FINE) is None
    assert problem(SCHEMA, FINE | wrong) == f"does not fit the schema: {message}"


def test_parse_shortens_the_value_but_keeps_what_is_wrong_with_it() -> None:
    message = problem(SCHEMA, FINE | {"n": "x" * 5000})
    assert message is not None
    assert len(message) < 250
    assert message.endswith("is not of type 'integer'")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objct"}, "type: 'objct' is not one of ['array', 'boolean',"),
        (properties(n={"type": "integr"}), "properties.n.type: 'integr' is not one of"),
        (properties(n={"minimum": "5"}), "properties.n.minimum: '5' is not of type 'number'"),
        (properties(d={"pattern": "["}), "properties.d.pattern: '[' is not a 'regex'"),
        (properties(a={"$ref": "#/$defs/A"}), "$ref: '#/$defs/A' is not in the schema"),
        (
            properties(a={"$ref": "https://example.com/a.json"}),
            "'https://example.com/a.json' is not in the schema",
        ),
        (properties(a={"items": {"$ref": "other.json"}}), "$ref: 'other.json' is not in the schema"),
        ({"$schema": "https://example.com/draft"}, "'https://example.com/draft' is not a draft of JSON Schema"),
        (properties(n={"type": "string", "nullable": True}), "write type: [string, 'null']"),
        (properties(n={"const": None}), "write type: 'null'"),
        ({"type": "array"}, "the answer of an extraction is an object"),
    ],
)
def test_config_refuses_a_wrong_schema_naming_the_place(tmp_path: Path, schema: dict[str, Any], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"task": {"kind": "extraction", "output_schema": schema}}))
    with pytest.raises(UserError) as refused:
        Config.load(path)
    assert message in str(refused.value)
    assert "task.output_schema" in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_config_takes_the_draft_that_the_schema_names() -> None:
    tuples = {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}  # prefixItems since draft 2020-12
    draft_7 = {"$schema": "http://json-schema.org/draft-07/schema#", **properties(pair=tuples)}
    assert problem(draft_7, {"pair": ["a", 1]}) is None
    assert problem(draft_7, {"pair": [1, "a"]}) is not None
    with pytest.raises(UserError, match=r"properties\.pair\.items"):
        Task.of({"kind": "extraction", "output_schema": properties(pair=tuples)})


class Line(BaseModel):
    item: str
    count: int = Field(ge=1)


class Purchase(BaseModel):
    number: str = Field(pattern="^[A-Z]-[0-9]+$")
    status: Literal["open", "paid"]
    note: str | None = None
    lines: list[Line] = []


def test_schema_of_a_pydantic_model_is_enforced() -> None:
    """Such schemas hold $defs, anyOf, const and `default: null`, which a pipeline parameter cannot carry."""
    nested = properties(a={"anyOf": [{"type": "integer", "default": None}]})
    assert Task(output_schema=nested).output_schema == properties(a={"anyOf": [{"type": "integer"}]})
    task = Task(kind="extraction", output_schema=Purchase.model_json_schema())
    assert "null" not in json.dumps(task.output_schema).replace('"null"', "")
    order = {"number": "A-1", "status": "open", "lines": [{"item": "x", "count": 1}]}
    assert parse(task, Prompt(), json.dumps(order)).problem is None
    assert parse(task, Prompt(), json.dumps(order | {"note": None})).problem is None
    for wrong in ({"number": "a-1"}, {"status": "lost"}, {"note": 5}, {"lines": [{"item": "x", "count": 0}]}):
        assert parse(task, Prompt(), json.dumps(order | wrong)).problem is not None


values = st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(["x", "12", "abc", ""]) | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), values))  # type: ignore[misc]
def test_parse_agrees_with_jsonschema_on_every_object(answer: dict[str, Any]) -> None:
    assert (problem(SCHEMA, answer) is None) == jsonschema.Draft202012Validator(SCHEMA).is_valid(answer)

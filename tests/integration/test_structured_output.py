# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas drawn by hypothesis: answers of both engines validate, and take little longer.

SCHEMAS=500 draws more than the usual number.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emulator.catalogue import load_catalogue
from emulator.core.faults import FaultPlan, Faults
from emulator.core.google_rest import ApiError
from emulator.engines.base import Engine, GenerateRequest, Turn
from emulator.engines.rules_engine import RulesEngine
from emulator.engines.student.engine import Student
from emulator.services.inference import Engines, Inference

SCHEMAS = int(os.environ.get("SCHEMAS", "10"))
NAMES = st.text("abcXYZ_ é", min_size=1, max_size=8)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(-9, 9).map(lambda x: round(x, 2))
    | st.text('ab "\\é', max_size=6)
)
KINDS = ["boolean", "null", "string", "number", "integer", "array", "object"]


def some_of(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema with some of the keywords, all of which begin by `type`."""
    kind = {"type": parts.pop("type")}
    return st.fixed_dictionaries(kind, optional={name.removesuffix("_"): part for name, part in parts.items()})


LEAVES = st.one_of(
    some_of(type=st.just("string"), minLength=st.integers(0, 4), maxLength=st.integers(4, 12)),
    some_of(type=st.just("string"), format=st.sampled_from(["date", "date-time", "time", "email", "uuid", "ipv4"])),
    some_of(type=st.just("string"), pattern=st.sampled_from(["^[a-c]+$", "x", "^a", "b$", "^(on|off)$", "[0-9]{2}"])),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"const": VALUES}),
    some_of(type=st.sampled_from(["integer", "number"]), minimum=st.integers(-99, 50), maximum=st.integers(60, 9999)),
    some_of(type=st.just("integer"), exclusiveMinimum=st.integers(-99, 50), multipleOf=st.integers(1, 7)),
    some_of(type=st.just("number"), exclusiveMaximum=st.integers(-99, 50)),
    some_of(type=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)),
    st.just({}),
)


def parents(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(NAMES, inner, min_size=1, max_size=4)
    objects = some_of(type=st.just("object"), properties=properties, additionalProperties=st.booleans() | inner)
    listed = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects.flatmap(required_of),
        objects.flatmap(required_of),
        some_of(type=st.just("object"), additionalProperties=inner, minProperties=st.integers(0, 2)),
        some_of(type=st.just("array"), items=inner, minItems=st.integers(0, 3), maxItems=st.integers(3, 5)),
        some_of(type=st.just("array"), items=inner, uniqueItems=st.booleans()),
        st.fixed_dictionaries({"type": st.just("array"), "prefixItems": listed, "minItems": st.integers(0, 2)}),
        st.fixed_dictionaries({"anyOf": listed}),
        st.fixed_dictionaries({"oneOf": listed}),
        inner.map(lambda schema: {"not": {"const": 7}, **schema}),
    )


def required_of(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = sorted(schema.get("properties", {}))
    required = st.lists(st.sampled_from(names), unique=True) if names else st.just([])
    return required.map(lambda chosen: {**schema, "required": chosen})


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}
PLAIN = st.recursive(LEAVES, parents, max_leaves=8)
SCHEMATA = st.one_of(
    PLAIN,
    PLAIN,
    PLAIN.map(lambda schema: {"$defs": {"part": schema}, "type": "array", "items": {"$ref": "#/$defs/part"}}),
    st.just(TREE),
)


@pytest.fixture(scope="module")
def student() -> Student:
    return Student()


def serve(engine: Engine) -> Inference:
    parts: Any = None  # no endpoints, models and logs: a base model answers
    return Inference(load_catalogue(), Engines(lambda entry: engine), parts, parts, Faults(FaultPlan()), parts)


def answer(inference: Inference, schema: Any) -> dict[str, Any]:
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema, "seed": 1, "temperature": 0.7}
    body = {"contents": [{"parts": [{"text": "Where is my parcel?"}]}], "generationConfig": config}
    response = asyncio.run(inference.respond(inference.resolve("gemini-2.5-flash"), body))
    return dict(response["candidates"][0])


@pytest.mark.parametrize("name", ["scripted", "student"])
def test_answers_validate_against_drawn_schemas(name: str, student: Student) -> None:
    inference = serve(student if name == "student" else RulesEngine())
    outcomes: Counter[str] = Counter()

    @settings(max_examples=SCHEMAS, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
    @given(SCHEMATA)
    def check(schema: dict[str, Any]) -> None:
        try:
            candidate = answer(inference, schema)
        except ApiError as error:
            outcomes[f"{error.code}"] += 1
            print(error.message, json.dumps(schema))
            return
        outcomes[candidate["finishReason"]] += 1
        if candidate["finishReason"] != "STOP":
            print(json.dumps(schema), candidate["content"]["parts"][0]["text"][:200])
        if candidate["finishReason"] == "STOP":
            jsonschema.validate(json.loads(candidate["content"]["parts"][0]["text"]), schema)

    check()
    print(name, outcomes)
    assert outcomes["STOP"] >= 0.9 * outcomes.total()


def test_decoding_with_a_schema_takes_little_longer(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor seconds for a token of 100 tokens, with a schema and without, in one process."""
    monkeypatch.setattr(student.encoder, "end_ids", frozenset([0]))  # no answer ends earlier
    items = {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}
    schema = {"type": "array", "items": items, "minItems": 40}
    tokens: dict[str, list[float]] = {}
    for name, shape in (("plain", None), ("schema", schema)) * 4:
        requests = [
            GenerateRequest((Turn("user", f"Tell me a story {n}"),), response_json_schema=shape, max_output_tokens=100)
            for n in range(4)
        ]
        started = time.process_time()
        count = sum(generation.candidates[0].token_count for generation in student.generate(requests))
        tokens.setdefault(name, []).append((time.process_time() - started) / count)
    ratio = min(tokens["schema"]) / min(tokens["plain"])
    print(f"with a schema {ratio:.2f} times as long")
    assert ratio < 1.5

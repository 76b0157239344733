# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""generateContent, streams and token counts through google-genai; errors as it reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from emulated import PARENT, Server, genai_client
from google.genai import errors, types
from pydantic import BaseModel, ConfigDict, Field

MODEL = "gemini-2.5-flash"
ASKED = {"contents": [{"parts": [{"text": "x"}]}]}
JSON_MIME = {"responseMimeType": "application/json"}
UNSATISFIABLE = {"allOf": [{"type": "integer"}, {"type": "string"}]}
INFINITE = {"type": "NUMBER", "enum": ["inf"]}


def get_weather(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def calls_of(answer: Any) -> list[tuple[str, Any]]:
    return [(call.name, call.args) for call in answer.function_calls or []]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An emulator that knows 200 answers and is right nine times in ten."""
    directory = tmp_path_factory.mktemp("truth")
    answers = {f"question {n}.": f"label{n % 7}" for n in range(200)}
    labels = [f"label{n}" for n in range(7)]
    (directory / "script.json").write_text(json.dumps({"answers": answers, "labels": labels, "base_accuracy": 0.9}))
    running = Server(directory / "state", "--engine", f"scripted:{directory / 'script.json'}")
    yield running
    running.kill()


def test_answers_are_not_mixed_among_concurrent_callers(truth: Server) -> None:
    client = genai_client(truth.url)

    def ask(n: int) -> str:
        config = {"temperature": 0.0, "seed": 1}
        return str(client.models.generate_content(model=MODEL, contents=f"question {n}.", config=config).text)

    with ThreadPoolExecutor(32) as pool:
        concurrent = list(pool.map(ask, range(120)))
    alone = [ask(n) for n in range(120)]
    assert concurrent == alone
    right = sum(text == f"label{n % 7}" for n, text in enumerate(alone))
    assert 96 < right < 119


def test_response_fields(truth: Server) -> None:
    client = genai_client(truth.url)
    answer = client.models.generate_content(
        model=MODEL,
        contents="question 3.",
        config=types.GenerateContentConfig(
            system_instruction="Answer.",
            temperature=0.5,
            top_p=0.9,
            top_k=10,
            seed=7,
            candidate_count=2,
            max_output_tokens=20,
            response_logprobs=True,
            logprobs=3,
            stop_sequences=["#"],
            thinking_config=types.ThinkingConfig(thinking_budget=0),
            labels={"k": "v"},
        ),
    )
    assert len(answer.candidates) == 2
    assert answer.candidates[0].finish_reason == "STOP"
    chosen = answer.candidates[0].logprobs_result.chosen_candidates
    assert "".join(token.token for token in chosen) == answer.candidates[0].content.parts[0].text
    assert answer.usage_metadata.prompt_token_count == 6  # Answer . question _ 3 .
    assert answer.model_version == MODEL
    assert answer.response_id
    assert answer.create_time


def test_enum_and_json_answers(truth: Server) -> None:
    client = genai_client(truth.url)
    enum = {"type": "STRING", "enum": ["label1", "label2"]}
    config = types.GenerateContentConfig(response_mime_type="text/x.enum", response_schema=enum)
    assert client.models.generate_content(model=MODEL, contents="question 1.", config=config).text in enum["enum"]
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=enum)
    assert client.models.generate_content(model=MODEL, contents="question 1.", config=config).parsed in enum["enum"]
    schema = {"type": "OBJECT", "properties": {"label": enum, "note": {"type": "STRING"}}, "required": ["label"]}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    parsed = client.models.generate_content(model=MODEL, contents="question 1.", config=config).parsed
    assert parsed["label"] in enum["enum"]
    assert set(parsed) == {"label", "note"}


class Part(BaseModel):
    name: str
    count: int = Field(ge=2, le=4)


class Shipment(BaseModel):
    kind: Literal["parcel", "letter"]
    parts: list[Part] = Field(min_length=2)
    note: str | None = None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["parcel", "letter"]


@pytest.mark.parametrize("engine", ["scripted", "student"])
def test_json_answers_are_parsed_by_the_client(start: Callable[..., Server], engine: str) -> None:
    client = genai_client(start("--engine", engine).url)

    def answer(**config: Any) -> Any:
        config = {"response_mime_type": "application/json", "temperature": 0.0, **config}
        return client.models.generate_content(model=MODEL, contents="where is my parcel", config=config)

    assert isinstance(answer(response_schema=Shipment).parsed, Shipment)
    assert isinstance(answer(response_schema=Strict).parsed, Strict)  # sent as additionalProperties: false
    assert all(isinstance(part, Part) for part in answer(response_schema=list[Part]).parsed)
    assert Shipment.model_validate_json(answer(response_json_schema=Shipment.model_json_schema()).text)
    assert isinstance(json.loads(answer().text), dict | list)
    ordered = {"type": 6, "properties": {"b": {"type": 4}, "a": {"type": 3, "enum": ["7"]}}, "propertyOrdering": ["a"]}
    path = f"{client._api_client._http_options.base_url}/v1/{PARENT}/publishers/google/models/{MODEL}:generateContent"
    body = {**ASKED, "generationConfig": {**JSON_MIME, "response_schema": ordered}}
    text = httpx.post(path, json=body).json()["candidates"][0]["content"]["parts"][0]["text"]
    assert text.startswith('{"a": 7')
    assert set(json.loads(text)) == {"a", "b"}


@pytest.mark.parametrize("engine", ["scripted", "student"])
def test_function_calls(start: Callable[..., Server], engine: str) -> None:
    client = genai_client(start("--engine", engine).url)
    names = ("get_weather", "stop", "book")
    declared = {"function_declarations": [{"name": name, "description": "-"} for name in names]}

    def answer(contents: Any, tools: Any = declared, **calling: Any) -> Any:
        config = {"tools": [tools], "tool_config": {"function_calling_config": calling}, "temperature": 0.0}
        return client.models.generate_content(model=MODEL, contents=contents, config=config)

    assert calls_of(answer("hello", mode="ANY", allowed_function_names=["stop"])) == [("stop", {})]
    assert calls_of(answer("weather, then stop")) == [("get_weather", {}), ("stop", {})]
    assert answer("hello").text
    assert not calls_of(answer("hello"))
    assert not calls_of(answer("weather", mode="NONE"))
    chat = client.chats.create(model=MODEL, config={"tools": [get_weather]})
    assert chat.send_message("the weather in Rome?").text
    (called,) = [part.function_call for turn in chat.get_history() for part in turn.parts if part.function_call]
    assert called.name == "get_weather"
    assert isinstance(called.args["city"], str)
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="stop", config={"tools": [declared]}))
    assert [call for chunk in chunks for call in calls_of(chunk)] == [("stop", {})]


def test_function_calls_are_answered_and_tabled(start: Callable[..., Server], tmp_path: Path) -> None:
    call = json.dumps([{"name": "book", "args": {"city": "Rome", "nights": 2}}])
    (tmp_path / "rules.json").write_text(json.dumps({"answers": {"a room in Rome": call}, "base_accuracy": 1.0}))
    client = genai_client(start("--engine", f"scripted:{tmp_path / 'rules.json'}").url)
    parameters = {"type": "object", "properties": {"city": {"$ref": "#/$defs/c"}, "nights": {"type": "integer"}}}
    parameters["$defs"] = {"c": {"type": "string"}}
    tool = {"function_declarations": [{"name": "book", "parameters_json_schema": parameters}]}
    answer = client.models.generate_content(model=MODEL, contents="book a room in Rome", config={"tools": [tool]})
    assert calls_of(answer) == [("book", {"city": "Rome", "nights": 2})]
    result = types.Part.from_function_response(name="book", response={"result": "booked in Rome"})
    turns = [types.UserContent("book"), answer.candidates[0].content, types.Content(role="user", parts=[result])]
    last = client.models.generate_content(model=MODEL, contents=turns, config={"tools": [tool]})
    assert (calls_of(last), last.text) == ([], "result booked in Rome")


def test_stream_adds_up(truth: Server) -> None:
    client = genai_client(truth.url)
    prompt = "please repeat all of these many words"
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=prompt, config={"temperature": 0}))
    whole = client.models.generate_content(model=MODEL, contents=prompt, config={"temperature": 0})
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    path = f"{truth.url}/v1/{PARENT}/publishers/google/models/{MODEL}:streamGenerateContent"
    listed = httpx.post(path, json={"contents": [{"parts": {"text": "one two three"}, "role": "USER"}]}).json()
    assert isinstance(listed, list)
    assert listed[-1]["usageMetadata"]["totalTokenCount"]


@pytest.mark.difference("thinking", "reasons", "a thought repeats the last turn; its tokens count")
def test_thoughts_are_counted_and_streamed(truth: Server) -> None:
    client = genai_client(truth.url)

    def answer(model: str = MODEL, **thinking: Any) -> Any:
        config = {"temperature": 0, "thinking_config": thinking} if thinking else {"temperature": 0}
        return client.models.generate_content(model=model, contents="where is my parcel", config=config)

    def thoughts(answer: Any) -> int:
        usage = answer.usage_metadata
        count = usage.thoughts_token_count or 0
        assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + count
        return count

    off = answer(thinking_budget=0)
    assert thoughts(off) == 0
    for thinks in (answer(), answer(thinking_budget=-1), answer(thinking_budget=2000)):
        assert thoughts(thinks) > 3
        assert (thinks.text, len(thinks.candidates[0].content.parts)) == (off.text, 1)
    assert thoughts(answer(thinking_budget=3)) == 3
    assert (
        thoughts(answer("gemini-2.5-flash-lite")) == thoughts(answer("gemini-3.5-flash", thinking_level="MINIMAL")) == 0
    )
    assert thoughts(answer("gemini-3.5-flash", thinking_level="LOW")) > 3
    shown = answer(include_thoughts=True)
    assert [part.thought for part in shown.candidates[0].content.parts] == [True, None]
    assert shown.text == off.text
    config: Any = {"temperature": 0, "thinking_config": {"include_thoughts": True}}
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="where is my parcel", config=config))
    assert chunks[0].candidates[0].content.parts[0].thought
    assert "".join(chunk.text or "" for chunk in chunks) == off.text
    assert thoughts(chunks[-1]) == thoughts(shown)
    turns = [types.UserContent("where is my parcel"), shown.candidates[0].content, types.UserContent("and now")]
    bare = [turns[0], types.ModelContent(off.text), turns[2]]
    prompts = [client.models.count_tokens(model=MODEL, contents=value).total_tokens for value in (turns, bare)]
    assert prompts[0] == prompts[1]  # earlier thoughts are not part of a prompt


def test_thoughts_use_up_the_answer_limit(truth: Server) -> None:
    client = genai_client(truth.url)
    for limit, budget, text in ((8, 24576, None), (20, 4, "ANSWER")):
        config: Any = {"max_output_tokens": limit, "thinking_config": {"thinking_budget": budget}, "candidate_count": 2}
        answer = client.models.generate_content(model=MODEL, contents="one two three four five six", config=config)
        assert len(answer.candidates) == 2
        assert answer.usage_metadata.thoughts_token_count == min(limit, budget)
        assert bool(answer.text) == bool(text)
        if text is None:
            assert answer.candidates[0].finish_reason == "MAX_TOKENS"


@pytest.mark.parametrize(
    ("model", "thinking", "words"),
    [
        (MODEL, {"thinkingBudget": 24577}, "integers from 1 to 24576"),
        (MODEL, {"thinkingBudget": -7}, "out of range"),
        ("gemini-2.5-pro", {"thinkingBudget": 0}, "integers from 128 to 32768"),
        ("gemini-2.5-flash-lite", {"thinkingBudget": 100}, "integers from 512"),
        ("gemini-2.5-flash-lite", {"includeThoughts": True}, "only enabled when thinking is enabled"),
        (MODEL, {"thinkingLevel": "LOW"}, "thinking_level is not supported"),
        (MODEL, {"thinkingLevel": "SOME"}, "SOME"),
        ("gemini-3.5-flash", {"thinkingLevel": "LOW", "thinkingBudget": 10}, "cannot both"),
    ],
)
def test_thinking_of_another_model_is_refused(truth: Server, model: str, thinking: Any, words: str) -> None:
    path = f"{truth.url}/v1/{PARENT}/publishers/google/models/{model}:generateContent"
    refused = httpx.post(path, json={**ASKED, "generationConfig": {"thinkingConfig": thinking}})
    assert (refused.status_code, words in refused.json()["error"]["message"]) == (400, True)


def test_max_tokens(server: Server) -> None:
    client = genai_client(server.url)
    words = "a b c d"
    cut = client.models.generate_content(model=MODEL, contents=words, config={"max_output_tokens": 3, "temperature": 0})
    assert cut.candidates[0].finish_reason == "MAX_TOKENS"
    assert cut.usage_metadata.candidates_token_count == 3


@pytest.mark.difference("token counts", "Gemini's tokenizer", "the tokenizer of the engine")
def test_tokens(truth: Server) -> None:
    client = genai_client(truth.url)
    counted = client.models.count_tokens(model=MODEL, contents="one two", config={"system_instruction": "three"})
    assert counted.total_tokens == 4
    (info,) = client.models.compute_tokens(model=MODEL, contents="one two").tokens_info
    assert b"".join(info.tokens) == b"one two"
    assert len(info.token_ids) == 3


def test_predict_on_an_endpoint(server: Server) -> None:
    from emulated import LOCATION, PROJECT, supervised_lines, upload, wait
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(epoch_count=1, tuned_model_display_name="predicts")
    job = wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))
    options: dict[str, Any] = {"credentials": AnonymousCredentials(), "api_endpoint": server.url}
    aiplatform.init(project=PROJECT, location=LOCATION, api_transport="rest", **options)
    endpoint = aiplatform.Endpoint(job.tuned_model.endpoint)
    whole = {"contents": [{"role": "user", "parts": [{"text": "money back please"}]}]}
    empty = {"prompt": None, "content": "where is my parcel"}
    answer = endpoint.predict([{"content": "where is my parcel"}, whole, empty], parameters={"temperature": 0})
    aiplatform.initializer.global_config._api_endpoint = None
    prompts = ("where is my parcel", "money back please", "where is my parcel")
    greedy: Any = {"temperature": 0}
    same = [
        client.models.generate_content(model=job.tuned_model.endpoint, contents=c, config=greedy).text for c in prompts
    ]
    assert [prediction["content"] for prediction in answer.predictions] == same
    assert job.tuned_model.model == f"{answer.model_resource_name}@{answer.model_version_id}"
    assert answer.deployed_model_id == endpoint.list_models()[0].id
    refused = httpx.post(f"{server.url}/v1/{job.tuned_model.endpoint}:predict", json={"instances": [{"x": 1}]})
    assert refused.status_code == 400


def test_publisher_models(truth: Server) -> None:
    client = genai_client(truth.url)
    assert client.models.get(model=MODEL).name == f"publishers/google/models/{MODEL}"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="gemini-0.1-none")
    assert caught.value.code == 404


def test_express_mode(truth: Server) -> None:
    path = f"{truth.url}/v1beta1/publishers/google/models/{MODEL}:generateContent"
    body = {"contents": [{"parts": [{"text": "question 3."}]}]}
    answer = httpx.post(path, headers={"x-goog-api-key": "k"}, json=body)
    assert answer.json()["candidates"][0]["content"]["parts"][0]["text"].startswith("label")


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({}, 400, "contents"),
        ({"contents": []}, 400, "contents"),
        ({"contents": [{"role": "user", "parts": []}]}, 400, "parts"),
        ({"contents": [{"role": "model", "parts": [{"text": "x"}]}]}, 400, "user role"),
        ({"contents": [{"parts": [{"text": ""}]}]}, 400, "empty text"),
        ({"contents": [{"parts": [{"text": "x"}], "nonsense": 1}]}, 400, "nonsense"),
        ({**ASKED, "generationConfig": {"fooBar": 1}}, 400, "fooBar"),
        ({**ASKED, "labels": {"Team": "shop"}}, 400, "Team"),
        ({**ASKED, "labels": {"team": 1}}, 400, "team"),
        ({**ASKED, "generationConfig": {"thinkingConfig": {"fooBar": 1}}}, 400, "fooBar"),
        ({**ASKED, "safetySettings": [{"category": "NOPE", "threshold": "OFF"}]}, 400, "NOPE"),
        ({**ASKED, "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "X"}]}, 400, "threshold"),
        ({**ASKED, "safetySettings": [{"category": 1, "fooBar": "OFF"}]}, 400, "fooBar"),
        ({"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}, 400, "role"),
        ({"contents": "x"}, 400, "contents"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}, 400, "text only"),
        ({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"temperature": 3}}, 400, "temperature"),
        ({"contents": [{"parts": [{"text": "x"}]}], "generation_config": {"max_output_tokens": 0}}, 400, "max_output"),
        ({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"logprobs": 3}}, 400, "logprobs"),
        ({"contents": [{"parts": [{"text": "x"}]}], "tools": [{"googleSearch": {}}]}, 400, "tools"),
        ({**ASKED, "tools": [{"functionDeclarations": [{"name": "1 x"}]}]}, 400, "name"),
        ({**ASKED, "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, 400, "Duplicate"),
        ({**ASKED, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, 400, "declarations"),
        ({**ASKED, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, 400, "SOME"),
        ({**ASKED, "generationConfig": {**JSON_MIME, "responseSchema": {"type": "OBJEKT"}}}, 400, "OBJEKT"),
        ({**ASKED, "generationConfig": {**JSON_MIME, "responseSchema": {"typ": "OBJECT"}}}, 400, "typ"),
        ({**ASKED, "generationConfig": {**JSON_MIME, "responseSchema": INFINITE}}, 400, "enum"),
        ({**ASKED, "generationConfig": {**JSON_MIME, "responseJsonSchema": {"type": "objekt"}}}, 400, "objekt"),
        ({**ASKED, "generationConfig": {**JSON_MIME, "responseJsonSchema": UNSATISFIABLE}}, 400, "no answer"),
        ({"contents": [{"parts": [{"text": "x"}]}], "nonsense": 1}, 400, "nonsense"),
    ],
)
def test_refusals(truth: Server, body: Any, code: int, word: str) -> None:
    path = f"{truth.url}/v1/{PARENT}/publishers/google/models/{MODEL}:generateContent"
    answer = httpx.post(path, json=body)
    assert answer.status_code == code
    assert word in answer.json()["error"]["message"]


def test_last_turn_of_the_model_is_accepted_by_some_models(truth: Server) -> None:
    turns = [{"role": role, "parts": [{"text": "question 3."}]} for role in ("user", "model")]
    codes = {}
    for model in ("gemini-2.5-flash", "gemini-3.5-flash", "gemini-3.5-flash-lite"):
        path = f"{truth.url}/v1/{PARENT}/publishers/google/models/{model}:generateContent"
        codes[model] = httpx.post(path, json={"contents": turns}).status_code
    assert list(codes.values()) == [200, 200, 400]


@pytest.mark.difference("lists of missing collections", "what was created", "empty")
def test_lists_of_a_fresh_project_are_empty(server: Server) -> None:
    for name in ("customJobs", "hyperparameterTuningJobs", "datasets", "models/1/evaluations", "cachedContents"):
        assert httpx.get(f"{server.url}/v1/{PARENT}/{name}").json() == {}


@pytest.mark.difference("methods that are missing", "work", "501 with the method's name")
def test_wire_refusals(truth: Server) -> None:
    path = f"{truth.url}/v1/{PARENT}/publishers/google/models/{MODEL}:generateContent"
    json_type = {"content-type": "application/json"}
    assert httpx.post(path, content=b"{", headers=json_type).json()["error"]["status"] == "INVALID_ARGUMENT"
    assert httpx.post(path, content=b"[]", headers=json_type).status_code == 400
    missing = httpx.post(f"{truth.url}/v1/{PARENT}/customJobs", json={})
    assert missing.status_code == 501
    assert "customJobs" in missing.json()["error"]["message"]
    assert missing.json()["error"]["status"] == "UNIMPLEMENTED"
    client = genai_client(truth.url)
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="gemini-0.1-none", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_catalogue_can_be_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    catalogue = json.loads((Path(__file__).parents[2] / "emulator/catalogue.json").read_text())
    catalogue["models"] = [{"name": "gemini-9-nova", "supervised": [1]}]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(catalogue))
    client = genai_client(start("--catalogue", str(path)).url)
    assert [m.name for m in client.models.list()] == ["publishers/google/models/gemini-9-nova"]
    assert client.models.generate_content(model="gemini-9-nova", contents="x").text


@pytest.mark.difference("retired models", "404", "served, unless the catalogue has `enforce_retirement`")
def test_retired_models_are_refused_on_request(start: Callable[..., Server], tmp_path: Path) -> None:
    catalogue = json.loads((Path(__file__).parents[2] / "emulator/catalogue.json").read_text())
    catalogue["enforce_retirement"] = True
    catalogue["models"][0]["retirement_date"] = "2020-01-01"
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(catalogue))
    client = genai_client(start("--catalogue", str(path)).url)
    with pytest.raises(errors.ClientError, match="was not found"):
        client.models.generate_content(model=catalogue["models"][0]["name"], contents="x")
    assert client.models.generate_content(model="gemini-3.5-flash", contents="x").text

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""generateContent, streaming, countTokens and computeTokens, on base models and on endpoints."""

import asyncio
import base64
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from emulator.catalogue import BaseModelEntry, Catalogue
from emulator.core.faults import Faults
from emulator.core.google_rest import ApiError, Call, Json, camelize, canonical, now
from emulator.core.messages import check
from emulator.engines.base import Candidate, Engine, FailedPrecondition, GenerateRequest, Generation
from emulator.services.datasets import read_turn, system_text
from emulator.services.endpoints import Endpoints
from emulator.services.generation_config import (
    Thought,
    answer_parts,
    fits,
    read_functions,
    read_thinking,
    response_shape,
    think,
)
from emulator.services.models import Models
from emulator.services.request_logs import RequestLogs

SHAPE_ATTEMPTS = 30
CONCURRENT = 64  # requests of a batch or an evaluation
STRUCTURED_OUTPUT_TOKENS = 1024


class Engines:
    """Engines created on first use, one for each set of weights."""

    def __init__(self, create: Callable[[BaseModelEntry], Engine]) -> None:
        self._create = create
        self._engines: dict[str, Engine] = {}
        self._locks: dict[str, threading.Lock] = {}  # one for each: fetching a large model does not block the others

    def engine(self, model: BaseModelEntry) -> Engine:
        """The engine of a base model; loading it may take seconds."""
        key = str(model.weights or "")
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._engines:
                self._engines[key] = self._create(model)
            return self._engines[key]


class Batcher:
    """Collects requests of many callers into one call of an engine."""

    def __init__(self, engine: Callable[[], Engine], batch_size: int = 16, collect_s: float = 0.004) -> None:
        self._engine = engine
        self._batch_size = batch_size
        self._collect_s = collect_s
        self._queue: queue.Queue[tuple[GenerateRequest, Future[Generation]]] = queue.Queue()
        threading.Thread(target=self._work, name="batcher", daemon=True).start()

    def submit(self, request: GenerateRequest) -> Future[Generation]:
        """The answer, later."""
        future: Future[Generation] = Future()
        self._queue.put((request, future))
        return future

    def _collect(self) -> list[tuple[GenerateRequest, Future[Generation]]]:
        items = [self._queue.get()]
        deadline = time.monotonic() + self._collect_s
        while len(items) < self._batch_size:
            try:
                items.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return [item for item in items if item[1].set_running_or_notify_cancel()]

    def _work(self) -> None:
        while True:
            items = self._collect()
            if items and not self._process(items):
                for item in items:  # an invalid request must not fail the others of its batch
                    self._process([item])

    def _process(self, items: Sequence[tuple[GenerateRequest, Future[Generation]]]) -> bool:
        """Whether the requests are done; an error of several together is not reported to any of them."""
        try:
            generations = self._engine().generate([request for request, _ in items])
            if len(generations) != len(items):
                raise RuntimeError(f"the engine returned {len(generations)} answers to {len(items)} requests")
        except Exception as error:
            if len(items) == 1:
                items[0][1].set_exception(error)
            return len(items) == 1
        for (_, future), generation in zip(items, generations, strict=True):
            future.set_result(generation)
        return True


@dataclass(frozen=True)
class Target:
    """What answers a request: base model, adapter or None, name for responses; for an endpoint what it serves."""

    entry: BaseModelEntry
    adapter: Path | None
    name: str
    version: str = ""
    checkpoint: str = ""


@dataclass
class Inference:
    """Inference with base models, endpoints, and model versions (batch jobs)."""

    _catalogue: Catalogue
    _engines: Engines
    _models: Models
    _endpoints: Endpoints
    _faults: Faults
    _logs: RequestLogs
    _batchers: dict[str, Batcher] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(self, name: str) -> Target:
        """What answers requests to a base model, an endpoint or a model version; 404 or 400 when nothing does."""
        name = canonical(name)
        version, checkpoint = name, ""
        if "/endpoints/" in name:
            version, checkpoint = self._endpoints.target(name)
        elif not re.match(r"projects/[^/]+/locations/[^/]+/models/", name):
            entry = self._catalogue.serving(name)
            return Target(entry, None, entry.name)
        base, adapter, _ = self._models.checkpoint(version, checkpoint)
        if (tuned := self._catalogue.find(base)) is None:
            raise ApiError(404, f"The base model {base} is no longer in the catalogue.")
        return Target(tuned, adapter, name, version, checkpoint)

    def _target(self, call: Call) -> Target:
        if "endpoint" in call.params:
            return self.resolve(f"{call.parent}/endpoints/{call.params['endpoint']}")
        return self.resolve(call.params["model"])

    def engine(self, entry: BaseModelEntry) -> Engine:
        """The engine of a base model; FAILED_PRECONDITION when its weights are not available."""
        try:
            return self._engines.engine(entry)
        except FailedPrecondition as error:
            raise ApiError.precondition(str(error)) from error

    def batcher(self, entry: BaseModelEntry) -> Batcher:
        """The batcher of a base model's engine; models with the same weights share it."""
        key = str(entry.weights or "")
        with self._lock:
            if key not in self._batchers:
                self._batchers[key] = Batcher(lambda: self._engines.engine(entry))
            return self._batchers[key]

    async def respond(self, target: Target, body: Json) -> Json:
        """A GenerateContentResponse for a request body (camel case)."""
        entry, adapter, name = target.entry, target.adapter, target.name
        request, config = read_request(body, entry, adapter)
        key = json.dumps(body, sort_keys=True, default=str).encode()
        if self._faults.happens("blocked", self._faults.plan.blocked_rate, key):
            tokens = sum(self.engine(entry).count_tokens([turn.text for turn in request.turns]))
            usage = {"promptTokenCount": tokens, "totalTokenCount": tokens, "trafficType": "ON_DEMAND"}
            return _response(name, promptFeedback={"blockReason": "PROHIBITED_CONTENT"}, usageMetadata=usage)
        if self._faults.happens("truncated", self._faults.plan.truncated_rate, key):
            request = replace(request, max_output_tokens=1)
        last = request.turns[-1].text
        thought = await asyncio.to_thread(think, config, entry, adapter is not None, self.engine, last)
        room = request.max_output_tokens - thought.reserved
        generation = await self._generation(entry, replace(request, max_output_tokens=max(1, room)))
        if room < 1:
            cut = Candidate("", "MAX_TOKENS", 0, 0.0)
            generation = replace(generation, candidates=(cut,) * request.candidate_count)
        return render(generation, request, name, thought)

    async def _generation(self, entry: BaseModelEntry, request: GenerateRequest) -> Generation:
        for attempt in range(1, SHAPE_ATTEMPTS + 1):
            try:
                generation = await asyncio.wrap_future(self.batcher(entry).submit(request))
            except FailedPrecondition as error:
                raise ApiError.precondition(str(error)) from error
            except ValueError as error:
                raise ApiError(400, str(error)) from error
            if fits(generation, request):
                return generation
            hotter = replace(request, seed=attempt, temperature=1.0 + attempt, top_p=1.0, top_k=None)
            request = replace(hotter, attempt=attempt)
        raise ApiError(400, "The response schema has a condition that no answer of the model fulfils.")

    async def generate(self, call: Call) -> Json:
        """A GenerateContentResponse; 429 when a quota fault is set."""
        return (await self._answer(call))[-1]

    async def _answer(self, call: Call) -> list[Json]:
        """The response in the chunks of a stream, followed by the whole; it is logged if logging is configured."""
        target = await asyncio.to_thread(self._target, call)
        self.check_quota()
        response = await self.respond(target, call.body)
        chunks = _chunks(response) if call.path.endswith(":streamGenerateContent") else [response]
        served = (target.name, target.version, target.checkpoint)
        deployed_id = self._endpoints.deployed_id(*served) if target.version else ""
        await asyncio.to_thread(self._logs.write, call, target.version, deployed_id, chunks, response)
        return [*chunks, response]

    def check_quota(self) -> None:
        """Raise the service's 429 when the quota of the fault plan is used up."""
        if not self._faults.take_quota():
            raise ApiError(
                429,
                "Resource exhausted. Please try again later. Please refer to "
                "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
            )

    async def stream(self, call: Call) -> Response:
        """The response in chunks, as server-sent events (`alt=sse`) or a JSON array; usage is in the last chunk."""
        *chunks, _ = await self._answer(call)
        if call.first("alt") != "sse":
            return Response(json.dumps(chunks, ensure_ascii=False), media_type="application/json")

        async def events() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\r\n\r\n"
                await asyncio.sleep(0)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def predict(self, call: Call) -> Json:
        """A PredictResponse: the answer's text for each instance (`{"content": text}`, or a body of generateContent).

        `parameters` are generation settings for all instances.
        """
        parameters = camelize(call.body["parameters"])
        target = await asyncio.to_thread(self._target, call)
        self.check_quota()
        bodies = [_instance_body(camelize(item), parameters) for item in call.body["instances"]]
        responses = await asyncio.gather(*(self.respond(target, body) for body in bodies))
        model, resolved = self._models.resolve(target.version)
        return {
            "predictions": [{"content": response_text(response)} for response in responses],
            "deployedModelId": self._endpoints.deployed_id(target.name, target.version, target.checkpoint),
            "model": model["name"],
            "modelDisplayName": resolved.get("displayName", ""),
            "modelVersionId": resolved["versionId"],
        }

    def count_tokens(self, call: Call) -> Json:
        """Tokens and billable characters (without white space) of contents and system instruction."""
        entry = self._target(call).entry
        texts = [read_turn(content).text for content in call.body["contents"]]
        if system := system_text(call.body):
            texts.append(system)
        if not texts:
            raise ApiError.field("contents", "is required.")
        total = sum(self.engine(entry).count_tokens(texts))
        return {
            "totalTokens": total,
            "totalBillableCharacters": sum(len(re.sub(r"\s", "", text)) for text in texts),
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
        }

    def compute_tokens(self, call: Call) -> Json:
        """Token ids and base64 pieces, for each content."""
        entry = self._target(call).entry
        engine = self.engine(entry)
        infos = []
        for content in call.body["contents"]:
            turn = read_turn(content)
            pieces = engine.tokenize(turn.text)
            infos.append(
                {
                    "role": turn.role,
                    "tokens": [base64.b64encode(piece.encode("utf-8", "replace")).decode() for _, piece in pieces],
                    "tokenIds": [str(number) for number, _ in pieces],
                }
            )
        return {"tokensInfo": infos}

    def get_model(self, call: Call) -> Json:
        """A base model of the catalogue."""
        return _publisher_model(self._catalogue.serving(call.params["model"]))

    def list_models(self, call: Call) -> Json:
        """All base models of the catalogue."""
        return {"publisherModels": [_publisher_model(entry) for entry in self._catalogue.models]}


def gather_all(work: Callable[[int], Awaitable[Any]], count: int, check_running: Callable[[], None]) -> list[Any]:
    """The results of `work` for all numbers below `count`, in parts; `check_running` may raise before each of them."""
    results: list[Any] = []

    async def part(numbers: Sequence[int]) -> list[Any]:
        return await asyncio.gather(*map(work, numbers))

    for start in range(0, count, CONCURRENT):
        check_running()
        results += asyncio.run(part(range(start, min(start + CONCURRENT, count))))
    return results


def _instance_body(instance: Json, parameters: Json) -> Json:
    if "contents" not in instance:
        text = instance.get("prompt", instance.get("content"))
        instance = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    config = instance.get("generationConfig") or {}
    return {**instance, "generationConfig": {**parameters, **config} if isinstance(config, dict) else config}


def response_text(response: Json) -> str:
    """The text of a response's first candidate; empty for a blocked prompt."""
    candidates = response.get("candidates")
    parts = candidates[0]["content"]["parts"] if candidates else []
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def _publisher_model(entry: BaseModelEntry) -> Json:
    return {
        "name": f"publishers/google/models/{entry.name}",
        "versionId": entry.version,
        "displayName": entry.display_name or entry.name,
        "openSourceCategory": "PROPRIETARY",
        "launchStage": "GA",
        "publisherModelTemplate": "projects/{user-project}/locations/{location}/publishers/google/models/" + entry.name,
        "inputTokenLimit": entry.input_token_limit,
        "outputTokenLimit": entry.output_token_limit,
    }


_EMPTY_TEXT = (
    "Unable to submit request because it has an empty text parameter. Add a value to the parameter and try again. "
    "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
)


def read_request(body: Json, entry: BaseModelEntry, adapter: Any) -> tuple[GenerateRequest, Json]:
    """The engine's request for a GenerateContentRequest, and its generationConfig; 400 for values that the service
    refuses.
    """
    body = check(body, "GenerateContentRequest")
    if body.get("cachedContent"):
        raise ApiError(404, "Not found: cached content metadata for the name in the request.")
    if any(part.get("text") == "" for content in body["contents"] for part in content["parts"]):
        raise ApiError(400, _EMPTY_TEXT)
    turns = tuple(map(read_turn, body["contents"]))
    if turns[-1].role == "model" and not entry.ends_with_model_turn:
        raise ApiError(400, "Requests ending with a model turn are not supported for this model.")
    if all(turn.role == "model" for turn in turns):
        raise ApiError(400, "Please ensure that the request has a turn with a user role.")
    config = body["generationConfig"]
    read_thinking(config, entry, adapter is not None)
    is_structured = body.get("tools") or config["responseMimeType"] == "application/json"
    default_limit = STRUCTURED_OUTPUT_TOKENS if is_structured else entry.default_output_tokens
    limit = config.get("maxOutputTokens", default_limit)
    if not 1 <= limit <= entry.output_token_limit + 1:
        problem = f"supported range is from 1 to {entry.output_token_limit}."
        raise ApiError.field("generation_config.max_output_tokens", problem)
    enum, schema = response_shape(config)
    functions, must_call = read_functions(body)
    if functions and (enum or schema):
        raise ApiError(400, "Function calling with a response mime type: 'application/json' is unsupported")
    request = GenerateRequest(
        turns=turns,
        system=system_text(body),
        adapter=adapter,
        temperature=config["temperature"],
        top_p=config["topP"],
        top_k=config.get("topK"),
        max_output_tokens=limit,
        candidate_count=config["candidateCount"],
        seed=config.get("seed"),
        stop_sequences=tuple(config["stopSequences"]),
        logprobs=config.get("logprobs", 0) if config["responseLogprobs"] else None,
        response_enum=enum,
        response_json_schema=schema,
        functions=functions,
        must_call=must_call,
    )
    return request, config


def _response(name: str, **fields: Any) -> Json:
    return {**fields, "modelVersion": name, "createTime": now(), "responseId": uuid.uuid4().hex}


def _token(text: str, number: int, logprob: float) -> Json:
    return {"token": text, "tokenId": number, "logProbability": logprob}


def render(generation: Generation, request: GenerateRequest, name: str, thought: Thought) -> Json:
    """A GenerateContentResponse."""
    thoughts = [{"text": thought.text, "thought": True}] if thought.included and thought.text else []
    candidates = []
    for index, candidate in enumerate(generation.candidates):
        parts = answer_parts(candidate.text, request.functions)
        body: Json = {
            "index": index,
            "content": {"role": "model", "parts": [*thoughts, *parts]},
            "finishReason": candidate.finish_reason if parts else "MALFORMED_FUNCTION_CALL",
            "avgLogprobs": candidate.avg_logprob,
        }
        if request.logprobs is not None:
            body["logprobsResult"] = {
                "chosenCandidates": [_token(item.token, item.token_id, item.logprob) for item in candidate.tokens],
                "topCandidates": [
                    {"candidates": [_token(*alternative) for alternative in item.top]} for item in candidate.tokens
                ],
            }
        candidates.append(body)
    prompt, output = generation.prompt_token_count, sum(item.token_count for item in generation.candidates)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        **({"thoughtsTokenCount": thought.token_count} if thought.token_count else {}),
        "totalTokenCount": prompt + output + thought.token_count,
        "trafficType": "ON_DEMAND",
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": output}],
    }
    return _response(name, candidates=candidates, usageMetadata=usage)


def _chunks(response: Json) -> list[Json]:
    """The response cut between words; the finish reason and the usage are in the last chunk."""
    if len(response.get("candidates", ())) != 1:
        return [response]
    candidate, text = response["candidates"][0], response_text(response)
    parts = candidate["content"]["parts"]
    thoughts = [part for part in parts if part.get("thought")]
    if parts != [*thoughts, {"text": text}]:
        return [response]
    pieces = re.findall(r"\s*\S+(?:\s+\S+){0,3}\s*", text) or [text]
    parts = [*thoughts, *({"text": piece} for piece in pieces)]
    common = {key: response[key] for key in ("modelVersion", "createTime", "responseId")}
    chunks = []
    for part in parts[:-1]:
        content = {"role": "model", "parts": [part]}
        usage = {"trafficType": "ON_DEMAND"}
        chunks.append({"candidates": [{"index": 0, "content": content}], "usageMetadata": usage, **common})
    last = {**candidate, "content": {"role": "model", "parts": [parts[-1]]}}
    return [*chunks, {**response, "candidates": [last]}]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Client of Vertex AI: project, location and credentials; generating content; counting tokens.

Source: google-genai (generateContent, countTokens). Project, location and host come from the
settings and from the environment variables that the SDKs use (GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_LOCATION,
GOOGLE_VERTEX_BASE_URL, STORAGE_EMULATOR_HOST), so the same code works with the cloud and with an emulator. Importing
this module loads no SDK; each is loaded on first use.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, JsonObject, Vertex
from gemtune.contents import ModelOutput, text_of
from gemtune.errors import UserError
from gemtune.vertex.calls import PermanentError, require_credentials, retried, translate_errors, translated

PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "CLOUD_ML_PROJECT_ID")
LOCATION_VARIABLES = ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "CLOUD_ML_REGION")


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Generation parameters, the same for prompted and tuned models, so that the comparison is fair.

    `thinking_budget` is in tokens (0: off, -1: the model decides) and sent in the form that the model supports, a
    tuned one as its `base_model`.
    `timeout_s` is the timeout of one request. `logprobs` requests the answer's log-probability, if the model supports
    it; so does `response_schema` an answer that fits it.
    """

    temperature: float = 0.0
    max_output_tokens: int = 64
    thinking_budget: int = -1
    base_model: str = ""
    seed: int | None = None
    timeout_s: float = 120
    logprobs: bool = False
    response_schema: JsonObject | None = field(default=None, hash=False)

    @classmethod
    def of(cls, evaluate: Evaluate) -> GenerationSettings:
        """The settings of an evaluation."""
        names = {"temperature", "max_output_tokens", "thinking_budget", "base_model", "seed", "timeout_s"}
        return cls(**evaluate.model_dump(include=names), logprobs=evaluate.confidence == "logprobs")


class Client:
    """Project, location and credentials, with SDK clients that are created on first use, one per location.

    `project`, `location`, `bucket` are resolved; `settings` is the section `vertex`, `catalogue` its model catalogue.
    """

    def __init__(self, settings: Vertex, project: str, location: str, base_url: str) -> None:
        self.settings = settings
        self.project = project
        self.location = location
        self.bucket = settings.bucket.removeprefix("gs://").strip("/") or f"{project}-gemtune"
        self.bucket_exists = False  # set by `storage.bucket`
        self.without_logprobs: set[str] = set()  # models that do not support them
        self.catalogue = Catalogue.load(settings.catalogue)
        self._base_url = base_url
        self._clients: dict[tuple[str, str], Any] = {}
        self._async: weakref.WeakKeyDictionary[Any, _LoopClients] = weakref.WeakKeyDictionary()

    @property
    def parent(self) -> str:
        """projects/P/locations/L."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def server(self) -> str:
        """Who answers: the address of an emulator, or Google's host."""
        return self._base_url or service_host(self.location)

    def genai(self, location: str = "") -> Any:
        """A google-genai client of a location (an endpoint is reached only in its own)."""
        return self._cached("genai", location, self._new_genai)

    def generated(self, service: type[Any], location: str = "") -> Any:
        """A generated (GAPIC) client over REST, which works with the cloud and with an emulator."""
        from google.api_core.client_options import ClientOptions

        def create(region: str) -> Any:
            options = ClientOptions(api_endpoint=self._base_url or service_host(region))
            return service(credentials=self.token(), transport="rest", client_options=options)

        return self._cached(service.__name__, location, create)

    @retried
    def rest(self, method: str, host: str, path: str, body: JsonObject | None = None) -> JsonObject:
        """The JSON response of another of Google's APIs to an idempotent request; an emulator answers for every host.

        Raises `TransientError` or `PermanentError`.
        """
        import google.auth
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        def create(_: str) -> Any:
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            return AuthorizedSession(self.token() or google.auth.default(scopes=scopes)[0])

        def send() -> JsonObject:
            url = f"{self._base_url or f'https://{host}'}/{path}"
            response = self._cached("rest", "", create).request(method, url, json=body, timeout=60)
            if not response.ok:
                raise from_http_response(response)
            content: JsonObject = response.json()
            return content

        return translate_errors(send)

    def storage(self) -> Any:
        """A Cloud Storage client; the SDK reads STORAGE_EMULATOR_HOST itself."""
        from google.cloud import storage

        return self._cached("storage", "", lambda _: storage.Client(project=self.project))

    async def async_genai(self, location: str, timeout_s: float) -> Any:
        """The asynchronous google-genai client of the running event loop; closed when `asyncio.run` ends that loop.

        `timeout_s` is the timeout of each request.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._async:
            clients: dict[tuple[str, float], Any] = {}
            lifetime = _close_with_loop(clients)
            await anext(lifetime)
            self._async[loop] = (clients, lifetime)
        clients, _ = self._async[loop]
        key = (location, timeout_s)
        if key not in clients:
            clients[key] = require_credentials(lambda: self._new_genai(location, timeout_s)).aio
        return clients[key]

    def _cached(self, kind: str, location: str, make: Callable[[str], Any]) -> Any:
        key = (kind, location or self.location)
        if key not in self._clients:
            self._clients[key] = require_credentials(lambda: make(key[1]))
        return self._clients[key]

    def _new_genai(self, location: str, timeout_s: float | None = None) -> Any:
        import ssl

        from google import genai

        # of a class that the SDK defines at its first request
        warnings.filterwarnings("ignore", "Inheritance class AiohttpClientSession", DeprecationWarning)
        # without TLS no certificates are read: that takes 0.1 s of processor time for each client
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._base_url.startswith("http:") else None
        return genai.Client(
            enterprise=True,
            project=self.project,
            location=location,
            credentials=self.token(),
            # one attempt: retries are the caller's, and must not sleep inside the SDK
            http_options=genai.types.HttpOptions(
                base_url=self._base_url or None,
                timeout=int(timeout_s * 1000) if timeout_s else None,
                retry_options=genai.types.HttpRetryOptions(attempts=1),
                client_args={"verify": unused} if unused else None,
                async_client_args={"verify": unused, "ssl": unused} if unused else None,
            ),
        )

    def token(self) -> Any:
        """A dummy token for an emulator. None: the SDK finds the user's credentials."""
        host = urlsplit(self._base_url).hostname or ""
        if not self._base_url or host.endswith(".googleapis.com"):
            return None
        from google.oauth2.credentials import Credentials

        return Credentials("local")  # type: ignore[no-untyped-call,unused-ignore]


_LoopClients = tuple[dict[tuple[str, float], Any], AsyncGenerator[None, None]]


async def _close_with_loop(clients: dict[tuple[str, float], Any]) -> AsyncGenerator[None, None]:
    """Closes the clients when their event loop ends, which closes all asynchronous generators.

    Connections belong to their loop: the garbage collector cannot close them later in another loop and would log
    "Event loop is closed".
    """
    try:
        yield
    finally:
        for genai_client in clients.values():
            await genai_client.aclose()
        clients.clear()


def actor(client: Client) -> str:
    """Who acts, for records: the service account of the credentials, else the user of this machine."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials = client.token() or google.auth.default()[0]
        if getattr(credentials, "service_account_email", "") == "default":  # of the metadata server, once refreshed
            credentials.refresh(Request())
    except GoogleAuthError:
        credentials = None
    return str(getattr(credentials, "service_account_email", "") or getpass.getuser())


def location(settings: Vertex) -> str:
    """The region of the settings, else of the environment, else us-central1."""
    locations = (os.environ.get(variable) for variable in LOCATION_VARIABLES)
    return settings.location or next(filter(None, locations), "us-central1")


def named_project(settings: Vertex) -> str:
    """The project of the settings, else of the environment; steps on Vertex AI have its number there. "": unknown."""
    return settings.project or next(filter(None, map(os.environ.get, PROJECT_VARIABLES)), "")


def connect(settings: Vertex) -> Client:
    """A client for the settings, the environment and, where neither names a project, that of the default credentials.

    Raises `UserError` when the project is unknown.
    """
    if not (project := named_project(settings)):
        import google.auth

        with suppress(google.auth.exceptions.DefaultCredentialsError):
            project = google.auth.default()[1]
    if not project:
        raise UserError(
            "the Google Cloud project is unknown",
            remedy="set vertex.project or GOOGLE_CLOUD_PROJECT; without a project: --local, or plan --offline",
        )
    return Client(settings, project, location(settings), os.environ.get("GOOGLE_VERTEX_BASE_URL", "").rstrip("/"))


async def generate(
    client: Client,
    model: str,
    system: str | None,
    contents: list[JsonObject],
    settings: GenerationSettings,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> ModelOutput:
    """Send one request. `model` is a base model id or an endpoint's full name; `contents` is in Gemini's form, and so
    are `fields`: labels, tools, toolConfig and generationConfig, over which `settings` take precedence.

    Raises `TransientError` or `PermanentError`; retries are the caller's, with its rate control.
    """
    try:
        config = request_config(client, model, system, settings, fields)
    except ValidationError as error:
        raise PermanentError(400, f"tools or toolConfig of the row: {error}") from None
    genai_client = await client.async_genai(serving_location(client, model), settings.timeout_s)
    call = genai_client.models.generate_content(model=model, contents=contents, config=config)
    try:
        return parse_response(await call)
    except Exception as error:
        failure = translated(error)
        about_logprobs = isinstance(failure, PermanentError) and "logprob" in failure.message.lower()
        if not (about_logprobs and config.response_logprobs):
            raise failure from error
    client.without_logprobs.add(model)
    return await generate(client, model, system, contents, settings, fields)


def request_config(
    client: Client, model: str, system: str | None, settings: GenerationSettings, fields: Mapping[str, Any]
) -> Any:
    """The SDK's form of the settings that the model supports; raises `ValidationError` for wrong `fields`."""
    base_model = model if model in client.catalogue.models else settings.base_model or model
    budget, level = client.catalogue.thinking(base_model, settings.thinking_budget)
    if model in client.without_logprobs:
        settings = replace(settings, logprobs=False)
    if not client.catalogue.takes_schema(model):
        settings = replace(settings, response_schema=None)
    return _generation_config(system, settings, budget, level, json.dumps(dict(fields)))


@lru_cache(maxsize=256)
def _generation_config(
    system: str | None, settings: GenerationSettings, budget: int | None, level: str, fields: str
) -> Any:
    """The SDK's form of the settings, cached because building and validating it per row is expensive."""
    from google.genai import types

    own = json.loads(fields)
    own = {**own.pop("generationConfig", {}), **own}
    thinking = types.ThinkingConfig(
        thinking_budget=budget, thinking_level=types.ThinkingLevel(level) if level else None
    )
    schema = settings.response_schema
    configured = types.GenerateContentConfig(
        system_instruction=system,
        temperature=settings.temperature,
        max_output_tokens=settings.max_output_tokens,
        seed=settings.seed,
        thinking_config=thinking if level or budget is not None else None,
        response_logprobs=settings.logprobs or None,
        response_mime_type=schema_mime_type(schema) if schema else None,
        response_schema=types.Schema.model_validate(schema) if schema else None,
    )
    set_values = {name: value for name, value in configured if value is not None}
    return types.GenerateContentConfig.model_validate(own).model_copy(update=set_values) if own else configured


def schema_mime_type(schema: JsonObject) -> str:
    """The type of an answer that fits a response schema: a value of an enumeration as it is, anything else as JSON.

    Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/control-generated-output
    """
    return "text/x.enum" if "enum" in schema else "application/json"


def serving_location(client: Client, model: str) -> str:
    """The location that serves a model: of a full resource name its own; of a base model that of its tuned models."""
    return location_of(model) or client.catalogue.serving_location(model, client.location)


def location_of(name: str) -> str:
    """The location inside a resource name (projects/P/locations/L/...); "" when there is none."""
    parts = name.split("/")
    return parts[3] if len(parts) > 3 and parts[2] == "locations" else ""


@retried
def count_tokens(client: Client, model: str, system: str | None, contents: list[JsonObject]) -> int:
    """Tokens of a prompt, counted by the service (free of charge)."""
    from google.genai import types

    config = types.CountTokensConfig(system_instruction=system) if system else None
    genai_client = client.genai(serving_location(client, model))
    answer = translate_errors(lambda: genai_client.models.count_tokens(model=model, contents=contents, config=config))
    return int(answer.total_tokens or 0)


def anonymous_client() -> Client:
    """A client for objects with full names, which can be read without a project."""
    return connect(Vertex(project=os.environ.get("GOOGLE_CLOUD_PROJECT") or "none"))


def service_host(location: str) -> str:
    """Google's host for a location: regional, `us`/`eu` multi-region, or global."""
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in ("us", "eu"):
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def parse_response(response: Any) -> ModelOutput:
    """Parse a response that may have no candidate, content or part."""
    candidates = response.candidates or []
    usage = response.usage_metadata
    feedback = response.prompt_feedback
    return ModelOutput(
        text=_text(candidates[0]) if candidates else None,
        finish_reason=enum_value(candidates[0].finish_reason) if candidates else "",
        block_reason=enum_value(feedback.block_reason) if feedback else "",
        input_tokens=int((usage and usage.prompt_token_count) or 0),
        output_tokens=int((usage and (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)) or 0),
        logprob=_logprob(candidates[0]) if candidates else None,
        model_version=response.model_version or "",
    )


def _logprob(candidate: Any) -> float | None:
    """The sum over the answer's tokens if they are listed, else their mean times their number."""
    chosen = candidate.logprobs_result.chosen_candidates if candidate.logprobs_result else None
    logprobs = [token.log_probability for token in chosen or () if token.log_probability is not None]
    if logprobs:
        return float(sum(logprobs))
    if candidate.avg_logprobs is None or not candidate.token_count:
        return None
    return float(candidate.avg_logprobs * candidate.token_count)


def _text(candidate: Any) -> str | None:
    parts = [part for part in (candidate.content and candidate.content.parts) or [] if not part.thought]
    texts = [part.text for part in parts if part.text is not None]
    if any(part.function_call for part in parts):
        plain = [part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in parts]
        texts = [text_of(part for part in plain if "text" in part or "functionCall" in part)]
    # Half of a surrogate pair becomes U+FFFD, as no request or tuning row can hold it; halves in two parts are joined.
    return "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace") if texts else None


def enum_value(value: Any) -> str:
    """An enum's value; the SDK returns unknown values as strings."""
    return str(getattr(value, "value", value) or "")

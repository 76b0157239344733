# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The emulator as one ASGI application: routing, errors in Google's form, injected faults, start and stop."""

import asyncio
import csv
import inspect
import io
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.app.dashboard import Dashboard
from emulator.app.origin import bounded, check_origin
from emulator.catalogue import BaseModelEntry, Catalogue, load_catalogue
from emulator.core.faults import FaultPlan, Faults
from emulator.core.filters import select_fields
from emulator.core.google_rest import ApiError, Call, Json, Route, camelize, find_route, parse_object
from emulator.core.messages import check
from emulator.core.state import State
from emulator.engines.base import Engine
from emulator.services import embeddings
from emulator.services.batches import BatchJobs
from emulator.services.collection import Operations
from emulator.services.endpoints import Endpoints
from emulator.services.evaluation import Evaluation
from emulator.services.experiments import Metadata, Tensorboards
from emulator.services.inference import Engines, Inference
from emulator.services.kubeflow import Kubeflow
from emulator.services.models import Models
from emulator.services.multimodal_datasets import MultimodalDatasets
from emulator.services.pipeline_jobs import PipelineJobs, PipelineRuns
from emulator.services.project import Project, require_credentials
from emulator.services.request_logs import BigQuery, RequestLogs
from emulator.services.rewards import Rewards
from emulator.services.schedules import Schedules
from emulator.services.storage import Storage
from emulator.services.storage_api import StorageApi, storage_error, storage_path
from emulator.services.storage_xml import StorageXml, xml_error
from emulator.services.template_registry import TemplateRegistry
from emulator.services.training import Services
from emulator.services.tuning import TuningJobs

_LOG = logging.getLogger("emulator")
_THREADS = 64
RESET_TIMEOUT_S = 15.0
_API_PATHS = ("/v1/", "/v1beta1/", "/v2/", "/ui/", "/bigquery/")

# Each route with its handler, a method of the emulator or of one of its services; without one it is documented as not
# implemented, as any other unknown path below /v1 is a 501.
ROUTES = list(csv.DictReader(io.StringIO(Path(__file__).with_name("routes.csv").read_text("utf-8"))))


@dataclass(frozen=True)
class Settings:
    """The configuration of an emulator; `engine_for` returns the engine of a base model."""

    state_dir: Path
    engine_for: Callable[[BaseModelEntry], Engine]
    catalogue: Catalogue = field(default_factory=load_catalogue)
    plan: FaultPlan = field(default_factory=FaultPlan)
    concurrency: int = 1
    seed: int = 0
    judge: str = "lexical"
    allowed_hosts: tuple[str, ...] = ()
    execute_rewards: bool = False
    require_credentials: bool = False  # 401 for calls of Vertex AI and BigQuery without a token
    pipeline_url: str = ""  # where the steps of pipelines reach the emulator; "": jobs are recorded, not executed


class Emulator:
    """One emulator over one state directory. `app` is the ASGI application; `close` releases the directory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State(settings.state_dir)
        self.storage = Storage(settings.state_dir / "storage")
        self.faults = Faults(settings.plan)
        self.engines = Engines(settings.engine_for)
        self.models = Models(self.state)
        self.pipeline_runs = PipelineRuns(self.state, self.storage, settings.pipeline_url)
        self.templates = TemplateRegistry(self.state)
        self.pipeline_jobs = PipelineJobs(self.state, self.templates, self.pipeline_runs)
        self.schedules = Schedules(self.state, self.pipeline_jobs)
        self.bigquery = BigQuery(self.state, self.storage, self.faults, self.schedules.clock)
        logs = self.request_logs = RequestLogs(self.state, self.bigquery)
        self.endpoints = Endpoints(self.state, self.models, logs)
        self.tensorboards = Tensorboards(self.state)
        self.metadata = Metadata(self.state)
        self.inference = Inference(settings.catalogue, self.engines, self.models, self.endpoints, self.faults, logs)
        self.evaluation = Evaluation(self.inference, settings.judge)
        services = Services(
            self.state,
            self.storage,
            settings.catalogue,
            self.engines,
            self.models,
            self.endpoints,
            self.tensorboards,
            self.evaluation,
            Rewards(self.evaluation, settings.execute_rewards),
            self.faults,
        )
        self.tuning_jobs = TuningJobs(services, settings.concurrency, settings.seed)
        self.operations = Operations(self.state, self.tuning_jobs.view)
        self.datasets = MultimodalDatasets(services, self.bigquery)
        self.storage_api = StorageApi(self.storage)
        self.storage_api.dispatch = self._dispatch_part
        self.storage_xml = StorageXml(self.storage, self.storage_api)
        self.batches = BatchJobs(self.state, self.faults, self.storage, self.inference)
        self.kubeflow = Kubeflow(self.state, self.storage, self.pipeline_jobs, self.schedules)
        self.project = Project(self.state)
        self.embeddings = embeddings
        self.dashboard = Dashboard(self.state, self.storage, self.models, self.tensorboards, self.faults)
        rows = [row for row in ROUTES if row["handler"]]
        routes = [Route(row["method"], row["path"], attrgetter(row["handler"])(self), row["message"]) for row in rows]
        self.xml_routes = [route for route in routes if route.template.startswith("/{bucket!}")]
        self.routes = routes[: -len(self.xml_routes)]
        taken = {route.template.split("/")[1] for route in self.routes if route.template.startswith("/")}
        self._not_buckets = {"", *(path.strip("/") for path in _API_PATHS), *taken}
        self.app: ASGIApp = Starlette(routes=[Mount("/", app=self._serve)], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        self.start()
        yield
        self.stop()

    def start(self) -> None:
        """Start the workers for tuning, batch prediction and schedules."""
        self.tuning_jobs.start()
        self.batches.start()
        self.pipeline_runs.recover()
        self.schedules.start()

    def stop(self) -> None:
        """Stop the workers soon; unfinished jobs start again at the next start."""
        self.tuning_jobs.stop()
        self.batches.stop()
        self.schedules.stop()
        self.pipeline_runs.stop()

    def close(self) -> None:
        """Stop the workers and release the state directory."""
        self.stop()
        self.storage.close()
        self.state.close()

    def empty_list(self, call: Call) -> Json:
        """Nothing: no resource of a kind that the emulator does not have."""
        return {}

    def health(self, call: Call) -> Json:
        """That requests are answered."""
        return {"ready": True}

    def reset(self, call: Call) -> Json:
        """The fault plan of the start; everything else is deleted and no job runs any more."""
        for _, schedule in self.state.all("schedules"):  # none starts a job any more
            self.state.delete(schedule["name"])
        deadline = time.monotonic() + RESET_TIMEOUT_S
        jobs = (self.tuning_jobs, self.batches)
        while (unfinished := [name for kind in jobs for name in kind.cancel_all()]) or not all(k.idle() for k in jobs):
            if time.monotonic() > deadline:
                message = f"Jobs do not end: {', '.join(unfinished)}. Repeat the reset later."
                raise ApiError(400, message, "FAILED_PRECONDITION")
            time.sleep(0.02)
        self.pipeline_runs.clear()
        self.state.clear()
        self.storage.clear()
        self.project.forget()
        self.dashboard.clear()
        return self.reset_faults(call)

    def get_faults(self, call: Call) -> Json:
        """The fault plan."""
        return self.faults.plan.model_dump(mode="json")

    def put_faults(self, call: Call) -> Json:
        """The new fault plan."""
        try:
            self.faults.set(FaultPlan.model_validate_json(call.content))
        except (ValidationError, ValueError) as error:
            raise ApiError(400, f"Invalid fault plan: {error}") from error
        return self.get_faults(call)

    def reset_faults(self, call: Call) -> Json:
        """The fault plan of the start."""
        self.faults.set(self.settings.plan)
        return self.get_faults(call)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, request = time.monotonic(), Request(scope, bounded(scope, receive))
        try:
            check_origin(request, self.settings.allowed_hosts)
            response = await self._respond(request)
        except ApiError as refusal:
            response = JSONResponse(refusal.body(), refusal.code, headers={"Connection": "close"})
        await response(scope, receive, send)
        self.dashboard.list_request(request.method, scope["path"], response.status_code, time.monotonic() - started)

    async def _respond(self, request: Request) -> Response:
        """The response to a request, with the request faults of the plan but for control routes and the dashboard."""
        scope, path, content = request.scope, request.scope["path"], await request.body()
        raw_path = scope.get("raw_path", path.encode()).decode("latin-1").split("?")[0]
        query = scope["query_string"].decode("latin-1")
        base_url = f"{scope['scheme']}://{request.headers.get('host', 'localhost')}"
        call = partial(self.handle, request.method, raw_path, query, request.headers, content, base_url)
        faults, plan = self.faults, self.faults.plan
        if path.startswith("/emulator") or path == "/" or not faults.apply_to(path):
            return await call()
        if request.headers.get("authorization", "").removeprefix("Bearer ") in plan.expired_tokens:
            text = "Request had invalid authentication credentials: the access token has expired."
            return _error(ApiError(401, text))
        key = f"{request.method} {path}?".encode(), scope["query_string"], content
        if faults.happens("slow", plan.slow_rate, *key):
            await asyncio.sleep(plan.slow_seconds)
        if faults.happens("drop", plan.drop_rate, *key):
            return _CutOff()
        if faults.happens("error", plan.error_rate, *key):
            text = "The service is currently unavailable, as the fault plan requests."
            return _error(ApiError(faults.error_code(*key), text))
        is_lost = faults.happens("lost", plan.lost_rate, *key)
        response = await call()
        return _CutOff(response) if is_lost else response

    async def _dispatch_part(self, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Response:
        path, _, query = target.partition("?")
        if not path.startswith("/storage/v1/"):
            return storage_error(ApiError(400, "A part of a batch must be a request to /storage/v1/.", "invalid"))
        return await self.handle(method, path, query, headers, content, "http://localhost")

    async def handle(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], content: bytes, base_url: str
    ) -> Response:
        """The response to one request; all errors have Google's form."""
        raw_path = storage_path(raw_path)
        storage, xml = "/storage/v1" in raw_path, raw_path.split("/")[1] not in self._not_buckets
        is_camel = not storage and not raw_path.startswith(("/apis/", "/kfp/"))
        fail = xml_error if xml else storage_error if storage else _error
        try:
            if self.settings.require_credentials and raw_path.startswith(_API_PATHS):
                require_credentials(headers, query)
            if xml:
                match = find_route(self.xml_routes, method, re.sub("^(/[^/]+)/$", r"\1", raw_path))
            else:
                match = find_route(self.routes, method, raw_path if storage else raw_path.replace("%3A", ":"))
            if match is None:
                raise self._unknown(method, raw_path)
            route, params = match
            call = Call(
                method,
                raw_path,
                params,
                camelize(parse_qs(query, keep_blank_values=True)),
                {} if xml or (storage and "/upload/" in raw_path) else _body(content, headers, is_camel, route.message),
                content,
                {key.lower(): value for key, value in headers.items()},
                base_url,
            )
            self.dashboard.see(call)
            result: Any = (
                await route.handler(call)
                if inspect.iscoroutinefunction(route.handler)
                else await anyio.to_thread.run_sync(route.handler, call)
            )
            if isinstance(result, Response):
                return result
            selection = call.first("fields")
            return JSONResponse(select_fields(result, selection) if selection else result)
        except ApiError as error:
            return fail(error)
        except Exception:
            _LOG.exception("%s %s failed", method, raw_path)
            return fail(ApiError(500, "Internal error encountered."))

    def _unknown(self, method: str, path: str) -> ApiError:
        if path.startswith((*_API_PATHS, "/storage/", "/upload/")):
            name = f"{method} {path[:300]}"
            return ApiError(
                501, f"{name} is not implemented by the emulator; docs/reference/emulator.md lists what is."
            )
        if (method, path) == ("POST", "/"):  # google-genai clears both when they come from the environment alone
            return ApiError(400, "The request has no path: pass project= and location= to genai.Client or its library.")
        return ApiError(404, f"{method} {path[:300]} is not a path of the emulator.")


def _error(error: ApiError) -> Response:
    return JSONResponse(error.body(), status_code=error.code)


def _body(content: bytes, headers: Mapping[str, str], is_camel: bool, message: str) -> Json:
    kind = headers.get("content-type", "application/json")
    value = parse_object(content) if content.strip() and "json" in kind else {}
    value = camelize(value) if is_camel else value
    return check(value, message) if message else value


class _CutOff(Response):
    """The start of a response whose connection then breaks; `lost` is what was answered and nobody receives."""

    def __init__(self, lost: Response | None = None) -> None:
        super().__init__()
        self._lost = lost

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce more bytes than are sent: the server closes the connection in the middle of the response."""
        if self._lost is not None:
            await self._lost(scope, receive, _unsent)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def _unsent(_: Message) -> None:
    """Drop a part of a response."""

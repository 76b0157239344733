# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard at `/`: a page that shows the state of an emulator as it changes, sends texts and switches faults.

The page is static (`dashboard.html`, `.css`, `.js`); its content is one JSON document, sent as server-sent events.
"""

import asyncio
import json
import math
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.responses import Response, StreamingResponse

from emulator.core.faults import Faults
from emulator.core.google_rest import ApiError, Call, Json
from emulator.core.state import State
from emulator.execution.run import dependencies
from emulator.services.experiments import Tensorboards
from emulator.services.models import Models
from emulator.services.storage import Storage

NEWEST, POINTS, REQUESTS, EVENT_S = 20, 120, 20, 1.0
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_FILES = {kind: Path(__file__).with_name(f"dashboard.{kind}").read_bytes() for kind in _TYPES}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
_POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # no other page frames its switches


class Dashboard:
    """The page and its content; `see` receives each call of the API, `list_request` each request."""

    def __init__(
        self, state: State, storage: Storage, models: Models, tensorboards: Tensorboards, faults: Faults
    ) -> None:
        self._state, self._storage, self._models = state, storage, models
        self._tensorboards, self._faults = tensorboards, faults
        self._runs: dict[str, Json] = {}
        self._seen: dict[str, Json] = {}
        self._requests: deque[Json] = deque(maxlen=REQUESTS)

    def file(self, call: Call) -> Response:
        """The page, its styles or its program."""
        kind = call.params.get("kind", "html")
        if kind not in _FILES:
            raise ApiError.not_found(f"dashboard.{kind}")
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        headers["Metadata-Flavor"] = "Google"  # by which a metadata server is recognized
        return Response(_FILES[kind], media_type=_TYPES[kind], headers=headers)

    async def events(self, call: Call) -> Response:
        """The content at first, and again after each change."""

        async def stream() -> AsyncIterator[str]:
            sent = ""
            while True:
                text = await anyio.to_thread.run_sync(lambda: json.dumps(self.console(call)))
                yield f"data: {text}\n\n" if text != sent else ": no change\n\n"
                sent = text
                await asyncio.sleep(EVENT_S)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    def report(self, call: Call) -> Json:
        """Keep what a local runner reports of its run: `pipelineSpec` once, `states` of tasks by name, `state`."""
        name = call.params["run"]
        run = self._runs.setdefault(name, {"name": name, "title": name, "state": "RUNNING", "tasks": [], "states": {}})
        try:
            if spec := call.body.get("pipelineSpec"):
                run["tasks"] = task_graph(spec)
            run["states"] |= {str(task): str(state) for task, state in call.body.get("states", {}).items()}
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ApiError(400, f"Invalid run: {error}") from error
        run["state"] = str(call.body.get("state", run["state"]))
        for oldest in list(self._runs)[:-NEWEST]:
            del self._runs[oldest]
        return {}

    def see(self, call: Call) -> None:
        """Remember how a model was prompted last, so that the page can send it another text in the same way."""
        match = re.search(r"/(models/[^/:]+|endpoints/[^/:]+):generateContent$", call.path)
        if match is None:
            return
        try:
            *shots, last = call.body["contents"]
            text: str = last["parts"][-1]["text"]
            body, old = call.body, self._seen.get(match[1], {})
            is_same = bool(old) and old["body"].get("systemInstruction") == body.get("systemInstruction")
            start = _common(text, old["start"]) if is_same else text
            rest = text[len(start) :]
            end = _common(rest[::-1], old["end"][::-1])[::-1] if is_same and rest else text
        except (LookupError, TypeError, ValueError):
            return
        frame = "{text}" if start == text else f"{start}{{text}}{end}"
        turn = {**last, "parts": [*last["parts"][:-1], {"text": frame}]}
        self._seen[match[1]] = {"start": start, "end": end, "body": {**body, "contents": [*shots, turn]}}

    def list_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """List an answered request, unless it is one of the page itself."""
        if path != "/" and not path.startswith("/emulator/"):
            shown = {"method": method, "path": path[:200], "status": status}
            self._requests.append({**shown, "time": time.strftime("%H:%M:%S"), "ms": round(1000 * seconds)})

    def console(self, call: Call) -> Json:
        """What the page shows; the newest of each kind."""
        models = ((model, reversed(model["_versions"].values())) for model in self._newest("models"))
        versions = [self._models.version_view(model, version) for model, versions in models for version in versions]
        return {
            "jobs": [self._job(job) for job in self._newest("tuningJobs")],
            "runs": [
                *reversed(self._runs.values()),
                *(self._pipeline_job(job) for job in self._newest("pipelineJobs")),
            ],
            "models": [_named(version, **version) for version in versions],
            "endpoints": [_named(endpoint, **endpoint) for endpoint in self._newest("endpoints")],
            "schedules": [_named(item, next=item.get("nextRunTime", "")[:19]) for item in self._newest("schedules")],
            "requests": list(reversed(self._requests)),
            "prompts": {name: seen["body"] for name, seen in self._seen.items()},
            "buckets": [bucket["name"] for bucket in self._storage.buckets()],
            "faults": self._faults.plan.model_dump(mode="json"),
        }

    def clear(self) -> None:
        """Forget runs, requests and prompts."""
        for kept in (self._runs, self._seen, self._requests):
            kept.clear()

    def _newest(self, kind: str) -> Iterable[Json]:
        return (resource for _, resource in islice(self._state.walk(kind), NEWEST))

    def _job(self, job: Json) -> Json:
        spec: Json = next(job[key] for key in job if key.endswith("Spec") and "hyperParameters" in job[key])
        curves = self._tensorboards.curves(job["experiment"]) if job.get("experiment") else {}
        name = job.get("labels", {}).get("gemtune-name", "")
        return {
            **_named(job, run=name),
            "title": job["tunedModelDisplayName"],
            "created": job["createTime"][:19],
            "detail": job.get("tuningJobState", "").removeprefix("TUNING_JOB_STATE_"),
            "error": job.get("error", {}).get("message", "")[:200],
            "base": job.get("baseModel") or job["preTunedModel"]["tunedModelName"],
            "method": job["_method"],
            "settings": spec["hyperParameters"],
            "progress": job.get("tuningJobMetadata", {}),
            "curves": {key: _thinned(points) for key, points in curves.items() if "num_predictions" not in key},
        }

    def _pipeline_job(self, job: Json) -> Json:
        try:
            tasks = task_graph(job.get("pipelineSpec", {}))
        except (LookupError, TypeError, AttributeError):
            tasks = []
        details = job.get("jobDetail", {}).get("taskDetails", [])
        states = {_plain(task["taskName"]): task["state"] for task in details if "taskName" in task and "state" in task}
        return _named(job, tasks=tasks, states=states)


def task_graph(spec: Json) -> list[Json]:
    """The steps of a compiled pipeline, each with the steps it comes right after, in an order that respects this."""
    components, executors = spec["components"], spec["deploymentSpec"]["executors"]
    after: dict[str, set[str]] = {}

    def steps(task: tuple[str, Json]) -> set[str]:
        component = components[task[1]["componentRef"]["name"]]
        if "dag" in component:
            return set().union(*map(steps, component["dag"]["tasks"].items()))
        return {_plain(task[0])} if "container" in executors[component["executorLabel"]] else set()

    def walk(tasks: Json, above: set[str]) -> None:
        def before(task: Json) -> set[str]:
            producers = [(name, tasks[name]) for name in dependencies(task)]  # an importer stands for what it takes
            return set().union(*(steps(each) or before(each[1]) for each in producers))

        for name, task in tasks.items():
            component = components[task["componentRef"]["name"]]
            earlier = above | before(task)
            if "dag" in component:
                walk(component["dag"]["tasks"], earlier)
            elif steps((name, task)):
                after.setdefault(_plain(name), set()).update(earlier - {_plain(name)})

    walk(spec["root"]["dag"]["tasks"], set())
    ordered = sorted(after, key=lambda name: len(_ancestors(after, name)))
    nearest = {name: after[name] - set().union(*(_ancestors(after, other) for other in after[name])) for name in after}
    return [{"name": name, "after": sorted(nearest[name])} for name in ordered]


def _ancestors(after: dict[str, set[str]], name: str) -> set[str]:
    reached, waiting = set[str](), [name]
    while waiting:
        new = after[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def _common(text: str, other: str) -> str:
    """What both begin with."""
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))


def _plain(task: str) -> str:
    """A task's name without the number that sets it apart from a task of the same component."""
    return re.sub(r"-\d+$", "", task)


def _named(item: Json, **fields: Any) -> Json:
    state = re.sub("^(JOB|PIPELINE)_STATE_", "", item.get("state", ""))
    return {"name": item["name"], "title": item.get("displayName", ""), "state": state, **fields}


def _thinned(points: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    """At most about `POINTS` of a curve's points; values that JSON has no number for are None."""
    stride = -(-len(points) // POINTS) or 1
    kept = [*points[::stride], *([points[-1]] if (len(points) - 1) % stride else [])]
    return [(step, value if value is not None and math.isfinite(value) else None) for step, value in kept]

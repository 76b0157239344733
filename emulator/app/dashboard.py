# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard at `/`: jobs with their curves, models, endpoints, pipelines and schedules.

Rendered on the server; a few lines of script replace the content every two seconds. Without script the page reloads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from starlette.responses import HTMLResponse, Response

from emulator.core.google_rest import Call, Json, Route
from emulator.core.state import State
from emulator.services.models import Models
from emulator.services.tensorboard import Tensorboards

_TEMPLATE = Path(__file__).with_name("dashboard.html")
_LIMIT = 50


class Dashboard:
    """Renders the state of an emulator as HTML."""

    def __init__(self, state: State, models: Models, tensorboards: Tensorboards) -> None:
        self._state = state
        self._models = models
        self._tensorboards = tensorboards
        environment = Environment(autoescape=True, undefined=StrictUndefined)
        self._template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))

    def routes(self) -> list[Route]:
        """The dashboard."""
        return [Route("GET", "/", self.render, note="the emulator's own: jobs, curves, models, endpoints")]

    def render(self, call: Call) -> Response:
        """The HTML page; the newest fifty of each kind."""
        jobs = [self._job(job) for _, job in self._state.all("tuningJobs")[:_LIMIT]]
        models = [
            _model(self._models.version_view(model, version))
            for _, model in self._state.all("models")[:_LIMIT]
            for version in reversed(model["_versions"].values())
        ]
        endpoints = [_endpoint(item) for _, item in self._state.all("endpoints")[:_LIMIT]]
        pipelines = self._state.all("schedules")[:_LIMIT] + self._state.all("pipelineJobs")[:_LIMIT]
        runs = [_run(item) for _, item in pipelines]
        html = self._template.render(url=call.base_url, jobs=jobs, models=models, endpoints=endpoints, runs=runs)
        return HTMLResponse(html, headers={"Metadata-Flavor": "Google"})  # by which a metadata server is recognized

    def _job(self, job: Json) -> Json:
        spec = job.get("supervisedTuningSpec") or job["preferenceOptimizationSpec"]
        hyper = spec["hyperParameters"]
        progress = job.get("tuningJobMetadata", {})
        waiting = job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
        curves = self._tensorboards.curves(job["experiment"]) if job.get("experiment") else {}
        return {
            "title": job["tunedModelDisplayName"] or "(no name)",
            "id": job["name"].rsplit("/", 1)[1],
            "created": job["createTime"][:19],
            "state": job["state"].removeprefix("JOB_STATE_"),
            "detail": job.get("tuningJobState", "").removeprefix("TUNING_JOB_STATE_") if waiting else "",
            "error": job.get("error", {}).get("message", "")[:200],
            "base": job.get("baseModel") or job["preTunedModel"]["tunedModelName"],
            "method": job["_method"],
            "hyper": ", ".join(f"{key} {value}" for key, value in hyper.items()),
            "progress": ", ".join(f"{key.removeprefix('completed')} {value}" for key, value in progress.items()),
            "curves": [_curve(name, points) for name, points in curves.items() if "num_predictions" not in name],
        }


def _curve(name: str, points: list[tuple[int, float | None]]) -> Json:
    finite = [(step, value) for step, value in points if value is not None and math.isfinite(value)]
    if not finite:
        return {"name": name, "points": "", "first": "", "last": ""}
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    last = max(step for step, _ in finite)
    stride = max(1, len(finite) // 150)

    def coordinates(step: int, value: float) -> str:
        return f"{5 + 160 * step / (last or 1):.1f},{52 - 46 * (value - low) / ((high - low) or 1):.1f}"

    line = " ".join(coordinates(*point) for point in [*finite[::stride], finite[-1]])
    return {"name": name, "points": line, "first": f"{finite[0][1]:.3g}", "last": f"{finite[-1][1]:.3g}"}


def _model(model: Json) -> Json:
    default = model.get("defaultCheckpointId", "")
    checkpoints: list[Any] = model.get("checkpoints", [])
    return {
        "title": model.get("displayName", ""),
        "name": model["name"],
        "version": model["versionId"],
        "aliases": ", ".join(model["versionAliases"]),
        "checkpoints": f"{len(checkpoints)} ({default})",
        "deployed": f"{len(model['deployedModels'])} times",
    }


def _endpoint(endpoint: Json) -> Json:
    split = endpoint.get("trafficSplit", {})
    return {
        "title": endpoint.get("displayName", ""),
        "name": endpoint["name"],
        "deployed": [
            f"{split.get(item['id'], 0)} %: {item['model']}, checkpoint {item.get('checkpointId', '')}"
            for item in endpoint.get("deployedModels", [])
        ],
    }


def _run(item: Json) -> Json:
    return {
        "title": item.get("displayName", ""),
        "name": item["name"],
        "state": item["state"].removeprefix("PIPELINE_STATE_"),
        "next": item.get("nextRunTime", "")[:19],
    }

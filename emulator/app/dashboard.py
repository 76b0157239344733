# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard at `/`: jobs with their curves, models, endpoints, pipelines and schedules.

Rendered on the server; a few lines of script replace the content every two seconds. Without script the page reloads.
"""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, StrictUndefined
from starlette.responses import HTMLResponse, Response

from emulator.core.google_rest import Call, Json, Route
from emulator.core.state import State
from emulator.services.models import Models
from emulator.services.tensorboard import Tensorboards

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>emulator</title>
<noscript><meta http-equiv="refresh" content="2"></noscript>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
 h2 { margin: 1.6rem 0 .4rem; } table { border-collapse: collapse; width: 100%; }
 th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
 th { background: #f5f5f5; } code { font-size: 12px; } .SUCCEEDED { color: #137333; } .FAILED { color: #c5221f; }
 .RUNNING { color: #1967d2; } svg { background: #fafafa; border: 1px solid #eee; margin: .2rem; }
 .none { color: #777; }
</style></head><body>
<main id="main">
<h1>Vertex AI emulator</h1>
<p>{{ url }} &middot; {{ jobs|length }} tuning jobs &middot; {{ models|length }} models &middot;
 {{ endpoints|length }} endpoints &middot; <a href="/emulator/faults">faults</a></p>
<h2>Tuning jobs</h2>
{% if jobs %}<table><tr><th>job</th><th>state</th><th>base, hyperparameters</th><th>progress</th><th>curves</th></tr>
{% for job in jobs %}<tr class="job"><td>{{ job.title }}<br><code>{{ job.id }}</code><br>{{ job.created }}</td>
<td class="{{ job.state }}">{{ job.state }}{% if job.detail %}<br>{{ job.detail }}{% endif %}
{% if job.error %}<br>{{ job.error }}{% endif %}</td>
<td>{{ job.base }}<br>{{ job.method }}<br>{{ job.hyper }}</td><td>{{ job.progress }}</td>
<td>{% for curve in job.curves %}<svg class="curve" width="170" height="70" role="img" aria-label="{{ curve.name }}">
<title>{{ curve.name }}: {{ curve.first }} to {{ curve.last }}</title>
<polyline fill="none" stroke="#1967d2" stroke-width="1.5" points="{{ curve.points }}"/>
<text x="4" y="66" font-size="9">{{ curve.name }} {{ curve.last }}</text></svg>{% endfor %}</td></tr>
{% endfor %}</table>{% else %}<p class="none">none yet</p>{% endif %}
<h2>Models</h2>
{% if models %}
<table><tr><th>model</th><th>version</th><th>aliases</th><th>checkpoints (default)</th><th>deployed</th></tr>
{% for model in models %}<tr class="model"><td>{{ model.title }}<br><code>{{ model.name }}</code></td>
<td>{{ model.version }}</td><td>{{ model.aliases }}</td>
<td>{{ model.checkpoints }}</td><td>{{ model.deployed }}</td></tr>{% endfor %}</table>
{% else %}<p class="none">none yet</p>{% endif %}
<h2>Endpoints</h2>
{% if endpoints %}<table><tr><th>endpoint</th><th>deployed models and traffic</th></tr>
{% for endpoint in endpoints %}<tr class="endpoint"><td>{{ endpoint.title }}<br><code>{{ endpoint.name }}</code></td>
<td>{% for line in endpoint.deployed %}{{ line }}<br>{% endfor %}</td></tr>{% endfor %}</table>
{% else %}<p class="none">none yet</p>{% endif %}
<h2>Pipelines and schedules</h2>
{% if runs %}<table><tr><th>name</th><th>state</th><th>next run</th></tr>
{% for run in runs %}<tr><td>{{ run.title }}<br><code>{{ run.name }}</code></td>
<td class="{{ run.state }}">{{ run.state }}</td><td>{{ run.next }}</td></tr>{% endfor %}</table>
{% else %}<p class="none">none yet</p>{% endif %}
</main>
<script>
setInterval(async () => {
  try {
    const text = await (await fetch("/")).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    document.getElementById("main").replaceWith(fresh);
  } catch (error) { document.title = "emulator (not reachable)"; }
}, 2000);
</script>
</body></html>
"""
_LIMIT = 50


class Dashboard:
    """Renders the state of an emulator as HTML."""

    def __init__(self, state: State, models: Models, tensorboards: Tensorboards) -> None:
        self._state = state
        self._models = models
        self._tensorboards = tensorboards
        environment = Environment(autoescape=True, undefined=StrictUndefined)
        self._template = environment.from_string(_TEMPLATE)

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
        return HTMLResponse(
            self._template.render(url=call.base_url, jobs=jobs, models=models, endpoints=endpoints, runs=runs)
        )

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

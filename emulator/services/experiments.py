# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What Vertex AI's experiments consist of: ML Metadata, and TensorBoards with the curves of tuning jobs.

A job's `experiment` is a metadata context whose metadata names the TensorBoard; the TensorBoard's experiment of the
same name has one run, and the run a time series for each metric.
"""

import math
from datetime import UTC, datetime

from emulator.core.google_rest import ApiError, Call, Json, canonical, now, public
from emulator.core.state import State
from emulator.engines.base import StepMetrics
from emulator.services.collection import Collection, Operations

_ID = r"[\w-]{1,128}"


class _Nodes(Collection):
    """One of the collections of a metadata store."""

    parameter = "id"

    def __init__(self, state: State, kind: str) -> None:
        super().__init__(state)
        self.kind = kind
        self.title = kind[:-1].capitalize()

    def parent(self, call: Call) -> str:
        return f"{call.parent}/metadataStores/{call.params['store']}"

    def create(self, call: Call) -> Json:
        return self.insert(self.parent(call), _writable(call), call.id(f"{self.kind[:-1]}Id", _ID))

    def patch(self, call: Call) -> Json:
        """The node with the fields sent; metadata is merged."""
        changes = _writable(call)

        def edit(node: Json) -> None:
            if isinstance(changes.get("metadata"), dict):
                changes["metadata"] = {**node.get("metadata", {}), **changes["metadata"]}
            node.update(changes, updateTime=now())

        return public(self._state.change(self.requested(call)["name"], edit))


class _Contexts(_Nodes):
    """Contexts, which group artifacts, executions and other contexts."""

    def add_members(self, call: Call) -> Json:
        """Nothing; artifacts and executions now belong to the context."""
        context = self.requested(call)["name"]
        with self._state.transaction():
            for key in ("artifacts", "executions"):
                names = [canonical(name) for name in call.body.get(key, ())]
                self._add(context, f"_{key}", names)
                for name in names:
                    self._add(name, "_contexts", [context])
        return {}

    def add_children(self, call: Call) -> Json:
        """Nothing; the children have this context as a parent."""
        parent = self.requested(call)["name"]
        for child in call.body.get("childContexts", ()):
            self._add(canonical(child), "parentContexts", [parent])
        return {}

    def _add(self, name: str, key: str, names: list[str]) -> None:
        """Add names to a list of a node; 404 when the node does not exist."""
        try:
            self._state.change(name, lambda node: node.update({key: list(dict.fromkeys([*node.get(key, []), *names]))}))
        except KeyError as error:
            raise ApiError.not_found(name) from error

    def lineage(self, call: Call) -> Json:
        context, members = self.requested(call), {}
        for key in ("artifacts", "executions"):
            if items := [public(item) for name in context.get(f"_{key}", []) if (item := self._state.get(name))]:
                members[key] = items
        return members


def _writable(call: Call) -> Json:
    fixed = ("name", "createTime", "updateTime")
    return {key: value for key, value in public(call.body).items() if key not in fixed}


class Metadata:
    """Everything under metadataStores/."""

    def __init__(self, state: State) -> None:
        self._operations = Operations(state)
        self.contexts = _Contexts(state, "contexts")
        self.artifacts, self.executions = (_Nodes(state, kind) for kind in ("artifacts", "executions"))

    def get_store(self, call: Call) -> Json:
        """A metadata store; every store exists."""
        return {"name": f"{call.parent}/metadataStores/{call.params['store']}", "createTime": "2025-01-01T00:00:00Z"}

    def create_store(self, call: Call) -> Json:
        """An operation with the store."""
        name = f"{call.parent}/metadataStores/{call.first('metadataStoreId', 'default')}"
        return self._operations.done(call, name, "CreateMetadataStore", "MetadataStore", {"name": name})


class _Boards(Collection):
    kind, title, parameter = "tensorboards", "Tensorboard", "board"

    def create(self, call: Call) -> Json:
        board = self.insert(call.parent, {key: call.body[key] for key in ("displayName", "labels")})
        return self._operations.done(call, board["name"], "CreateTensorboard", "Tensorboard", board)

    def default(self, parent: str) -> str:
        """The name of the oldest TensorBoard of a location, created when there is none."""
        boards = self._state.all(self.kind, parent)
        board = boards[-1][1] if boards else self.insert(parent, {"displayName": "default", "isDefault": True})
        return str(board["name"])


class _Children(Collection):
    """Experiments of a TensorBoard, or runs of an experiment."""

    def create(self, call: Call) -> Json:
        id = call.id(f"{self.title[0].lower()}{self.title[1:]}Id", _ID, required=True)
        body = {"displayName": call.body.get("displayName", id), "labels": call.body["labels"]}
        return self.insert(self.parent(call), body, id)


class _Experiments(_Children):
    kind, title, parameter = "experiments", "TensorboardExperiment", "experiment"
    list_key = "tensorboardExperiments"


class _Runs(_Children):
    kind, title, parameter = "runs", "TensorboardRun", "run"
    list_key = "tensorboardRuns"

    def write(self, call: Call) -> Json:
        """Nothing; the scalars are stored."""
        run = self.requested(call)["name"]
        points = []
        for data in call.body["timeSeriesData"]:
            name = f"{run}/timeSeries/{data['tensorboardTimeSeriesId']}"
            if self._state.get(name) is None:
                raise ApiError.not_found(name)
            for item in data["values"]:
                points.append((name, item["step"], item.get("wallTime", now()), item["scalar"]["value"]))
        self._state.add_points(points)
        return {}


class _TimeSeries(_Children):
    kind, title, parameter = "timeSeries", "TensorboardTimeSeries", "series"
    list_key = "tensorboardTimeSeries"

    def create(self, call: Call) -> Json:
        return self.add(self.parent(call), call.body["displayName"])

    def add(self, run: str, metric: str) -> Json:
        """A new, empty time series of a run."""
        with self._state.transaction():
            number = len(self._state.all(self.kind, run)) + 1
            fields = {"displayName": metric, "valueType": "SCALAR", "pluginName": "scalars"}
            return self.insert(run, fields, str(number))

    def view(self, resource: Json) -> Json:
        last = self._state.last_point(resource["name"])
        return {**resource, "metadata": {"maxStep": str(last[0]), "maxWallTime": last[1]}} if last else resource

    def data(self, name: str, limit: int) -> Json:
        """The finite points of a series, evenly thinned to `limit`."""
        points = [point for point in self._state.points(name) if point[2] is not None and math.isfinite(point[2])]
        if len(points) > limit:
            stride = (len(points) - 1) / max(1, limit - 1)
            points = [points[round(n * stride)] for n in range(limit)]
        values = [{"step": str(s), "wallTime": wall, "scalar": {"value": value}} for s, wall, value in points]
        data: Json = {"tensorboardTimeSeriesId": name.rsplit("/", 1)[1], "valueType": "SCALAR"}
        return {**data, "values": values} if values else data

    def read(self, call: Call) -> Json:
        """The points of one series, evenly thinned to `maxDataPoints`."""
        return {"timeSeriesData": self.data(self.requested(call)["name"], call.count("maxDataPoints", 1000, 10000))}


class Tensorboards:
    """Everything under tensorboards/, and the curves that tuning records there."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.boards = _Boards(state)
        self.experiments = _Experiments(state, self.boards)
        self.runs = _Runs(state, self.experiments)
        self.series = _TimeSeries(state, self.runs)
        self._contexts = _Contexts(state, "contexts")

    def batch_read(self, call: Call) -> Json:
        """The points of several series of one TensorBoard."""
        board = self.boards.requested(call)["name"]
        names = [canonical(name) for key in ("timeSeries", "time_series") for name in call.query.get(key, ())]
        for name in names:
            if not name.startswith(board + "/") or self._state.get(name) is None:
                raise ApiError.not_found(name)
        return {"timeSeriesData": [self.series.data(name, 1000) for name in names]} if names else {}

    def start_curves(self, parent: str, job_id: str, display_name: str) -> str:
        """The name of a new experiment context with a TensorBoard run for a job's curves."""
        experiment = f"tuning-experiment-{datetime.now(UTC).strftime('%Y%m%d%H%M%S')}-{job_id}"
        run = f"run-{job_id}"
        with self._state.transaction():
            board, store = self.boards.default(parent), f"{parent}/metadataStores/default"
            path = self.experiments.insert(board, {"displayName": experiment}, experiment)["name"]
            self.runs.insert(path, {"displayName": run}, run)
            details: Json = {"displayName": experiment, "schemaTitle": "system.Experiment", "description": display_name}
            details["metadata"] = {"backing_tensorboard_resource": board, "experiment_deleted": False}
            context = str(self._contexts.insert(store, {"schemaVersion": "0.0.1", **details}, experiment)["name"])
            details = {"displayName": run, "schemaTitle": "system.ExperimentRun", "parentContexts": [context]}
            details["metadata"] = {"_state": "RUNNING", "_params": {}, "_metrics": {}}
            self._contexts.insert(store, {"schemaVersion": "0.0.1", **details}, f"{experiment}-{run}")
        return context

    def _run_of(self, experiment: str) -> str | None:
        """The run with the curves of an experiment context."""
        context = self._state.get(experiment)
        if context is None:
            return None
        board, id = context["metadata"]["backing_tensorboard_resource"], experiment.rsplit("/", 1)[1]
        return f"{board}/experiments/{id}/runs/run-{id.rsplit('-', 1)[1]}"

    def _series_of(self, experiment: str) -> list[Json]:
        run = self._run_of(experiment)
        return [item for _, item in reversed(self._state.all("timeSeries", run))] if run else []

    def record(self, experiment: str, point: StepMetrics) -> None:
        """Add one step's values to the curves of an experiment."""
        run = self._run_of(experiment)
        assert run is not None
        stamp = now()
        with self._state.transaction():
            names = {item["displayName"]: item["name"] for item in self._series_of(experiment)}
            for metric in point.values:
                if metric not in names:
                    names[metric] = self.series.add(run, metric)["name"]
            self._state.add_points([(names[metric], point.step, stamp, v) for metric, v in point.values.items()])

    def clear_curves(self, experiment: str) -> None:
        """Remove the series of a job that starts again."""
        with self._state.transaction():
            for item in self._series_of(experiment):
                self._state.delete_points(item["name"])
                self._state.delete(item["name"])

    def curves(self, experiment: str) -> dict[str, list[tuple[int, float | None]]]:
        """(step, value) pairs by metric name."""
        return {
            item["displayName"]: [(step, value) for step, _, value in self._state.points(item["name"])]
            for item in self._series_of(experiment)
        }

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""ML Metadata contexts and TensorBoard time series: where the curves of tuning jobs are read.

The way of a reader: a job's `experiment` is a context; its metadata names the TensorBoard; the TensorBoard's experiment
of the same name has one run; the run has one time series per metric, under the service's metric names.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Json,
    Route,
    bad_field,
    canonical,
    labels_of,
    not_found,
    now,
    page,
    typed,
)
from emulator.core.state import State
from emulator.engines.base import StepMetrics
from emulator.services.operations import Operations

_BOARD = "tensorboards/{board}"
_RUNS = _BOARD + "/experiments/{experiment}/runs"
_SERIES = _RUNS + "/{run}/timeSeries"


class Tensorboards:
    """TensorBoards with experiments, runs and time series."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._state = state
        self._operations = operations

    def routes(self) -> list[Route]:
        """Everything under tensorboards/."""
        experiments = _BOARD + "/experiments"
        return [
            Route("GET", "tensorboards", self.list_boards),
            Route("POST", "tensorboards", self.create_board),
            Route("GET", _BOARD, self.get_board),
            Route("GET", _BOARD + ":batchRead", self.batch_read),
            Route("GET", experiments, self.list_children),
            Route("POST", experiments, self.create_child),
            Route("GET", experiments + "/{experiment}", self.get_child),
            Route("GET", _RUNS, self.list_children),
            Route("POST", _RUNS, self.create_child),
            Route("GET", _RUNS + "/{run}", self.get_child),
            Route("POST", _RUNS + "/{run}:write", self.write, "partial", "scalars only"),
            Route("GET", _SERIES, self.list_series),
            Route("POST", _SERIES, self.create_series),
            Route("GET", _SERIES + "/{series}", self.get_series),
            Route("GET", _SERIES + "/{series}:read", self.read),
        ]

    # --- what tuning uses

    def start_curves(self, parent: str, job_id: str, display_name: str) -> str:
        """The name of a new experiment context with its run, ready for points."""
        stamp = now()
        moment = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
        with self._state.transaction():
            board = self._default_board(parent)
            contexts = f"{parent}/metadataStores/default/contexts"
            experiment = f"tuning-experiment-{moment}-{job_id}"
            run = f"run-{job_id}"
            common = {"createTime": stamp, "updateTime": stamp, "schemaVersion": "0.0.1"}
            context: Json = {
                "name": f"{contexts}/{experiment}",
                "displayName": experiment,
                "schemaTitle": "system.Experiment",
                "description": display_name,
                "metadata": {"backing_tensorboard_resource": board, "experiment_deleted": False},
                **common,
            }
            self._state.put("contexts", context["name"], context)
            run_context: Json = {
                "name": f"{contexts}/{experiment}-{run}",
                "displayName": run,
                "schemaTitle": "system.ExperimentRun",
                "parentContexts": [context["name"]],
                "metadata": {"_state": "RUNNING", "_params": {}, "_metrics": {}},
                **common,
            }
            self._state.put("contexts", run_context["name"], run_context)
            times = {"createTime": stamp, "updateTime": stamp}
            path = f"{board}/experiments/{experiment}"
            self._state.put("experiments", path, {"name": path, "displayName": experiment, **times})
            path = f"{path}/runs/{run}"
            self._state.put("runs", path, {"name": path, "displayName": run, **times})
        return str(context["name"])

    def record(self, experiment: str, point: StepMetrics) -> None:
        """Add one step's values to the curves of an experiment."""
        context = self._state.get(experiment)
        assert context is not None
        board = context["metadata"]["backing_tensorboard_resource"]
        identifier = experiment.rsplit("/", 1)[1]
        run = f"{board}/experiments/{identifier}/runs/run-{identifier.rsplit('-', 1)[1]}"
        stamp = now()
        with self._state.transaction():
            names = {item["displayName"]: item["name"] for _, item in self._state.all("timeSeries", run)}
            points = []
            for metric, value in point.values.items():
                name = names.get(metric) or self._new_series(run, metric)["name"]
                points.append((name, point.step, stamp, value))
            self._state.add_points(points)

    def clear_curves(self, experiment: str) -> None:
        """Forget the points and series of a job that starts anew."""
        context = self._state.get(experiment)
        if context is None:
            return
        board = context["metadata"]["backing_tensorboard_resource"]
        prefix = f"{board}/experiments/{experiment.rsplit('/', 1)[1]}/"
        with self._state.transaction():
            self._state.delete_points(prefix)
            for _, item in self._state.all("timeSeries"):
                if item["name"].startswith(prefix):
                    self._state.delete(item["name"])

    def curves(self, experiment: str) -> dict[str, list[tuple[int, float | None]]]:
        """metric name → (step, value), for the page."""
        context = self._state.get(experiment)
        if context is None:
            return {}
        board = context["metadata"]["backing_tensorboard_resource"]
        prefix = f"{board}/experiments/{experiment.rsplit('/', 1)[1]}/"
        found = reversed(self._state.all("timeSeries"))
        return {
            item["displayName"]: [(step, value) for step, _, value in self._state.points(item["name"])]
            for _, item in found
            if item["name"].startswith(prefix)
        }

    def _default_board(self, parent: str) -> str:
        found = self._state.all("tensorboards", parent)
        if found:
            return str(found[-1][1]["name"])
        name = f"{parent}/tensorboards/{self._state.new_id('tensorboards')}"
        stamp = now()
        board = {"name": name, "displayName": "default", "isDefault": True, "createTime": stamp, "updateTime": stamp}
        self._state.put("tensorboards", name, board)
        return name

    def _new_series(self, run: str, metric: str) -> Json:
        taken = len(self._state.all("timeSeries", run))
        name = f"{run}/timeSeries/{taken + 1}"
        stamp = now()
        series = {
            "name": name,
            "displayName": metric,
            "valueType": "SCALAR",
            "pluginName": "scalars",
            "createTime": stamp,
            "updateTime": stamp,
        }
        return self._state.put("timeSeries", name, series)

    # --- TensorBoard

    def list_boards(self, call: Call) -> Json:
        """A page of TensorBoards."""
        found = self._state.all("tensorboards", call.parent)
        return page(call, matching(call.query.get("filter", ()), found), "tensorboards")

    def create_board(self, call: Call) -> Json:
        """An operation with a new TensorBoard."""
        fields = call.fields("tensorboard")
        name = f"{call.parent}/tensorboards/{self._state.new_id('tensorboards')}"
        stamp = now()
        board = {
            "name": name,
            "displayName": fields.text("displayName", ""),
            "labels": labels_of(fields),
            "createTime": stamp,
            "updateTime": stamp,
        }
        self._state.put("tensorboards", name, board)
        response = typed(call, "Tensorboard", board)
        return self._operations.done(call, name, "CreateTensorboardOperationMetadata", response)

    def _board(self, call: Call) -> str:
        name = f"{call.parent}/tensorboards/{call.params['board']}"
        if self._state.get(name) is None:
            raise not_found(f"Tensorboard {name}")
        return name

    def get_board(self, call: Call) -> Json:
        """One TensorBoard."""
        return self._state.get(self._board(call)) or {}

    def _under(self, call: Call) -> str:
        """The name of the experiment, run or series a path names."""
        name = self._board(call)
        for key, collection in (("experiment", "experiments"), ("run", "runs"), ("series", "timeSeries")):
            if key in call.params:
                name += f"/{collection}/{call.params[key]}"
        return name

    def list_children(self, call: Call) -> Json:
        """A page of experiments or runs."""
        parent = self._under(call)
        kind, key = (
            ("runs", "tensorboardRuns")
            if "experiment" in call.params
            else (
                "experiments",
                "tensorboardExperiments",
            )
        )
        return page(call, matching(call.query.get("filter", ()), self._state.all(kind, parent)), key)

    def create_child(self, call: Call) -> Json:
        """A new experiment or run; 409 when its id is taken."""
        parent = self._under(call)
        kind = "runs" if "experiment" in call.params else "experiments"
        id = call.first("tensorboardRunId" if kind == "runs" else "tensorboardExperimentId")
        if not id or not all(ch.isalnum() or ch in "-_" for ch in id) or len(id) > 128:
            raise bad_field((f"tensorboard_{kind[:-1]}_id", f"'{id[:80]}' is not a valid id."))
        stamp = now()
        fields = call.fields(f"tensorboard_{kind[:-1]}")
        body: Json = {
            "name": f"{parent}/{kind}/{id}",
            "displayName": fields.text("displayName", id),
            "labels": fields.object("labels").value,
            "createTime": stamp,
            "updateTime": stamp,
        }
        with self._state.transaction():
            if self._state.get(body["name"]):
                raise ApiError(409, f"{body['name']} already exists.")
            return self._state.put(kind, body["name"], body)

    def get_child(self, call: Call) -> Json:
        """One experiment or run."""
        found = self._state.get(self._under(call))
        if found is None:
            raise not_found(self._under(call))
        return found

    def _render_series(self, series: Json) -> Json:
        last = self._state.last_points(series["name"])
        return {**series, "metadata": {"maxStep": str(last[0]), "maxWallTime": last[1]}} if last else series

    def list_series(self, call: Call) -> Json:
        """A page of time series."""
        found = self._state.all("timeSeries", self._under(call))
        shown = [(seq, self._render_series(item)) for seq, item in matching(call.query.get("filter", ()), found)]
        return page(call, shown, "tensorboardTimeSeries")

    def create_series(self, call: Call) -> Json:
        """A new, empty time series."""
        fields = call.fields("tensorboard_time_series")
        run = self._under(call)
        if self._state.get(run) is None:
            raise not_found(run)
        with self._state.transaction():
            return self._new_series(run, fields.text("displayName"))

    def get_series(self, call: Call) -> Json:
        """One time series."""
        return self._render_series(self.get_child(call))

    def _data(self, name: str, most: int) -> Json:
        points = [point for point in self._state.points(name) if point[2] is not None and math.isfinite(point[2])]
        if len(points) > most:
            stride = (len(points) - 1) / max(1, most - 1)
            points = [points[round(n * stride)] for n in range(most)]
        values = [{"step": str(s), "wallTime": wall, "scalar": {"value": value}} for s, wall, value in points]
        answer: Json = {"tensorboardTimeSeriesId": name.rsplit("/", 1)[1], "valueType": "SCALAR"}
        return {**answer, "values": values} if values else answer

    def read(self, call: Call) -> Json:
        """The points of one series, evenly thinned to `maxDataPoints`."""
        name = self.get_child(call)["name"]
        return {"timeSeriesData": self._data(name, call.count("maxDataPoints", 1000, 10000))}

    def batch_read(self, call: Call) -> Json:
        """The points of several series of one TensorBoard."""
        board = self._board(call)
        names = [canonical(name) for key in ("timeSeries", "time_series") for name in call.query.get(key, ())]
        for name in names:
            if not name.startswith(board + "/") or self._state.get(name) is None:
                raise not_found(name)
        return {"timeSeriesData": [self._data(name, 1000) for name in names]} if names else {}

    def write(self, call: Call) -> Json:
        """Nothing; the scalars are stored."""
        run = self.get_child(call)["name"]
        points = []
        for data in call.fields("write_request").objects("timeSeriesData"):
            name = f"{run}/timeSeries/{data.text('tensorboardTimeSeriesId')}"
            if self._state.get(name) is None:
                raise not_found(name)
            for item in data.objects("values"):
                stamp = item.text("wallTime", now())
                points.append((name, item.integer("step", 0), stamp, item.object("scalar").number("value")))
        self._state.add_points(points)
        return {}

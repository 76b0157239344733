# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Request-response logging of endpoints and base models, and the BigQuery tables that it writes.

Requests are sampled by a counter, not at random: of any N consecutive requests the rate's share is logged, to within
one. Queries are of one form, `QUERY`; any other is a 400. A load job writes a table, too: JSON lines in Cloud Storage,
as a CSV file of one column of type JSON.
"""

import json
import math
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.core.faults import Faults
from emulator.core.google_rest import NAMES, ApiError, Call, Json, parse_json, project_number
from emulator.core.state import State
from emulator.services.collection import Operations
from emulator.services.storage import Storage

QUERY = "SELECT column, ... FROM `PROJECT.DATASET.TABLE` WHERE logging_time >= @start AND logging_time < @end"
_QUERY = re.compile(
    r"\s*SELECT\s+(?P<columns>\w+(?:\s*,\s*\w+)*)\s+FROM\s+`(?P<table>[^`]+)`"
    r"\s+WHERE\s+logging_time\s*>=\s*@start\s+AND\s+logging_time\s*<\s*@end\s*",
    re.I,
)
_COLUMNS: dict[str, str] = NAMES["loggedRequestColumns"]
LOCATION = "us-central1"
_REPEATED = ("request_payload", "response_payload")
_JOBS_KEPT = 20
_TABLE = ("projectId", "datasetId", "tableId")


class BigQuery:
    """Tables of logged requests. `clock` is the time that logged requests have."""

    def __init__(self, state: State, storage: Storage, faults: Faults, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._storage = storage
        self._faults = faults
        self._clock = clock
        self._results: dict[str, tuple[list[str], list[Json]]] = {}
        self._lock = threading.Lock()

    def load(self, call: Call) -> Json:
        """A load job that is done: each line of the files is a row of the one column."""
        load = call.body["configuration"]["load"]
        schema, target = load["schema"]["fields"], load["destinationTable"]
        if (load["sourceFormat"], load["fieldDelimiter"]) != ("CSV", "\x1f") or [c["type"] for c in schema] != ["JSON"]:
            raise ApiError(400, "The emulator's BigQuery loads CSV files of one JSON column, delimited by \\x1f.")
        name = _name(*(target[key] for key in _TABLE))
        column, lines = schema[0]["name"], []
        for uri in load["sourceUris"]:
            lines += [parse_json(line) for line in self._storage.read_uri(uri).split(b"\n") if line.strip()]
        with self._state.transaction():
            self._state.delete(name)
            self._state.put("loaded", name, {"column": column, "lines": lines})
        reference = call.body["jobReference"]
        return {
            "kind": "bigquery#job",
            "id": str(reference.get("jobId", "")),
            "jobReference": {"projectId": call.params["project"], **reference},
            "status": {"state": "DONE"},
            "configuration": {"jobType": "LOAD", "load": load},
            "statistics": {"load": {"outputRows": str(len(lines))}},
        }

    def lines(self, uri: str, place: str) -> list[Json]:
        """The rows of the loaded table `bq://PROJECT.DATASET.TABLE`; a 400 for any other, `place` is its dataset's."""
        parts = uri.removeprefix("bq://").split(".")
        stored = self._state.get(_name(*parts)) if uri.startswith("bq://") and len(parts) == 3 else None
        if stored is None or "lines" not in stored:
            problem = f"{uri[:300]} is not a table that was loaded (bq://PROJECT.DATASET.TABLE)."
            raise ApiError.field(f"{place}.input_config.bigquery_source.uri", problem)
        return [{stored["column"]: line} for line in stored["lines"]]

    def get_dataset(self, call: Call) -> Json:
        """A dataset: none is created, and each name has one."""
        reference = {"projectId": call.params["project"], "datasetId": call.params["dataset"]}
        return {"kind": "bigquery#dataset", "datasetReference": reference, "location": LOCATION}

    def delete_table(self, call: Call) -> Json:
        """Nothing; the table no longer exists."""
        name = _name(*_reference(call))
        if self._state.get(name) is None:
            raise ApiError.not_found(f"Table {name}")
        self._state.delete(name)
        return {}

    def create(self, table: tuple[str, str, str], location: str) -> None:
        """Create a table where it does not exist."""
        name = _name(*table)
        if self._state.get(name) is None:
            self._state.put("tables", name, {"reference": table, "location": location})

    def log(self, table: tuple[str, str, str], row: Json) -> None:
        """Add a row, stamped now; the fault plan may show it later, and store it twice."""
        now = self._clock()
        request_id = str(uuid.uuid4().int % 10**18)
        visible = now + timedelta(seconds=self._faults.plan.log_lag_seconds)
        full = {"logging_time": _micros(now), "request_id": request_id, **row, "_visible": _micros(visible)}
        twice = self._faults.happens("log", self._faults.plan.log_double_rate, request_id.encode())
        for _ in range(1 + twice):
            self._state.put("rows", f"{_name(*table)}/rows/{uuid.uuid4().hex}", full)

    def _rows(self, name: str) -> list[Json]:
        """The rows of a table that can be seen now, oldest first."""
        now = _micros(self._clock())
        return [row for _, row in reversed(self._state.all("rows", name)) if row["_visible"] <= now]

    def _table(self, project: str, dataset: str, table: str) -> tuple[str, Json]:
        name = _name(project, dataset, table)
        stored = self._state.get(name)
        if stored is None:
            raise ApiError.not_found(f"Table {project}:{dataset}.{table}")
        if "lines" in stored:
            raise ApiError(400, "The emulator's BigQuery does not read tables of load jobs back.")
        return name, stored

    def get_table(self, call: Call) -> Json:
        """The table's schema and location."""
        reference = _reference(call)
        name, stored = self._table(*reference)
        return {
            "kind": "bigquery#table",
            "id": "{}:{}.{}".format(*reference),
            "tableReference": dict(zip(_TABLE, reference, strict=True)),
            "type": "TABLE",
            "location": stored["location"],
            "schema": _schema(list(_COLUMNS)),
            "numRows": str(len(self._rows(name))),
        }

    def list_data(self, call: Call) -> Json:
        """A page of the whole table."""
        name, _ = self._table(*_reference(call))
        return {"kind": "bigquery#tableDataList", **_page(list(_COLUMNS), self._rows(name), *_place(call))}

    def query(self, call: Call) -> Json:
        """The first page of a query of the one supported form; the rest by jobs.getQueryResults."""
        body = call.body
        match = _QUERY.fullmatch(body["query"])
        if match is None or body["useLegacySql"]:
            raise ApiError(400, f"The emulator's BigQuery runs one form of query, in standard SQL: {QUERY}")
        parts = match["table"].split(".")
        if len(parts) != 3:
            raise ApiError.field("query_request.query", f"Table name {match['table']!r} must be PROJECT.DATASET.TABLE.")
        name, stored = self._table(parts[0], parts[1], parts[2])
        if (location := body["location"]) and location.lower() != stored["location"].lower():
            raise ApiError.not_found(f"Dataset {parts[0]}:{parts[1]} was not found in location {location}; its table")
        columns = [column.strip() for column in match["columns"].split(",")]
        if unknown := [column for column in columns if column not in _COLUMNS]:
            raise ApiError.field("query_request.query", f"Unrecognized name: {unknown[0]}")
        start, end = (_parameter(body["queryParameters"], key) for key in ("start", "end"))
        rows = [row for row in self._rows(name) if start <= row["logging_time"] < end]
        size = len(json.dumps([{column: row.get(column) for column in columns} for row in rows]))
        limit = body["maximumBytesBilled"]
        if limit and size > limit:
            message = f"Query exceeded limit for bytes billed: {limit}. {size} or higher required."
            raise ApiError(400, message, "INVALID_ARGUMENT")
        job = f"job_{uuid.uuid4().hex}"
        with self._lock:
            self._results[job] = (columns, rows)
            while len(self._results) > _JOBS_KEPT:
                self._results.pop(next(iter(self._results)))
        size_fields = {"totalBytesProcessed": str(size), "totalBytesBilled": str(size)}
        return {**self._result(call, job, 0, body["maxResults"]), **size_fields}

    def results(self, call: Call) -> Json:
        """A page of a query's result."""
        return self._result(call, call.params["job"], *_place(call))

    def get_job(self, call: Call) -> Json:
        """A query that is done."""
        page = self._result(call, call.params["job"], 0, 1)
        return {
            "kind": "bigquery#job",
            "id": call.params["job"],
            "jobReference": page["jobReference"],
            "status": {"state": "DONE"},
            "configuration": {"jobType": "QUERY", "query": {"query": ""}},
            "statistics": {"query": {"statementType": "SELECT"}},
        }

    def _result(self, call: Call, job: str, start: int, size: int) -> Json:
        with self._lock:
            if job not in self._results:
                raise ApiError.not_found(f"Job {job}")
            columns, rows = self._results[job]
        reference = {"projectId": call.params["project"], "jobId": job}
        page = {"schema": _schema(columns), **_page(columns, rows, start, size)}
        return {"kind": "bigquery#queryResponse", "jobComplete": True, "jobReference": reference, **page}


def _reference(call: Call) -> tuple[str, str, str]:
    return call.params["project"], call.params["dataset"], call.params["table"]


def _name(project: str, dataset: str, table: str) -> str:
    return f"bigquery/{project_number(project)}/datasets/{dataset}/tables/{table}"


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _parameter(parameters: Sequence[Json], name: str) -> int:
    """A TIMESTAMP parameter of a query, in microseconds since the epoch."""
    for parameter in parameters:
        if (parameter["name"], parameter["parameterType"]["type"]) == (name, "TIMESTAMP"):
            try:
                moment = datetime.fromisoformat(parameter["parameterValue"]["value"].replace(" UTC", "+00:00"))
                return _micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            except (ValueError, OverflowError):
                break
    raise ApiError.field("query_request.query_parameters", f"Query parameter '{name}' must be a TIMESTAMP.")


def _schema(columns: Sequence[str]) -> Json:
    modes = {column: "REPEATED" if column in _REPEATED else "NULLABLE" for column in columns}
    return {"fields": [{"name": name, "type": _COLUMNS[name], "mode": mode} for name, mode in modes.items()]}


def _place(call: Call) -> tuple[int, int]:
    """(first row, number of rows) of the page that a request is about; 0 rows: all that follow."""
    start = call.count("pageToken" if call.first("pageToken") else "startIndex", 0, 1 << 62)
    return start, call.count("maxResults", 0, 1 << 62)


def _page(columns: Sequence[str], rows: Sequence[Json], start: int, size: int) -> Json:
    """A page of rows as BigQuery's cells, with the token of the next one."""
    end = start + size if size > 0 else len(rows)
    cells = [{"f": [{"v": _cell(column, row.get(column))} for column in columns]} for row in rows[start:end]]
    token = {"pageToken": str(end)} if end < len(rows) else {}
    return {"totalRows": str(len(rows)), "rows": cells, **token}


def _cell(column: str, value: Any) -> Any:
    if column in _REPEATED:
        return [{"v": item} for item in value or ()]
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False) if _COLUMNS[column] == "JSON" else str(value)


CONFIG = "predictRequestResponseLoggingConfig"


class RequestLogs:
    """The logging of endpoints (in their own resource) and of base models (a resource of its own)."""

    def __init__(self, state: State, bigquery: BigQuery) -> None:
        self._state = state
        self._operations = Operations(state)
        self._bigquery = bigquery
        self._counts: Counter[str] = Counter()

    def read(self, call: Call, config: Json, resource: Json, place: str) -> Json:
        """The logging configuration of an endpoint or base model, at a place of its request; creates its table."""
        if call.version == "v1" and "enableOtelLogging" in config:
            raise ApiError.unknown_field("enableOtelLogging", place)
        if not config["enabled"]:
            return {}
        if not 0 < config["samplingRate"] <= 1:
            raise ApiError.field(f"{place}.sampling_rate", "must be in the range (0, 1].")
        uri = config["bigqueryDestination"]["outputUri"]
        self._bigquery.create(destination(uri, resource), resource["name"].split("/")[3])
        return config

    def set_model(self, call: Call) -> Json:
        """An operation with the base model's new configuration."""
        name = _base_model(call)
        logging, place = call.body["publisherModelConfig"]["loggingConfig"], "publisher_model_config.logging_config"
        resource = {"name": name, "displayName": call.params["model"]}
        config = {"loggingConfig": self.read(call, logging, resource, f"request.{place}")}
        self._state.put("publisherModelConfigs", name, {"name": name, **config})
        return self._operations.done(call, name, "SetPublisherModelConfig", "PublisherModelConfig", config)

    def fetch_model(self, call: Call) -> Json:
        """The base model's configuration."""
        stored = self._state.get(_base_model(call))
        if stored is None:
            raise ApiError.not_found(f"PublisherModelConfig of {call.params['model']}")
        return {"loggingConfig": stored["loggingConfig"]}

    def write(self, call: Call, model: str, deployed_id: str, chunks: list[Json], response: Json) -> None:
        """Log an answered request if its endpoint or base model is configured to, and the sample includes it."""
        endpoint = f"{call.parent}/endpoints/{call.params['endpoint']}" if "endpoint" in call.params else None
        name = endpoint or f"{call.parent}/publishers/google/models/{call.params['model']}"
        resource = self._state.get(name) or {}
        config = resource.get(CONFIG if endpoint else "loggingConfig")
        if not config or not self._sampled(name, float(config["samplingRate"])):
            return
        model_name, _, version = model.partition("@")
        row = {
            "endpoint": endpoint,
            "deployed_model_id": deployed_id or None,
            "request_payload": [json.dumps(call.body, ensure_ascii=False)],
            "response_payload": [json.dumps(chunk, ensure_ascii=False) for chunk in chunks],
            "model": model_name if endpoint else name,
            "model_version": version or None,
            "api_method": call.path.rsplit(":", 1)[-1],
            "full_request": call.body,
            "full_response": response,
            "metadata": {},
        }
        self._bigquery.log(destination(config["bigqueryDestination"]["outputUri"], resource), row)

    def _sampled(self, name: str, rate: float) -> bool:
        count = self._counts[name]
        self._counts[name] += 1
        return math.floor((count + 1) * rate + 1e-9) > math.floor(count * rate + 1e-9)


def _base_model(call: Call) -> str:
    if call.version != "v1beta1":
        raise ApiError(404, f"{call.method} {call.path[:300]} is a method of v1beta1 only.")
    return f"{call.parent}/publishers/google/models/{call.params['model']}"


def destination(uri: str, resource: Json) -> tuple[str, str, str]:
    """(project, dataset, table) of a `bigqueryDestination`; what it leaves out is named after the resource."""
    match = re.fullmatch(r"bq://([a-z0-9][a-z0-9:-]*)(?:\.(\w+))?(?:\.([\w-]+))?", uri)
    if match is None:
        message = f"'{uri[:80]}' must be bq://PROJECT, bq://PROJECT.DATASET or bq://PROJECT.DATASET.TABLE."
        raise ApiError.field("bigquery_destination.output_uri", message)
    own = re.sub(r"\W", "_", f"logging_{resource.get('displayName', '')}_{resource['name'].rsplit('/', 1)[-1]}")
    return match[1], match[2] or own, match[3] or "request_response_logging"

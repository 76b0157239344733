# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A BigQuery table as rows, whole or a span of time.

Source: google-cloud-bigquery (tables.get; then tabledata.list page by page, which bills nothing, or a query). The
client honours BIGQUERY_EMULATOR_HOST, so the same code works with an emulator. Guarantees: rows are streamed, one
page in memory; a table that cannot be read raises a `UserError` with the reason.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.vertex import Client
from gemtune.vertex.calls import PermanentError, TransientError, require_credentials, translate_errors

PAGE_ROWS = 5_000
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table's column names, and its rows by column name (nested records as dicts and lists)."""

    columns: tuple[str, ...]
    rows: Iterator[JsonObject]


def open_table(name: str) -> Table:
    """The table PROJECT.DATASET.TABLE; its rows are fetched lazily, `PAGE_ROWS` at a time.

    Raises `UserError` for an invalid name, a missing table, missing permission, and views.
    """
    client, table = _open(name)
    if table.table_type in ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL"):
        remedy = "copy it into a table: CREATE TABLE ... AS SELECT * FROM it"
        raise UserError(f"bq://{name} is a {table.table_type}, not a table", remedy=remedy)
    columns = tuple(field.name for field in table.schema)
    options = {"page_size": PAGE_ROWS, "retry": _retry(), "timeout": TIMEOUT_S}
    return Table(columns, _rows(name, lambda: client.list_rows(table, **options)))


def read_span(
    name: str,
    columns: Sequence[str],
    time_column: str,
    span: tuple[datetime, datetime],
    max_bytes_billed: int = 0,
    service: Client | None = None,
) -> Iterator[JsonObject]:
    """The rows of a table or view whose `time_column` is in [start, end): those of `columns` that it has.

    Unlike `open_table` this runs a query, in the table's location; at the emulator where `service` is one. Raises
    `UserError` as it does, and where the query would bill more than `max_bytes_billed` (0: no limit).
    """
    from google.cloud import bigquery

    client, table = _open(name, service)
    existing = {field.name for field in table.schema}
    if time_column not in existing:
        remedy = "name a table of request-response logging, or a file of rows"
        raise UserError(f"bq://{name} has no column {time_column!r}", remedy=remedy)
    selected = ", ".join(column for column in columns if column in existing)
    sql = f"SELECT {selected} FROM `{table.project}.{table.dataset_id}.{table.table_id}`"  # names of the service
    sql += f" WHERE {time_column} >= @start AND {time_column} < @end"
    parameters = zip(("start", "end"), span, strict=True)
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter(key, "TIMESTAMP", moment) for key, moment in parameters],
    )
    if max_bytes_billed:  # the library sends no limit as the text "None"
        config.maximum_bytes_billed = max_bytes_billed
    options = {"job_config": config, "location": table.location, "page_size": PAGE_ROWS, "retry": _retry()}
    return _rows(name, lambda: client.query_and_wait(sql, api_timeout=TIMEOUT_S, **options))


def load_json_lines(service: Client, uri: str, table: str, column: str) -> None:
    """Load each line of a JSON Lines file as a row of a new table PROJECT.DATASET.TABLE of one column of type JSON.

    Raises `UserError` as `open_table` does.
    """
    from google.cloud import bigquery

    # one column per line: a delimiter that JSON does not contain, and no quotes
    config = bigquery.LoadJobConfig(
        source_format="CSV", field_delimiter="\x1f", quote_character="", write_disposition="WRITE_TRUNCATE",
        schema=[bigquery.SchemaField(column, "JSON")],
    )  # fmt: skip
    client, dataset = _client(_project(table), service), table.rpartition(".")[0]
    place = _call(table, lambda: client.get_dataset(dataset, retry=_retry(), timeout=TIMEOUT_S).location)
    options = {"job_config": config, "location": place, "retry": _retry(), "timeout": TIMEOUT_S}
    _call(table, lambda: client.load_table_from_uri(uri, table, **options).result(retry=_retry(), timeout=TIMEOUT_S))


def delete_table(service: Client, name: str) -> None:
    """Delete a table, if it exists."""
    client = _client(_project(name), service)
    _call(name, lambda: client.delete_table(name, retry=_retry(), timeout=TIMEOUT_S, not_found_ok=True))


def location(name: str, service: Client) -> str:
    """The location of a table. Raises `UserError` as `open_table` does."""
    return str(_open(name, service)[1].location)


def _project(table: str) -> str:
    return table.rsplit(".", 2)[0]  # a project of a domain has a dot: example.com:project


def _open(name: str, service: Client | None = None) -> tuple[Any, Any]:
    """A client, and the description of a table or view."""
    from google.cloud import bigquery

    default = os.environ.get("GOOGLE_CLOUD_PROJECT") or None
    try:
        reference = bigquery.TableReference.from_string(name, default_project=default)
    except ValueError:
        remedy = "write bq://PROJECT.DATASET.TABLE"
        raise UserError(f"{name!r} is not a BigQuery table", remedy=remedy) from None
    client = _client(default or reference.project, service)
    return client, _call(name, lambda: client.get_table(reference, retry=_retry(), timeout=TIMEOUT_S))


def _retry() -> Any:
    from google.cloud import bigquery

    return bigquery.DEFAULT_RETRY.with_timeout(TIMEOUT_S)


def _rows(name: str, start: Callable[[], Any]) -> Iterator[JsonObject]:
    pages = iter(_call(name, start).pages)
    while (page := _call(name, lambda: next(pages, None))) is not None:
        for row in page:
            yield dict(row.items())


def _client(project: str, service: Client | None = None) -> Any:
    """A client, at the emulator where `service` is one; data of local runs may come from BigQuery."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    if service and (token := service.token()):
        return bigquery.Client(project=project, credentials=token, client_options={"api_endpoint": service.server})
    emulator = os.environ.get("BIGQUERY_EMULATOR_HOST", "")
    credentials = AnonymousCredentials() if emulator else None  # type: ignore[no-untyped-call,unused-ignore]
    return require_credentials(lambda: bigquery.Client(project=project, credentials=credentials))


def _call(name: str, call: Any) -> Any:
    try:
        return translate_errors(call)
    except PermanentError as error:
        problem = {404: "no such table", 403: "permission denied"}.get(error.code, "it cannot be read")
        remedy = "check project, dataset and table; reading needs the role BigQuery Data Viewer"
        raise UserError(f"bq://{name}: {problem}: {error.message}", remedy=remedy) from None
    except TransientError as error:
        raise UserError(f"bq://{name}: BigQuery is unavailable: {error}", remedy="retry later") from None

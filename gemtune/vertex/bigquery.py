# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A BigQuery table as rows.

Source: google-cloud-bigquery (tables.get, then tabledata.list page by page: no query is run, so nothing is billed).
The client honours BIGQUERY_EMULATOR_HOST, so the same code works with an emulator. Guarantees: rows are
streamed, one page in memory; a table that cannot be read raises a `UserError` with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.vertex.calls import PermanentError, TransientError, require_credentials, translate_errors

PAGE_ROWS = 5_000
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table's column names, and its rows by column name (nested records as dicts and lists)."""

    columns: tuple[str, ...]
    rows: Iterator[JsonObject]


def open_table(name: str, page_rows: int = PAGE_ROWS) -> Table:
    """The table PROJECT.DATASET.TABLE; its rows are fetched lazily, `page_rows` at a time.

    Raises `UserError` for an invalid name, a missing table, missing permission, and views.
    """
    from google.cloud import bigquery

    default = os.environ.get("GOOGLE_CLOUD_PROJECT") or None
    try:
        reference = bigquery.TableReference.from_string(name, default_project=default)
    except ValueError:
        remedy = "write bq://PROJECT.DATASET.TABLE"
        raise UserError(f"{name!r} is not a BigQuery table", remedy=remedy) from None
    client = _client(default or reference.project)
    retry = bigquery.DEFAULT_RETRY.with_timeout(TIMEOUT_S)
    table = _call(name, lambda: client.get_table(reference, retry=retry, timeout=TIMEOUT_S))
    if table.table_type in ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL"):
        remedy = "copy it into a table: CREATE TABLE ... AS SELECT * FROM it"
        raise UserError(f"bq://{name} is a {table.table_type}, not a table", remedy=remedy)
    columns = tuple(field.name for field in table.schema)

    def rows() -> Iterator[JsonObject]:
        listing = client.list_rows(table, page_size=page_rows, retry=retry, timeout=TIMEOUT_S)
        pages = iter(listing.pages)
        while (page := _call(name, lambda: next(pages, None))) is not None:
            for row in page:
                yield dict(row.items())

    return Table(columns, rows())


def _client(project: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

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

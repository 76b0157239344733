# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A BigQuery table as rows.

Source: google-cloud-bigquery (tables.get, then tabledata.list page by page: no query is run, so nothing is billed).
The client honours BIGQUERY_EMULATOR_HOST, so the same code reads from a server on a laptop. Promise: rows come as a
stream, one page in memory; a table that cannot be read is a `UserError` that says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gemtune.errors import UserError
from gemtune.vertex import PermanentError, TransientError, require_credentials, translate_errors

PAGE_ROWS = 5_000
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table's column names, and its rows by column name (nested records as dicts and lists)."""

    columns: tuple[str, ...]
    rows: Iterator[dict[str, Any]]


def open_table(name: str, page_rows: int = PAGE_ROWS) -> Table:
    """The table PROJECT.DATASET.TABLE; its rows are fetched as they are asked for, `page_rows` at a time.

    Raises `UserError` when the name is no table's, there is no such table, it may not be read, or it is a view.
    """
    from google.cloud import bigquery

    default = os.environ.get("GOOGLE_CLOUD_PROJECT") or None
    try:
        reference = bigquery.TableReference.from_string(name, default_project=default)
    except ValueError:
        remedy = "write bq://PROJECT.DATASET.TABLE"
        raise UserError(f"{name!r} is not a BigQuery table", remedy=remedy) from None
    client = _client(default or reference.project)
    retry = bigquery.DEFAULT_RETRY.with_timeout(PATIENCE_S)
    table = _told(name, lambda: client.get_table(reference, retry=retry, timeout=PATIENCE_S))
    if table.table_type in ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL"):
        remedy = "copy it into a table: CREATE TABLE ... AS SELECT * FROM it"
        raise UserError(f"bq://{name} is of the type {table.table_type}, not a table", remedy=remedy)
    columns = tuple(field.name for field in table.schema)

    def rows() -> Iterator[dict[str, Any]]:
        found = client.list_rows(table, page_size=page_rows, retry=retry, timeout=PATIENCE_S)
        pages = iter(found.pages)
        while (page := _told(name, lambda: next(pages, None))) is not None:
            for row in page:
                yield dict(row.items())

    return Table(columns, rows())


def _client(project: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    elsewhere = os.environ.get("BIGQUERY_EMULATOR_HOST", "")
    identity = AnonymousCredentials() if elsewhere else None  # type: ignore[no-untyped-call,unused-ignore]
    return require_credentials(lambda: bigquery.Client(project=project, credentials=identity))


def _told(name: str, call: Any) -> Any:
    try:
        return translate_errors(call)
    except PermanentError as error:
        why = {404: "there is no such table", 403: "you may not read it"}.get(error.code, "it cannot be read")
        remedy = "check project, dataset and table; reading needs the role BigQuery Data Viewer"
        raise UserError(f"bq://{name}: {why}: {error.message}", remedy=remedy) from None
    except TransientError as error:
        raise UserError(f"bq://{name}: BigQuery does not answer: {error}", remedy="try again later") from None

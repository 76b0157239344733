# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A server that speaks the two BigQuery calls that reading a table takes, for the genuine client to talk to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FORBIDDEN = "secret"


class Tables:
    """Tables by name: a schema in BigQuery's own words and rows as Python values; `asked` keeps every path and query.

    `stumbles` requests are answered 503 before the next good answer; the dataset `secret` may not be read.
    """

    def __init__(self, tables: dict[str, dict[str, Any]]) -> None:
        self.tables, self.asked, self.stumbles = tables, list[tuple[str, dict[str, list[str]]]](), 0
        outer = self

        class Call(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                outer.asked.append((url.path, query))
                code, answer = outer.answer(url.path, query)
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Call)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Status and body for tables.get and tabledata.list."""
        if self.stumbles:
            self.stumbles -= 1
            return 503, _error(503, "backendError", "try again")
        _, _, _, _, project, _, dataset, _, table, *data = path.split("/")
        name = f"{project}.{dataset}.{table}"
        if dataset == FORBIDDEN:
            return 403, _error(
                403, "accessDenied", f"Access Denied: Table {name}: Permission bigquery.tables.get denied"
            )
        if name not in self.tables:
            return 404, _error(404, "notFound", f"Not found: Table {name}")
        held = self.tables[name]
        if not data:
            reference = {"projectId": project, "datasetId": dataset, "tableId": table}
            about = {
                "tableReference": reference,
                "schema": {"fields": held["fields"]},
                "type": held.get("type", "TABLE"),
            }
            return 200, {"kind": "bigquery#table", **about, "numRows": str(len(held["rows"]))}
        at, size = int(query.get("pageToken", ["0"])[0]), int(query.get("maxResults", ["1000"])[0])
        page = [_record(row, held["fields"]) for row in held["rows"][at : at + size]]
        more = {"pageToken": str(at + size)} if at + size < len(held["rows"]) else {}
        return 200, {"kind": "bigquery#tableDataList", "totalRows": str(len(held["rows"])), "rows": page, **more}


def _error(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "errors": [{"reason": reason, "message": message}]}}


def _record(row: dict[str, Any], fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"f": [{"v": _value(row.get(field["name"]), field)} for field in fields]}


def _value(value: Any, field: dict[str, Any]) -> Any:
    if field.get("mode") == "REPEATED":
        return [{"v": _value(one, {**field, "mode": "NULLABLE"})} for one in value or []]
    if value is None:
        return None
    return _record(value, field["fields"]) if field["type"] == "RECORD" else str(value)

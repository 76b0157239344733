# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One window of production logs as rows of one shape, whether the service, the predictor or anything else wrote them.

Sources are the BigQuery table of Vertex AI's request-response logging (bq://, or its rows exported to a file), the
predictor's log file, and plain rows of `time`, `text` and `answer`. Guarantees: each request counts once, however often
it was logged; the same window gives the same rows in the same order; a row that cannot be read is kept with its reason.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp
from pathlib import Path

from pydantic import ValidationError

from gemtune.artifacts.production_log import OWN_REQUEST, LogRow, LogWindow, PromptTemplate, UnreadableRow
from gemtune.config import JsonObject, fingerprint
from gemtune.contents import fields_of, is_thought, text_of
from gemtune.data.example import RejectedRow, Row
from gemtune.data.readers import json_row, read_rows
from gemtune.data.sources import BQ, local_path
from gemtune.data.times import parse_iso
from gemtune.errors import UserError
from gemtune.monitoring.windows import LAG
from gemtune.vertex import Client

TIME_COLUMN = "logging_time"
_REQUEST, _RESPONSE = ("full_request", "request_payload"), ("full_response", "response_payload")
COLUMNS = (TIME_COLUMN, "request_id", "endpoint", "model", *_REQUEST, *_RESPONSE)
_OWN = tuple(LogRow.model_fields)


def load_logs(
    source: str,
    window: tuple[datetime, datetime],
    served: Collection[str],
    template: PromptTemplate | None = None,
    max_bytes_billed: int = 0,
    service: Client | None = None,
) -> tuple[list[LogRow | UnreadableRow], LogWindow]:
    """The rows of a window [start, end), by time, and their counts. A request that was logged twice counts when it was
    logged first, also within a day before the window.

    `served` are the endpoints (or base models) whose rows count; rows that name another, those of a base model with
    another prompt, and requests that gemtune sent itself are only counted. `template` is the champion's, which is taken
    out of the texts. A query of BigQuery that would bill more bytes than `max_bytes_billed` fails; 0: no limit. Logs of
    an emulator (`service`) are in its own BigQuery. Raises `UserError` for a source that cannot be read.
    """
    models = {_short(name) for name in served}
    rows: dict[str, LogRow] = {}
    problems: dict[str, UnreadableRow] = {}
    own, before = set[str](), set[str]()
    duplicates = foreign = 0
    span = (window[0] - LAG, window[1])
    for raw in _raw_rows(source, span, max_bytes_billed, service):
        row = _parsed(raw, span, template)
        if row is None:
            continue
        if row.time and row.time < window[0]:  # of the window before, which may have been logged again in this one
            before |= {row.id} if isinstance(row, LogRow) else set()
            continue
        named = {} if isinstance(raw, RejectedRow) else raw[1]  # also by a row that cannot be read
        endpoint = row.endpoint if isinstance(row, LogRow) else str(named.get("endpoint") or "")
        is_foreign = bool(models and endpoint and _short(endpoint) not in models)  # and may have a form of its own
        if is_foreign or (isinstance(row, LogRow) and template and _is_of_another_prompt(row, template)):
            foreign += 1
        elif isinstance(row, _OwnRequest):
            own.add(row.id)
        elif isinstance(row, UnreadableRow):
            problems.setdefault(row.id, row)
        else:
            duplicates += row.id in rows
            rows[row.id] = min(row, rows.get(row.id, row), key=lambda item: item.time)
    again = before & rows.keys()
    duplicates, rows = duplicates + len(again), {key: row for key, row in rows.items() if key not in again}
    # logged again, and then whole
    problems = {key: problem for key, problem in problems.items() if key not in rows and key not in before}
    readable = sorted(rows.values(), key=lambda row: (row.time, row.id))
    counts = LogWindow(
        source=source,
        start=window[0],
        end=window[1],
        rows=len(readable),
        endpoints=Counter(row.endpoint for row in readable),
        unreadable=Counter(row.problem for row in problems.values()),
        duplicates=duplicates,
        foreign=foreign,
        own=len(own),
    )
    return [*readable, *problems.values()], counts


def load_requests(
    source: str, window: tuple[datetime, datetime], text_column: str, max_bytes_billed: int = 0
) -> tuple[list[LogRow], int, int]:
    """Requests of any model, or plain rows that may have no time, each once; how many rows cannot be read; how many
    requests are left out because gemtune sent them itself.
    """
    rows, own, unreadable = dict[str, LogRow](), set[str](), 0
    for raw in _raw_rows(source, window, max_bytes_billed):
        if not isinstance(raw, RejectedRow) and not any(name in raw[1] for name in (*_REQUEST, *_RESPONSE)):
            line, fields = raw
            text = fields.get("text", fields.get(text_column))
            raw = line, {"id": f"line {line}", "time": window[0].isoformat(), "text": text}
        row = _parsed(raw, window, None)
        unreadable += isinstance(row, UnreadableRow)
        if isinstance(row, _OwnRequest):
            own.add(row.id)
        elif isinstance(row, LogRow):
            rows[row.id] = row
    return list(rows.values()), unreadable, len(own)


def require_source(source: str, is_local: bool = False) -> None:
    """Raise `UserError` when no logs are named, or, where they are read on this machine, a file that does not exist."""
    if not source or (is_local and "://" not in source and not Path(source).exists()):
        raise UserError(
            f"monitor.logs: there is no file {source!r}" if source else "monitor.logs is empty",
            remedy="set it to bq://PROJECT.DATASET.TABLE, or to a file of rows",
        )


def _raw_rows(
    source: str, window: tuple[datetime, datetime], max_bytes_billed: int, service: Client | None = None
) -> Iterator[Row | RejectedRow]:
    if source.startswith(BQ):
        from gemtune.vertex import bigquery

        name = source.removeprefix(BQ)
        rows = bigquery.read_span(name, COLUMNS, TIME_COLUMN, window, max_bytes_billed, service=service)
        for number, row in enumerate(rows, 1):
            yield json_row(number, row)
        return
    with local_path(source) as path:
        if path.is_file() and not path.stat().st_size:  # nothing was logged, which is no mistake
            return
        for item in read_rows(path, source):
            if isinstance(item, tuple | RejectedRow):
                yield item


def _is_of_another_prompt(row: LogRow, template: PromptTemplate) -> bool:
    """Whether a base model was called with another system instruction (the same template, where there is none): the log
    of a base model has the requests of everybody, and nothing else says whose they are.
    """
    if "/publishers/" not in row.endpoint or row.system is None:
        return False
    return fingerprint(row.system) != template.system or (not row.system and row.follows_template is False)


def _short(name: str) -> str:
    """What names a model in any notation: the location and id of an endpoint, the id of a base model."""
    parts = name.split("/")
    return "/".join(parts[2:]) if "endpoints" in parts else parts[-1].partition("@")[0]


class _Unreadable(Exception):
    """Why a row cannot be read, without anything of its texts."""


@dataclass(frozen=True, slots=True)
class _OwnRequest:
    """A row whose request gemtune sent itself, readable or not: no traffic."""

    id: str
    time: datetime


def _parsed(
    raw: Row | RejectedRow, window: tuple[datetime, datetime], template: PromptTemplate | None
) -> LogRow | UnreadableRow | _OwnRequest | None:
    """The row, None outside the window. A request without an id has that of its content: it counts once, too."""
    line, fields = (raw.line, {}) if isinstance(raw, RejectedRow) else raw
    own_id = str(fields.get("request_id") or fields.get("id") or "")
    moment = None
    try:
        if isinstance(raw, RejectedRow):
            raise _Unreadable(raw.reason.replace("_", " "))
        moment = _moment(fields)
        if not window[0] <= moment < window[1]:
            return None
        if any(name in fields for name in (*_REQUEST, *_RESPONSE)):
            if not (requests := _documents(fields, _REQUEST)):
                raise _Unreadable("no request")
            request = fields_of(requests[0])
            if OWN_REQUEST.items() <= (request.get("labels") or {}).items():
                return _OwnRequest(own_id or fingerprint(fields), moment)
            values = _logged(fields, request, template)
        else:
            values = {k: v for k, v in fields.items() if k in _OWN}
        return LogRow.model_validate({**values, "id": own_id or fingerprint(fields), "time": moment})
    except ValidationError as error:
        problem = "; ".join(f"{item['loc'][0]}: {item['type'].replace('_', ' ')}" for item in error.errors())
    except _Unreadable as error:
        problem = str(error)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        problem = "not in the form of a request and its response"
    return UnreadableRow(id=own_id or f"line {line}", problem=problem, time=moment)


def _moment(fields: JsonObject) -> datetime:
    """The row's time; without an offset it is UTC."""
    value = fields.get(TIME_COLUMN) or fields.get("time")
    if value is None:
        raise _Unreadable("no time")
    try:
        moment = parse_iso(str(value))
    except ValueError:
        raise _Unreadable("the time is not in ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _logged(fields: JsonObject, request: JsonObject, template: PromptTemplate | None) -> JsonObject:
    """The values of a row of request-response logging, of whose response the payloads may count, too."""
    turn = text_of(fields_of(request["contents"][-1])["parts"])
    system = fields_of(request.get("systemInstruction") or {}).get("parts") or []
    text = template.text_of(turn) if template else None
    return {
        "endpoint": fields.get("endpoint") or fields.get("model") or "",
        "text": turn if text is None else text,
        "follows_template": None if template is None else text is not None and len(request["contents"]) == 1,
        "system": text_of(system),
        "config": fields_of(request.get("generationConfig") or {}),
        "slices": request.get("labels") or {},
        **_answer([fields_of(response) for response in _documents(fields, _RESPONSE)]),
    }


def _documents(fields: JsonObject, names: Sequence[str]) -> list[JsonObject]:
    """The request, or the chunks of the response, in the first of these columns that has a value."""
    for name in names:
        if value := fields.get(name):
            items = value if isinstance(value, list) else [value]
            return [json.loads(item) if isinstance(item, str) else item for item in items]
    return []


def _answer(chunks: Sequence[JsonObject]) -> JsonObject:
    """Answer, finish reason, tokens and probability of a response, which a stream returns in chunks."""
    if not chunks:
        raise _Unreadable("no response")
    candidates = [fields_of(chunk["candidates"][0]) for chunk in chunks if chunk.get("candidates")]
    parts = [part for candidate in candidates for part in (candidate.get("content") or {}).get("parts") or []]
    spoken = [part for part in parts if not is_thought(part)]
    usage = fields_of(chunks[-1].get("usageMetadata") or {})
    blocked: JsonObject = next((chunk["promptFeedback"] for chunk in chunks if chunk.get("promptFeedback")), {})
    last = candidates[-1] if candidates else {}
    mean, count = last.get("avgLogprobs"), usage.get("candidatesTokenCount")
    return {
        "answer": text_of(spoken) if spoken else None,
        "finish": fields_of(blocked).get("blockReason") or last.get("finishReason") or ("" if last else "OTHER"),
        "confidence": None if mean is None or not count else min(1.0, exp(mean * count)),
        "tokens": int(usage.get("totalTokenCount") or 0),
    }

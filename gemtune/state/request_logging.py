# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Request-response logging of the champion's endpoint: kept in the champion's record, because each checkpoint has its
own endpoint and a new one logs nothing. All champions of a name log to one table; a prompt's requests are logged by its
base model, with those of everybody else in the project and location.
"""

import logging
import re
from dataclasses import dataclass

from gemtune.artifacts.records import LoggingSettings
from gemtune.errors import UserError
from gemtune.state import champion
from gemtune.vertex import Client, bigquery, models, serving_location
from gemtune.vertex.calls import PermanentError

log = logging.getLogger("gemtune")

_TABLE = re.compile(r"bq://[^./]+\.[^./]+\.[^./]+")
_MULTI_REGIONS = {"us": "us-", "eu": "europe-"}


def record(client: Client, name: str, table: str, sampling_rate: float) -> None:
    """Keep where the champions of a name log their requests (bq://PROJECT.DATASET.TABLE); a rate of 0: not at all.

    `reconcile` makes the endpoint follow. Raises `UserError` for a table that is not named in full.
    """
    if sampling_rate and not _TABLE.fullmatch(table):
        remedy = "set monitor.logs to bq://PROJECT.DATASET.TABLE, in the region of the endpoint"
        raise UserError(f"{table!r} is not a BigQuery table", remedy=remedy)
    kept = LoggingSettings(table=table, sampling_rate=sampling_rate)
    champion.update(client, name, lambda record: record.model_copy(update={"logging": kept}))


def apply(client: Client, kept: LoggingSettings | None, endpoint: str) -> None:
    """Make an endpoint log as its champion's record says; one that says nothing changes nothing."""
    if not kept:
        return
    recorded = (kept.table, kept.sampling_rate) if kept.sampling_rate else ("", 0.0)
    try:
        if models.request_logging(client, endpoint) != recorded:
            models.set_request_logging(client, endpoint, *recorded)
    except PermanentError as error:  # the endpoint serves all the same
        log.warning("%s logs no requests to %s: %s", endpoint, kept.table, error.message)


@dataclass(frozen=True)
class LoggingStatus:
    """Where the champion's endpoint logs its requests, and what keeps monitoring from working."""

    endpoint: str
    table: str
    sampling_rate: float
    problems: list[str]


def status(client: Client, name: str, logs: str) -> LoggingStatus:
    """The logging of the champion of a name, which `logs` (the setting) should name. Nothing is changed."""
    serving = champion.read(client, name).variant
    if serving is None:
        return LoggingStatus("", "", 0.0, [f"{name} has no champion: nothing is logged yet"])
    table, rate = models.request_logging(client, serving.model)
    problems = []
    if not rate:
        problems.append(f"request-response logging is off at {serving.model}: run gemtune logging enable")
    elif logs.startswith("bq://") and table != logs:
        problems.append(f"{serving.model} logs to {table}, but monitor.logs is {logs}: run gemtune logging enable")
    if rate:
        problems += _table_problems(client, table, serving_location(client, serving.model))
    return LoggingStatus(serving.model, table, rate, problems)


def _table_problems(client: Client, table: str, region: str) -> list[str]:
    try:
        own = bigquery.location(table.removeprefix("bq://"), client).lower()
    except UserError as error:
        return [str(error)]
    if own == region or region.startswith(_MULTI_REGIONS.get(own, own)):
        return []
    return [f"{table} is in {own}, the endpoint in {region}: name a table in the endpoint's region"]

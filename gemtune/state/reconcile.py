# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Make registry and endpoints what the champion's record says: deployment, default checkpoint, request-response
logging, alias.

The record (`state.champion`) alone decides; everything else is derived from it and may be derived again at any time, so
what a killed run left half done is completed by the next command on the same name. Logging is in the record because
each checkpoint has its own endpoint, and a new one logs nothing. All champions of a name log to one table; a prompt's
requests are logged by its base model, with those of everybody else in the project and location.
"""

import logging
import re
from dataclasses import dataclass

from gemtune.artifacts.records import LoggingSettings
from gemtune.config import ModelVariant
from gemtune.errors import UserError
from gemtune.state import champion
from gemtune.vertex import Client, bigquery, models, serving_location
from gemtune.vertex.calls import PermanentError

log = logging.getLogger("gemtune")

ROUNDS = 10
_TABLE = re.compile(r"bq://[^./]+\.[^./]+\.[^./]+")
_MULTI_REGIONS = {"us": "us-", "eu": "europe-"}


def reconcile(client: Client, name: str) -> ModelVariant | None:
    """Derive everything from the record of a name; returns its champion, None when there is none.

    The record may change meanwhile (another run ends), then it is done again. Raises `UserError` when it never rests.
    """
    for _ in range(ROUNDS):
        record = champion.read(client, name)
        if not record.current:
            return None
        current = record.current.variant
        if current.is_tuned:
            serve(client, current)
            if record.alias not in models.aliases(client, current.tuned_model):
                models.set_alias(client, current.tuned_model, record.alias)
        _apply_logging(client, record.logging, current.model)
        for left in {entry.variant.tuned_model for entry in record.entries} - {current.tuned_model, ""}:
            models.remove_alias(client, left, record.alias)
        if champion.read(client, name).generation == record.generation:
            return current
    raise UserError(f"the champion of {name!r} keeps changing", remedy="let other runs of this name end first")


def serve(client: Client, variant: ModelVariant) -> None:
    """Make sure that the checkpoint answers at its endpoint and is its model's default."""
    models.deploy(client, variant.model, variant.tuned_model, variant.checkpoint_id)
    default = models.default_checkpoint(client, variant.tuned_model) if variant.checkpoint_id else ""
    if default != variant.checkpoint_id:
        models.set_default_checkpoint(client, variant.tuned_model, variant.checkpoint_id)


def record_logging(client: Client, name: str, table: str, sampling_rate: float) -> None:
    """Keep where the champions of a name log their requests (bq://PROJECT.DATASET.TABLE); a rate of 0: not at all.

    `reconcile` makes the endpoint follow. Raises `UserError` for a table that is not named in full.
    """
    if sampling_rate and not _TABLE.fullmatch(table):
        remedy = "set monitor.logs to bq://PROJECT.DATASET.TABLE, in the region of the endpoint"
        raise UserError(f"{table!r} is not a BigQuery table", remedy=remedy)
    kept = LoggingSettings(table=table, sampling_rate=sampling_rate)
    champion.update(client, name, lambda record: record.model_copy(update={"logging": kept}))


def _apply_logging(client: Client, kept: LoggingSettings | None, endpoint: str) -> None:
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


def logging_status(client: Client, name: str, logs: str) -> LoggingStatus:
    """The logging of the champion of a name, which `logs` (the setting) should name. Nothing is changed."""
    serving = champion.read(client, name).variant
    if serving is None:
        return LoggingStatus("", "", 0.0, [f"{name} has no champion: nothing is logged yet"])
    table, rate = models.request_logging(client, serving.model)
    problems = []
    if not rate:
        first = "" if logs.startswith("bq://") else "set monitor.logs to bq://PROJECT.DATASET.TABLE and "
        problems.append(f"request-response logging is off at {serving.model}: {first}run gemtune logging enable")
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

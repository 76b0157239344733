# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Request-response logging: its configuration on endpoints and base models, and the rows that answers write.

Requests are sampled by a counter, not at random: of any N consecutive requests the rate's share is logged, to within
one.
"""

import json
import math
import re
from collections import Counter

from emulator.core.google_rest import ApiError, Call, Fields, Json, bad_field, not_found
from emulator.core.state import State
from emulator.services.bigquery import BigQuery
from emulator.services.collection import Operations

CONFIG = "predictRequestResponseLoggingConfig"


class RequestLogs:
    """The logging of endpoints (in their own resource) and of base models (a resource of its own)."""

    def __init__(self, state: State, bigquery: BigQuery) -> None:
        self._state = state
        self._operations = Operations(state)
        self._bigquery = bigquery
        self._counts: Counter[str] = Counter()

    def read(self, call: Call, fields: Fields, resource: Json) -> Json:
        """The validated logging configuration of an endpoint or base model; creates its table."""
        names = ["enabled", "samplingRate", "bigqueryDestination", "requestResponseLoggingSchemaVersion"]
        fields.only(*names, *(["enableOtelLogging"] if call.version == "v1beta1" else []))
        if not fields.boolean("enabled"):
            return {}
        if not 0 < fields.number("samplingRate", 0) <= 1:
            raise fields.error("samplingRate", "must be in the range (0, 1].")
        uri = fields.object("bigqueryDestination").text("outputUri")
        self._bigquery.create(destination(uri, resource), resource["name"].split("/")[3])
        return fields.value

    def set_model(self, call: Call) -> Json:
        """An operation with the base model's new configuration."""
        name = _base_model(call)
        fields = call.fields("request").object("publisherModelConfig").object("loggingConfig")
        config = {"loggingConfig": self.read(call, fields, {"name": name, "displayName": call.params["model"]})}
        self._state.put("publisherModelConfigs", name, {"name": name, **config})
        return self._operations.done(call, name, "SetPublisherModelConfig", "PublisherModelConfig", config)

    def fetch_model(self, call: Call) -> Json:
        """The base model's configuration."""
        stored = self._state.get(_base_model(call))
        if stored is None:
            raise not_found(f"PublisherModelConfig of {call.params['model']}")
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
        raise bad_field(("bigquery_destination.output_uri", message))
    own = re.sub(r"\W", "_", f"logging_{resource.get('displayName', '')}_{resource['name'].rsplit('/', 1)[-1]}")
    return match[1], match[2] or own, match[3] or "request_response_logging"

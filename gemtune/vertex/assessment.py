# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The service's own assessment of tuning rows, before a job is paid: its errors, and its count of tokens.

Source: the calls of `agentplatform` 1.165, `client.datasets` (v1beta1): the rows are loaded into a BigQuery table of
one column, a multimodal dataset names the table, and the dataset is assessed. Guarantee: table and dataset are deleted.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from gemtune.artifacts.tuning import DataAssessment
from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.vertex import Client, bigquery, service_host
from gemtune.vertex.calls import PermanentError

SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/multimodal_1.0.0.yaml"
COLUMN = "requests"
POLL_S, DEADLINE_S = 2.0, 600.0


def assess(client: Client, uri: str, model: str, split: str, folder: str) -> DataAssessment:
    """The assessment of the supervised rows in a JSON Lines file, as rows of `split` (train or validation).

    `folder` is the BigQuery dataset (DATASET or PROJECT.DATASET) for the table. Raises `UserError` where the service
    refuses.
    """
    usage = "SFT_TRAINING" if split == "train" else "SFT_VALIDATION"
    try:
        with _dataset(client, uri, folder) as name:
            validity = {"modelName": model, "datasetUsage": usage}
            # JSON leaves out what is empty or 0
            result = _operation(client, f"{name}:assess", {"tuningValidationAssessmentConfig": validity})
            if errors := (result.get("tuningValidationAssessmentResult") or {}).get("errors"):
                return DataAssessment(split=split, errors=[str(error) for error in errors])
            result = _operation(client, f"{name}:assess", {"tuningResourceUsageAssessmentConfig": {"modelName": model}})
            counts = result.get("tuningResourceUsageAssessmentResult") or {}
    except PermanentError as error:
        remedy = "leave plan.assessment_dataset empty, or correct what the service names"
        raise UserError(f"the service does not assess the {split} rows: {error.message}", remedy=remedy) from None
    return DataAssessment(split=split, tokens=int(counts.get("tokenCount") or 0))


@contextmanager
def _dataset(client: Client, uri: str, folder: str) -> Iterator[str]:
    """The name of a dataset with the rows, which exists as long as the context."""
    table = f"{folder if '.' in folder else f'{client.project}.{folder}'}.gemtune_{uuid.uuid4().hex}"
    bigquery.load_json_lines(client, uri, table, COLUMN)
    try:
        metadata = {
            "inputConfig": {"bigquerySource": {"uri": f"bq://{table}"}},
            "geminiRequestReadConfig": {"assembledRequestColumnName": COLUMN},
        }
        body = {"displayName": "gemtune-assessment", "metadataSchemaUri": SCHEMA, "metadata": metadata}
        name = str(_operation(client, f"{client.parent}/datasets", body)["name"])
        try:
            yield name
        finally:
            client.rest("DELETE", service_host(client.location), f"v1beta1/{name}")
    finally:
        bigquery.delete_table(client, table)


def _operation(client: Client, path: str, body: JsonObject) -> JsonObject:
    """The response of the operation that a call starts; raises `PermanentError` for one that failed or takes long."""
    host, deadline = service_host(client.location), time.monotonic() + DEADLINE_S
    operation = client.rest("POST", host, f"v1beta1/{path}", body)
    while not operation.get("done"):
        if time.monotonic() > deadline:
            raise PermanentError(504, f"{operation['name']} has not ended after {DEADLINE_S:g} s")
        time.sleep(POLL_S)
        operation = client.rest("GET", host, f"v1beta1/{operation['name']}")
    if error := operation.get("error"):
        raise PermanentError(int(error.get("code") or 500), str(error.get("message") or "no reason given"))
    response: JsonObject = operation.get("response") or {}
    return response

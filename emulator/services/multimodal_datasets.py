# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Multimodal datasets: a BigQuery table of requests, whose use for tuning the service assesses.

Source: the calls of the SDK's `client.datasets`.
"""

from typing import Any

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Call, Json, camelize, snake
from emulator.core.messages import check
from emulator.services.collection import Collection
from emulator.services.datasets import Dataset, measure, parse_training_row, read_parsed
from emulator.services.request_logs import BigQuery
from emulator.services.training import Services

SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/multimodal_1.0.0.yaml"
_VALIDITY, _RESOURCES = "tuningValidationAssessmentConfig", "tuningResourceUsageAssessmentConfig"


class MultimodalDatasets(Collection):
    """The datasets collection, of multimodal datasets only."""

    kind, title, parameter = "datasets", "Dataset", "dataset"

    def __init__(self, services: Services, bigquery: BigQuery) -> None:
        super().__init__(services.state)
        self._services, self._bigquery = services, bigquery

    def create(self, call: Call) -> Json:
        """An operation with a new dataset; 400 for a table that does not exist."""
        if call.body["metadataSchemaUri"] != SCHEMA:
            raise ApiError(400, f"metadataSchemaUri: the emulator has multimodal datasets only ({SCHEMA}).")
        metadata = check(camelize(call.body["metadata"]), "MultimodalDatasetMetadata")
        self._bigquery.lines(metadata["inputConfig"]["bigquerySource"]["uri"], "dataset.metadata")
        body = {"displayName": call.body["displayName"], "metadataSchemaUri": SCHEMA, "metadata": metadata}
        dataset = self.insert(call.parent, body)
        return self._operations.done(call, dataset["name"], "CreateDataset", "Dataset", dataset)

    def assess(self, call: Call) -> Json:
        """An operation with an assessment; 400 for a model that is not tuned so, or an unknown column."""
        dataset, body, catalogue = self.requested(call), call.body, self._services.catalogue
        key = _RESOURCES if _RESOURCES in body else _VALIDITY
        config = body[key]
        if (entry := catalogue.tunable(config["modelName"], "supervised")) is None:
            problem = f"{config['modelName'][:200]} cannot be tuned. Supported: {catalogue.names('supervised')}."
            raise ApiError.field(f"assess_data_request.{snake(key)}.model_name", problem)
        lines = self._lines(dataset, body.get("geminiRequestReadConfig"))
        if key == _RESOURCES:
            data = self._data(entry, lines)
            characters = sum(len("".join(turn.text.split())) for row in data.rows for turn in row.turns)
            usage = {"tokenCount": str(sum(map(sum, data.tokens))), "billableCharacterCount": str(characters)}
            response: Json = {"tuningResourceUsageAssessmentResult": usage}
        else:
            response = {"tuningValidationAssessmentResult": {"errors": self._errors(entry, lines, config)}}
        return self._operations.done(call, dataset["name"], "AssessData", "AssessDataResponse", response)

    def _lines(self, dataset: Json, own: Json | None) -> list[Any]:
        """The requests in the column that the call, or else the dataset, names."""
        metadata = dataset["metadata"]
        column = (own or metadata.get("geminiRequestReadConfig", {})).get("assembledRequestColumnName", "")
        uri = metadata["inputConfig"]["bigquerySource"]["uri"]
        rows = self._bigquery.lines(uri, "metadata")
        if any(column not in row for row in rows):
            place = "gemini_request_read_config.assembled_request_column_name"
            raise ApiError.field(place, f"{uri} has no column {column[:80]!r}.")
        return [row[column] for row in rows]

    def _data(self, entry: BaseModelEntry, lines: list[Any]) -> Dataset[Any]:
        rows, problems = read_parsed(enumerate(lines, 1), parse_training_row)
        limit = self._services.catalogue.limits["supervised"].tokens_per_example
        return measure(rows, problems, self._services.engines.engine(entry).row_tokens, limit)

    def _errors(self, entry: BaseModelEntry, lines: list[Any], config: Json) -> list[str]:
        limits = self._services.catalogue.limits["supervised"]
        training = config["datasetUsage"] == "SFT_TRAINING"
        most = limits.training_examples if training else limits.validation_examples
        errors = [] if lines else ["the dataset has no examples."]
        errors += [f"the dataset has {len(lines)} examples; at most {most} are allowed."] if len(lines) > most else []
        return [*errors, *(f"example {line}: {reason}" for line, reason in self._data(entry, lines).dropped)]

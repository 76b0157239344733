# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Multimodal datasets: a BigQuery table of requests, whose use for tuning the service assesses.

Source: the calls of the SDK's `client.datasets`.
"""

from typing import Any

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Call, Fields, Json, camelize
from emulator.core.messages import check
from emulator.services.collection import Collection
from emulator.services.datasets import Dataset, measure, parse_training_row, read_parsed
from emulator.services.request_logs import BigQuery
from emulator.services.training import Services

SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/multimodal_1.0.0.yaml"
_VALIDITY, _RESOURCES = "tuningValidationAssessmentConfig", "tuningResourceUsageAssessmentConfig"
_BATCH = ("batchPredictionResourceUsageAssessmentConfig", "batchPredictionValidationAssessmentConfig")


class MultimodalDatasets(Collection):
    """The datasets collection, of multimodal datasets only."""

    kind, title, parameter = "datasets", "Dataset", "dataset"

    def __init__(self, services: Services, bigquery: BigQuery) -> None:
        super().__init__(services.state)
        self._services, self._bigquery = services, bigquery

    def create(self, call: Call) -> Json:
        """An operation with a new dataset; 400 for a table that does not exist."""
        fields = call.fields("dataset")
        if fields.text("metadataSchemaUri") != SCHEMA:
            raise ApiError(400, f"metadataSchemaUri: the emulator has multimodal datasets only ({SCHEMA}).")
        metadata = Fields(camelize(fields.object("metadata").value), "dataset.metadata")
        source = metadata.object("inputConfig").object("bigquerySource")
        self._bigquery.lines(source)
        body = {"displayName": fields.text("displayName"), "metadataSchemaUri": SCHEMA, "metadata": metadata.value}
        dataset = self.insert(call.parent, body)
        return self._operations.done(call, dataset["name"], "CreateDataset", "Dataset", dataset)

    def assess(self, call: Call) -> Json:
        """An operation with an assessment; 400 for a model that is not tuned so, or an unknown column."""
        dataset, fields = self.requested(call), call.fields("assess_data_request")
        if any(key in fields for key in _BATCH):
            raise ApiError(400, "Assessments for batch prediction are not implemented by the emulator.")
        check(fields, "AssessDataRequest")
        config = fields.object(fields.one_of("assessmentConfig", _VALIDITY, _RESOURCES))
        name, catalogue = config.text("modelName"), self._services.catalogue
        if (entry := catalogue.tunable(name, "supervised")) is None:
            supported = catalogue.names("supervised")
            raise config.error("modelName", f"{name[:200]} cannot be tuned. Supported: {supported}.")
        lines = self._lines(dataset, fields)
        if _RESOURCES in fields:
            data = self._data(entry, lines)
            characters = sum(len("".join(turn.text.split())) for row in data.rows for turn in row.turns)
            usage = {"tokenCount": str(sum(map(sum, data.tokens))), "billableCharacterCount": str(characters)}
            response: Json = {"tuningResourceUsageAssessmentResult": usage}
        else:
            response = {"tuningValidationAssessmentResult": {"errors": self._errors(entry, lines, config)}}
        return self._operations.done(call, dataset["name"], "AssessData", "AssessDataResponse", response)

    def _lines(self, dataset: Json, fields: Fields) -> list[Any]:
        """The requests in the column that the call, or else the dataset, names."""
        own = fields.object("geminiRequestReadConfig")
        read = own if own.value else Fields(dataset["metadata"]).object("geminiRequestReadConfig")
        if "templateConfig" in read:
            raise ApiError(400, "geminiRequestReadConfig.templateConfig is not implemented by the emulator.")
        column = read.text("assembledRequestColumnName", "")
        source = Fields(dataset["metadata"], "metadata").object("inputConfig").object("bigquerySource")
        rows = self._bigquery.lines(source)
        if any(column not in row for row in rows):
            raise read.error("assembledRequestColumnName", f"{source.text('uri')} has no column {column[:80]!r}.")
        return [row[column] for row in rows]

    def _data(self, entry: BaseModelEntry, lines: list[Any]) -> Dataset[Any]:
        rows, problems = read_parsed(enumerate(lines, 1), parse_training_row)
        limit = self._services.catalogue.limits["supervised"].tokens_per_example
        return measure(rows, problems, self._services.engines.engine(entry).row_tokens, limit)

    def _errors(self, entry: BaseModelEntry, lines: list[Any], config: Fields) -> list[str]:
        limits = self._services.catalogue.limits["supervised"]
        training = config.text("datasetUsage") == "SFT_TRAINING"
        most = limits.training_examples if training else limits.validation_examples
        errors = [] if lines else ["the dataset has no examples."]
        errors += [f"the dataset has {len(lines)} examples; at most {most} are allowed."] if len(lines) > most else []
        return [*errors, *(f"example {line}: {reason}" for line, reason in self._data(entry, lines).dropped)]

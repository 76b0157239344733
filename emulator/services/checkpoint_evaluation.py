# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation during tuning: each checkpoint answers the validation set, and metrics of the answers are recorded.

What the service does with `evaluationConfig`: the prompts of the validation rows are sent to the checkpoint, the last
model turn is the reference, every metric scores every answer, and the aggregates appear in the job's
`evaluateDatasetRuns`. Scores of single rows and the aggregates are also written to Cloud Storage. Pairwise metrics
compare with answers of the base model. A failed evaluation is recorded with its error; the tuning job continues.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import NAMES, ApiError, Fields, Json
from emulator.engines.base import Cancelled, PreferenceRow, Row, TrainingRow
from emulator.services.datasets import contents
from emulator.services.evaluation import Evaluation, computed_metric
from emulator.services.inference import Inference, read_request, response_text
from emulator.services.storage import Storage, split_uri

_AGGREGATES: list[str] = NAMES["aggregationMetrics"]
_RESULTS: dict[str, str] = NAMES["metricResults"]
_CONCURRENT = 64


def read_evaluation_config(fields: Fields, entry: BaseModelEntry, storage: Storage) -> Json:
    """A validated `evaluationConfig`; 400 for invalid values and metrics that are not implemented."""
    metrics = [_read_metric(metric) for metric in fields.objects("metrics")]
    destination = fields.object("outputConfig").object("gcsDestination")
    prefix = destination.text("outputUriPrefix")
    try:
        storage.bucket(split_uri(prefix.rstrip("/") + "/x")[0])
    except ApiError as error:
        raise destination.error("outputUriPrefix", f"{prefix[:300]}: {error.message}") from error
    result: Json = {"metrics": metrics, "outputConfig": {"gcsDestination": {"outputUriPrefix": prefix}}}
    if "autoraterConfig" in fields:
        result["autoraterConfig"] = fields.object("autoraterConfig").value
    if "inferenceGenerationConfig" in fields:
        config = fields.object("inferenceGenerationConfig").value
        read_request(Fields({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config}), entry, None)
        result["inferenceGenerationConfig"] = config
    return result


def _read_metric(metric: Fields) -> Json:
    kinds = [key for key in metric.value if key in _RESULTS and key in metric]
    if not kinds:
        other = next((key for key in metric.value if key.endswith("Spec") and key in metric), "")
        if other:
            raise ApiError(400, f"{metric.path}: {other[:80]} is not implemented by the emulator.")
        raise metric.error("", "exactly one metric spec is required.")
    if len(kinds) > 1:
        raise metric.error("", f"exactly one metric spec is required, not {', '.join(kinds)}.")
    computed_metric(metric, {"response": "", "reference": ""})  # an invalid spec is a 400 now, not after the training
    listed = metric.value.get("aggregationMetrics") or ["AVERAGE"]
    names = [_aggregate_name(metric, item) for item in (listed if isinstance(listed, list) else [listed])]
    return {kinds[0]: metric.object(kinds[0]).value, "aggregationMetrics": names}


def _aggregate_name(metric: Fields, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(_AGGREGATES):
        return _AGGREGATES[value - 1]
    if value not in _AGGREGATES:
        raise metric.error("aggregationMetrics", f"Invalid value: {str(value)[:80]!r}.")
    return str(value)


def aggregate(name: str, scores: Sequence[float]) -> float:
    """An aggregate of the scores of all rows, by the service's name; percentiles are interpolated."""
    if name == "STANDARD_DEVIATION":
        return statistics.stdev(scores) if len(scores) > 1 else 0.0
    if name == "VARIANCE":
        return statistics.variance(scores) if len(scores) > 1 else 0.0
    if name.startswith("PERCENTILE_P"):
        percentiles = statistics.quantiles(scores if len(scores) > 1 else [*scores] * 2, n=100, method="inclusive")
        return percentiles[int(name.removeprefix("PERCENTILE_P")) - 1]
    functions: dict[str, Callable[[Sequence[float]], float]] = {
        "AVERAGE": statistics.fmean,
        "MODE": statistics.mode,
        "MINIMUM": min,
        "MAXIMUM": max,
        "MEDIAN": statistics.median,
    }
    return float(functions[name](scores))


@dataclass(frozen=True)
class EvaluationSample:
    """The prompt of a validation row as a request body and as text, with its reference answer."""

    body: Json
    prompt: str
    reference: str

    @classmethod
    def of(cls, row: Row) -> EvaluationSample:
        """The sample of a row; the reference of a preference row is its chosen answer."""
        turns = row.turns
        if isinstance(row, TrainingRow):
            turns, reference = turns[:-1], turns[-1].text
        else:
            reference = row.chosen if isinstance(row, PreferenceRow) else ""
        body: Json = {"contents": contents(turns)}
        if row.system:
            body["systemInstruction"] = {"parts": [{"text": row.system}]}
        return cls(body, "\n".join(turn.text for turn in turns), reference)


class CheckpointEvaluation:
    """The evaluations of one tuning job; pairwise metrics compare with the answers of `base`."""

    def __init__(
        self,
        services: tuple[Evaluation, Inference, Storage],
        config: Json,
        dataset_uri: str,
        rows: Sequence[Row],
        base: str,
        seed: int,
    ) -> None:
        self._evaluation, self._inference, self._storage = services
        self._config = config
        self._dataset_uri = dataset_uri
        self._samples = [EvaluationSample.of(row) for row in rows]
        self._base = base
        self._seed = seed
        self._base_answers: list[str] | None = None

    def run(self, model: str, name: str, should_stop: Callable[[], bool]) -> Json:
        """An EvaluateDatasetResponse for one model reference, its files under `name`; `ApiError`, `Cancelled`."""
        metrics = [Fields(metric, f"metrics[{n}]") for n, metric in enumerate(self._config["metrics"])]
        if self._base_answers is None and any("pairwiseMetricSpec" in metric for metric in metrics):
            self._base_answers = self._answers(self._base, should_stop)
        answers = self._answers(model, should_stop)
        scores = self._for_each(lambda n: self._score(metrics, n, answers[n]), should_stop)
        results = [
            result for n, metric in enumerate(metrics) for result in _aggregates(metric, [row[n] for row in scores])
        ]
        folder = f"{self._config['outputConfig']['gcsDestination']['outputUriPrefix'].rstrip('/')}/{name}"
        self._write(folder, answers, scores, results)
        return {
            "aggregationOutput": {
                "dataset": {"gcsSource": {"uris": [self._dataset_uri]}},
                "aggregationResults": results,
            },
            "outputInfo": {"gcsOutputDirectory": folder},
        }

    def _answers(self, model: str, should_stop: Callable[[], bool]) -> list[str]:
        target = self._inference.resolve(model)
        config = {"seed": self._seed, **self._config.get("inferenceGenerationConfig", {})}
        bodies = [{**sample.body, "generationConfig": config} for sample in self._samples]
        responses = self._for_each(lambda n: self._inference.respond(target, bodies[n]), should_stop)
        return [response_text(response) for response in responses]

    def _for_each(self, work: Callable[[int], Awaitable[Any]], should_stop: Callable[[], bool]) -> list[Any]:
        """The results for all samples, some at a time, so that a cancelled job stops soon."""
        results: list[Any] = []

        async def run(numbers: Sequence[int]) -> list[Any]:
            return await asyncio.gather(*(work(n) for n in numbers))

        count = len(self._samples)
        for start in range(0, count, _CONCURRENT):
            if should_stop():
                raise Cancelled
            results += asyncio.run(run(range(start, min(start + _CONCURRENT, count))))
        return results

    async def _score(self, metrics: Sequence[Fields], number: int, answer: str) -> list[Json]:
        sample = self._samples[number]
        values = {"prompt": sample.prompt, "response": answer, "reference": sample.reference}
        if self._base_answers is not None:
            values["baseline_model_response"] = self._base_answers[number]
        return [await self._evaluation.score(metric, values) for metric in metrics]

    def _write(
        self, folder: str, answers: Sequence[str], scores: Sequence[Sequence[Json]], results: Sequence[Json]
    ) -> None:
        lines = [
            {"prompt": sample.prompt, "response": answer, "reference": sample.reference, "results": list(row)}
            for sample, answer, row in zip(self._samples, answers, scores, strict=True)
        ]
        rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        aggregates = json.dumps({"aggregationResults": list(results)}, ensure_ascii=False, indent=1)
        for name, text, content_type in (
            ("evaluation_results.jsonl", rows, "application/jsonl"),
            ("aggregation_results.json", aggregates, "application/json"),
        ):
            bucket, path = split_uri(f"{folder}/{name}")
            self._storage.write(bucket, path, text.encode("utf-8", "replace"), {"contentType": content_type})


def _aggregates(metric: Fields, rows: Sequence[Json]) -> list[Json]:
    kind = next(key for key in metric.value if key in _RESULTS)
    result_key = _RESULTS[kind]
    if kind == "pairwiseMetricSpec":  # choices have a mode and no average
        choice = statistics.mode(row["pairwiseChoice"] for row in rows)
        return [{"aggregationMetric": "MODE", result_key: {"pairwiseChoice": choice}}]
    scores = [row["score"] for row in rows]
    names = metric.value["aggregationMetrics"]
    return [{"aggregationMetric": name, result_key: {"score": aggregate(name, scores)}} for name in names]

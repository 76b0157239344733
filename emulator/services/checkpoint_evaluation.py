# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation inside a tuning job: each checkpoint answers the validation set, and metrics over the answers are kept.

What the service does with `evaluationConfig`: the prompts of the validation rows go to the checkpoint, the last model
turn is the reference, every metric scores every answer, and the aggregates stand in the job's `evaluateDatasetRuns`.
Scores of the single rows and the aggregates are also written to Cloud Storage. Pairwise metrics compare with answers of
the base model. A run that can't be done is noted with its error; the tuning job goes on.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Fields, Json, bad_field
from emulator.engines.base import Cancelled, PreferenceRow, TrainingRow, Turn
from emulator.services.evaluation import Evaluation, computed_metric
from emulator.services.inference import Inference, read_request
from emulator.services.storage import Storage, split_uri

_AGGREGATES = (  # in the order of the API's protocol buffers, from 1
    "AVERAGE",
    "MODE",
    "STANDARD_DEVIATION",
    "VARIANCE",
    "MINIMUM",
    "MAXIMUM",
    "MEDIAN",
    "PERCENTILE_P90",
    "PERCENTILE_P95",
    "PERCENTILE_P99",
)
# metric spec on the wire -> where its aggregate stands in an AggregationResult
_RESULTS = {
    "exactMatchSpec": "exactMatchMetricValue",
    "bleuSpec": "bleuMetricValue",
    "rougeSpec": "rougeMetricValue",
    "pointwiseMetricSpec": "pointwiseMetricResult",
    "llmBasedMetricSpec": "pointwiseMetricResult",
    "predefinedMetricSpec": "pointwiseMetricResult",
    "computationBasedMetricSpec": "pointwiseMetricResult",
    "pairwiseMetricSpec": "pairwiseMetricResult",
}
_AT_ONCE = 64


def checked_config(given: Fields, entry: BaseModelEntry, storage: Storage) -> Json:
    """An `evaluationConfig` as it is kept and shown; 400 for what is wrong with it, 501 for absent metrics."""
    given.only("metrics", "outputConfig", "autoraterConfig", "inferenceGenerationConfig")
    metrics = [_checked_metric(metric) for metric in given.objects("metrics")]
    if not metrics:
        raise bad_field((given.name("metrics"), "must hold at least one metric."))
    destination = given.object("outputConfig").object("gcsDestination")
    prefix = destination.text("outputUriPrefix")
    try:
        storage.bucket(split_uri(prefix.rstrip("/") + "/x")[0])
    except ApiError as error:
        raise bad_field((destination.name("outputUriPrefix"), f"{prefix[:300]}: {error.message}")) from error
    checked: Json = {"metrics": metrics, "outputConfig": {"gcsDestination": {"outputUriPrefix": prefix}}}
    if "autoraterConfig" in given:
        checked["autoraterConfig"] = given.object("autoraterConfig").value
    if "inferenceGenerationConfig" in given:
        config = given.object("inferenceGenerationConfig").value
        read_request(Fields({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config}), entry, None)
        checked["inferenceGenerationConfig"] = config
    return checked


def _checked_metric(metric: Fields) -> Json:
    kinds = [key for key in metric.value if key in _RESULTS and key in metric]
    if not kinds:
        given = next((key for key in metric.value if key.endswith("Spec") and key in metric), "")
        if given:
            raise ApiError(501, f"{metric.path}: {given[:80]} is not implemented by the emulator.")
        raise bad_field((metric.path, "exactly one metric spec is required."))
    if len(kinds) > 1:
        raise bad_field((metric.path, f"exactly one metric spec is required, not {', '.join(kinds)}."))
    computed_metric(metric, {"response": "", "reference": ""})  # a wrong spec is a 400 now, not after the training
    listed = metric.value.get("aggregationMetrics") or ["AVERAGE"]
    names = [_aggregate_name(metric, item) for item in (listed if isinstance(listed, list) else [listed])]
    return {kinds[0]: metric.object(kinds[0]).value, "aggregationMetrics": names}


def _aggregate_name(metric: Fields, given: Any) -> str:
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= len(_AGGREGATES):
        return _AGGREGATES[given - 1]
    if given not in _AGGREGATES:
        raise bad_field((metric.name("aggregationMetrics"), f"Invalid value: {str(given)[:80]!r}."))
    return str(given)


def aggregate(name: str, scores: Sequence[float]) -> float:
    """One figure over the scores of all rows, by the service's name for it; percentiles are interpolated."""
    if name == "STANDARD_DEVIATION":
        return statistics.stdev(scores) if len(scores) > 1 else 0.0
    if name == "VARIANCE":
        return statistics.variance(scores) if len(scores) > 1 else 0.0
    if name.startswith("PERCENTILE_P"):
        place = int(name.removeprefix("PERCENTILE_P")) / 100 * (len(scores) - 1)
        ordered = sorted(scores)
        low = ordered[int(place)]
        return low + (place - int(place)) * (ordered[min(int(place) + 1, len(ordered) - 1)] - low)
    figures: dict[str, Callable[[Sequence[float]], float]] = {
        "AVERAGE": statistics.fmean,
        "MODE": statistics.mode,
        "MINIMUM": min,
        "MAXIMUM": max,
        "MEDIAN": statistics.median,
    }
    return float(figures[name](scores))


@dataclass(frozen=True)
class Asked:
    """A validation row as it is asked: a request's contents and system instruction, the same as text, the reference."""

    body: Json
    prompt: str
    reference: str


def asked(row: TrainingRow | PreferenceRow) -> Asked:
    """The prompt of a row and the answer it holds; of a preference row, the one that was preferred."""
    if isinstance(row, PreferenceRow):
        turns, reference = row.turns, row.chosen
    else:
        turns, reference = row.turns[:-1], row.turns[-1].text
    body: Json = {"contents": [_content(turn) for turn in turns]}
    if row.system:
        body["systemInstruction"] = {"parts": [{"text": row.system}]}
    return Asked(body, "\n".join(turn.text for turn in turns), reference)


def _content(turn: Turn) -> Json:
    return {"role": turn.role, "parts": [{"text": turn.text}]}


class CheckpointEvaluation:
    """The evaluations of one tuning job; `base` is what pairwise metrics compare with."""

    def __init__(
        self,
        parts: tuple[Evaluation, Inference, Storage],
        config: Json,
        dataset_uri: str,
        rows: Sequence[TrainingRow | PreferenceRow],
        base: str,
        seed: int,
    ) -> None:
        self._evaluation, self._inference, self._storage = parts
        self._config = config
        self._dataset_uri = dataset_uri
        self._rows = [asked(row) for row in rows]
        self._base = base
        self._seed = seed
        self._base_answers: list[str] | None = None

    def run(self, model: str, name: str, should_stop: Callable[[], bool]) -> Json:
        """An EvaluateDatasetResponse for one model reference, its files under `name`; `ApiError`, `Cancelled`."""
        metrics = [Fields(metric, f"metrics[{n}]") for n, metric in enumerate(self._config["metrics"])]
        if self._base_answers is None and any("pairwiseMetricSpec" in metric for metric in metrics):
            self._base_answers = self._answers(self._base, should_stop)
        answers = self._answers(model, should_stop)
        scored = self._each(lambda n: self._scored(metrics, n, answers[n]), should_stop)
        results = [
            result for n, metric in enumerate(metrics) for result in _aggregated(metric, [row[n] for row in scored])
        ]
        folder = f"{self._config['outputConfig']['gcsDestination']['outputUriPrefix'].rstrip('/')}/{name}"
        self._write(folder, answers, scored, results)
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
        bodies = [{**row.body, "generationConfig": config} for row in self._rows]
        return [
            _text(answer) for answer in self._each(lambda n: self._inference.answer(target, bodies[n]), should_stop)
        ]

    def _each(self, work: Callable[[int], Awaitable[Any]], should_stop: Callable[[], bool]) -> list[Any]:
        """The results for all rows by number, some rows at a time, so that a cancelled job stops soon."""
        found: list[Any] = []

        async def some(numbers: Sequence[int]) -> list[Any]:
            return await asyncio.gather(*(work(n) for n in numbers))

        for start in range(0, len(self._rows), _AT_ONCE):
            if should_stop():
                raise Cancelled
            found += asyncio.run(some(range(start, min(start + _AT_ONCE, len(self._rows)))))
        return found

    async def _scored(self, metrics: Sequence[Fields], number: int, answer: str) -> list[Json]:
        row = self._rows[number]
        values = {"prompt": row.prompt, "response": answer, "reference": row.reference}
        if self._base_answers is not None:
            values["baseline_model_response"] = self._base_answers[number]
        return [await self._evaluation.score(metric, values) for metric in metrics]

    def _write(
        self, folder: str, answers: Sequence[str], scored: Sequence[Sequence[Json]], results: Sequence[Json]
    ) -> None:
        lines = [
            {"prompt": row.prompt, "response": answer, "reference": row.reference, "results": list(scores)}
            for row, answer, scores in zip(self._rows, answers, scored, strict=True)
        ]
        rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        whole = json.dumps({"aggregationResults": list(results)}, ensure_ascii=False, indent=1)
        for name, text, kind in (
            ("evaluation_results.jsonl", rows, "application/jsonl"),
            ("aggregation_results.json", whole, "application/json"),
        ):
            self._storage.write(*split_uri(f"{folder}/{name}"), text.encode("utf-8", "replace"), {"contentType": kind})


def _text(response: Mapping[str, Any]) -> str:
    candidates = response.get("candidates")
    return str(candidates[0]["content"]["parts"][0]["text"]) if candidates else ""  # a blocked prompt has no answer


def _aggregated(metric: Fields, rows: Sequence[Json]) -> list[Json]:
    kind = next(key for key in metric.value if key in _RESULTS)
    place = _RESULTS[kind]
    if kind == "pairwiseMetricSpec":  # choices have a mode and no average
        choice = statistics.mode(row["pairwiseChoice"] for row in rows)
        return [{"aggregationMetric": "MODE", place: {"pairwiseChoice": choice}}]
    scores = [row["score"] for row in rows]
    names = metric.value["aggregationMetrics"]
    return [{"aggregationMetric": name, place: {"score": aggregate(name, scores)}} for name in names]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: `:evaluateInstances`, and that of each checkpoint during tuning.

ROUGE is the F1 of Lin (2004) over words, where each Chinese and Japanese character counts as a word, and in texts
without words each symbol; the stemmer is NLTK's Porter, for words of more than three letters, as in Google's
rouge-score. docs/reference/emulator.md describes metrics, judges and `evaluationConfig`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import regex

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import NAMES, ApiError, Call, Json, parse_json, snake
from emulator.core.messages import check
from emulator.engines.base import GenerateRequest, PreferenceRow, Row, TrainingRow, Turn
from emulator.services.datasets import contents
from emulator.services.inference import Inference, gather_all, read_request, response_text
from emulator.services.storage import Storage, split_uri

_RESULTS: dict[str, str] = NAMES["metricResults"]
_COMPUTED = ("exactMatch", "bleu", "rouge")
_JUDGED = ("pointwiseMetricSpec", "pairwiseMetricSpec", "llmBasedMetricSpec", "predefinedMetricSpec")
_SENTENCE_END = r"\n|(?<=[.!?])\s+|(?<=[。！？])"
_WORD = regex.compile(r"[\u3040-\u30ff\u3400-\u9fff]|(?=[\p{L}\p{N}_])[^\W\u3040-\u30ff\u3400-\u9fff]+")


def rouge(kind: str, prediction: str, reference: str, stem: bool = False, split: bool = False) -> float:
    """ROUGE F1 in [0, 1]; `kind` is rouge1 to rouge9, rougeL or rougeLsum in any case. `ValueError` for another kind.

    `stem` compares words by their Porter stems; `split` cuts summaries at sentence ends for rougeLsum, which compares
    lines otherwise.
    """
    if kind.lower() == "rougelsum":
        cut = _SENTENCE_END if split else "\n"
        lines = (regex.split(cut, text) for text in (prediction, reference))
        return _rouge_sum(*([_words(line, stem) for line in text if line.strip()] for text in lines))
    predicted, expected = _words(prediction, stem), _words(reference, stem)
    if kind.lower() == "rougel":
        return _f1(_lcs_table(predicted, expected)[-1][-1], len(predicted), len(expected))
    match = regex.fullmatch(r"rouge([1-9])", kind.lower())
    if match is None:
        raise ValueError(f"rougeType is rouge1 to rouge9, rougeL or rougeLsum, not {kind[:40]!r}")
    left, right = _ngrams(predicted, int(match[1])), _ngrams(expected, int(match[1]))
    return _f1((left & right).total(), left.total(), right.total())


def _words(text: str, stem: bool = False) -> list[str]:
    words = _WORD.findall(text.lower()) or regex.findall(r"(?=\S)\X", text)
    return [_stem(word) if len(word) > 3 else word for word in words] if stem else words


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    from nltk.stem.porter import PorterStemmer

    return str(PorterStemmer().stem(word))


def _ngrams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[n : n + size]) for n in range(len(words) - size + 1))


def _f1(hits: int, predicted: int, expected: int) -> float:
    return 2 * hits / (predicted + expected) if hits else 0.0


def _lcs_table(left: Sequence[str], right: Sequence[str]) -> list[list[int]]:
    """Lengths of the longest common subsequences of all prefixes."""
    table = [[0] * (len(right) + 1)]
    for word in left:
        above = table[-1]
        row = [0]
        for n, match in enumerate(right):
            row.append(above[n] + 1 if word == match else max(above[n + 1], row[n]))
        table.append(row)
    return table


def _rouge_sum(predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]]) -> float:
    """ROUGE-L over sentences: the union of the reference sentences' matches."""
    remaining = Counter(word for sentence in predicted for word in sentence)
    hits = 0
    for sentence in expected:
        matches: set[int] = set()
        for other in predicted:
            matches |= _lcs_positions(sentence, other)
        for index in sorted(matches):
            if remaining[sentence[index]] > 0:
                remaining[sentence[index]] -= 1
                hits += 1
    return _f1(hits, sum(map(len, predicted)), sum(map(len, expected)))


def _lcs_positions(sentence: Sequence[str], other: Sequence[str]) -> set[int]:
    """The positions in `sentence` of a longest common subsequence."""
    table = _lcs_table(sentence, other)
    row, column = len(sentence), len(other)
    positions: set[int] = set()
    while row and column:
        if sentence[row - 1] == other[column - 1]:
            positions.add(row - 1)
            row, column = row - 1, column - 1
        elif table[row - 1][column] >= table[row][column - 1]:
            row -= 1
        else:
            column -= 1
    return positions


def bleu(prediction: str, reference: str, effective_order: bool) -> float:
    """Sentence BLEU in [0, 1]."""
    import sacrebleu

    return float(sacrebleu.sentence_bleu(prediction, [reference], use_effective_order=effective_order).score) / 100


class Evaluation:
    """Scores instances; `judge` is `lexical` or the name of a base model."""

    def __init__(self, inference: Inference, judge: str = "lexical") -> None:
        self.inference = inference
        self._judge = judge

    async def evaluate(self, call: Call) -> Json:
        """The result of the one metric input, or a list for `metrics`."""
        body = call.body
        if "metrics" in body:
            values = {key: _content_text(body["instance"].get(key)) for key in ("prompt", "response", "reference")}
            for n, metric in enumerate(body["metrics"]):
                _spec_name(metric, f"metrics[{n}]")
            return {"metricResults": [await self.score(metric, values) for metric in body["metrics"]]}
        for kind, judge in (("pointwise", self._rate), ("pairwise", self._compare)):
            if f"{kind}MetricInput" in body:
                return {f"{kind}MetricResult": await judge(*_read_instance(body[f"{kind}MetricInput"], kind))}
        return await asyncio.to_thread(_computed, body)

    async def score(self, metric: Json, values: dict[str, str]) -> Json:
        """The result of a `Metric` for one answer (`prompt`, `response`, `reference`): a score; for a pairwise metric
        with `baseline_model_response` a choice.
        """
        if scorer := computed_metric(metric):
            return {"score": scorer(values["response"], values["reference"])}
        key = next((key for key in _JUDGED if key in metric), "")
        is_pairwise = key == "pairwiseMetricSpec"
        if not key or (is_pairwise and "baseline_model_response" not in values):
            raise ApiError(400, f"The metric {_spec_name(metric, 'metrics')[:80]} is not implemented by the emulator.")
        template = metric[key]["metricSpecName" if key == "predefinedMetricSpec" else "metricPromptTemplate"]
        return await (self._compare if is_pairwise else self._rate)(template, values)

    async def _rate(self, template: str, values: dict[str, str]) -> Json:
        if self._judge == "lexical":
            similarity, against = _similarity(values.get("response") or values.get("prediction", ""), values)
            why = f"Lexical judge: ROUGE-L {similarity:.3f} with the {against}."
            return {"score": 1 + 4 * similarity, "explanation": why}
        rating = await self._judge_choice(template, values, ("1", "2", "3", "4", "5"))
        return {"score": float(rating), "explanation": f"{self._judge} rated {rating} of 5."}

    async def rating(self, prompt: str, values: dict[str, str]) -> float:
        """The judge's rating of the `response` among the values, from 0 to 1; `prompt` asks for it."""
        if self._judge == "lexical":
            return _similarity(values["response"], values)[0]
        return float(await self._judge_choice("{request}", {"request": prompt}, ("0", "0.25", "0.5", "0.75", "1")))

    async def _compare(self, template: str, values: dict[str, str]) -> Json:
        candidate = values.get("response") or values.get("candidate_model_response", "")
        baseline = values.get("baseline_model_response") or values.get("baseline_response", "")
        if self._judge == "lexical":
            score, against = _similarity(candidate, values)
            base_score, _ = _similarity(baseline, values)
            choice = "TIE" if score == base_score else "CANDIDATE" if score > base_score else "BASELINE"
            why = f"Lexical judge: candidate {score:.3f}, baseline {base_score:.3f} against the {against}."
        else:
            choice = await self._judge_choice(template, values, ("CANDIDATE", "BASELINE", "TIE"))
            why = f"{self._judge} chose {choice}."
        return {"pairwiseChoice": choice, "explanation": why}

    async def _judge_choice(self, template: str, values: dict[str, str], choices: tuple[str, ...]) -> str:
        judge = self.inference.resolve(self._judge)
        prompt = regex.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)
        request = GenerateRequest(
            (Turn("user", prompt),), adapter=judge.adapter, temperature=0.0, response_enum=choices
        )
        generation = await asyncio.wrap_future(self.inference.batcher(judge.entry).submit(request))
        return generation.candidates[0].text


def _similarity(text: str, values: dict[str, str]) -> tuple[float, str]:
    against = "reference" if values.get("reference") else "prompt"
    return rouge("rougeL", text, values.get(against, "")), against


def _read_instance(metric: Json, kind: str) -> tuple[str, dict[str, str]]:
    """(prompt template, values of its variables)."""
    instance, place = metric["instance"], f"{kind}_metric_input.instance.json_instance"
    values = instance["contentMapInstance"]["values"]
    if "jsonInstance" in instance:
        try:
            values = parse_json(instance["jsonInstance"].encode())
        except ApiError as error:
            raise ApiError.field(place, error.message) from error
    if not isinstance(values, dict) or not values:
        raise ApiError.field(place, "must be an object with the template's variables.")
    return metric["metricSpec"]["metricPromptTemplate"], {key: _content_text(value) for key, value in values.items()}


def _content_text(value: Any) -> str:
    """The text of a string, a Content, a list of Contents, or a wrapper around one."""
    if isinstance(value, list):
        return "\n".join(map(_content_text, value))
    if isinstance(value, dict):
        return next((_content_text(value[key]) for key in ("text", "parts", "contents", "content") if key in value), "")
    return "" if value is None else str(value)


def _scorer(name: str, spec: Json) -> Callable[[str, str], float]:
    if name == "exactMatch":
        return lambda prediction, reference: float(prediction == reference)
    if name == "bleu":
        return lambda prediction, reference: bleu(prediction, reference, spec["useEffectiveOrder"])
    options = (spec["useStemmer"], spec["splitSummaries"])
    return lambda prediction, reference: rouge(spec["rougeType"], prediction, reference, *options)


def _computed(body: Json) -> Json:
    for name in _COMPUTED:
        if metric := body.get(f"{name}Input"):
            score = _scorer(name, metric["metricSpec"])
            values = [{"score": score(item["prediction"], item["reference"])} for item in metric["instances"]]
            return {f"{name}Results": {f"{name}MetricValues": values}}
    for key in body:
        if key.endswith("Input"):
            raise ApiError(400, f"{key[:80]} is not implemented by the emulator.")
    raise ApiError.field("metric_inputs", "exactly one metric input is required.")


def computed_metric(metric: Json) -> Callable[[str, str], float] | None:
    """(prediction, reference) to the score of a metric without a judge; None for others."""
    for name in _COMPUTED:
        if f"{name}Spec" in metric:
            return _scorer(name, metric[f"{name}Spec"])
    spec: Json = metric.get("computationBasedMetricSpec", {})
    kind = spec.get("type", "").upper()
    return next((_scorer(name, spec["parameters"]) for name in _COMPUTED if snake(name).upper() in kind), None)


def read_evaluation_config(config: Json, place: str, entry: BaseModelEntry, storage: Storage) -> Json:
    """A validated `evaluationConfig`; 400 for invalid values and metrics that are not implemented."""
    metrics = [_read_metric(metric, f"{place}.metrics[{n}]") for n, metric in enumerate(config["metrics"])]
    prefix = config["outputConfig"]["gcsDestination"]["outputUriPrefix"]
    try:
        storage.bucket(split_uri(prefix.rstrip("/") + "/x")[0])
    except ApiError as error:
        where = f"{place}.output_config.gcs_destination.output_uri_prefix"
        raise ApiError.field(where, f"{prefix[:300]}: {error.message}") from error
    if generation := config.get("inferenceGenerationConfig"):
        read_request({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": generation}, entry, None)
    return {**config, "metrics": metrics}


def _spec_name(metric: Json, place: str) -> str:
    """The name of a metric's one spec."""
    names = [key for key in metric if key.endswith("Spec") and metric[key] is not None]
    if len(names) != 1:
        listed = ", ".join(names)[:200] or "none"
        raise ApiError.field(place, f"exactly one metric spec is required, not {listed}.")
    return names[0]


def _read_metric(metric: Json, place: str) -> Json:
    name = _spec_name(metric, place)
    if name not in _RESULTS:
        raise ApiError(400, f"{place}: {name[:80]} is not implemented by the emulator.")
    names = check(metric, "Metric", place)["aggregationMetrics"] or ["AVERAGE"]
    return {name: metric[name], "aggregationMetrics": names}


def _percentile(percent: int, scores: Sequence[float]) -> float:
    """An interpolated percentile."""
    return statistics.quantiles(scores if len(scores) > 1 else [*scores] * 2, n=100, method="inclusive")[percent - 1]


# by the names of the API
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "AVERAGE": statistics.fmean,
    "MODE": statistics.mode,
    "STANDARD_DEVIATION": lambda scores: statistics.stdev(scores) if len(scores) > 1 else 0.0,
    "VARIANCE": lambda scores: statistics.variance(scores) if len(scores) > 1 else 0.0,
    "MINIMUM": min,
    "MAXIMUM": max,
    "MEDIAN": statistics.median,
    **{f"PERCENTILE_P{percent}": partial(_percentile, percent) for percent in (90, 95, 99)},
}


def aggregate(name: str, scores: Sequence[float]) -> float:
    """An aggregate of the scores of all rows, by the service's name."""
    return float(_AGGREGATES[name](scores))


def _sample(row: Row) -> tuple[Json, dict[str, str]]:
    """A validation row as a request body, and its prompt and reference (of a preference row the chosen answer)."""
    turns, reference = row.turns, row.chosen if isinstance(row, PreferenceRow) else ""
    if isinstance(row, TrainingRow):
        turns, reference = turns[:-1], turns[-1].text
    system = {"systemInstruction": {"parts": [{"text": row.system}]}} if row.system else {}
    texts = {"prompt": "\n".join(turn.text for turn in turns), "reference": reference}
    return {"contents": contents(turns), **system}, texts


@dataclass
class CheckpointEvaluation:
    """The evaluations of one tuning job by its spec; pairwise metrics compare with the answers of `base`.

    `check_running` raises `Cancelled` when the job is cancelled.
    """

    evaluation: Evaluation
    storage: Storage
    spec: Json
    rows: Sequence[Row]
    base: str
    seed: int
    check_running: Callable[[], None]

    def __post_init__(self) -> None:
        self._config = self.spec["evaluationConfig"]
        self._samples = [_sample(row) for row in self.rows]
        self._base_answers: list[str] | None = None

    def run(self, model: str, name: str) -> Json:
        """An EvaluateDatasetResponse for one model reference, its files under `name`; `ApiError`, `Cancelled`."""
        metrics = [check(metric, "Metric") for metric in self._config["metrics"]]
        if self._base_answers is None and any("pairwiseMetricSpec" in metric for metric in metrics):
            self._base_answers = self._answers(self.base)
        answers = self._answers(model)
        scores = gather_all(lambda n: self._score(metrics, n, answers[n]), len(answers), self.check_running)
        results = [
            result for n, metric in enumerate(metrics) for result in _aggregates(metric, [row[n] for row in scores])
        ]
        folder = f"{self._config['outputConfig']['gcsDestination']['outputUriPrefix'].rstrip('/')}/{name}"
        lines = (
            {**texts, "response": answer, "results": row}
            for (_, texts), answer, row in zip(self._samples, answers, scores, strict=True)
        )
        self.storage.write_lines(f"{folder}/evaluation_results.jsonl", lines)
        aggregates = json.dumps({"aggregationResults": results}, ensure_ascii=False, indent=1).encode()
        where = split_uri(f"{folder}/aggregation_results.json")
        self.storage.write(*where, aggregates, {"contentType": "application/json"})
        dataset = {"gcsSource": {"uris": [self.spec["validationDatasetUri"]]}}
        return {
            "aggregationOutput": {"dataset": dataset, "aggregationResults": results},
            "outputInfo": {"gcsOutputDirectory": folder},
        }

    def _answers(self, model: str) -> list[str]:
        inference = self.evaluation.inference
        target, config = inference.resolve(model), {"seed": self.seed}
        config |= self._config.get("inferenceGenerationConfig", {})
        bodies = [{**body, "generationConfig": config} for body, _ in self._samples]
        responses = gather_all(lambda n: inference.respond(target, bodies[n]), len(bodies), self.check_running)
        return [response_text(response) for response in responses]

    async def _score(self, metrics: Sequence[Json], number: int, answer: str) -> list[Json]:
        values = {**self._samples[number][1], "response": answer}
        if self._base_answers is not None:
            values["baseline_model_response"] = self._base_answers[number]
        return [await self.evaluation.score(metric, values) for metric in metrics]


def _aggregates(metric: Json, rows: Sequence[Json]) -> list[Json]:
    kind = next(key for key in metric if key in _RESULTS)
    result_key = _RESULTS[kind]
    if kind == "pairwiseMetricSpec":  # choices have a mode and no average
        choice = statistics.mode(row["pairwiseChoice"] for row in rows)
        return [{"aggregationMetric": "MODE", result_key: {"pairwiseChoice": choice}}]
    scores = [row["score"] for row in rows]
    names = metric["aggregationMetrics"]
    return [{"aggregationMetric": name, result_key: {"score": aggregate(name, scores)}} for name in names]

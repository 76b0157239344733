# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of the Vertex Gen AI evaluation service, reported next to gemtune's own for the same answers.

A row without an answer is not sent and gets the lowest score, because it is a miss here too. The service scores row by
row, so its BLEU is a mean over sentences, ours a corpus score. No decision uses these metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gemtune.artifacts.evaluation import Score, VertexMetric
from gemtune.config import Evaluate
from gemtune.evaluation import intervals
from gemtune.evaluation.scorers import SampleScore

Text = tuple[str, str, str]
FetchScores = Callable[[str, Sequence[Text]], list[float]]  # metric, rows (text, reference, answer) -> a score per row

SERVICE_SCALE = {"rubric": (1.0, 4.0)}  # lowest score and span; other metrics go from 0 to 1
# our metrics of the same name, with their maximum
OWN_SCALE = {"exact_match": 1.0, "bleu": 100.0, "rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 1.0}


def compare_with_vertex(
    config: Evaluate, scores: Sequence[SampleScore], own_metrics: Mapping[str, Score], fetch_scores: FetchScores
) -> dict[str, VertexMetric]:
    """By metric: the service's mean with its interval, the number of scored rows, and our value (if there is one).

    `own_metrics` are the metrics of the report.
    """
    answered = [i for i, score in enumerate(scores) if (score.output.text or "").strip()]
    texts = [
        (scores[i].example.prompt_text, scores[i].row.target, (scores[i].output.text or "").strip()) for i in answered
    ]
    groups = [score.example.group for score in scores]
    table: dict[str, VertexMetric] = {}
    for metric in config.vertex_metrics:
        lowest, span = SERVICE_SCALE.get(metric, (0.0, 1.0))
        values = [0.0] * len(scores)
        for i, value in zip(answered, fetch_scores(metric, texts) if texts else [], strict=True):
            values[i] = (value - lowest) / span
        interval = intervals.interval(intervals.mean(values), level=config.confidence_level, groups=groups)
        comparable = metric in OWN_SCALE and metric in own_metrics
        table[metric] = VertexMetric(
            value=lowest + span * interval.value,
            low=lowest + span * interval.low,
            high=lowest + span * interval.high,
            scored=len(answered),
            ours=own_metrics[metric].value / OWN_SCALE[metric] if comparable else None,
        )
    return table

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A second opinion: the evaluation service's numbers beside ours, on the same answers.

A row without an answer is not sent and has the lowest score, as it is a miss here too. The service scores row by row,
so its BLEU is a mean of sentences where ours is one number over all of them; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gemtune.config import Evaluate
from gemtune.evaluation import intervals
from gemtune.evaluation.scorers import SampleScore

Text = tuple[str, str, str]
Score = Callable[[str, Sequence[Text]], list[float]]  # metric and rows (text, reference, answer) to a score each

SCALE = {"rubric": (1.0, 4.0)}  # lowest score and span; other metrics go from 0 to 1
OURS = {"exact_match": 1.0, "bleu": 100.0, "rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 1.0}  # name alike, in this scale


def beside(config: Evaluate, judged: Sequence[SampleScore], ours: dict[str, Any], score: Score) -> dict[str, Any]:
    """Metric -> the service's mean with its interval, how many rows it scored, and our number (if there is one).

    `ours` is the report's own metrics.
    """
    answered = [i for i, one in enumerate(judged) if (one.given.text or "").strip()]
    texts = [(judged[i].example.text, judged[i].row.target, (judged[i].given.text or "").strip()) for i in answered]
    groups = [one.example.group for one in judged]
    table: dict[str, Any] = {}
    for metric in config.service:
        lowest, span = SCALE.get(metric, (0.0, 1.0))
        values = [0.0] * len(judged)
        for i, value in zip(answered, score(metric, texts) if texts else [], strict=True):
            values[i] = (value - lowest) / span
        found = intervals.interval(
            intervals.mean(values),
            level=config.confidence_level,
            resamples=config.resamples,
            seed=config.seed,
            groups=groups,
        )
        own = ours[metric]["value"] / OURS[metric] if metric in OURS and metric in ours else None
        table[metric] = {
            **{bound: lowest + span * getattr(found, bound) for bound in ("value", "low", "high")},
            "scored": len(answered),
            "ours": own,
        }
    return table

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the candidate's endpoint, just before it serves, still answers test rows as it did at the gate."""

import asyncio
from collections.abc import Mapping, Sequence

from gemtune.artifacts.decision import SmokeTest
from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.predictions import Prediction
from gemtune.evaluation.scorers import latency_of, token_usage
from gemtune.evaluation.variant_scores import VariantScorer
from gemtune.inference.generate import GenerateAll

ROWS = 20
_COMPARABLE = ("classification", "sentiment", "extraction")  # two texts are seldom equal


def answers_to_repeat(task: Task, answers: Sequence[Prediction]) -> dict[str, str]:
    """Up to 20 usable answers at the gate by row id, "" where answers cannot be compared: what a smoke test repeats."""
    usable = sorted((row["id"], row["parsed"]) for row in answers if row["outcome"] == "ok")
    return {row: parsed if task.kind in _COMPARABLE else "" for row, parsed in usable[:ROWS]}


def smoke_test(
    task: Task,
    config: Evaluate,
    candidate: ModelVariant,
    rows: Sequence[Example],
    gate_answers: Mapping[str, str],
    send: GenerateAll,
    max_disagreement: float,
    train: Sequence[Example] = (),
) -> SmokeTest:
    """Send those of `rows` that have one of the `gate_answers`, which are by row id (`answers_to_repeat`). A prompt may
    show rows of `train`.

    Raises `UserError` where an answer is unusable now, or more than the share `max_disagreement` differ.
    """
    drawn = [row for row in rows if row.id in gate_answers]
    if config.confidence == "verbal":
        config = config.model_copy(update={"confidence": "none"})
    scores = asyncio.run(VariantScorer(task, task, config, drawn, train, send).score(candidate))
    unusable = [score for score in scores if score.outcome != "ok"]
    different = sum(score.row.parsed != gate_answers[score.example.id] for score in scores)
    different = different if task.kind in _COMPARABLE else 0
    problem = f"{different} answers differ from those at the gate" if different > max_disagreement * len(drawn) else ""
    if unusable:
        problem = f"{len(unusable)} answers are unusable ({unusable[0].outcome}), and were usable at the gate"
    if problem:
        raise UserError(
            f"smoke test of {candidate.model}: of {len(drawn)} test rows {problem}; the champion is unchanged",
            remedy="evaluate again; if it stays so, compare the requests, or raise deploy.smoke_disagreement",
        )
    outputs = [score.output for score in scores]
    return SmokeTest(rows=len(drawn), different=different, latency_s=latency_of(outputs), tokens=token_usage(outputs))

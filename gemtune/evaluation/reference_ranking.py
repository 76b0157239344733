# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which of two answers is preferred, without a judge: the one nearer to what people preferred.

Nearness is chrF (Popović 2015; sacrebleu's defaults) to the nearest preferred answer, 0 to 100; for labels and objects
equality, 0 or 100. It is blind to what no preferred answer shows, so it ranks what was taught, not what is good; a
judge (`judging`) sees more and has to be trusted first. The order of the two answers plays no part, so nothing flips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gemtune.config import Preference, Task
from gemtune.data.example import Dropped, Example, plain
from gemtune.data.pairs import Pair
from gemtune.evaluation.judge import PairwiseResult
from gemtune.inference.parsing import canonical

UNUSABLE = -1.0  # below any grade: an answer that cannot be used loses against any that can

Grade = Callable[[str], float]


def grader(task: Task, references: Sequence[str]) -> Grade:
    """Grades texts from 0 to 100 by their nearness to the nearest reference."""
    if task.kind in ("summarization", "generation"):
        wanted = list(references)
        return lambda text: float(_chrf().sentence_score(text, wanted).score)
    equal = {canonical(task, reference) for reference in references} - {None}
    return lambda text: 100.0 * (canonical(task, text) in equal)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def pair_result(candidate: str | None, opponent: str | None, grade: Grade, margin: float) -> PairwiseResult:
    """Who is nearer to the references by more than `margin`; None is an answer that cannot be used."""
    one, two = (UNUSABLE if text is None else grade(text) for text in (candidate, opponent))
    if (candidate is None) != (opponent is None):
        return PairwiseResult("candidate" if one > two else "baseline")
    return PairwiseResult("tie" if abs(one - two) <= margin else "candidate" if one > two else "baseline")


def extremes(grades: Sequence[float | None], min_gap: float) -> tuple[int, int] | None:
    """Places of the best and the worst grade; None when they are nearer than `min_gap`, or there are not two.

    Of equal grades the first counts; what has no grade is left out.
    """
    known = [(grade, place) for place, grade in enumerate(grades) if grade is not None]
    if len(known) < 2:
        return None
    best = max(known, key=lambda item: (item[0], -item[1]))
    worst = min(known, key=lambda item: (item[0], item[1]))
    return (best[1], worst[1]) if best[0] - worst[0] >= max(min_gap, 1e-9) else None


def made_pair(
    example: Example, answers: Sequence[str], grades: Sequence[float | None], config: Preference
) -> Pair | Dropped:
    """The best answer over the worst, or the reference over the worst; dropped when they are too near in grade."""
    if config.chosen_from == "reference":
        answers, grades = [example.target, *answers], [100.0, *grades]
        known = [(grade, n) for n, grade in enumerate(grades) if n and grade is not None]
        worst = min(known, default=(100.0, 0))
        found = (0, worst[1]) if 100.0 - worst[0] >= max(config.min_gap, 1e-9) else None
    else:
        found = extremes(grades, config.min_gap)
    if found is None or not answers[found[1]].strip() or not answers[found[0]].strip():
        told = ", ".join("none" if grade is None else f"{grade:.0f}" for grade in grades)
        return Dropped(example.line, "no_gap", f"the answers' grades are too near: {told}", plain(example))
    return Pair(example.id, answers[found[0]].strip(), answers[found[1]].strip(), example.line)

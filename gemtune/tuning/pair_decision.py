# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning's decision: duels in the place of a metric, and what a reader must know about them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gemtune.config import Evaluate, Gate, ModelVariant, Preference
from gemtune.evaluation.judge import PairwiseResult, WinRate, win_rate
from gemtune.evaluation.predictions import Scored
from gemtune.evaluation.ranker import Answers
from gemtune.steps.gate import Comparison, Decision, Rule, Verdict
from gemtune.tuning.pair_plan import METRIC

Duels = Mapping[tuple[str, str], Sequence[PairwiseResult]]


def rate(pair_results: Sequence[PairwiseResult], groups: Sequence[str | None], by: Evaluate | Gate) -> WinRate:
    """The win rate with its interval, drawn as section `by` says."""
    return win_rate(pair_results, groups=groups, level=by.confidence_level, resamples=by.resamples, seed=by.seed)


def bounds(found: WinRate) -> dict[str, float]:
    """A win rate in the form of a metric."""
    return {"value": found.value, "low": found.low, "high": found.high}


@dataclass(frozen=True)
class ByDuels:
    """Compares two variants by who wins how many prompts; a gate asks it in place of a metric."""

    gate: Gate
    pair_results: Duels
    groups: Sequence[str | None]
    metric: str = field(default=METRIC)

    def __call__(self, candidate: Scored, opponent: Scored, part: Sequence[int] | None = None) -> Comparison:
        """The share of prompts won (ties half) by the one and by the other, on all prompts or on those of `part`."""
        who, pair_results = opponent.variant, self.pair_results[candidate.variant.name, opponent.variant.name]
        part = range(len(pair_results)) if part is None else part
        found = rate([pair_results[i] for i in part], [self.groups[i] for i in part], self.gate)
        return Comparison(who.name, who.role, self.metric, found.value, 1 - found.value, found.lift)


def meetings(who: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """Who meets whom: the candidate all others, everyone the best prompt, the best prompt the champion."""
    by_role = {one.role: one.name for one in who}
    prompt, ahead = by_role["baseline"], by_role.get("candidate")
    met = [(ahead, one.name) for one in who if one.name != ahead] if ahead else []
    met += [(one.name, prompt) for one in who if one.name not in (prompt, ahead)]
    return [*met, *([(prompt, by_role["champion"])] if "champion" in by_role else [])]


def only_proven(made: Decision, proof: Rule, who: Sequence[ModelVariant]) -> Decision:
    """The decision with the judge's proof among its rules; without proof nothing is deployed on the judge's word."""
    made = replace(made, rules=[*made.rules, proof])
    if made.verdict != "deploy" or proof.passed:
        return replace(made, reasons=[*made.reasons, proof.sentence])
    stays: Verdict = "keep_champion" if any(one.role == "champion" for one in who) else "keep_prompt"
    return replace(made, verdict=stays, reasons=[proof.sentence, *made.reasons])


def notes(made: Decision, config: Preference) -> list[str]:
    """What a reader must know about how the win rates came about."""
    level = 1 - made.confidence_level
    found = [
        f"preference tuning is not shown to add to the supervised model {one.versus} "
        f"(win rate {one.candidate:.3f}): the simpler recipe may do"
        for one in made.comparisons
        if one.role == "supervised" and not (one.paired.low > 0 and one.paired.p_value <= level)
    ]
    if made.comparisons and config.ranked_by == "reference":
        found.append(
            "answers are ranked by their nearness to preferred answers (no judge was asked): what those do not show "
            "does not count"
        )
    return found


def with_win_rates(
    told: Mapping[str, Any], who: Sequence[ModelVariant], pair_results: Duels, answers: Answers, asking: Evaluate
) -> dict[str, Any]:
    """The evaluation's report with each variant's win rate against the best prompt, also by slice, and all duels."""
    prompt = next(one.name for one in who if one.role == "baseline")
    entries = []
    for entry in told["variants"]:
        name = entry["variant"]["name"]
        own = pair_results.get((name, prompt)) or [PairwiseResult("tie")] * len(answers.rows)
        won = {METRIC: bounds(rate(own, answers.groups, asking)), **entry["metrics"]}
        entries.append({**entry, "metrics": won, "slices": _by_slice(entry["slices"], own, name, answers, asking)})
    table = [_line(pair, rate(found, answers.groups, asking)) for pair, found in pair_results.items()]
    return {**told, "variants": entries, "pairwise": table}


def _by_slice(
    cells: Mapping[str, Any], pair_results: Sequence[PairwiseResult], name: str, answers: Answers, asking: Evaluate
) -> dict[str, dict[str, Any]]:
    slices = answers.scored[name].slices
    found: dict[str, dict[str, Any]] = {}
    for column, values in cells.items():
        for value, cell in values.items():
            part = [i for i, row in enumerate(slices) if row.get(column) == value]
            won = rate([pair_results[i] for i in part], [answers.groups[i] for i in part], asking)
            found.setdefault(column, {})[value] = {**cell, "metrics": {**cell["metrics"], METRIC: bounds(won)}}
    return found


def _line(pair: tuple[str, str], found: WinRate) -> dict[str, Any]:
    """A line of the table of duels."""
    told = asdict(found)
    lift = told.pop("lift")
    return {"candidate": pair[0], "opponent": pair[1], **told, "p_value": lift["p_value"]}

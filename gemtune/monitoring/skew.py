# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Exact differences between production and tuning: prompts, cleaning, unusable answers; and the mix of labels.

A share is an alarm when its lower Clopper-Pearson bound is above a limit of the settings: no past is needed, so these
checks hold from the first window on; how many rows that takes is stated. Unusable answers vary by chance: the level of
their bound is a part of the budget of false alarms. A healthy service sends no other prompt: there the bound is the
lower end of the usual 95 % interval. The labels are reported and are no alarm by themselves; their mix is estimated by
inverting the validation confusion matrix (black-box shift estimation, Lipton et al. 2018, arXiv 1802.03916).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemtune.artifacts.evaluation import Confusion, Score
from gemtune.artifacts.monitoring import Check
from gemtune.artifacts.production_log import LogRow, PromptTemplate
from gemtune.config import fingerprint
from gemtune.contents import fields_of
from gemtune.monitoring.traffic import ServedRow

EXAMPLES = 5
_TAIL = 0.025  # of each end of an interval
_POOLED_BELOW = 10  # expected rows of a label; rarer labels are one class in the chi-square test
_RIDGE, _RESAMPLES, _SINGULAR = 1e-3, 200, 1e3
_COMPARED = ("temperature", "topP", "topK")  # settings that change an answer
_OFF = ("stopSequences", "presencePenalty", "frequencyPenalty")  # the same, never set in an evaluation
_SCHEMAS = {"responseSchema", "responseJsonSchema"}


def share_check(
    name: str, ids: Sequence[str], rows: int, limit: float, level: float, what: str, remedy: str = "", alike: float = 1
) -> Check:
    """The share of rows with these ids, an alarm when it is shown to be above the limit; `alike` rows count as one
    (Korn and Graubard 1998).
    """
    from scipy.special import betainc, betaincinv

    share, size, count = len(ids) / max(1, rows), rows / alike, len(ids) / alike
    counts = np.arange(1, rows + 1) / alike
    p_values = np.array([1.0, *betainc(counts, size - counts + 1, limit)])  # of each count of rows or more
    needed = int(np.argmax([*(p_values <= level), True]))
    alarm = len(ids) >= needed
    summary = f"{len(ids)} of {rows} rows ({share:.1%}) {what}; up to {limit:.1%} is expected, alarm at {needed} rows"
    return Check(
        name=name,
        value=share,
        low=float(betaincinv(count, size - count + 1, _TAIL)) if ids else 0.0,
        high=float(betaincinv(count + 1, size - count, 1 - _TAIL)) if len(ids) < rows else 1.0,
        rows=rows,
        summary=f"{summary}: {remedy}" if alarm and remedy else summary,
        p_value=float(p_values[len(ids)]),
        threshold=needed / rows if needed <= rows else None,
        alarm=alarm,
        examples=list(ids[:EXAMPLES]),
    )


def skewed_fields(row: LogRow, template: PromptTemplate | None, generation_config: Mapping[str, Any]) -> list[str]:
    """What of a row's prompt differs from the tuned one: system instruction, template, generation settings. What the
    log does not say does not differ.
    """
    fields = []
    if row.system is not None and template and fingerprint(row.system) != template.system:
        fields.append("system instruction")
    if row.follows_template is False:
        fields.append("template")
    if row.config is not None and (
        _compared(row.config) != _compared(generation_config)
        or _thinking(row.config) not in (None, _thinking(generation_config) or _MODEL_DECIDES)
    ):
        fields.append("generation settings")
    return fields


def _compared(generation: Mapping[str, Any]) -> list[Any]:
    """Settings that change an answer; of a schema, whether there is one."""
    values = [generation.get(name) for name in _COMPARED]
    return [*values, *(generation.get(name) or None for name in _OFF), not _SCHEMAS.isdisjoint(generation)]


_MODEL_DECIDES = (None, None)


def _thinking(generation: Mapping[str, Any]) -> tuple[int | None, str | None] | None:
    """Budget and level of the thinking; None where a request leaves them to the default of its model."""
    own = fields_of(generation.get("thinkingConfig") or {})
    budget, level = own.get("thinkingBudget"), own.get("thinkingLevel")
    return None if budget is None and not level else (None if budget == -1 else budget, level or None)


def prompt_skew(skewed_by_row: Mapping[str, Sequence[str]], max_skew: float) -> Check:
    """The share of rows whose prompt differs from the tuned one, by what differs in each row (id)."""
    skewed = {row: fields for row, fields in skewed_by_row.items() if fields}
    counts = Counter(field for fields in skewed.values() for field in fields)
    listed = ", ".join(f"{field} {count}" for field, count in counts.most_common())
    what = f"have another prompt than the tuned one{f' ({listed})' if listed else ''}"
    remedy = "send the recorded prompt, or tune on the new one"
    return share_check("prompt_skew", list(skewed), len(skewed_by_row), max_skew, _TAIL, what, remedy)


def cleaning_skew(rows: Sequence[LogRow], clean: Callable[[str], str]) -> Check:
    """The share of rows that the exported cleaning rules would change; reported only."""
    unclean = [row.id for row in rows if clean(row.text) != row.text]
    check = share_check("cleaning_skew", unclean, len(rows), 1.0, 0.5, "are not cleaned as the training rows were")
    return check.model_copy(update={"p_value": None, "summary": check.summary.partition(";")[0]})


def unusable_answers(served: Sequence[ServedRow], max_invalid_rate: float, level: float) -> Check:
    """The share of unusable answers, per outcome; rows without an answer do not count. Answers to the same text count
    as rows of their own only where they differ as those to other texts do.
    """
    answered = [item for item in served if item.outcome != "error"]
    unusable = [item for item in answered if item.outcome != "ok"]
    counts = Counter(item.outcome for item in unusable)
    listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    what = f"have an unusable answer{f' ({listed})' if listed else ''}"
    remedy = "see the example rows; raise max_output_tokens where answers are truncated"
    rows, hits = (Counter(item.row.text for item in own) for own in (answered, unusable))
    alike = _design_effect(np.array([(rows[text], hits[text]) for text in rows], float).reshape(-1, 2))
    ids = [item.row.id for item in unusable]
    return share_check("unusable_answers", ids, len(answered), max_invalid_rate, level, what, remedy, alike)


def _design_effect(rows_and_hits: NDArray[np.float64]) -> float:
    """How many rows count as one where texts repeat, by how alike the rows of a text are (their intraclass
    correlation; 1 where no row or each is a hit).
    """
    rows, hits = rows_and_hits.T
    count = max(1.0, rows.sum())
    share, repeats = hits.sum() / count, (rows**2).sum() / count - 1
    if repeats <= 0:
        return 1.0
    expected = count * share * (1 - share)
    alike = (((hits - share * rows) ** 2).sum() / expected - 1) / repeats if expected else 1.0
    return float(1 + np.clip(alike, 0, 1) * repeats)


def label_shift(predicted: Mapping[str, int], baseline: Mapping[str, int]) -> Check | None:
    """Whether the predicted labels have other shares than in the baseline (chi-square, rare labels pooled); reported
    only. None with fewer than two classes that are not rare.
    """
    from scipy.stats import chi2_contingency

    total, before = sum(predicted.values()), sum(baseline.values())
    table: dict[str, list[int]] = {}
    for label in {*predicted, *baseline}:
        both = predicted.get(label, 0), baseline.get(label, 0)
        rare = sum(both) * min(total, before) < _POOLED_BELOW * (total + before)
        cell = table.setdefault("(rare)" if rare else f"label {label}", [0, 0])
        cell[0], cell[1] = cell[0] + both[0], cell[1] + both[1]
    if len(table) < 2 or not total or not before:
        return None
    cells = np.array(list(table.values())).T
    p_value = float(chi2_contingency(cells).pvalue)
    distance = float(np.abs(cells[0] / total - cells[1] / before).sum() / 2)
    moved = max(table, key=lambda name: abs(table[name][0] / total - table[name][1] / before)).removeprefix("label ")
    summary = f"predicted labels differ from the baseline by {distance:.1%} of the rows (p {p_value:.2g}), most {moved}"
    return Check(name="labels", value=distance, low=None, high=None, rows=total, p_value=p_value, summary=summary)


def label_mix(predicted: Mapping[str, int], confusion: Confusion, seed: int = 7) -> tuple[dict[str, Score], str]:
    """The estimated shares of the true labels with bootstrap intervals, and the method.

    Counts of predicted labels where the confusion matrix is singular. Both are wrong where a new class has appeared.
    """
    labels = confusion.labels
    counts = np.array([float(predicted.get(label, 0)) for label in labels])
    columns = [confusion.columns.index(label) for label in labels if label in confusion.columns]
    if not counts.sum() or len(columns) < len(labels):
        return {}, ""
    matrix = np.array(confusion.matrix, float)[:, columns]
    rates = _rates(matrix)
    inverts = bool((matrix.sum(axis=1) > 0).all() and np.linalg.cond(rates) < _SINGULAR)
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(int(counts.sum()), counts / counts.sum()) for _ in range(_RESAMPLES)]
    if inverts:
        sampled = [
            _inverted(_rates(np.array([rng.multinomial(int(row.sum()), row / row.sum()) for row in matrix])), again)
            for again in drawn
        ]
        shares, method = _inverted(rates, counts), "inverted validation confusion matrix"
    else:
        sampled, shares = [again / again.sum() for again in drawn], counts / counts.sum()
        method = "counts of predicted labels: the validation confusion matrix is singular"
    low, high = np.quantile(sampled, [0.025, 0.975], axis=0)
    scores = [
        Score(value=float(share), low=float(min(share, bottom)), high=float(max(share, top)))
        for share, bottom, top in zip(shares, low, high, strict=True)
    ]
    return dict(zip(labels, scores, strict=True)), method


def _rates(matrix: Any) -> Any:
    """P(predicted | true), by row."""
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _inverted(rates: Any, counts: Any) -> Any:
    """The mix whose predictions would be these counts: ridge least squares, clipped."""
    shares = counts / counts.sum()
    solved = np.linalg.solve(rates @ rates.T + _RIDGE * np.eye(len(rates)), rates @ shares + _RIDGE * shares)
    clipped = np.clip(solved, 0, None)
    return clipped / clipped.sum() if clipped.sum() else shares

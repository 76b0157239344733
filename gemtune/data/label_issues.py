# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Likely label issues, ranked by label quality (Kuan and Mueller 2022), and how many labels are wrong.

Every row is scored by a model that was trained without it (cross-validation; logistic regression on `embedding`). A
row is flagged when another label is more probable than its own; rows whose own label is least probable come first. The
number of wrong labels is that of random flips (Angluin and Laird 1988; Bootkrajang and Kaban 2012): the model's own
errors vanish where it is sure, wrong labels do not. So agreement, as a function of the model's margin (the log odds of
its two most probable labels), is a logistic curve whose upper end is the share of right labels; its posterior is
computed on a grid. Where both labels are equally probable, not more than half of the predictions are right.

Guarantees: the same rows give the same list; nothing is changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemtune.artifacts.data import LabelIssue, LabelIssues
from gemtune.config import Preprocess, Task
from gemtune.data.compared_text import Remainders
from gemtune.data.duplicates import log_if_long
from gemtune.data.example import Example

log = logging.getLogger("gemtune")

FOLDS = 5
_MAX_SHOWN = 20
MAX_AUDITED, MAX_AUDITED_CHARS = 20_000, 4_000_000  # the search takes 40 bytes a character
_FLIP_SHARES = np.array([*(step / 200 for step in range(20)), *(step / 100 for step in range(10, 46))])
_PRIOR_SHARE = 0.1  # mean of an exponential prior; benchmarks have 3.3 % (Northcutt, Athalye and Mueller 2021)
# means and standard deviations of the curve's level at margin 0 and of its log slope: chosen with bench/label_errors.py
_CURVE, _CURVE_DEVIATION = np.array([-0.3, 0.4]), np.array([0.3, 1.0])
_DIMENSIONS, _INVERSE_REGULARIZATION = 256, 3.0  # chosen with bench/label_errors.py


def find_label_issues(
    examples: Sequence[Example], task: Task, config: Preprocess, remainders: Remainders | None = None
) -> list[LabelIssue]:
    """Likely label issues of a task with labels, most suspicious first, searched in a sample that fits into memory."""
    if not config.find_label_issues or not task.is_labelled:
        return []
    sample = _sample_for_audit(examples, config.seed)
    if len(sample) < len(examples):
        log.warning("label issues are searched in a random sample of %d of %d rows", len(sample), len(examples))
    log_if_long("label issues", 10 * len(sample))  # ten times the work of other rules
    return rank_label_issues(sample, config.seed, remainders)


def _sample_for_audit(examples: Sequence[Example], seed: int) -> list[Example]:
    """A sample of the rows, in their order, within the limits of the search for label issues."""
    order = np.random.default_rng(seed).permutation(len(examples))[:MAX_AUDITED]
    total_chars = np.cumsum([len(examples[i].text) for i in order])
    return [examples[i] for i in np.sort(order[: np.searchsorted(total_chars, MAX_AUDITED_CHARS, side="right")])]


def rank_label_issues(
    examples: Sequence[Example], seed: int = 7, remainders: Remainders | None = None
) -> list[LabelIssue]:
    """Flagged rows, most suspicious first. Labels with fewer rows than folds are ignored; below two labels: empty."""
    counts = Counter(example.target for example in examples)
    usable = [example for example in examples if counts[example.target] >= FOLDS]
    names = sorted({example.target for example in usable})
    if len(names) < 2:
        return []
    labels = np.array([names.index(example.target) for example in usable])
    texts = (remainders or Remainders()).texts(usable)
    quality = label_quality(cross_validated_probabilities(texts, labels, seed), labels)
    return [
        LabelIssue(
            usable[i].id, usable[i].line, usable[i].text, names[labels[i]], names[quality.likely[i]],
            round(float(quality.margins[i]), 4), rank < quality.wrong[0], rank < quality.wrong[1],
        )
        for rank, i in enumerate(quality.order)
    ]  # fmt: skip


def summarize(issues: Sequence[LabelIssue]) -> LabelIssues:
    """The issues as part of a report: likely wrong labels, flagged rows, and the most suspicious."""
    return LabelIssues(
        rows=sum(issue.confident for issue in issues),
        rows_at_most=sum(issue.possible for issue in issues),
        flagged=len(issues),
        worst=tuple(issues[:_MAX_SHOWN]),
    )


@dataclass(frozen=True)
class LabelQuality:
    """Indices of the flagged rows, most suspicious first, and how many labels are wrong: expected, and at most.

    Per row: the most probable other label, and by how much it is more probable than the row's own.
    """

    order: list[int]
    wrong: tuple[int, int]
    likely: np.ndarray
    margins: np.ndarray


def label_quality(probabilities: np.ndarray, labels: np.ndarray) -> LabelQuality:
    """Label quality from probabilities (a column per label) and the column of each row's own label."""
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    margins = others.max(axis=1) - own
    order = [int(i) for i in np.argsort(own, kind="stable") if margins[i] > 0]
    return LabelQuality(order, wrong_labels(probabilities, labels), others.argmax(axis=1), margins)


def wrong_labels(probabilities: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """The number of wrong labels: its mean, and a bound that it is below with a probability of 95 %.

    They are far apart where the model separates the labels too weakly to tell; the mean is then near the prior one.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    size, others = len(labels), probabilities.shape[1] - 1
    agrees = probabilities.argmax(axis=1) == labels
    first, second = np.log(np.maximum(np.sort(probabilities, axis=1)[:, :-3:-1], 1e-12)).T
    curve, losses = _CURVE, []
    with threadpool_limits(1):
        for share in _FLIP_SHARES:
            loss, curve = _fitted(agrees, first - second, share, share / others, curve)
            losses.append(loss + share / _PRIOR_SHARE)
    weights = np.exp(min(losses) - np.array(losses)) * np.gradient(_FLIP_SHARES)
    weights /= weights.sum()
    bound = _FLIP_SHARES[min(int(np.searchsorted(np.cumsum(weights), 0.95)), len(_FLIP_SHARES) - 1)]
    mean = float(weights @ _FLIP_SHARES)
    return round(mean * size), round(max(mean, bound) * size)


def _fitted(
    agrees: np.ndarray, margins: np.ndarray, flipped: float, by_chance: float, start: np.ndarray
) -> tuple[float, np.ndarray]:
    """The least negative log posterior at a share of flipped labels, and the logistic curve (level, log slope)."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(curve: np.ndarray) -> tuple[float, np.ndarray]:
        slope = np.exp(curve[1])
        right = expit(curve[0] + slope * margins)  # share of right predictions, were no label flipped
        agree = np.clip((1 - flipped) * right + by_chance * (1 - right), 1e-12, 1 - 1e-12)
        per_unit = np.where(agrees, 1 / agree, -1 / (1 - agree)) * (1 - flipped - by_chance) * right * (1 - right)
        away = (curve - _CURVE) / _CURVE_DEVIATION
        gradient = away / _CURVE_DEVIATION - np.array([per_unit.sum(), slope * (per_unit * margins).sum()])
        return float(away @ away / 2 - np.log(np.where(agrees, agree, 1 - agree)).sum()), gradient

    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-6, 6), (-4, 4)])
    return float(result.fun), np.asarray(result.x)


def cross_validated_probabilities(texts: Sequence[str], labels: np.ndarray, seed: int) -> np.ndarray:
    """Probability of every label for every row, from a model trained without that row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    from gemtune.dedup.embedding import embed

    vectors = embed(texts, dimensions=_DIMENSIONS, seed=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=200)
    with threadpool_limits(1):  # the matrices are too small for several threads
        return np.asarray(cross_val_predict(model, vectors, labels, cv=folds, method="predict_proba"))

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Likely label errors by confident learning (Northcutt et al. 2021), ranked by label quality (Kuan and Mueller 2022).

Every row is scored by a model that did not see it (cross-validation; logistic regression on `embedding`). Suspect are
the rows to which it gives another label, the ones whose own label it believes least first. How many are likely wrong
is what confident learning counts: rows to which it gives another label with at least the confidence it gives, on
average, to rows that carry that label. Promise: the same rows give the same list; suspects are suggestions, nothing is
changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example

FOLDS = 5
_SHOWN = 20
_DIMENSIONS, _LOOSENESS = 256, 3.0  # chosen with bench/label_errors.py


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A row whose label may be wrong; `margin` is how much more the label `likely` is believed (0..1).

    `confident`: it is among as many as are likely wrong.
    """

    id: str
    line: int
    text: str
    label: str
    likely: str
    margin: float
    confident: bool = True


def rank_label_issues(examples: Sequence[Example], seed: int = 7) -> list[LabelIssue]:
    """Suspects, worst first. Labels with fewer rows than folds are left alone; without two labels the list is empty."""
    counts = Counter(example.target for example in examples)
    usable = [example for example in examples if counts[example.target] >= FOLDS]
    names = sorted({example.target for example in usable})
    if len(names) < 2:
        return []
    given = np.array([names.index(example.target) for example in usable])
    found = label_quality(cross_validated_probabilities(comparison_texts(usable), given, seed), given)
    return [
        LabelIssue(
            usable[i].id, usable[i].line, usable[i].text, names[given[i]], names[found.likely[i]],
            round(float(found.margins[i]), 4), place < found.count,
        )
        for place, i in enumerate(found.order)
    ]  # fmt: skip


def told(found: Sequence[LabelIssue]) -> dict[str, Any]:
    """Suspects as part of a report: how many are likely wrong, how many are worth a look, the worst."""
    worst = [asdict(row) for row in found[:_SHOWN]]
    return {"rows": sum(row.confident for row in found), "flagged": len(found), "worst": worst}


@dataclass(frozen=True)
class LabelQuality:
    """Rows to which another label is given, worst first, and how many of them are likely wrong.

    Of every row: the other label it likely has, and by how much more that is believed than its own.
    """

    order: list[int]
    count: int
    likely: np.ndarray
    margins: np.ndarray


def label_quality(probabilities: np.ndarray, given: np.ndarray) -> LabelQuality:
    """Whose label is doubted, from probabilities (a column per label) and the column of each row's own label."""
    rows = np.arange(len(given))
    own = probabilities[rows, given]
    others = probabilities.copy()
    others[rows, given] = -1.0
    margins = others.max(axis=1) - own
    usual = np.array([own[given == label].mean() for label in range(probabilities.shape[1])])
    count = int((np.where(others >= usual, others, -1.0).max(axis=1) > own).sum())
    order = [int(i) for i in np.argsort(own, kind="stable") if margins[i] > 0]
    return LabelQuality(order, count, others.argmax(axis=1), margins)


def cross_validated_probabilities(texts: Sequence[str], given: np.ndarray, seed: int) -> np.ndarray:
    """Probability of every label for every row, by a model that was fitted without that row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from gemtune.dedup.embedding import embed

    vectors = embed(texts, dimensions=_DIMENSIONS, seed=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=_LOOSENESS, max_iter=200)
    with threadpool_limits(1):  # the matrices are too small to share
        return np.asarray(cross_val_predict(model, vectors, given, cv=folds, method="predict_proba"))

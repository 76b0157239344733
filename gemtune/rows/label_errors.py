# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Likely label errors by confident learning (Northcutt et al. 2021).

Every row is scored by a model that did not see it (cross-validation; logistic regression on
`embedding`). A
row is suspect when the model gives another label at least the confidence it gives, on average, to rows that carry
that label, and more than it gives the row's own. Promise: the same rows give the same list; suspects are suggestions,
nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemtune.data import Example
from gemtune.dedup.compared import compared

FOLDS = 5
_DIMENSIONS = 128


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is likely wrong; `margin` is how much more the other label is believed (0..1)."""

    id: str
    line: int
    text: str
    label: str
    likely: str
    margin: float


def suspects(examples: Sequence[Example], seed: int = 7) -> list[Suspect]:
    """Suspects, worst first. Labels with fewer rows than folds are left alone; without two labels the list is empty."""
    counts = Counter(example.target for example in examples)
    usable = [example for example in examples if counts[example.target] >= FOLDS]
    names = sorted({example.target for example in usable})
    if len(names) < 2:
        return []
    given = np.array([names.index(example.target) for example in usable])
    believed = _believed(compared(usable), given, seed)
    own = believed[np.arange(len(usable)), given]
    usual = np.array([own[given == label].mean() for label in range(len(names))])
    others = np.where(believed >= usual, believed, -1.0)
    others[np.arange(len(usable)), given] = -1.0
    likely = others.argmax(axis=1)
    margins = others.max(axis=1) - own
    order = [int(i) for i in np.argsort(-margins, kind="stable") if margins[i] > 0]
    return [
        Suspect(
            usable[i].id, usable[i].line, usable[i].text, names[given[i]], names[likely[i]], round(float(margins[i]), 4)
        )
        for i in order
    ]


def _believed(texts: Sequence[str], given: np.ndarray, seed: int) -> np.ndarray:
    """Probability of every label for every row, by a model that was fitted without that row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from gemtune.dedup.embedding import embed

    vectors = embed(texts, dimensions=_DIMENSIONS, seed=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=100, max_iter=200)
    with threadpool_limits(1):  # the matrices are too small to share
        return np.asarray(cross_val_predict(model, vectors, given, cv=folds, method="predict_proba"))

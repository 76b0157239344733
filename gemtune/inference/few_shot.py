# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which training rows a few-shot prompt shows: at random, balanced by class, or those most like the query.

Only training rows are ever shown, never one that says the same as the query. Similarity is the cosine of TF-IDF vectors
over character 1- to 3-grams, which needs no word boundaries and so works in Japanese and Chinese (scikit-learn).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gemtune.config import Prompt
from gemtune.data.example import Example

if TYPE_CHECKING:
    import numpy as np

Choose = Callable[[Sequence[Example]], list[list[Example]]]


def select_shots(prompt: Prompt, train: Sequence[Example], queries: Sequence[Example]) -> list[list[Example]]:
    """The shots of each query, in the order they are shown; empty lists for a zero-shot prompt or without rows."""
    if not prompt.shots or not train:
        return [[] for _ in queries]
    if prompt.selection == "similar":
        return _similar(prompt.shots, train, queries)
    order = _balanced(train, prompt.seed) if prompt.selection == "balanced" else _shuffled(train, prompt.seed)
    spare = order[: prompt.shots + 1]  # one more, for the query that is itself among the shots
    return [[s for s in spare if s.text != query.text][: prompt.shots] for query in queries]


def _shuffled(train: Sequence[Example], seed: int) -> list[Example]:
    order = sorted(train, key=lambda e: e.id)  # the choice depends on the rows, not on their order in the file
    random.Random(seed).shuffle(order)
    return order


def _balanced(train: Sequence[Example], seed: int) -> list[Example]:
    """Rows dealt from each class in turn, the classes in an order drawn by seed."""
    by_target: dict[str, list[Example]] = {}
    for example in _shuffled(train, seed):
        by_target.setdefault(example.target, []).append(example)
    piles = list(by_target.values())
    return [pile[depth] for depth in range(max(map(len, piles))) for pile in piles if depth < len(pile)]


def _similar(count: int, train: Sequence[Example], queries: Sequence[Example]) -> list[list[Example]]:
    """The nearest rows of each query, the nearest last, next to the question."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    rows = vectorizer.fit_transform([e.text for e in train])
    chosen: list[list[Example]] = []
    for start in range(0, len(queries), 256):
        block = queries[start : start + 256]
        likeness = (vectorizer.transform([q.text for q in block]) @ rows.T).toarray()
        for query, scores in zip(block, likeness, strict=True):
            # fifty more, for rows that say what the query says
            others = (e for i in _highest(scores, count + 50) if (e := train[i]).text != query.text)
            chosen.append([e for e, _ in zip(others, range(count), strict=False)][::-1])
    return chosen


def _highest(scores: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Indices of the highest scores, the highest first; of equals the first. Sorts no more than it gives."""
    import numpy as np

    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        near = np.flatnonzero(scores >= least)
    else:
        near = np.arange(len(scores))
    found: np.ndarray[Any, Any] = near[np.argsort(-scores[near], kind="stable")][:count]
    return found

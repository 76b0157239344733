# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The shots of a few-shot prompt: random, balanced by class, or the training rows most similar to the query.

Shots are training rows only, never one with the same text as the query. Similarity is the cosine of TF-IDF vectors over
character 1- to 3-grams, which need no word boundaries and so work in Japanese and Chinese (scikit-learn).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gemtune.config import Prompt
from gemtune.data.example import Example

if TYPE_CHECKING:
    import numpy as np


def select_shots(prompt: Prompt, train: Sequence[Example], queries: Sequence[Example]) -> list[list[Example]]:
    """The shots of each query, in prompt order; empty lists for a zero-shot prompt or without training rows."""
    if not prompt.shots or not train:
        return [[] for _ in queries]
    if prompt.selection == "similar":
        return _similar(prompt.shots, train, queries)
    order = _balanced(train, prompt.seed) if prompt.selection == "balanced" else _shuffled(train, prompt.seed)
    candidates = order[: prompt.shots + 1]  # one spare, in case the query itself is among them
    return [[s for s in candidates if s.text != query.text][: prompt.shots] for query in queries]


def _shuffled(train: Sequence[Example], seed: int) -> list[Example]:
    order = sorted(train, key=lambda e: e.id)  # the selection must not depend on the order of the file
    random.Random(seed).shuffle(order)
    return order


def _balanced(train: Sequence[Example], seed: int) -> list[Example]:
    """Rows taken from each class in turn, the classes in a random order."""
    by_target: dict[str, list[Example]] = {}
    for example in _shuffled(train, seed):
        by_target.setdefault(example.target, []).append(example)
    classes = list(by_target.values())
    return [rows[depth] for depth in range(max(map(len, classes))) for rows in classes if depth < len(rows)]


def _similar(count: int, train: Sequence[Example], queries: Sequence[Example]) -> list[list[Example]]:
    """The most similar rows of each query; the most similar comes last, next to the query."""
    selected: list[list[Example]] = []
    for query, scores in zip(queries, similarities(train, queries), strict=True):
        # fifty spare, in case rows have the text of the query
        others = (e for i in _highest(scores, count + 50) if (e := train[i]).text != query.text)
        selected.append([e for e, _ in zip(others, range(count), strict=False)][::-1])
    return selected


def similarities(train: Sequence[Example], queries: Sequence[Example]) -> Iterator[np.ndarray[Any, Any]]:
    """For each query its similarity to every training row."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    rows = vectorizer.fit_transform([e.text for e in train])
    for start in range(0, len(queries), 256):
        block = vectorizer.transform([q.text for q in queries[start : start + 256]])
        yield from (block @ rows.T).toarray()


def _highest(scores: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Indices of the highest scores in descending order, ties by position; sorts only the returned ones."""
    import numpy as np

    if count < len(scores):
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(len(scores))
    highest: np.ndarray[Any, Any] = candidates[np.argsort(-scores[candidates], kind="stable")][:count]
    return highest

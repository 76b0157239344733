# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Texts as vectors without a download: TF-IDF of character n-grams, reduced by a truncated SVD (latent semantic
analysis).

Character n-grams make it work in every language. Promise: unit length, so that a dot product is a cosine; the same
texts, dimensions and seed give the same vectors. Meaning is seen as far as texts share words and stems, no further.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

_FEATURES = 30_000
_BLOCK = 512
Embedder = Callable[[Sequence[str]], NDArray[np.float32]]


def embed(texts: Sequence[str], dimensions: int = 256, seed: int = 7) -> NDArray[np.float32]:
    """One unit vector per text, shape (texts, at most `dimensions`); a text without any n-gram is the zero vector."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if not len(texts):
        return np.zeros((0, dimensions), np.float32)
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=_FEATURES, dtype=np.float32
    )
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no n-gram in any text
        return np.zeros((len(texts), dimensions), np.float32)
    width = min(dimensions, min(counts.shape) - 1)
    if width < 1:
        vectors = counts.toarray()
    else:
        with threadpool_limits(1):
            vectors = TruncatedSVD(width, random_state=seed, n_iter=3).fit_transform(counts)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1, norms), np.float32)


def leaders(vectors: NDArray[np.float32], threshold: float, classes: Sequence[Hashable]) -> NDArray[np.int64]:
    """For each unit vector the kept one that stands for it: an earlier one of its class with cosine >= threshold.

    Exact: every vector is compared with every kept one of its class, in blocks. The zero vector stands for none.
    """
    result = np.arange(len(vectors))
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, name in enumerate(classes):
        members[name].append(i)
    for rows in members.values():
        kept: list[int] = []
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            against = [*kept, *block]
            cosines = vectors[block] @ vectors[against].T
            near = cosines >= threshold - 1e-6
            stays = np.ones(len(against), np.bool_)
            for k, i in enumerate(block):
                candidates = near[k, : len(kept) + k] & stays[: len(kept) + k]
                if candidates.any():
                    stays[len(kept) + k] = False
                    result[i] = against[int(candidates.argmax())]
            kept += [i for k, i in enumerate(block) if stays[len(kept) + k]]
    return result


def neighbours(vectors: NDArray[np.float32], others: NDArray[np.float32], threshold: float) -> dict[int, int]:
    """For each unit vector that has one among the others with cosine >= threshold: its index and the nearest's.

    Exact: every vector is compared with every other one, in blocks.
    """
    found: dict[int, int] = {}
    if not len(others):
        return found
    for begin in range(0, len(vectors), _BLOCK):
        cosines = vectors[begin : begin + _BLOCK] @ others.T
        nearest = cosines.argmax(axis=1)
        for i in np.flatnonzero(cosines[np.arange(len(nearest)), nearest] >= threshold - 1e-6).tolist():
            found[begin + i] = int(nearest[i])
    return found

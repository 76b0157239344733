# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Built-in text embeddings: TF-IDF of character n-grams, reduced by a truncated SVD (latent semantic analysis).

Character n-grams work in every language and need no download. Guarantees: unit length, so that a dot product is a
cosine; the same texts, dimensions and seed give the same vectors. Texts are similar as far as they share words and
stems.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_FEATURES, _MAX_FITTED = 30_000, 20_000
_BLOCK, _WIDE_BLOCK = 512, 2048
_HEAD = 64  # dimensions that rule out most pairs: the built-in embedding has the largest first
_CELLS_PER_VECTOR = 4  # nearest cells per vector: 4 find 99.95 % of near pairs, 2 find 99 %
EXACT_BELOW = 50_000
_MAX_TEXT_CHARS = 2000  # characters of a text that are embedded
Embedder = Callable[[Sequence[str]], NDArray[np.float32]]


def ngram_tfidf(texts: Sequence[str]) -> Any:
    """The TF-IDF of the texts' character n-grams, sparse, shape (texts, at most `_MAX_FEATURES`)."""
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True).fit_transform(
        _ngram_counts([text[:_MAX_TEXT_CHARS] for text in texts])[0]
    )


def embed(texts: Sequence[str], dimensions: int = 256, seed: int = 7) -> NDArray[np.float32]:
    """One unit vector per text, shape (texts, at most `dimensions`); a text without any n-gram is the zero vector.

    Fitted to `_MAX_FITTED` texts at most, taken evenly: more would take gigabytes and change little.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    heads, step = [text[:_MAX_TEXT_CHARS] for text in texts], math.ceil(len(texts) / _MAX_FITTED) or 1
    if not any(map(str.split, heads[::step])):  # no n-gram in any text
        return np.zeros((len(texts), dimensions), np.float32)
    counts, vocabulary = _ngram_counts(heads[::step])
    transformer = TfidfTransformer(sublinear_tf=True)
    tfidf = transformer.fit_transform(counts)
    width = min(dimensions, min(tfidf.shape) - 1)
    if width < 1:
        vectors = tfidf.toarray()
    else:
        with threadpool_limits(1):
            reduction = TruncatedSVD(width, random_state=seed, n_iter=3)
            vectors = reduction.fit_transform(tfidf)
            if step > 1:
                del counts, tfidf, vectors
                axes = np.ascontiguousarray(reduction.components_.T)  # once: `transform` would copy it for each block
                vectors = np.concatenate(
                    [transformer.transform(counts) @ axes for counts in _blocks(heads, vocabulary)]
                )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1, norms), np.float32)


def _ngram_counts(texts: Sequence[str]) -> tuple[Any, dict[str, int]]:
    """The matrix of scikit-learn's `CountVectorizer` (`char_wb`), and its vocabulary: the commonest n-grams.

    It takes a fifth of the time, because the n-grams of a word are taken once, however often it occurs.
    """
    from scipy.sparse import csr_array

    words, in_texts = _occurrences(text.lower().split() for text in texts)
    ngrams, in_words = _occurrences(map(_ngrams, words))
    names, totals = sorted(ngrams), in_words.T @ in_texts.sum(axis=0)
    chosen = np.sort((-totals[[ngrams[name] for name in names]]).argsort()[:_MAX_FEATURES])
    vocabulary = {names[i]: column for column, i in enumerate(chosen.tolist())}
    columns = np.array([vocabulary.get(ngram, -1) for ngram in ngrams], np.int32)
    used = np.flatnonzero(columns >= 0)
    counts = in_texts @ in_words[:, used]
    counts.sort_indices()  # those of a row in the order of first occurrence, by which sums are rounded
    mapped = counts.data, columns[used][counts.indices], counts.indptr
    return csr_array(mapped, shape=(len(texts), len(vocabulary))), vocabulary


def _blocks(texts: Sequence[str], vocabulary: dict[str, int]) -> Iterator[Any]:
    """How often texts hold the n-grams of a vocabulary, some texts at a time."""
    for begin in range(0, len(texts), _MAX_FITTED):
        words, in_texts = _occurrences(text.lower().split() for text in texts[begin : begin + _MAX_FITTED])
        _, in_words = _occurrences(([own for own in _ngrams(word) if own in vocabulary] for word in words), vocabulary)
        for first in range(0, in_texts.shape[0], _WIDE_BLOCK):
            counts = in_texts[first : first + _WIDE_BLOCK] @ in_words
            counts.sort_indices()
            yield counts


def _ngrams(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[i : i + n] for n in range(2, 6) for i in range(len(padded) - n + 1)]


def _occurrences(rows: Iterable[Sequence[str]], numbers: dict[str, int] | None = None) -> tuple[dict[str, int], Any]:
    """The number of each item, by first occurrence if not known, and a sparse matrix of how often each row has each."""
    from scipy.sparse import csr_array

    if numbers is None:
        numbers = counting = defaultdict[str, int]()
        counting.default_factory = counting.__len__
    columns, ends = array("i"), [0]
    for row in rows:
        columns.extend(map(numbers.__getitem__, row))
        ends.append(len(columns))
    values = np.ones(len(columns), np.float32), np.asarray(columns), ends
    return numbers, csr_array(values, shape=(len(ends) - 1, len(numbers)))


def leaders(
    vectors: NDArray[np.float32], threshold: float, classes: Sequence[Hashable], *, exact_below: int = EXACT_BELOW
) -> NDArray[np.int64]:
    """For each unit vector the index of the kept one: an earlier one of its class with cosine >= threshold, or itself.

    Every vector is compared with every kept one of its class, in blocks; in classes of `exact_below` vectors or more
    only with those that share one of its nearest cells (k-means), which finds nearly all. Every leader is kept and
    within the threshold. The zero vector is no leader of others.
    """
    result = np.arange(len(vectors))
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, name in enumerate(classes):
        members[name].append(i)
    for rows in members.values():
        indices = np.array(rows)
        own = vectors[indices]
        cells = _cells(own) if len(rows) >= exact_below else np.zeros((len(rows), 1), np.int64)
        result[indices] = indices[_leaders(own, cells, threshold)]
    return result


def _leaders(vectors: NDArray[np.float32], cells: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Leaders among the kept vectors that share a cell."""
    result = np.arange(len(vectors))
    kept_in = [np.empty(0, np.int64) for _ in range(int(cells.max()) + 1)]
    size = _BLOCK if cells.shape[1] == 1 else _WIDE_BLOCK
    for begin in range(0, len(vectors), size):
        block = np.arange(begin, min(begin + size, len(vectors)))
        first = np.full(block.size, len(vectors))
        for cell, owners in _by_cell(cells[block]):
            if kept_in[cell].size:
                near = vectors[block[owners]] @ vectors[kept_in[cell]].T >= threshold - 1e-6
                nearest_kept = np.where(near.any(axis=1), kept_in[cell][near.argmax(axis=1)], len(vectors))
                first[owners] = np.minimum(first[owners], nearest_kept)
        unmatched = _assign_within_block(vectors, block, np.where(first < len(vectors), first, -1), threshold, result)
        for cell, owners in _by_cell(cells[unmatched]):
            kept_in[cell] = np.concatenate((kept_in[cell], unmatched[owners]))
    return result


def _by_cell(cells: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each cell, and the vectors that it is one of the cells of."""
    order = np.argsort(cells, axis=None, kind="stable")
    ordered = cells.ravel()[order]
    edges = np.flatnonzero(np.diff(ordered, prepend=-1, append=-1))
    for start, end in pairwise(edges.tolist()):
        yield int(ordered[start]), order[start:end] // cells.shape[1]


def _assign_within_block(
    vectors: NDArray[np.float32], block: NDArray[np.int64], first: NDArray[np.int64], threshold: float,
    result: NDArray[np.int64],
) -> NDArray[np.int64]:  # fmt: skip
    """Assign leaders from the vectors kept before (`first`, -1: none), then within the block; returns the kept ones."""
    result[block] = np.where(first >= 0, first, block)
    unmatched = np.flatnonzero(first < 0)
    near = np.triu(vectors[block[unmatched]] @ vectors[block[unmatched]].T >= threshold - 1e-6, 1)
    kept = np.ones(unmatched.size, np.bool_)
    for k in np.flatnonzero(near.any(axis=0)).tolist():
        candidates = near[:k, k] & kept[:k]
        if candidates.any():
            kept[k] = False
            result[block[unmatched[k]]] = block[unmatched[int(candidates.argmax())]]
    return block[unmatched[kept]]


def _cells(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest cells of every vector, shape (vectors, _SHARED); centres by k-means of a sample."""
    from sklearn.cluster import MiniBatchKMeans

    cell_count = max(_CELLS_PER_VECTOR, int(math.sqrt(len(vectors) / 2)))
    sample = np.random.default_rng(7).permutation(len(vectors))[: 64 * cell_count]
    fitted = MiniBatchKMeans(cell_count, n_init=1, max_iter=20, random_state=7, batch_size=4096).fit(vectors[sample])
    centres = fitted.cluster_centers_.astype(np.float32)
    half_norms = (centres * centres).sum(axis=1) / 2
    cells = np.empty((len(vectors), _CELLS_PER_VECTOR), np.int64)
    for begin in range(0, len(vectors), _WIDE_BLOCK):
        nearness = vectors[begin : begin + _WIDE_BLOCK] @ centres.T - half_norms
        cells[begin : begin + _WIDE_BLOCK] = np.argpartition(-nearness, _CELLS_PER_VECTOR - 1, axis=1)[
            :, :_CELLS_PER_VECTOR
        ]
    return cells


def neighbours(vectors: NDArray[np.float32], others: NDArray[np.float32], threshold: float) -> dict[int, int]:
    """For each unit vector that has one among the others with cosine >= threshold: its index and the nearest's.

    Exact: a vector is compared, in blocks, with every other one, unless a bound on its cosines is below the threshold
    (the product of the first dimensions, and the lengths of the rest: Cauchy and Schwarz).
    """
    matches: dict[int, int] = {}
    if not len(others):
        return matches
    heads, other_heads = (np.c_[v[:, :_HEAD], np.linalg.norm(v[:, _HEAD:], axis=1)] for v in (vectors, others))
    for begin in range(0, len(vectors), _BLOCK):
        bounds = heads[begin : begin + _BLOCK] @ other_heads.T
        rows = np.flatnonzero(bounds.max(axis=1) >= threshold - 1e-5)
        columns = np.flatnonzero(bounds[rows].max(axis=0, initial=0) >= threshold - 1e-5)
        if not columns.size:
            continue
        cosines = vectors[begin + rows] @ others[columns].T
        nearest = cosines.argmax(axis=1)
        for i in np.flatnonzero(cosines[np.arange(len(nearest)), nearest] >= threshold - 1e-6).tolist():
            matches[begin + int(rows[i])] = int(columns[nearest[i]])
    return matches

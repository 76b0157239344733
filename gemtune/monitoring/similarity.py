# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How similar a production text is to its nearest training row, and which topics the least similar texts form.

The embedder is that of deduplication (`preprocess.embedder`). The built-in one is fitted on the texts that it embeds:
its vectors would change with each window. Here its n-grams are weighted by the training rows alone and compared without
the reduction, and an n-gram that no training row has counts in a text's length: another language is similar to nothing.
A few training rows in another script would be the nearest of all texts in it: where less than a twentieth of the rows
have a text's script, its similarity counts in proportion. A script that no row has is not just unlike them as the least
similar texts are: its score is below 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemtune.artifacts.monitoring import Topic
from gemtune.data.profile import script
from gemtune.dedup.embedding import Embedder
from gemtune.monitoring.windows import WindowMean

Floats = NDArray[np.float64]
_BLOCK, _THREADS, _FEATURES, _MAX_TEXT_CHARS = 1024, 2, 2**18, 2000
CLUSTERS, MIN_CLUSTER, TEXTS, NGRAMS = 10, 3, 3, 5
_MOST_CLUSTERED = 1000  # rows
_FOREIGN = 0.25  # times `typical` below 0: the score of a script that no training row has (docs/lab/monitoring.md)
_COMMON, _SCRIPT_CHARS = 0.05, 200  # share of the rows from which a script is common; characters that show it
_TOPIC, _TOPICS = 0.4, 10  # cosine with the first text of a cluster; groups of labels, each a topic


class TrainingRows:
    """The training rows that texts are compared with; `labels` are theirs, `embedder` None for the built-in one."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str] = (), embedder: Embedder | None = None) -> None:
        self._texts, self._embedder = list(texts), embedder
        self._idf: Any = None
        self._vectors = self._embedded(self._texts)
        scripts = Counter(script(text[:_SCRIPT_CHARS]) for text in texts)
        self._common = {name: min(1.0, rows / len(texts) / _COMMON) for name, rows in scripts.items()}
        self.labels = np.array(labels if len(labels) else [""] * len(self._texts))

    @cached_property
    def typical(self) -> float:
        """The median similarity of a training row to the nearest other one. Scores stop there: how much closer a text
        is to a training row says nothing about drift, and its variance would hide one (bench/monitoring.py).
        """
        return float(np.median(self._others))

    @cached_property
    def _others(self) -> Floats:
        """Highest cosine of each training row with the other ones."""
        return self._within(np.eye(len(self._texts), dtype=bool))[0]

    def _embedded(self, texts: Sequence[str]) -> Any:
        """Unit vectors: dense ones of the embedder, else a sparse matrix of weighted n-grams."""
        if self._embedder is not None:
            return self._embedder(texts)
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        hashing = HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 5), n_features=_FEATURES, alternate_sign=False, norm=None,
            dtype=np.float32,
        )  # fmt: skip
        counts = hashing.transform([text[:_MAX_TEXT_CHARS] for text in texts])
        if self._idf is None:
            self._idf = TfidfTransformer(sublinear_tf=True).fit(counts)
        return self._idf.transform(counts)

    def _highest(
        self, vectors_of: Callable[[slice], Any], count: int, excluded: Any = None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Highest cosine of each vector, and with which training row; `excluded` masks those that do not count."""
        cosines, rows = np.zeros(count), np.zeros(count, np.int64)

        def compare(begin: int) -> None:
            part = slice(begin, begin + _BLOCK)
            product = vectors_of(part) @ self._vectors.T
            near = product if isinstance(product, np.ndarray) else product.toarray()
            if excluded is not None:
                near = np.where(excluded[part], -1.0, near)
            rows[part] = near.argmax(axis=1)
            cosines[part] = np.maximum(0.0, near[np.arange(len(near)), rows[part]])

        with ThreadPoolExecutor(_THREADS) as pool:  # a sparse product holds no lock
            list(pool.map(compare, range(0, count, _BLOCK)))
        return cosines, rows

    def scores(self, texts: Sequence[str]) -> Floats:
        """Cosine of each text with its nearest training row, at most `typical`, less where its script is rare."""
        return self._bounded(self.cosines(texts), texts)

    def _bounded(self, cosines: Floats, texts: Sequence[str]) -> Floats:
        common = np.array([self._common.get(script(text[:_SCRIPT_CHARS]), 0.0) for text in texts])
        return common * np.minimum(cosines, self.typical) - (1 - common) * _FOREIGN * self.typical

    def cosines(self, texts: Sequence[str]) -> Floats:
        """Cosine of each text with its nearest training row."""
        return self.nearest(texts)[0]

    def nearest(self, texts: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
        """Cosine of each text with its nearest training row, and which that is."""
        if self._embedder is None or not len(texts):  # the n-grams of 100,000 texts at once would take 1 GB
            return self._highest(lambda part: self._embedded(texts[part]), len(texts))
        return self._highest(self._embedded(texts).__getitem__, len(texts))

    def _within(self, excluded: Any) -> tuple[Floats, NDArray[np.int64]]:
        """The same of each training row with those that are not excluded."""
        return self._highest(self._vectors.__getitem__, len(self._texts), excluded)

    @cached_property
    def _apart(self) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
        """Score of each training row against those of other labels, with which, and the tenth of its label.

        The more rows, the nearer the nearest: without those of a label there are fewer than a new topic is compared
        with. What that takes from a score is seen by leaving out half of all rows.
        """
        labels = self.labels if len(set(self.labels.tolist())) > 1 else _groups(self._between(self._texts))
        names, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        rng, same, rows = np.random.default_rng(7), index[:, None] == index, len(index)
        tenths = rng.permutation(len(names))[index] % _TOPICS
        cosines, nearest = self._within(same)
        drawn = rng.permutation(rows)[:_BLOCK]
        half = (drawn[:, None] == np.arange(rows)) | (rng.random(rows) < 0.5)
        fewer, _ = self._highest(self._vectors[drawn].__getitem__, len(drawn), half)
        texts = [self._texts[i] for i in drawn]
        lost = (self._bounded(self._others[drawn], texts) - self._bounded(fewer, texts)).mean()
        missing = np.log2(rows / np.maximum(1, rows - sizes[index]))  # of the rows, in halvings
        return self._bounded(cosines, self._texts) + lost * missing, nearest, tenths

    def near_topics(self, centres: Mapping[str, float]) -> list[WindowMean]:
        """What rows of a new topic would score: training rows compared with those of other labels, by tenths of labels.

        Each row counts against the centre of the label that its nearest remaining row has. Rows without labels are
        grouped by similarity.
        """
        scores, nearest, tenths = self._apart
        scores = scores - [centres.get(str(label), centres[""]) for label in self.labels[nearest]]
        topics = [scores[tenths == tenth] for tenth in np.unique(tenths)]
        return [WindowMean(len(own), float(own.mean()), float(own.var())) for own in topics if len(own) >= MIN_CLUSTER]

    def new_topics(self, ids: Sequence[str], texts: Sequence[str], scores: Sequence[float]) -> list[Topic]:
        """The tightest clusters of the least similar texts, each with three texts and its most telling n-grams."""
        from sklearn.feature_extraction.text import CountVectorizer

        least = np.argsort(scores, kind="stable")[: min(_MOST_CLUSTERED, len(texts) // 5)]
        chosen = [texts[i] for i in least]
        spaced = sum(" " in text.strip() for text in chosen) > len(chosen) / 2
        form: dict[str, Any] = {"token_pattern": r"\w+"} if spaced else {"analyzer": "char", "ngram_range": (2, 4)}
        counter = CountVectorizer(binary=True, **form)
        try:
            present = counter.fit_transform(chosen)
        except ValueError:  # no text, or no word in any
            return []
        names = counter.get_feature_names_out()
        sample = counter.transform(texts[:: max(1, len(texts) // _MOST_CLUSTERED)])
        everywhere = np.asarray(sample.mean(axis=0)).ravel()
        near, topics = self._between(chosen), []
        groups = _groups(near)
        for group in np.unique(groups).tolist():
            own = np.flatnonzero(groups == group)
            if len(own) < MIN_CLUSTER:
                continue
            nearness = near[np.ix_(own, own)].mean(axis=0)
            telling = np.argsort(everywhere - np.asarray(present[own].mean(axis=0)).ravel(), kind="stable")[:NGRAMS]
            shown = own[np.argsort(-nearness, kind="stable")]
            topics.append(
                Topic(
                    rows=len(own),
                    tightness=float(nearness.mean()),
                    ids=[ids[least[i]] for i in shown],
                    texts=[chosen[i] for i in shown[:TEXTS]],
                    ngrams=[str(names[i]) for i in telling],
                )
            )
        return sorted(topics, key=lambda topic: -topic.tightness)[:CLUSTERS]

    def _between(self, texts: Sequence[str]) -> Floats:
        vectors = self._embedded(texts)
        product = vectors @ vectors.T
        return np.asarray(product if isinstance(product, np.ndarray) else product.toarray(), np.float64)


def _groups(near: Floats) -> NDArray[np.int64]:
    """For each row of a matrix of cosines the first row that it is near to."""
    groups = np.full(len(near), -1)
    for first in range(len(near)):
        if groups[first] < 0:
            groups[(groups < 0) & (near[first] >= _TOPIC)] = first
            groups[first] = first
    return groups

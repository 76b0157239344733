# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The classical opponent: TF-IDF and logistic regression, because the cheapest model that does the task wins.

Words and word pairs, plus character 1- to 4-grams for scripts without spaces and for misspellings (scikit-learn). It is
fitted on training rows in seconds on a laptop, asks no network, and answers every row; it shows what a language model
must be worth. Only for tasks with one label a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from gemtune.config import ModelVariant, Task
from gemtune.data.example import Example
from gemtune.inference.generate import ModelOutput

TFIDF_BASELINE = ModelVariant.of({"name": "classical", "model": "local:tfidf_logreg", "role": "baseline"})


def is_applicable(task: Task, train: Sequence[Example]) -> bool:
    """Whether the task has one label a row and the training rows hold two labels or more."""
    labelled = task.kind in ("classification", "sentiment") and not task.label_separator
    return labelled and len({example.target for example in train}) >= 2


def predict(train: Sequence[Example], examples: Sequence[Example]) -> list[ModelOutput]:
    """The classical model's answer to each example, learned from `train`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    features = make_union(
        TfidfVectorizer(analyzer="word", token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2 if len(train) > 50 else 1),
    )
    model = make_pipeline(features, LogisticRegression(C=10, max_iter=1000))
    with threadpool_limits(1):  # on matrices this small, threads cost more than they do, ten times so on a busy machine
        model.fit([e.text for e in train], [e.target for e in train])
        start = perf_counter()
        said = model.predict([e.text for e in examples])
    each = (perf_counter() - start) / max(1, len(examples))
    return [ModelOutput(str(label), "STOP", latency_s=each) for label in said]

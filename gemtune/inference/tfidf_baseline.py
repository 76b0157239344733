# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The TF-IDF baseline: logistic regression on n-grams, the cheapest model to compare a language model with.

Words and word pairs, plus character 1- to 4-grams for scripts without spaces and for misspellings (scikit-learn). It
trains on the training rows in seconds on a laptop, without network, and predicts every row. Only for tasks with one
label per row. Each label has its own classifier against the rest, used and dropped before the next is fitted: all at
once would take gigabytes for a hundred labels and be no better (docs/explain/gate.md).
"""

import logging
import re
from collections.abc import Sequence
from time import perf_counter

from gemtune.config import ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example

log = logging.getLogger("gemtune")

TFIDF_BASELINE = ModelVariant.of({"name": "tfidf_baseline", "model": "local:tfidf_logreg", "role": "free_baseline"})


def is_applicable(task: Task, train: Sequence[Example]) -> bool:
    """Whether the task has one label per row and the training rows contain at least two labels, and words."""
    single_label = task.is_labelled and not task.label_separator
    has_words = any(re.search(r"\w", example.text) for example in train)
    return single_label and has_words and len({example.target for example in train}) >= 2


def predict(train: Sequence[Example], examples: Sequence[Example]) -> list[ModelOutput]:
    """The prediction for each example by a model trained on `train`."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    start = last_log = perf_counter()
    features = make_union(
        TfidfVectorizer(analyzer="word", token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2 if len(train) > 50 else 1),
    )
    fitted = features.fit_transform([e.text for e in train]).tocsr()
    queries = features.transform([e.text for e in examples]).tocsr()
    targets = np.array([e.target for e in train])
    labels = sorted(set(targets.tolist()))
    best, predicted = np.full(len(examples), -np.inf), np.zeros(len(examples), dtype=int)
    for number, label in enumerate(labels):
        model = LogisticRegression(C=10, solver="liblinear", dual=True, max_iter=1000, random_state=0)
        scores = model.fit(fitted, targets == label).decision_function(queries)
        predicted[scores > best] = number
        best = np.maximum(best, scores)
        if (now := perf_counter()) - last_log >= 2:
            last_log = now
            log.info("progress: TF-IDF baseline: %d of %d labels", number + 1, len(labels))
    latency_s = (perf_counter() - start) / max(1, len(examples))
    return [ModelOutput(labels[number], "STOP", latency_s=latency_s) for number in predicted]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Likely label issues, ranked by label quality (Kuan and Mueller 2022), and how many labels are wrong.

Every row is scored by a model that was trained without it (cross-validation; logistic regression). A row is flagged
when another label is more probable than its own; rows whose own label is least probable come first. The number of
wrong labels is that of random flips (Angluin and Laird 1988; Bootkrajang and Kaban 2012): a row's label is right with
the probability that the model gives it, raised to a power that makes it calibrated (Guo et al. 2017), or flipped to any
other label alike. The model's own errors are between probable labels, flips are not. The posterior of the share of
flips is computed on a grid, the power integrated out. Where the model and the labels agree too seldom, its errors
cannot be told from flips, and no number is given.

Guarantees: the same rows give the same list; nothing is changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
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
_PRIOR_SHARE = 0.15  # mean of a weak, exponential prior; benchmarks have 0.033 (Northcutt, Athalye and Mueller 2021)
_SHARPNESS = np.linspace(-4, 3, 29)  # logarithms of the power of the probabilities
_LEVELS = (-0.5, 0.0)  # log odds of the best label where two are equally probable
MIN_AGREEMENT = 0.5  # by bench/label_errors.py on drawn sets: above, the mean error is 1 % of the rows, below 6 %
_INVERSE_REGULARIZATION = 3.0  # chosen with bench/label_errors.py


def find_label_issues(
    examples: Sequence[Example], task: Task, config: Preprocess, remainders: Remainders | None = None
) -> RankedIssues:
    """Likely label issues of a task with labels, searched in a sample that fits into memory."""
    if not config.find_label_issues or not task.is_labelled:
        return RankedIssues([])
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


def rank_label_issues(examples: Sequence[Example], seed: int = 7, remainders: Remainders | None = None) -> RankedIssues:
    """The flagged rows. Labels with fewer rows than folds are ignored; below two labels: none."""
    counts = Counter(example.target for example in examples)
    usable = [example for example in examples if counts[example.target] >= FOLDS]
    names = sorted({example.target for example in usable})
    if len(names) < 2:
        return RankedIssues([])
    labels = np.array([names.index(example.target) for example in usable])
    texts = (remainders or Remainders()).texts(usable)
    quality = label_quality(cross_validated_probabilities(texts, labels, seed), labels)
    issues = [
        LabelIssue(
            usable[i].id, usable[i].line, usable[i].text, names[labels[i]], names[quality.likely[i]],
            round(float(quality.margins[i]), 4), rank < quality.wrong[0], rank < quality.wrong[1],
        )
        for rank, i in enumerate(quality.order)
    ]  # fmt: skip
    return RankedIssues(issues, quality.agreement)


@dataclass(frozen=True)
class RankedIssues:
    """Flagged rows, most suspicious first, and how well labels and predictions agree (Cohen's kappa)."""

    rows: list[LabelIssue]
    agreement: float = 1.0

    def summary(self) -> LabelIssues:
        """The issues as part of a report: likely wrong labels, flagged rows, and the most suspicious."""
        return LabelIssues(
            rows=sum(issue.confident for issue in self.rows) if self.agreement >= MIN_AGREEMENT else None,
            rows_at_most=sum(issue.possible for issue in self.rows),
            agreement=round(self.agreement, 3),
            flagged=len(self.rows),
            worst=tuple(self.rows[:_MAX_SHOWN]),
        )


@dataclass(frozen=True)
class LabelQuality:
    """Indices of the flagged rows, most suspicious first, and how many labels are wrong: expected, and at most.

    Per row: the most probable other label, and by how much it is more probable than the row's own. Of all rows: Cohen's
    kappa of labels and predictions; below MIN_AGREEMENT the expected number is none.
    """

    order: list[int]
    wrong: tuple[int, int]
    agreement: float
    likely: np.ndarray
    margins: np.ndarray


def label_quality(probabilities: np.ndarray, labels: np.ndarray) -> LabelQuality:
    """Label quality from probabilities (a column per label) and the column of each row's own label."""
    from sklearn.metrics import cohen_kappa_score

    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    margins = others.max(axis=1) - own
    order = [int(i) for i in np.argsort(own, kind="stable") if margins[i] > 0]
    agreement = float(cohen_kappa_score(labels, probabilities.argmax(axis=1)))
    return LabelQuality(order, wrong_labels(probabilities, labels), agreement, others.argmax(axis=1), margins)


def wrong_labels(probabilities: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """The number of wrong labels: its mean, and a bound that it is below with a probability of 95 %.

    They are far apart where the model separates the labels too weakly to tell.
    """
    from scipy.special import logsumexp

    size, others, shares = len(labels), probabilities.shape[1] - 1, _FLIP_SHARES[:, None]
    losses = []
    for prior, right in _calibrated(probabilities, labels):
        likelihoods = (1 - shares) * right + shares / others * (1 - right)
        losses.append(prior + _FLIP_SHARES / _PRIOR_SHARE - np.log(np.maximum(likelihoods, 1e-12)).sum(axis=1))
    weights = np.exp(logsumexp(-np.array(losses), axis=0) + np.min(losses)) * np.gradient(_FLIP_SHARES)
    weights /= weights.sum()
    bound = _FLIP_SHARES[min(int(np.searchsorted(np.cumsum(weights), 0.95)), len(_FLIP_SHARES) - 1)]
    mean = float(weights @ _FLIP_SHARES)
    return round(mean * size), round(max(mean, bound) * size)


def _calibrated(probabilities: np.ndarray, labels: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Probabilities of each row's label, were none flipped, by many calibrations; each with its negative log prior."""
    from scipy.special import expit, log_softmax

    rows, others = np.arange(len(labels)), probabilities.shape[1] - 1
    logs = np.log(np.maximum(probabilities, 1e-12))
    second, first = np.partition(logs, -2, axis=1)[:, -2:].T
    agrees = probabilities.argmax(axis=1) == labels
    for sharpness in _SHARPNESS:
        yield sharpness**2 / 8, np.exp(log_softmax(np.exp(sharpness) * logs, axis=1)[rows, labels])
        for level in _LEVELS if others > 1 else ():
            best = expit(level + np.exp(sharpness) * (first - second))
            yield sharpness**2 / 8, np.where(agrees, best, (1 - best) / others)


def cross_validated_probabilities(texts: Sequence[str], labels: np.ndarray, seed: int) -> np.ndarray:
    """Probability of every label for every row, from a model trained without that row.

    Of two labels the model reads the n-grams themselves, which is better and as fast as their embedding.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    from gemtune.dedup.embedding import embed, ngram_tfidf

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=200, random_state=seed)
    if len(np.unique(labels)) == 2:
        model, vectors = model.set_params(solver="liblinear", dual=True), ngram_tfidf(texts)
    else:
        vectors = embed(texts, seed=seed)
    with threadpool_limits(1):  # the matrices are too small for several threads
        return np.asarray(cross_val_predict(model, vectors, labels, cv=folds, method="predict_proba"))

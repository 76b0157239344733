# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Hard examples: more weight for training rows that the best prompt gets wrong, without teaching it its own noise.

Source: the published advice to put weight on what the base model fails. A failed row whose label is itself suspect
(confident learning, see `label_errors`) is left as it is, not amplified. Weight is repetition: a row may appear up to
`Hard.most_copies` times, until hard rows make up `Hard.share` of what is trained on; all easy rows stay, against
forgetting. Rows of the same kind are what validation measures: those whose nearest training row is hard form the slice
`like_hard`, never the same rows nor near-duplicates of them (the split sees to that). Which rows are hard is settled
once per data, prompt and settings, and remembered in the bucket: a repeated run tunes on the same rows, so that it
finds its jobs again. With `share` 0 the rows go through as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from gemtune.config import Hard, ModelVariant, fingerprint
from gemtune.data.example import Example


def failed(predictions: str | Path, variant: str = "") -> set[str]:
    """Ids of rows that a variant (the first one in the file by default) answered wrongly or not at all."""
    ids: set[str] = set()
    with open(predictions, encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            variant = variant or row["variant"]
            if row["variant"] == variant and row["parsed"] != row["reference"]:
                ids.add(row["id"])
    return ids


def copies(easy: int, hard: int, settings: Hard) -> int:
    """How many rows the hard ones become beside so many easy ones."""
    if not hard or settings.share <= hard / (easy + hard):
        return hard
    wanted = round(settings.share * easy / (1 - settings.share)) if easy else hard
    return max(hard, min(wanted, settings.most_copies * hard))


def most_added(rows: int, settings: Hard) -> int:
    """The most rows that weighting can add to so many, however many of them turn out to be hard."""
    return max((copies(rows - hard, hard, settings) - hard for hard in range(rows + 1)), default=0)


def weighted(train: Sequence[Example], hard: set[str], settings: Hard) -> list[Example]:
    """The training rows with hard ones repeated, in an order drawn by seed; equal input gives an equal list.

    Hard rows fill `share` of the result as far as `most_copies` lets them; every row appears at least once.
    """
    difficult = [example for example in train if example.id in hard]
    total = copies(len(train) - len(difficult), len(difficult), settings)
    if total == len(difficult):
        return list(train)
    rng = Random(settings.seed)
    order = rng.sample(difficult, len(difficult))
    added = [order[n % len(order)] for n in range(len(order), total)]
    result = [*train, *added]
    rng.shuffle(result)
    return result


def siblings(train: Sequence[Example], validation: Sequence[Example], hard: set[str]) -> set[str]:
    """Ids of validation rows whose nearest training row (TF-IDF of character 1- to 3-grams) is a hard one."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not hard or not validation:
        return set()
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    rows = vectorizer.fit_transform([example.text for example in train])
    found = set()
    for start in range(0, len(validation), 256):
        block = validation[start : start + 256]
        nearest = (vectorizer.transform([example.text for example in block]) @ rows.T).argmax(axis=1)
        found |= {e.id for e, at in zip(block, nearest.A1, strict=True) if train[int(at)].id in hard}
    return found


def key(train: Iterable[Example], prompt: ModelVariant, settings: Hard) -> str:
    """Where the bucket remembers which rows are hard."""
    ids = sorted(row.id for row in train)
    chosen = settings.model_dump(mode="json", exclude={"ablation"})
    return f"hard/{fingerprint(ids, prompt.model, prompt.prompt, chosen)}.json"

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Hard examples: more weight for training rows that the prompted model gets wrong, without teaching it its own noise.

Source: the published advice to put weight on what the base model fails. A failed row whose label is itself suspect
(confident learning, see `label_errors`) is left as it is, not amplified. Weight is repetition: a row may appear up to
`Hard.most_copies` times, until hard rows make up `Hard.share` of what is trained on; all easy rows stay, against
forgetting. Validation and test rows are never touched, so that what is measured keeps its natural share of hard rows
(and siblings of hard rows that the split put there stay there). With `share` 0 the rows come back as they were: the
other arm of an ablation.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from gemtune.config import Hard
from gemtune.data import Example, read_examples, write_examples, write_json
from gemtune.errors import UserError

log = logging.getLogger("gemtune")


def failed(predictions: str | Path, contestant: str = "") -> set[str]:
    """Ids of rows that a contestant (the first one in the file by default) answered wrongly or not at all."""
    ids: set[str] = set()
    with open(predictions, encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            contestant = contestant or row["contestant"]
            if row["contestant"] == contestant and row["parsed"] != row["reference"]:
                ids.add(row["id"])
    return ids


def weighted(train: Sequence[Example], hard: set[str], settings: Hard) -> list[Example]:
    """The training rows with hard ones repeated, in an order drawn by seed; equal input gives an equal list.

    Hard rows fill `share` of the result as far as `most_copies` lets them; every row appears at least once.
    """
    difficult = [example for example in train if example.id in hard]
    easy = len(train) - len(difficult)
    if not difficult or settings.share <= len(difficult) / max(1, len(train)):
        return list(train)
    wanted = round(settings.share * easy / (1 - settings.share)) if easy else len(difficult)
    total = min(wanted, settings.most_copies * len(difficult))
    rng = Random(settings.seed)
    order = rng.sample(difficult, len(difficult))
    copies = [order[n % len(order)] for n in range(len(order), total)]
    result = [*train, *copies]
    rng.shuffle(result)
    return result


def run(train: str, predictions: str, config: dict[str, Any], weighted_train: str, report: str) -> dict[str, Any]:
    """Write the weighted training rows and a report; `predictions` are a prompted model's answers on training rows."""
    settings, rows = Hard.of(config), list(read_examples(train))
    wrong = failed(predictions)
    if not wrong <= {row.id for row in rows}:
        raise UserError("answers to rows that are not training rows", file=predictions, remedy="evaluate on `train`")
    suspect = _suspects(rows, settings)
    hard = wrong - suspect
    result = weighted(rows, hard, settings)
    told = _told(rows, result, hard, wrong & suspect)
    write_examples(weighted_train, result)
    write_json(report, {**told, "settings": settings.model_dump()})
    log.info("done: %s", f"{told['hard']} of {len(rows)} rows are hard, {told['share']:.0%} of what is trained on")
    return told


def _suspects(rows: Sequence[Example], settings: Hard) -> set[str]:
    """Ids of rows whose label is likely wrong."""
    if not settings.skip_suspects:
        return set()
    from gemtune.rows.label_errors import suspects

    return {suspect.id for suspect in suspects(rows, settings.seed) if suspect.margin >= settings.suspect_margin}


def _told(rows: Sequence[Example], result: Sequence[Example], hard: set[str], spared: Iterable[str]) -> dict[str, Any]:
    copies = Counter(row.id for row in result)
    repeated = sum(copies[identity] for identity in hard)
    return {
        "rows": len(rows),
        "weighted_rows": len(result),
        "hard": len(hard),
        "suspect": sorted(spared),
        "share": repeated / max(1, len(result)),
        "most_copies": max((copies[identity] for identity in hard), default=0),
    }

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Weight training rows that the best prompt gets wrong; mark validation rows like them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gemtune.config import Hard, ModelVariant, Vertex
from gemtune.data.example import Example, read_examples, write_examples, write_json
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.tuning.hard_examples import failed, key, siblings, weighted
from gemtune.vertex import connect

log = logging.getLogger("gemtune")


# The step.


def run(
    train: str,
    validation: str,
    predictions: str,
    best_prompt: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    weighted_train: str,
    marked_validation: str,
    report: str,
) -> dict[str, float]:
    """Write the weighted training rows, validation rows marked `like_hard`, and a report; returns the report's counts.

    `predictions` are the best prompt's answers on training rows; empty when an earlier run's are remembered.
    """
    settings, rows, held_out = Hard.of(config), list(read_examples(train)), list(read_examples(validation))
    if not settings.share:
        write_examples(weighted_train, rows)
        write_examples(marked_validation, held_out)
        write_json(report, {"settings": settings.model_dump()})
        log.info("done: %s", "rows as they come")
        return {}
    told = _settled(train, rows, predictions, ModelVariant.of(best_prompt), settings, vertex)
    hard = set(told["hard"])
    result, alike = weighted(rows, hard, settings), siblings(rows, held_out, hard)
    marks = {True: {"like_hard": "yes"}, False: {"like_hard": "no"}}
    write_examples(weighted_train, result)
    write_examples(
        marked_validation, (replace(row, slices={**row.slices, **marks[row.id in alike]}) for row in held_out)
    )
    counts = _counts(rows, result, hard, told["suspect"]) | {"like_hard": len(alike)}
    write_json(report, {**counts, **told, "settings": settings.model_dump()})
    share = f"{counts['share']:.0%} of what is trained on"
    log.info("done: %s", f"{len(hard)} of {len(rows)} rows are hard, {share}; {len(alike)} like them in validation")
    return counts


def _settled(
    train: str, rows: Sequence[Example], predictions: str, prompt: ModelVariant, settings: Hard, vertex: dict[str, Any]
) -> dict[str, list[str]]:
    """`hard` and `suspect` ids: those of an earlier run, else of these predictions, then remembered."""
    client, where = connect(Vertex.of(vertex)), key(rows, prompt, settings)
    held = store.read(client, where)
    if not held:
        if not Path(predictions).read_text(encoding="utf-8").strip():
            raise UserError("nobody was asked about the training rows", file=predictions, remedy="evaluate on `train`")
        wrong = failed(predictions)
        if not wrong <= {row.id for row in rows}:
            raise UserError("answers to other rows", file=predictions, remedy=f"evaluate on {train}")
        suspect = _suspects(rows, settings)
        new = {"hard": sorted(wrong - suspect), "suspect": sorted(wrong & suspect)}
        held = store.change(client, where, lambda now: now or new)
    return {"hard": held["hard"], "suspect": held["suspect"]}


def _suspects(rows: Sequence[Example], settings: Hard) -> set[str]:
    """Ids of rows whose label is likely wrong."""
    if not settings.skip_suspects:
        return set()
    from gemtune.data.label_issues import suspects

    return {suspect.id for suspect in suspects(rows, settings.seed) if suspect.margin >= settings.suspect_margin}


def _counts(
    rows: Sequence[Example], result: Sequence[Example], hard: set[str], spared: Sequence[str]
) -> dict[str, float]:
    seen = Counter(row.id for row in result)
    repeated = sum(seen[identity] for identity in hard)
    return {
        "rows": len(rows),
        "weighted_rows": len(result),
        "hard_rows": len(hard),
        "suspect_rows": len(spared),
        "share": repeated / max(1, len(result)),
        "most_copies": max((seen[identity] for identity in hard), default=0),
    }

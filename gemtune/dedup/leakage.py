# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does anything of one split stand in another: exact texts, groups, near-duplicates.

Promise: no near-duplicate across splits is missed, and every one reported is verified (see `overlaps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gemtune.data import Example
from gemtune.dedup.compared import compared
from gemtune.dedup.overlaps import overlaps
from gemtune.rows.clean import bare

_SHOWN = 5


def near(texts: Sequence[str], guarded: Sequence[str], threshold: float) -> dict[int, int]:
    """For each text within the threshold of a guarded one: its index and that of the first such guarded text."""
    found: dict[int, int] = {}
    for i, j in overlaps(texts, guarded, threshold).tolist():
        found.setdefault(i, j)
    return found


def copies(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """Indices of texts that stand among the others too, case, spaces and punctuation put aside."""
    known = {bare(text) for text in others}
    return [i for i, text in enumerate(texts) if bare(text) in known]


def overlapping(examples: Sequence[Example], guarded: Sequence[Example], threshold: float) -> dict[int, int]:
    """Indices of examples that copy a guarded one or come too near to it, each with that one's index."""
    texts = compared([*examples, *guarded])
    mine, theirs = texts[: len(examples)], texts[len(examples) :]
    found = near(mine, theirs, threshold)
    first = {bare(text): j for j, text in reversed(list(enumerate(theirs)))}
    for i in copies(mine, theirs):
        found.setdefault(i, first[bare(mine[i])])
    return found


def certificate(splits: dict[str, list[Example]], threshold: float) -> dict[str, Any]:
    """Counts of overlaps between every two splits: rows by exact text, by group, by near-duplicate; with samples."""
    names = ["test", "validation", "train"]
    overlaps = []
    for k, held_out in enumerate(names):
        for other in names[k + 1 :]:
            overlaps.append(_between(held_out, splits[held_out], other, splits[other], threshold))
    return {"threshold": threshold, "overlaps": overlaps, "clean": not any(pair["rows"] for pair in overlaps)}


def _between(name: str, rows: list[Example], other: str, others: list[Example], threshold: float) -> dict[str, Any]:
    texts = compared([*rows, *others])
    mine, theirs = texts[: len(rows)], texts[len(rows) :]
    groups = {example.group for example in others} - {None}
    exact = copies(mine, theirs)
    grouped = [i for i, example in enumerate(rows) if example.group in groups]
    fuzzy = near(mine, theirs, threshold) if threshold else {}
    samples = [{"line": rows[i].line, "other_line": others[j].line} for i, j in list(fuzzy.items())[:_SHOWN]]
    return {
        "of": name,
        "in": other,
        "rows": len({*exact, *grouped, *fuzzy}),
        "exact": len(exact),
        "group": len(grouped),
        "near": len(fuzzy),
        "samples": samples,
    }

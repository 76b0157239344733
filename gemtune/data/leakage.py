# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does anything of one split stand in another: exact texts, groups, near-duplicates, passages, meanings.

Promise: no exact text, near-duplicate or passage across splits is missed, and every one reported is verified (see
`overlaps`, `substrings`). Meaning is counted as far as the embedder sees it, on a sample of large splits, and the
certificate says how large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemtune.data.cleaning import alphanumeric_key
from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example
from gemtune.dedup.embedding import Embedder, embed, neighbours
from gemtune.dedup.overlaps import overlaps
from gemtune.dedup.substrings import shared_passages

_SHOWN = 5
_HELD_OUT_FIRST = ("test", "validation", "train")


@dataclass(frozen=True, slots=True)
class LeakageConfig:
    """What the certificate looks for: Jaccard similarity, passage length (characters), cosine; 0 leaves one out.

    `most` rows of a split are embedded at most, drawn by `seed`.
    """

    jaccard: float = 0.8
    passage_chars: int = 100
    cosine: float = 0.95
    max_embedded: int = 20_000
    seed: int = 7


def near_matches(texts: Sequence[str], guarded: Sequence[str], threshold: float) -> dict[int, int]:
    """For each text within the threshold of a guarded one: its index and that of the first such guarded text."""
    # the smaller side is indexed, the larger streams by
    if sum(map(len, guarded)) <= sum(map(len, texts)):
        pairs = overlaps(texts, guarded, threshold).tolist()
    else:
        pairs = sorted([i, j] for j, i in overlaps(guarded, texts, threshold).tolist())
    found: dict[int, int] = {}
    for i, j in pairs:
        found.setdefault(i, j)
    return found


def exact_matches(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """Indices of texts that stand among the others too, case, spaces and punctuation put aside."""
    known = {alphanumeric_key(text) for text in others}
    return [i for i, text in enumerate(texts) if alphanumeric_key(text) in known]


def find_overlaps(examples: Sequence[Example], guarded: Sequence[Example], threshold: float) -> dict[int, int]:
    """Indices of examples that copy a guarded one or come too near to it, each with that one's index."""
    texts = comparison_texts([*examples, *guarded])
    mine, theirs = texts[: len(examples)], texts[len(examples) :]
    found = near_matches(mine, theirs, threshold)
    first = {alphanumeric_key(text): j for j, text in reversed(list(enumerate(theirs)))}
    for i in exact_matches(mine, theirs):
        found.setdefault(i, first[alphanumeric_key(mine[i])])
    return found


def leakage_report(
    splits: dict[str, list[Example]], looked: LeakageConfig | None = None, embedder: Embedder = embed
) -> dict[str, Any]:
    """Counts of overlaps between every two splits: rows by exact text, group, near-duplicate, passage and meaning.

    `rows` counts what a split promises to have none of (exact, group, near) and `clean` says that there is none;
    passages and meanings are shared by honest rows too (a signature, a stock phrase), so these are told, not judged.
    """
    looked = looked or LeakageConfig()
    sampled = {name: _sample(rows, looked) for name, rows in splits.items()} if looked.cosine else {}
    vectors = _vectors({name: [splits[name][i] for i in some] for name, some in sampled.items()}, embedder)
    overlapping_pairs = []
    for name, other in combinations(_HELD_OUT_FIRST, 2):
        pair = _between(name, splits[name], other, splits[other], looked)
        if looked.cosine:
            alike = neighbours(vectors[name], vectors[other], looked.cosine)
            found = {sampled[name][i]: sampled[other][j] for i, j in alike.items()}
            pair["meaning"] = len(found)
            pair["samples"] += _shown("meaning", splits[name], splits[other], found)
        overlapping_pairs.append(pair)
    return {
        "threshold": looked.jaccard,
        "passage": looked.passage_chars,
        "meaning": looked.cosine,
        "embedded": {name: len(some) for name, some in sampled.items()},
        "overlaps": overlapping_pairs,
        "clean": not any(pair["rows"] for pair in overlapping_pairs),
    }


def _between(
    name: str, rows: list[Example], other: str, others: list[Example], looked: LeakageConfig
) -> dict[str, Any]:
    texts = comparison_texts([*rows, *others])
    mine, theirs = texts[: len(rows)], texts[len(rows) :]
    groups = {example.group for example in others} - {None}
    exact = exact_matches(mine, theirs)
    grouped = [i for i, example in enumerate(rows) if example.group in groups]
    fuzzy = near_matches(mine, theirs, looked.jaccard) if looked.jaccard else {}
    passages = shared_passages(mine, theirs, looked.passage_chars) if looked.passage_chars else []
    return {
        "of": name,
        "in": other,
        "rows": len({*exact, *grouped, *fuzzy}),
        "exact": len(exact),
        "group": len(grouped),
        "near": len(fuzzy),
        "passage": len(passages),
        "meaning": 0,
        "samples": _shown("near", rows, others, fuzzy),
    }


def _shown(kind: str, rows: list[Example], others: list[Example], pairs: dict[int, int]) -> list[dict[str, Any]]:
    some = list(pairs.items())[:_SHOWN]
    return [{"kind": kind, "line": rows[i].line, "other_line": others[j].line} for i, j in some]


def _sample(rows: Sequence[Example], looked: LeakageConfig) -> list[int]:
    """Indices of the rows that are embedded: all, or as many as allowed by a hash of seed and id."""
    if len(rows) <= looked.max_embedded:
        return list(range(len(rows)))
    drawn = sorted(
        range(len(rows)), key=lambda i: hashlib.sha256(f"meaning {looked.seed} {rows[i].id}".encode()).digest()
    )
    return sorted(drawn[: looked.max_embedded])


def _vectors(splits: dict[str, list[Example]], embedder: Embedder) -> dict[str, NDArray[np.float32]]:
    """Vectors of every split, embedded together, since an embedder may learn from what it is given."""
    vectors = embedder(comparison_texts([example for rows in splits.values() for example in rows]))
    ends = np.cumsum([len(rows) for rows in splits.values()])
    return dict(zip(splits, np.split(vectors, ends[:-1]), strict=True)) if splits else {}

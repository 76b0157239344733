# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Overlaps between splits: exact texts, groups, near-duplicates, shared passages and meaning.

Guarantees: no exact text, near-duplicate or passage across splits is missed, and each reported one is verified (see
`overlaps`, `substrings`). Meaning is compared as far as the embedder represents it, on a sample of large splits whose
size the report states.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gemtune.artifacts.data import LeakageReport, SplitOverlap
from gemtune.config import Split, Task, fingerprint
from gemtune.data.cleaning import alphanumeric_key
from gemtune.data.compared_text import Remainders, derived_values
from gemtune.data.example import Example
from gemtune.dedup.embedding import Embedder, embed, neighbours
from gemtune.dedup.substrings import shared_passages

MAX_EMBEDDED = 20_000  # rows of a split whose meaning is compared
_HELD_OUT_FIRST = ("test", "validation", "train")


def near_matches(
    examples: Sequence[Example], references: Sequence[Example], threshold: float, task: Task, remainders: Remainders
) -> dict[int, int]:
    """Index of each example that is near a reference with the same derived values, with the first such one's; none for
    a threshold of 0.
    """
    matches: dict[int, int] = {}
    pairs = remainders.near_pairs(examples, references, threshold).tolist() if threshold else []
    own, others = ([derived_values(row, task) for row in rows] for rows in (examples, references))
    for i, j in pairs:
        if i not in matches and own[i] == others[j]:
            matches[i] = j
    return matches


def exact_matches(texts: Sequence[str], references: Sequence[str]) -> dict[int, int]:
    """Index of each text that equals a reference, ignoring case, spaces and punctuation, with the first such one's."""
    first = {alphanumeric_key(text): j for j, text in reversed(list(enumerate(references)))}
    return {i: first[key] for i, key in enumerate(map(alphanumeric_key, texts)) if key in first}


def find_overlaps(
    examples: Sequence[Example],
    references: Sequence[Example],
    threshold: float,
    task: Task | None = None,
    remainders: Remainders | None = None,
) -> dict[int, int]:
    """Index of each example that equals a reference or is its near-duplicate, with the index of that reference."""
    task, remainders = task or Task(), remainders or Remainders()
    near = near_matches(examples, references, threshold, task, remainders)
    texts = remainders.compared([*examples, *references])
    exact = exact_matches(texts[: len(examples)], texts[len(examples) :])
    return near | {i: j for i, j in exact.items() if i not in near}


def leakage_report(
    splits: Mapping[str, list[Example]],
    config: Split | None = None,
    embedder: Embedder = embed,
    task: Task | None = None,
    remainders: Remainders | None = None,
) -> LeakageReport:
    """Overlaps between every two splits, by the thresholds of `config` (0 turns a kind off).

    `task` decides which targets count (see `derived_values`).
    """
    config, task, remainders = config or Split(), task or Task(), remainders or Remainders()
    # compared together, because passages that many rows have in common are removed from all
    remainders.compared([row for rows in splits.values() for row in rows])
    sampled = {name: _sample(rows, config) for name, rows in splits.items()} if config.semantic_threshold else {}
    vectors = _vectors({name: [splits[name][i] for i in rows] for name, rows in sampled.items()}, embedder, remainders)
    overlaps = []
    for name, other in combinations(_HELD_OUT_FIRST, 2):
        similar = neighbours(vectors[name], vectors[other], config.semantic_threshold) if vectors else {}
        near = near_matches(splits[name], splits[other], config.jaccard_threshold, task, remainders)
        overlaps.append(_overlap(name, other, splits, near, len(similar), config.passage_chars, remainders))
    return LeakageReport(
        jaccard_threshold=config.jaccard_threshold,
        passage_chars=config.passage_chars,
        cosine_threshold=config.semantic_threshold,
        embedded={name: len(indices) for name, indices in sampled.items()},
        overlaps=tuple(overlaps),
        clean=not any(overlap.rows for overlap in overlaps),
        rows={name: len(rows) for name, rows in splits.items()},
        splits=fingerprint(*(sorted(row.id for row in rows) for rows in splits.values())),
    )


def _overlap(
    name: str,
    other: str,
    splits: Mapping[str, list[Example]],
    near: Collection[int],
    semantic: int,
    passage_chars: int,
    remainders: Remainders,
) -> SplitOverlap:
    rows, references = splits[name], splits[other]
    texts, other_texts = remainders.compared(rows), remainders.compared(references)
    groups = {row.group for row in references} - {None}
    exact = exact_matches(texts, other_texts)
    grouped = [i for i, row in enumerate(rows) if row.group in groups]
    passages = shared_passages(texts, other_texts, passage_chars) if passage_chars else []
    return SplitOverlap(
        split=name,
        other_split=other,
        rows=len({*exact, *grouped, *near}),
        exact=len(exact),
        group=len(grouped),
        passage=len(passages),
        near=len(near),
        semantic=semantic,
    )


def _sample(rows: Sequence[Example], config: Split) -> list[int]:
    """Indices of the rows that are embedded: all, or as many as allowed, by a hash of seed and id."""
    if len(rows) <= MAX_EMBEDDED:
        return list(range(len(rows)))
    ranked = sorted(
        range(len(rows)), key=lambda i: hashlib.sha256(f"meaning {config.seed} {rows[i].id}".encode()).digest()
    )
    return sorted(ranked[:MAX_EMBEDDED])


def _vectors(
    splits: dict[str, list[Example]], embedder: Embedder, remainders: Remainders
) -> dict[str, NDArray[np.float32]]:
    """Vectors of every split, embedded together because an embedder may be fitted to its input."""
    if not splits:
        return {}
    vectors = embedder(remainders.texts([example for rows in splits.values() for example in rows]))
    ends = np.cumsum([len(rows) for rows in splits.values()])
    return dict(zip(splits, np.split(vectors, ends[:-1]), strict=True))

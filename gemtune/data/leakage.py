# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Overlaps between splits: exact texts, groups, near-duplicates, shared passages and meaning.

Guarantees: no exact text, near-duplicate or passage across splits is missed, and each reported one is verified (see
`overlaps`, `substrings`). Meaning is compared as far as the embedder represents it, on a sample of large splits whose
size the report states.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gemtune.artifacts.data import LeakageReport, OverlapSample, SplitOverlap
from gemtune.config import Split, Task, fingerprint
from gemtune.data.cleaning import alphanumeric_key
from gemtune.data.compared_text import Remainders, derived_values
from gemtune.data.example import Example
from gemtune.dedup.embedding import Embedder, embed, neighbours
from gemtune.dedup.substrings import shared_passages

T = TypeVar("T")

MAX_EMBEDDED = 20_000  # rows of a split whose meaning is compared
_MAX_SAMPLES = 5
_HELD_OUT_FIRST = ("test", "validation", "train")


def first_matches(
    pairs: NDArray[np.int64], values: tuple[Sequence[str], Sequence[str]] | None = None
) -> dict[int, int]:
    """Index of each text of the pairs, with the index of the first reference that it is paired with.

    With `values`, of the texts and of the references, only a reference of the same value counts.
    """
    matches: dict[int, int] = {}
    for i, j in pairs.tolist():
        if values is None or values[0][i] == values[1][j]:
            matches.setdefault(i, j)
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
    pairs, texts = remainders.near_pairs(examples, references, threshold), remainders.compared([*examples, *references])
    own, others = ([derived_values(row, task) for row in rows] for rows in (examples, references))
    near = first_matches(pairs, (own, others))
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
    compared = _divide(remainders.compared([row for rows in splits.values() for row in rows]), splits)
    values = {name: [derived_values(row, task) for row in rows] for name, rows in splits.items()}
    sampled = {name: _sample(rows, config) for name, rows in splits.items()} if config.semantic_threshold else {}
    embedded = {name: [splits[name][i] for i in indices] for name, indices in sampled.items()}
    vectors = _vectors(embedded, embedder, remainders)
    pair_overlaps = []
    for name, other in combinations(_HELD_OUT_FIRST, 2):
        semantic: dict[int, int] = {}
        if config.semantic_threshold:
            similar = neighbours(vectors[name], vectors[other], config.semantic_threshold)
            semantic = {sampled[name][i]: sampled[other][j] for i, j in similar.items()}
        first, second = (_Compared(n, splits[n], compared[n], values[n]) for n in (name, other))
        pairs = np.empty((0, 2), np.int64)
        if config.jaccard_threshold:
            pairs = remainders.near_pairs(first.rows, second.rows, config.jaccard_threshold)
        near = first_matches(pairs, (first.values, second.values))
        pair_overlaps.append(_overlap(first, second, near, semantic, config))
    return LeakageReport(
        jaccard_threshold=config.jaccard_threshold,
        passage_chars=config.passage_chars,
        cosine_threshold=config.semantic_threshold,
        embedded={name: len(indices) for name, indices in sampled.items()},
        overlaps=tuple(pair_overlaps),
        clean=not any(overlap.rows for overlap in pair_overlaps),
        rows={name: len(rows) for name, rows in splits.items()},
        splits=fingerprint(*(sorted(row.id for row in rows) for rows in splits.values())),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    """The rows of a split with their compared texts and derived values."""

    split: str
    rows: list[Example]
    texts: list[str]
    values: list[str]


def _overlap(
    of: _Compared, other: _Compared, near: dict[int, int], semantic: dict[int, int], config: Split
) -> SplitOverlap:
    groups = {example.group for example in other.rows} - {None}
    exact = exact_matches(of.texts, other.texts)
    grouped = [i for i, example in enumerate(of.rows) if example.group in groups]
    passages = shared_passages(of.texts, other.texts, config.passage_chars) if config.passage_chars else []
    samples = (*_samples("near", of.rows, other.rows, near), *_samples("semantic", of.rows, other.rows, semantic))
    return SplitOverlap(
        split=of.split,
        other_split=other.split,
        rows=len({*exact, *grouped, *near}),
        exact=len(exact),
        group=len(grouped),
        near=len(near),
        passage=len(passages),
        semantic=len(semantic),
        samples=samples,
    )


def _divide(values: list[T], splits: Mapping[str, list[Any]]) -> dict[str, list[T]]:
    """Values of all rows, one split after another, by split."""
    remaining = iter(values)
    return {name: list(islice(remaining, len(rows))) for name, rows in splits.items()}


def _samples(
    kind: str, rows: list[Example], others: list[Example], matches: Mapping[int, int]
) -> tuple[OverlapSample, ...]:
    pairs = list(matches.items())[:_MAX_SAMPLES]
    return tuple(OverlapSample(kind=kind, line=rows[i].line, other_line=others[j].line) for i, j in pairs)


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

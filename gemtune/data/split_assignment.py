# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which split a row belongs to: exact shares for every label at first, and the same place ever after.

Shares that are exact for every label and places that depend on the row alone exclude each other: the first needs to
know the other rows. So places are remembered. Rows without a place fill what is missing of each label's shares: whole
groups and clusters of near-duplicates first, the largest before the others, each where it is missed most (as
scikit-learn's StratifiedGroupKFold does), then single rows in the order of a hash of seed and content. Quotas are
rounded label by label and the rounding error is carried on, so that the whole is exact too. Rows in hash order also
mean that few rows move where nothing is remembered. Promise: a row with a remembered place keeps it; a group stands in
one split; the order of rows changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemtune import dedup
from gemtune.config import Split
from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example

SPLITS = ("train", "validation", "test")
_STRONGEST = ("test", "validation", "train")
_FEWEST_TIED, _MOST_TIED = 20, 0.05


@dataclass(frozen=True, slots=True)
class SplitAssignments:
    """Where rows (by id) and groups (by name) stood when they were divided before."""

    rows: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any], config: Split) -> SplitAssignments:
        """What a record remembers; nothing when another seed drew it."""
        if record.get("seed") != config.seed:
            return cls()
        return cls(*({key: home for home, keys in record[kind].items() for key in keys} for kind in ("rows", "groups")))

    def record(self, config: Split) -> dict[str, Any]:
        """The form that `of` reads."""
        told: dict[str, Any] = {"schema_version": 1, "seed": config.seed}
        for kind, places in (("rows", self.rows), ("groups", self.groups)):
            assign_splits: dict[str, list[str]] = {name: [] for name in SPLITS}
            for key, home in places.items():
                assign_splits[home].append(key)
            told[kind] = {name: sorted(keys) for name, keys in assign_splits.items()}
        return told

    def with_rows(self, splits: Mapping[str, Sequence[Example]]) -> SplitAssignments:
        """These places and those of rows that were divided now; a row that is gone keeps its place for its return."""
        rows, groups = dict(self.rows), dict(self.groups)
        for home, examples in splits.items():
            rows.update((example.id, home) for example in examples)
            groups.update((example.group, home) for example in examples if example.group is not None)
        return SplitAssignments(rows, groups)


@dataclass(slots=True)
class SplitUnit:
    """Rows that stay together: the labels they have, and the split they are bound to, if any."""

    key: str
    labels: Counter[str] = field(default_factory=Counter)
    home: str | None = None


def split_by_hash(key: str, config: Split) -> str:
    """The split that a key (a group's name or a row's id) belongs to by its hash alone."""
    draw = _draw(key, config.seed)
    if draw < config.test:
        return "test"
    return "validation" if draw < config.test + config.validation else "train"


def group_key(example: Example) -> str:
    """What an example is placed by: its group, or itself."""
    return example.id if example.group is None else f"group {example.group}"


def assign_splits(examples: Sequence[Example], config: Split, known: SplitAssignments) -> dict[str, str]:
    """The split of every key: what the source asked for (test before validation before train), else where it stood
    before, else what its label's shares lack.

    Where the source names training or test rows and none for validation, these are taken from its training rows.
    """
    asked: dict[str, set[str]] = defaultdict(set)
    stood: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        key = group_key(example)
        asked[key].update(filter(None, [example.split]))
        stood[key].update(filter(None, [known.rows.get(example.id), known.groups.get(example.group or "")]))
    carving = any(asked.values()) and not any("validation" in names for names in asked.values())
    carved = {key for key, names in asked.items() if carving and names == {"train"}}
    bound = {}
    for key, names in asked.items():
        given = names if names and key not in carved else stood[key] - ({"test"} if key in carved else set())
        bound[key] = _strongest(given)
    clusters = _clusters(examples, config)
    for members in clusters.values():  # a free row goes where its near-duplicate stands
        strongest = _strongest({bound[key] for key in members})
        for key in members:
            if bound[key] is None and not (key in carved and strongest == "test"):
                bound[key] = strongest
    free = {key: home for key, home in bound.items() if key not in carved and not asked[key]}
    drawn = _drawn(examples, clusters, free, {"test": config.test, "validation": config.validation}, config.seed)
    taken = {key: home for key, home in bound.items() if key in carved}
    drawn |= _drawn(examples, clusters, taken, {"validation": config.validation / (1 - config.test)}, config.seed)
    return {key: home or drawn[key] for key, home in bound.items()}


def _strongest(names: Collection[str | None]) -> str | None:
    return next((name for name in _STRONGEST if name in names), None)


def _clusters(examples: Sequence[Example], config: Split) -> dict[str, list[str]]:
    """Keys that hold near-duplicates of each other, under one key of each such set.

    A chain of likenesses that would tie too much of the data together is not followed.
    """
    root: dict[str, str] = {group_key(example): group_key(example) for example in examples}

    def top(key: str) -> str:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    if config.jaccard_threshold and examples:
        ordered = sorted(examples, key=lambda example: example.id)
        leaders = dedup.leaders(comparison_texts(ordered), config.jaccard_threshold).tolist()
        for example, j in zip(ordered, leaders, strict=True):
            first, second = sorted((top(group_key(example)), top(group_key(ordered[j]))))
            root[second] = first
    found: dict[str, list[str]] = defaultdict(list)
    for key in root:
        found[top(key)].append(key)
    sizes = Counter(top(group_key(example)) for example in examples)
    tied = max(_FEWEST_TIED, len(examples) * _MOST_TIED)
    return {
        first: some
        for key, members in found.items()
        for first, some in ([(key, members)] if sizes[key] <= tied else [(member, [member]) for member in members])
    }


def _drawn(
    examples: Sequence[Example], clusters: Mapping[str, list[str]], pool: Mapping[str, str | None],
    shares: Mapping[str, float], seed: int,
) -> dict[str, str]:  # fmt: skip
    """Split of every key of the pool that is not bound to one."""
    leader = {key: first for first, members in clusters.items() for key in members}
    # bound keys count for the shares, each with its own home; free keys of one cluster are placed together
    parts: dict[str, SplitUnit] = {}
    for example in examples:
        key = group_key(example)
        if key in pool:
            home = pool[key]
            name = key if home else f"near {leader[key]}"
            part = parts.setdefault(name, SplitUnit(key if home else leader[key], home=home))
            part.labels[example.target] += 1
    placed = fill_shares(list(parts.values()), shares, seed)
    return {key: placed[leader[key]] for key, home in pool.items() if home is None}


def fill_shares(parts: Sequence[SplitUnit], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of every part that is not bound, such that each label's shares are met as nearly as whole parts allow.

    `shares` are those of test and validation; single rows meet them within one row for every label.
    """
    labels = Counter[str]()
    for part in parts:
        labels.update(part.labels)
    # targets that are texts of their own have no shares to keep
    named = 5 * len(labels) <= labels.total()
    lacking = {
        label: quotas for label, quotas in _quotas(labels if named else Counter({"": labels.total()}), shares, seed)
    }
    for part in parts:
        part.labels = part.labels if named else Counter({"": part.labels.total()})
        if part.home:
            _take(lacking, part, part.home)
    free = [part for part in parts if not part.home]
    large = sorted(
        (part for part in free if part.labels.total() > 1), key=lambda p: (-p.labels.total(), _draw(p.key, seed))
    )
    found = {}
    for part in large:
        found[part.key] = max(["train", *shares], key=lambda home: _relief(lacking, part, home))
        _take(lacking, part, found[part.key])
    for part in sorted((part for part in free if part.labels.total() == 1), key=lambda p: _draw(p.key, seed)):
        (label,) = part.labels
        found[part.key] = next((home for home in shares if lacking[label][home] > 0), "train")
        _take(lacking, part, found[part.key])
    return found


def _quotas(labels: Counter[str], shares: Mapping[str, float], seed: int) -> list[tuple[str, dict[str, int]]]:
    """Rows of every label that each split should have; at least one of each label is left for training."""
    found = []
    carried = dict.fromkeys(shares, 0.0)
    for label in sorted(labels, key=lambda name: _draw(f"label {name}", seed)):
        left = labels[label] - 1
        quotas = {}
        for home, share in shares.items():
            wanted = labels[label] * share + carried[home]
            quotas[home] = max(0, min(left, round(wanted)))
            left -= quotas[home]
            carried[home] = max(-0.5, min(0.5, wanted - quotas[home]))
        found.append((label, {"test": 0, **quotas, "train": left + 1}))
    return found


def _take(lacking: Mapping[str, dict[str, int]], part: SplitUnit, home: str) -> None:
    for label, count in part.labels.items():
        lacking[label][home] -= count


def _relief(lacking: Mapping[str, dict[str, int]], part: SplitUnit, home: str) -> int:
    """By how much the sum of squared deviations from the quotas falls when the part goes there."""
    return sum(count * (2 * lacking[label][home] - count) for label, count in part.labels.items())


def _draw(key: str, seed: int) -> float:
    """A number from 0 to 1 that seed and key alone decide."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Split assignment: exact shares of every label in the first run, and stable assignments in later ones.

Exact shares depend on all rows, so they cannot come from a row's hash alone; therefore assignments are recorded. Rows
without a recorded assignment fill the missing share of each label: whole groups and clusters of near-duplicates first,
largest first, each where it is needed most (as in scikit-learn's StratifiedGroupKFold), then single rows in the order
of a hash of seed and content. Quotas are rounded label by label and the rounding error is carried over, so the totals
are exact too. The hash order also means that few rows move when nothing is recorded. Guarantees: a row keeps its
recorded assignment; a group is in one split; the order of rows changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gemtune import dedup
from gemtune.artifacts.records import SplitRecord
from gemtune.config import Split, Task
from gemtune.data.compared_text import Remainders, derived_values
from gemtune.data.example import Example

SPLITS = ("train", "validation", "test")
_PRIORITY = ("test", "validation", "train")
_CLUSTER_MIN_LIMIT, _CLUSTER_MAX_SHARE = 20, 0.05


@dataclass(frozen=True, slots=True)
class SplitAssignments:
    """The split of rows (by id) and groups (by name) in earlier runs."""

    rows: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: SplitRecord | None, config: Split) -> SplitAssignments:
        """The assignments in a record; none when another seed made them."""
        if record is None or record.seed != config.seed:
            return cls()
        rows, groups = (
            {key: split for split, keys in kept.items() for key in keys} for kept in (record.rows, record.groups)
        )
        return cls(rows, groups)

    def record(self, config: Split) -> SplitRecord:
        """The form that `of` reads."""
        rows, groups = (
            {split: sorted(key for key, own in assigned.items() if own == split) for split in SPLITS}
            for assigned in (self.rows, self.groups)
        )
        return SplitRecord(seed=config.seed, rows=rows, groups=groups)

    def with_rows(self, splits: Mapping[str, Sequence[Example]]) -> SplitAssignments:
        """These assignments and those of the split rows; a row that is gone stays recorded, in case it returns."""
        rows, groups = dict(self.rows), dict(self.groups)
        for split, examples in splits.items():
            rows.update((example.id, split) for example in examples)
            groups.update((example.group, split) for example in examples if example.group is not None)
        return SplitAssignments(rows, groups)


@dataclass(slots=True)
class SplitUnit:
    """Rows that must be in one split: their labels, and the split if it is fixed."""

    key: str
    labels: Counter[str] = field(default_factory=Counter)
    split: str | None = None


def split_by_hash(key: str, config: Split) -> str:
    """The split of a key (a group's name or a row's id) by its hash alone."""
    position = _hash_position(key, config.seed)
    return "test" if position < config.test else "validation" if position < config.test + config.validation else "train"


def group_key(example: Example) -> str:
    """The unit that is assigned to a split: the example's group, or the example itself."""
    return example.id if example.group is None else f"group {example.group}"


def split_sizes(rows: Mapping[str | None, float], split: Split) -> dict[str, float]:
    """Expected rows of each split: those that the source names, and the shares of the others."""
    sizes = {name: float(rows.get(name, 0)) for name in SPLITS}
    free = float(rows.get(None, 0))
    if any(sizes.values()) and not sizes["validation"]:
        carved = sizes["train"] * split.validation / (1 - split.test)
        sizes["train"], sizes["validation"] = sizes["train"] - carved, carved
    for name, share in (("validation", split.validation), ("test", split.test)):
        sizes[name] += free * share
    sizes["train"] += free * (1 - split.validation - split.test)
    return sizes


def assign_splits(
    examples: Sequence[Example], config: Split, recorded: SplitAssignments, task: Task, remainders: Remainders
) -> dict[str, str]:
    """The split of every key: as the source says (test before validation before train), else as recorded, else by
    the missing shares of its labels.

    When the source names training or test rows and no validation rows, these are taken from its training rows.
    """
    by_source: dict[str, set[str]] = defaultdict(set)
    by_record: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        key = group_key(example)
        by_source[key].update(filter(None, [example.split]))
        by_record[key].update(filter(None, [recorded.rows.get(example.id), recorded.groups.get(example.group or "")]))
    carving = any(by_source.values()) and not any("validation" in splits for splits in by_source.values())
    carved = {key for key, splits in by_source.items() if carving and splits == {"train"}}
    fixed = {}
    for key, splits in by_source.items():
        candidates = splits if splits and key not in carved else by_record[key] - ({"test"} if key in carved else set())
        fixed[key] = _first_by_priority(candidates)
    clusters = _clusters(examples, config, task, remainders)
    for members in clusters.values():  # a free key joins the split of its near-duplicates
        strongest = _first_by_priority({fixed[key] for key in members})
        for key in members:
            if fixed[key] is None and not (key in carved and strongest == "test"):
                fixed[key] = strongest
    free = {key: split for key, split in fixed.items() if key not in carved and not by_source[key]}
    shares = {"test": config.test, "validation": config.validation}
    assigned = _assign_free(examples, clusters, free, shares, config.seed)
    from_train = {key: split for key, split in fixed.items() if key in carved}
    shares = {"validation": config.validation / (1 - config.test)}
    assigned |= _assign_free(examples, clusters, from_train, shares, config.seed)
    return {key: split or assigned[key] for key, split in fixed.items()}


def _first_by_priority(splits: Collection[str | None]) -> str | None:
    return next((split for split in _PRIORITY if split in splits), None)


def _clusters(examples: Sequence[Example], config: Split, task: Task, remainders: Remainders) -> dict[str, list[str]]:
    """Keys that contain near-duplicates of each other, under the first key of each such cluster.

    A cluster that would hold too large a share of the data is not formed.
    """
    parent = {key: key for key in map(group_key, examples)}  # a disjoint-set forest; importing SciPy's takes 0.2 s

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    if config.jaccard_threshold and examples:
        ordered = sorted(examples, key=lambda example: example.id)
        values = [derived_values(example, task) for example in ordered]
        leaders = dedup.leaders(remainders.compared(ordered), config.jaccard_threshold, values).tolist()
        for example, j in zip(ordered, leaders, strict=True):
            parent[root(group_key(example))] = root(group_key(ordered[j]))
    sizes = Counter(map(group_key, examples))
    limit = max(_CLUSTER_MIN_LIMIT, len(examples) * _CLUSTER_MAX_SHARE)
    clusters: dict[str, list[str]] = {}
    near: dict[str, list[str]] = defaultdict(list)
    for key in parent:
        near[root(key)].append(key)
    for keys in near.values():
        is_small = sum(sizes[key] for key in keys) <= limit
        clusters |= {min(keys): keys} if is_small else {key: [key] for key in keys}
    return clusters


def _assign_free(
    examples: Sequence[Example], clusters: Mapping[str, list[str]], pool: Mapping[str, str | None],
    shares: Mapping[str, float], seed: int,
) -> dict[str, str]:  # fmt: skip
    """Split of every key of the pool that is not fixed."""
    leader = {key: first for first, members in clusters.items() for key in members}
    # fixed keys count towards the shares, each with its own split; free keys of one cluster are assigned together
    units: dict[str, SplitUnit] = {}
    for example in examples:
        key = group_key(example)
        if key in pool:
            split = pool[key]
            name = key if split else f"near {leader[key]}"
            unit = units.setdefault(name, SplitUnit(key if split else leader[key], split=split))
            unit.labels[example.target] += 1
    assigned = fill_shares(list(units.values()), shares, seed)
    return {key: assigned[leader[key]] for key, split in pool.items() if split is None}


def fill_shares(units: Sequence[SplitUnit], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of every unit that is not fixed, such that each label's shares are met as nearly as whole units allow.

    `shares` are those of test and validation; single rows meet them within one row for every label.
    """
    labels = Counter[str]()
    for unit in units:
        labels.update(unit.labels)
    # free texts, mostly different, have no shares to keep
    stratified = 5 * len(labels) <= labels.total()
    missing = dict(_quotas(labels if stratified else Counter({"": labels.total()}), shares, seed))
    for unit in units:
        unit.labels = unit.labels if stratified else Counter({"": unit.labels.total()})
        if unit.split:
            _take(missing, unit, unit.split)
    free = [unit for unit in units if not unit.split]
    large = sorted(
        (unit for unit in free if unit.labels.total() > 1),
        key=lambda unit: (-unit.labels.total(), _hash_position(unit.key, seed)),
    )
    assigned = {}
    for unit in large:
        assigned[unit.key] = max(["train", *shares], key=lambda split: _gain(missing, unit, split))
        _take(missing, unit, assigned[unit.key])
    single = (unit for unit in free if unit.labels.total() == 1)
    for unit in sorted(single, key=lambda unit: _hash_position(unit.key, seed)):
        (label,) = unit.labels
        assigned[unit.key] = next((split for split in shares if missing[label][split] > 0), "train")
        _take(missing, unit, assigned[unit.key])
    return assigned


def _quotas(labels: Counter[str], shares: Mapping[str, float], seed: int) -> list[tuple[str, dict[str, int]]]:
    """Rows of every label that each split should have; at least one of each label is for training."""
    result = []
    carried = dict.fromkeys(shares, 0.0)
    for label in sorted(labels, key=lambda name: _hash_position(f"label {name}", seed)):
        remaining = labels[label] - 1
        quotas = {}
        for split, share in shares.items():
            exact = labels[label] * share + carried[split]
            quotas[split] = max(0, min(remaining, round(exact)))
            remaining -= quotas[split]
            carried[split] = max(-0.5, min(0.5, exact - quotas[split]))
        result.append((label, {"test": 0, **quotas, "train": remaining + 1}))
    return result


def _take(missing: Mapping[str, dict[str, int]], unit: SplitUnit, split: str) -> None:
    for label, count in unit.labels.items():
        missing[label][split] -= count


def _gain(missing: Mapping[str, dict[str, int]], unit: SplitUnit, split: str) -> int:
    """By how much the sum of squared deviations from the quotas falls when the unit is assigned to the split."""
    return sum(count * (2 * missing[label][split] - count) for label, count in unit.labels.items())


def _hash_position(key: str, seed: int) -> float:
    """A number from 0 to 1 determined by seed and key."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the valid rows are kept: deduplicated by every rule, then sampled; every dropped row has a reason."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from gemtune.config import Preprocess, Task, Vertex
from gemtune.data.duplicates import (
    FilterResult,
    check_removal_limits,
    drop_near_duplicates,
    drop_semantic_duplicates,
    reject,
    resolve_exact_duplicates,
)
from gemtune.data.embedders import load_embedder
from gemtune.data.example import Example, RejectedRow
from gemtune.errors import UserError

log = logging.getLogger("gemtune")

MANY_ROWS = 50_000  # fewer log no progress
RULES: dict[str, Callable[[Sequence[Example], Task, Preprocess, Vertex], FilterResult]] = {
    "exact deduplication": lambda rows, task, config, _: resolve_exact_duplicates(rows, task, config),
    "near-deduplication": lambda rows, task, config, _: drop_near_duplicates(rows, task, config),
    "semantic deduplication": lambda rows, task, config, vertex: drop_semantic_duplicates(
        rows, task, config, load_embedder(config.embedder, vertex, config.seed)
    ),
}


def deduplicate(rows: Sequence[Example], task: Task, config: Preprocess, vertex: Vertex) -> FilterResult:
    """The rows kept by every rule, and the dropped; raises `UserError` when a rule drops more than the limits allow."""
    kept, rejected, problems = apply_rules(rows, task, config, vertex)
    if problems:
        raise problems[0]
    return kept, rejected


def apply_rules(
    rows: Sequence[Example], task: Task, config: Preprocess, vertex: Vertex
) -> tuple[list[Example], list[RejectedRow], list[UserError]]:
    """The rows kept by every rule, the dropped, and an error for each rule that drops more than the limits allow."""
    kept, rejected, problems = list(rows), list[RejectedRow](), list[UserError]()
    for name, rule in RULES.items():
        before = len(kept)
        log_if_long(name, before)
        kept, dropped = rule(kept, task, config, vertex)
        try:
            check_removal_limits(before, len(kept), name, config, dropped)
        except UserError as error:
            problems.append(error)
        rejected += dropped
    return kept, rejected, problems


def sample_rows(examples: Sequence[Example], config: Preprocess) -> FilterResult:
    """At most `max_per_label` rows of a label and `max_rows` in all, by a hash of seed and id: stable as data grows."""
    # not the hash of the split: with that, the rows sampled first would be the rows of the test split
    ranked = sorted(examples, key=lambda example: hashlib.sha256(f"draw {config.seed} {example.id}".encode()).digest())
    per_label: Counter[str] = Counter()
    kept: list[Example] = []
    dropped: list[RejectedRow] = []
    for example in ranked:
        if config.max_per_label and per_label[example.target] >= config.max_per_label:
            dropped.append(reject(example, "not_sampled", f"beyond preprocess.max_per_label={config.max_per_label}"))
        elif config.max_rows and len(kept) >= config.max_rows:
            dropped.append(reject(example, "not_sampled", f"beyond preprocess.max_rows={config.max_rows}"))
        else:
            per_label[example.target] += 1
            kept.append(example)
    return sorted(kept, key=lambda example: example.line), dropped


def log_if_long(rule: str, rows: int) -> None:
    """Log the rule that runs next, when it has many rows to process."""
    if rows >= MANY_ROWS:
        log.info("progress: %s", rule)

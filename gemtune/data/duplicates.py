# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rules that drop rows as duplicates (same text, conflicting labels, near text, near meaning, repeated passages), and
which of the valid rows are kept: deduplicated by every rule, then sampled.

Guarantees: a row is dropped only for a kept row that equals it or is near it; which one is kept is decided by content
(test rows first, then the label majority, then careful writing), never by the order of rows; text that all rows share
is ignored.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from gemtune import dedup
from gemtune.artifacts.data import BorderlineDuplicate, RepeatedPassages
from gemtune.config import Preprocess, Task, Vertex
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import Remainders, derived_values, full_text
from gemtune.data.embedders import load_embedder
from gemtune.data.example import Example, RejectedRow, example_id, to_row
from gemtune.dedup.embedding import Embedder, embed, leaders
from gemtune.dedup.substrings import Span, repeated_spans
from gemtune.errors import UserError

log = logging.getLogger("gemtune")

FilterResult = tuple[list[Example], list[RejectedRow]]  # kept, dropped
MAX_BORDERLINE = 10
_SPLIT_PRIORITY = {"test": 0, "validation": 1}


def resolve_exact_duplicates(examples: Sequence[Example], task: Task, config: Preprocess) -> FilterResult:
    """One example per text: conflicting targets resolved by `conflicts`, exact duplicates dropped."""
    groups: dict[bytes, list[Example]] = defaultdict(list)
    for example in examples:
        groups[text_digest(example)].append(example)
    kept: list[Example] = []
    dropped: list[RejectedRow] = []
    for group in groups.values():
        kept_of_group, dropped_of_group = resolve_group(group, task, config) if len(group) > 1 else (group, [])
        kept += kept_of_group
        dropped += dropped_of_group
    kept.sort(key=lambda example: example.line)
    return kept, dropped


def text_digest(example: Example) -> bytes:
    """A key that is equal for rows with the same text, and shorter than most texts."""
    return hashlib.blake2b(text_key(full_text(example)).encode("utf-8", "surrogatepass"), digest_size=20).digest()


def resolve_group(group: list[Example], task: Task, config: Preprocess) -> FilterResult:
    """Kept and dropped rows of a group with the same text."""
    votes = Counter(example.target for example in group)
    dropped: list[RejectedRow] = []
    if len(votes) > 1 and not task.is_free_text and config.conflicts != "keep":
        ranked = votes.most_common()
        winner = ranked[0][0] if config.conflicts == "majority" and ranked[0][1] > ranked[1][1] else None
        counts = ", ".join(f"{target!r:.60} x{count}" for target, count in sorted(votes.items()))
        conflicting = [example for example in group if example.target != winner]
        dropped = [reject(e, "label_conflict", f"the same text is labelled {counts}") for e in conflicting]
        group = [example for example in group if example.target == winner]
    by_target: dict[str, list[Example]] = defaultdict(list)
    for example in group:
        by_target["" if task.is_free_text else example.target].append(example)
    kept = []
    for same in by_target.values():
        first, *others = sorted(same, key=keep_priority)
        kept.append(first)
        detail = f"the same text as line {first.line}: {first.text!r:.80}"
        dropped += [reject(e, "exact_duplicate", detail, kept_id=first.id) for e in others]
    return kept, dropped


def keep_priority(example: Example) -> tuple[Any, ...]:
    """Sort key of the rows to keep, best first, by content: test rows, then texts not in capitals, then by id."""
    all_capitals = example.text.isupper() and len(example.text) > 3
    return _SPLIT_PRIORITY.get(example.split or "", 2), all_capitals, example.id, example.line


def drop_near_duplicates(
    examples: Sequence[Example], task: Task, config: Preprocess, remainders: Remainders | None = None
) -> FilterResult:
    """Drop near-duplicates (see `Remainders.compared`) of a kept row with the same label or the same derived values."""
    if not config.jaccard_threshold or not examples:
        return list(examples), []
    ordered = sorted(examples, key=keep_priority)
    remainders = remainders or Remainders()
    left, texts = remainders.of(ordered), remainders.compared(ordered)
    leaders = dedup.leaders(texts, config.jaccard_threshold, [duplicate_class(example, task) for example in ordered])
    kept, pairs = _divide(ordered, leaders)
    dropped = []
    for (i, j), similarity in zip(pairs.tolist(), dedup.similarities(texts, pairs).tolist(), strict=True):
        detail = f"a near-duplicate of line {ordered[j].line}: {(left[j].text or ordered[j].text)!r:.80}"
        rejected = reject(ordered[i], "near_duplicate", detail, kept_id=ordered[j].id)
        dropped.append(replace(rejected, similarity=round(similarity, 3), compared=left[i].text))
    return kept, dropped


def _divide(ordered: Sequence[Example], leaders: np.ndarray) -> tuple[list[Example], np.ndarray]:
    """The rows that are their own leaders, by line; and the indices of each other row and its leader."""
    is_kept = leaders == np.arange(leaders.size)
    followers = np.flatnonzero(~is_kept)
    kept = sorted(compress(ordered, is_kept), key=lambda example: example.line)
    return kept, np.column_stack([followers, leaders[followers]])


def borderline_duplicates(dropped: Iterable[RejectedRow]) -> tuple[BorderlineDuplicate, ...]:
    """The MAX_BORDERLINE near-duplicates that are least similar to the row kept instead."""
    near = [row for row in dropped if row.similarity is not None]
    return tuple(
        BorderlineDuplicate(
            line=row.line, similarity=row.similarity or 0, text=(row.compared or "")[:200], detail=row.detail
        )
        for row in sorted(near, key=lambda row: (row.similarity, row.line))[:MAX_BORDERLINE]
    )


def duplicate_class(example: Example, task: Task) -> str:
    """What is equal in duplicates besides the text: the label, or what the target takes from the text."""
    return example.target if task.is_labelled else derived_values(example, task)


def drop_semantic_duplicates(
    examples: Sequence[Example],
    task: Task,
    config: Preprocess,
    embedder: Embedder = embed,
    remainders: Remainders | None = None,
) -> FilterResult:
    """Drop rows whose embedding is within `semantic_threshold` (cosine) of a kept row with the same label."""
    if not config.semantic_threshold or not examples:
        return list(examples), []
    ordered = sorted(examples, key=keep_priority)
    classes = [duplicate_class(example, task) for example in ordered]
    vectors = embedder((remainders or Remainders()).texts(ordered))
    kept, pairs = _divide(ordered, leaders(vectors, config.semantic_threshold, classes))
    dropped = []
    for i, j in pairs.tolist():
        detail = f"means much the same as line {ordered[j].line}: {ordered[j].text!r:.80}"
        dropped.append(reject(ordered[i], "semantic_duplicate", detail, kept_id=ordered[j].id))
    return kept, dropped


def remove_repeated_passages(
    examples: Sequence[Example], config: Preprocess
) -> tuple[list[Example], list[RejectedRow], RepeatedPassages]:
    """Report, cut or drop passages of `repeated_chars` characters or more that an earlier row contains.

    Rows are visited by `keep_priority`, so that a passage remains in the row to keep. Only rows of a single turn are
    dropped, and none is cut that is a prompt already.
    """
    if not config.repeated_chars or not examples:
        return list(examples), [], RepeatedPassages()
    ordered = sorted(examples, key=keep_priority)
    spans: dict[int, list[Span]] = defaultdict(list)
    for span in repeated_spans([example.text for example in ordered], config.repeated_chars):
        if span.repetition:
            spans[span.text].append(span)
    kept, dropped = [], []
    for i, example in enumerate(ordered):
        affected = i in spans and (
            len(example.contents or ()) < 2 if config.repeated == "drop" else not example.contents
        )
        if affected and config.repeated == "drop":
            first = spans[i][0]
            passage = example.text[first.begin : first.end]
            detail = f"{len(passage)} characters are in another row: {passage!r:.80}"
            dropped.append(reject(example, "repeated_passage", detail))
        elif affected and config.repeated == "trim" and not (rest := _cut(example.text, spans[i])):
            dropped.append(reject(example, "repeated_passage", "no text is left after cutting repeated passages"))
        elif affected and config.repeated == "trim":
            kept.append(replace(example, id=example_id(rest, example.target, example.system), text=rest))
        else:
            kept.append(example)
    kept.sort(key=lambda example: example.line)
    return kept, dropped, _passage_report(ordered, spans, config.repeated_chars)


def _passage_report(ordered: Sequence[Example], spans: dict[int, list[Span]], length: int) -> RepeatedPassages:
    passages = [ordered[i].text[span.begin : span.end] for i in spans for span in spans[i]]
    characters = sum(map(len, passages))
    heads = Counter(ordered[i].text[spans_of_row[0].begin :][:length] for i, spans_of_row in spans.items())
    (commonest, commonest_rows), *_ = heads.most_common(1) or [("", 0)]
    return RepeatedPassages(
        rows=len(spans),
        characters=characters,
        share=round(characters / max(1, sum(len(example.text) for example in ordered)), 4),
        commonest=commonest[:200],
        commonest_rows=commonest_rows,
    )


def _cut(text: str, spans: list[Span]) -> str:
    pieces, position = [], 0
    for span in spans:
        pieces.append(text[position : max(position, span.begin)])
        position = max(position, span.end)
    return " ".join(piece.strip() for piece in [*pieces, text[position:]] if piece.strip())


def reject(example: Example, reason: str, detail: str, kept_id: str | None = None) -> RejectedRow:
    """The example as a rejected row."""
    row = {key: value for key, value in to_row(example).items() if value not in (None, {}, ())}
    return RejectedRow(example.line, reason, detail, row, kept_id)


def check_removal_limits(
    before: int, after: int, rule: str, config: Preprocess, dropped: Sequence[RejectedRow]
) -> None:
    """Raise `UserError` when a rule removed too many rows, in all or for one kept row, which the error names."""
    (kept_id, size), *_ = Counter(row.kept_id for row in dropped if row.kept_id).most_common(1) or [("", 0)]
    detail = next((row.detail for row in dropped if kept_id and row.kept_id == kept_id), "")
    enforce_removal_limits(before, after, rule, config, size, detail)


def enforce_removal_limits(before: int, after: int, rule: str, config: Preprocess, size: int, detail: str) -> None:
    """Raise `UserError` when too few of the rows are left, or when `size` rows, dropped for one, are too many.

    `detail` describes one of those `size` rows.
    """
    share = 1 - after / before if before else 0.0
    example = f"; {size} rows: {detail}" if detail else ""
    remedy = "check these rows; raise the setting if the removal is right"
    if share > config.max_removed_share:
        limit = f"preprocess.max_removed_share={config.max_removed_share}"
        raise UserError(f"{rule} would remove {share:.0%} of {before} rows, more than {limit}{example}", remedy=remedy)
    if config.max_cluster and size >= config.max_cluster:
        limit = f"preprocess.max_cluster={config.max_cluster}"
        raise UserError(f"{rule} found a cluster of {size + 1} rows, more than {limit}{example}", remedy=remedy)


# -- all rules -------------------------------------------------------------------------------------------------------

MANY_ROWS = 50_000  # fewer log no progress


def deduplicate(
    rows: Sequence[Example], task: Task, config: Preprocess, vertex: Vertex, remainders: Remainders | None = None
) -> FilterResult:
    """The rows kept by every rule, and the dropped; raises `UserError` when a rule drops more than the limits allow."""
    kept, rejected, problems = apply_rules(rows, task, config, vertex, remainders)
    if problems:
        raise problems[0]
    return kept, rejected


def apply_rules(
    rows: Sequence[Example], task: Task, config: Preprocess, vertex: Vertex, remainders: Remainders | None = None
) -> tuple[list[Example], list[RejectedRow], list[UserError]]:
    """The rows kept by every rule, the dropped, and an error for each rule that drops more than the limits allow."""
    kept, rejected, problems = list(rows), list[RejectedRow](), list[UserError]()
    left = remainders or Remainders()
    rules: dict[str, Callable[[list[Example]], FilterResult]] = {
        "exact deduplication": lambda rows: resolve_exact_duplicates(rows, task, config),
        "near-deduplication": lambda rows: drop_near_duplicates(rows, task, config, left),
        "semantic deduplication": lambda rows: drop_semantic_duplicates(
            rows, task, config, load_embedder(config.embedder, vertex, config.seed), left
        ),
    }
    for name, rule in rules.items():
        before = len(kept)
        log_if_long(name, before)
        kept, dropped = rule(kept)
        try:
            check_removal_limits(before, len(kept), name, config, dropped)
        except UserError as error:
            problems.append(error)
        rejected += dropped
    return kept, rejected, problems


def sample_rows(examples: Sequence[Example], config: Preprocess) -> FilterResult:
    """At most `max_rows` rows, by a hash of seed and id: stable as data grows."""
    # not the hash of the split: with that, the rows sampled first would be the rows of the test split
    ranked = sorted(examples, key=lambda example: hashlib.sha256(f"draw {config.seed} {example.id}".encode()).digest())
    count = config.max_rows or len(ranked)
    dropped = [reject(example, "not_sampled", f"beyond preprocess.max_rows={count}") for example in ranked[count:]]
    return sorted(ranked[:count], key=lambda example: example.line), dropped


def log_if_long(rule: str, rows: int) -> None:
    """Log the rule that runs next, when it has many rows to process."""
    if rows >= MANY_ROWS:
        log.info("progress: %s", rule)

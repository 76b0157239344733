# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The rules by which rows leave as duplicates: same text, conflicting labels, near text, near meaning, repeated
passages.

Promise: a row is dropped only if a row that stays is the same or near it; which one stays is decided by content (a
given test row, the label majority, care in writing), never by the order of rows; the comparison leaves out what all
rows share.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gemtune import dedup
from gemtune.config import Preprocess, Task
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example, RejectedRow, example_id, plain
from gemtune.data.row_validation import LABELLED_KINDS
from gemtune.dedup.embedding import Embedder, embed, leaders
from gemtune.dedup.substrings import Span, repeated_spans
from gemtune.errors import UserError

FilterResult = tuple[list[Example], list[RejectedRow]]
_RANK = {"test": 0, "validation": 1}


def resolve_exact_duplicates(examples: Sequence[Example], task: Task, config: Preprocess) -> FilterResult:
    """One example per text: conflicting references settled by the setting, exact duplicates dropped."""
    groups: dict[bytes, list[Example]] = defaultdict(list)
    for text, example in zip(comparison_texts(examples), examples, strict=True):
        groups[_name(text_key(text))].append(example)
    kept: list[Example] = []
    dropped: list[RejectedRow] = []
    for group in groups.values():
        stay, leave = resolve_group(group, task, config) if len(group) > 1 else (group, [])
        kept += stay
        dropped += leave
    kept.sort(key=lambda example: example.line)
    return kept, dropped


def _name(text: str) -> bytes:
    """A name of the text, shorter than most."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()


def resolve_group(group: list[Example], task: Task, config: Preprocess) -> FilterResult:
    """What stays of rows that count as the same text, and what leaves."""
    votes = Counter(example.target for example in group)
    dropped: list[RejectedRow] = []
    if len(votes) > 1 and task.kind not in ("summarization", "generation") and config.conflicts != "keep":
        ranked = votes.most_common()
        winner = ranked[0][0] if config.conflicts == "majority" and ranked[0][1] > ranked[1][1] else None
        told = ", ".join(f"{target!r:.60} x{count}" for target, count in sorted(votes.items()))
        losers = [example for example in group if example.target != winner]
        dropped = [reject(e, "label_conflict", f"the same text is labelled {told}") for e in losers]
        group = [example for example in group if example.target == winner]
    by_target: dict[str, list[Example]] = defaultdict(list)
    for example in group:
        by_target["" if task.kind in ("summarization", "generation") else example.target].append(example)
    kept = []
    for same in by_target.values():
        first, *others = sorted(same, key=keep_priority)
        kept.append(first)
        told = f"the same text as line {first.line}: {first.text!r:.80}"
        dropped += [reject(e, "exact_duplicate", told, kept_id=first.id) for e in others]
    return kept, dropped


def keep_priority(example: Example) -> tuple[Any, ...]:
    """Best first, by content: a given test row, then what is written with care, then by id."""
    shouting = example.text.isupper() and len(example.text) > 3
    return _RANK.get(example.split or "", 2), shouting, example.id, example.line


def drop_near_duplicates(examples: Sequence[Example], task: Task, config: Preprocess) -> FilterResult:
    """Near-duplicates dropped (see `dedup`); with labels, only a row of the same label can stand for another."""
    if not config.jaccard_threshold or not examples:
        return list(examples), []
    ordered = sorted(examples, key=keep_priority)
    classes = [example.target for example in ordered] if task.kind in LABELLED_KINDS else None
    leaders = dedup.leaders(comparison_texts(ordered), config.jaccard_threshold, classes)
    return _followers_dropped(ordered, leaders.tolist(), "near_duplicate", "a near-duplicate of")


def near_conflicts(examples: Sequence[Example], task: Task, config: Preprocess) -> list[tuple[Example, Example]]:
    """Pairs that are near but labelled differently: kept, since such rows may teach the difference, and reported."""
    if not config.jaccard_threshold or task.kind not in LABELLED_KINDS:
        return []
    ordered = sorted(examples, key=keep_priority)
    leaders = dedup.leaders(comparison_texts(ordered), config.jaccard_threshold).tolist()
    return [
        (ordered[i], ordered[j]) for i, j in enumerate(leaders) if i != j and ordered[i].target != ordered[j].target
    ]


def drop_semantic_duplicates(
    examples: Sequence[Example], task: Task, config: Preprocess, embedder: Embedder | None = None
) -> FilterResult:
    """Rows dropped whose embedding is within `semantic_threshold` (cosine) of a row that stays, of the same label."""
    if not config.semantic_threshold or not examples:
        return list(examples), []
    ordered = sorted(examples, key=keep_priority)
    classes = [example.target if task.kind in LABELLED_KINDS else "" for example in ordered]
    embedder = embedder or partial(embed, seed=config.seed)
    leading = leaders(embedder(comparison_texts(ordered)), config.semantic_threshold, classes)
    return _followers_dropped(ordered, leading.tolist(), "semantic_duplicate", "means much the same as")


def _followers_dropped(ordered: list[Example], leaders: list[int], reason: str, words: str) -> FilterResult:
    kept, dropped = [], []
    for i, (example, j) in enumerate(zip(ordered, leaders, strict=True)):
        if i == j:
            kept.append(example)
        else:
            detail = f"{words} line {ordered[j].line}: {ordered[j].text!r:.80}"
            dropped.append(reject(example, reason, detail, kept_id=ordered[j].id, cluster=j))
    kept.sort(key=lambda example: example.line)
    return kept, dropped


@dataclass(frozen=True, slots=True)
class RepeatedPassages:
    """What repeated passages there are: rows that hold one, characters that repeat an earlier passage, the longest.

    `commonest` is how the passage begins that most rows repeat, `most_rows` how many do.
    """

    rows: int = 0
    characters: int = 0
    share: float = 0.0
    longest: str = ""
    commonest: str = ""
    most_rows: int = 0


def remove_repeated_passages(
    examples: Sequence[Example], config: Preprocess
) -> tuple[list[Example], list[RejectedRow], RepeatedPassages]:
    """Passages of `repeated_chars` characters or more that stand in an earlier row: told, cut, or their rows dropped.

    Rows are visited best first, so that a passage stays in the row that is kept. Only plain rows are cut or dropped.
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
        touched = i in spans and example.contents is None
        if touched and config.repeated == "drop":
            first = spans[i][0]
            passage = example.text[first.begin : first.end]
            dropped.append(
                reject(example, "repeated_passage", f"{len(passage)} characters stand elsewhere: {passage!r:.80}")
            )
        elif touched and config.repeated == "trim" and not (rest := _cut(example.text, spans[i])):
            dropped.append(reject(example, "repeated_passage", "nothing is left after cutting repeated passages"))
        elif touched and config.repeated == "trim":
            kept.append(replace(example, id=example_id(rest, example.target, example.system), text=rest))
        else:
            kept.append(example)
    kept.sort(key=lambda example: example.line)
    passages = [ordered[i].text[span.begin : span.end] for i in spans for span in spans[i]]
    characters = sum(map(len, passages))
    share = round(characters / max(1, sum(len(example.text) for example in ordered)), 4)
    heads = Counter(ordered[i].text[own[0].begin :][: config.repeated_chars] for i, own in spans.items())
    (commonest, most), *_ = heads.most_common(1) or [("", 0)]
    longest = max(passages, key=len, default="")[:200]
    return kept, dropped, RepeatedPassages(len(spans), characters, share, longest, commonest[:200], most)


def _cut(text: str, spans: list[Span]) -> str:
    pieces, at = [], 0
    for span in spans:
        pieces.append(text[at : max(at, span.begin)])
        at = max(at, span.end)
    return " ".join(piece.strip() for piece in [*pieces, text[at:]] if piece.strip())


def reject(
    example: Example, reason: str, detail: str, kept_id: str | None = None, cluster: int | None = None
) -> RejectedRow:
    """The example as a dropped row."""
    row = {k: v for k, v in plain(example).items() if v not in (None, {}, ())}
    return RejectedRow(example.line, reason, detail, row, cluster, kept_id)


def check_removal_limits(
    before: int, after: int, what: str, config: Preprocess, dropped: Sequence[RejectedRow]
) -> None:
    """Stop the run when a rule removed too much, or one text took too many others with it, and say which text."""
    (worst, size), *_ = Counter(row.kept_id for row in dropped if row.kept_id).most_common(1) or [("", 0)]
    detail = next((row.detail for row in dropped if worst and row.kept_id == worst), "")
    enforce_removal_limits(before, after, what, config, size, detail)


def enforce_removal_limits(before: int, after: int, what: str, config: Preprocess, size: int, detail: str) -> None:
    """Raise `UserError` when a rule leaves too few rows, or a text `size` rows were dropped for is one too many.

    `detail` tells of one of those rows.
    """
    share = 1 - after / before if before else 0.0
    told = f"; {size} rows: {detail}" if detail else ""
    remedy = "look at these rows; raise the setting if it is right"
    if share > config.max_removed_share:
        limit = f"preprocess.max_removed_share={config.max_removed_share}"
        raise UserError(f"{what} would remove {share:.0%} of {before} rows, more than {limit}{told}", remedy=remedy)
    if config.max_cluster and size >= config.max_cluster:
        limit = f"preprocess.max_cluster={config.max_cluster}"
        raise UserError(f"{what} found a cluster of {size + 1} rows, more than {limit}{told}", remedy=remedy)

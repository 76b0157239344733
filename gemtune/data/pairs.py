# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of a better and a worse answer: raw rows in, sound pairs out, and the rows a tuning job is sent.

Source: Vertex AI preference tuning (two completions of score 1 and 0). A prompt stands once, as an `Example` whose
target is its best known answer; its pairs refer to it by id, so that prompts, never pairs, are divided into splits and
a prompt with many pairs is asked about once. Promise: every row becomes a pair or is dropped with a reason; a pair that
prefers an answer to itself, repeats another or contradicts one teaches nothing and leaves. Pure but for reading files.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gemtune import dedup
from gemtune.config import Preference, Preprocess, Task
from gemtune.data import sources
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example, RejectedRow, example_id, write_rows
from gemtune.data.readers import Row
from gemtune.data.row_validation import ReadStats, validate_row
from gemtune.errors import UserError


@dataclass(frozen=True, slots=True)
class Pair:
    """A better and a worse answer to the prompt with the id `prompt`; `line` is where the pair stood."""

    prompt: str
    chosen: str
    rejected: str
    line: int = 0


@dataclass(frozen=True)
class Pairs:
    """Prompts (an example each, its target the best known answer), their pairs, and the rows that left."""

    prompts: list[Example]
    pairs: list[Pair]
    dropped: list[RejectedRow]
    rows: int


# -- reading ---------------------------------------------------------------------------------------------------------


def read(source: str, task: Task, rules: Preprocess, config: Preference, stats: ReadStats) -> Pairs:
    """The pairs of a source: plain columns, Gemini's `contents` and `completions`, or lists of chat turns.

    Cleaning, limits and personal data follow the rules of `preprocess`; nothing is compared yet (see `settled`). With a
    test file its prompts are the test split, and none of the source joins them.
    """
    found: dict[str, Example] = {}
    pairs: list[Pair] = []
    dropped: list[RejectedRow] = []
    count = 0
    for made in stream(source, task, rules, config, stats):
        count += 1
        if isinstance(made, RejectedRow):
            dropped.append(made)
            continue
        example, rejected = made
        prompt = _prompt_of(example)
        known = found.setdefault(prompt.id, prompt)
        if known.split != prompt.split:
            told = f"line {known.line} puts this prompt elsewhere"
            row = {"prompt": example.text, "chosen": example.target, "rejected": rejected, "split": example.split}
            dropped.append(_left(example.line, "split_conflict", told, row))
            continue
        pairs.append(Pair(prompt.id, example.target, rejected, example.line))
    return Pairs(list(found.values()), pairs, dropped, count)


def stream(
    source: str, task: Task, rules: Preprocess, config: Preference, stats: ReadStats
) -> Iterator[tuple[Example, str] | RejectedRow]:
    """Every row of a source, the test file's before: the prompt with its better answer, and the worse; or the row
    dropped.
    """
    for given, item in _items(source, rules):
        made = item if isinstance(item, RejectedRow) else _pair(item[0], item[1], task, rules, config, stats)
        if isinstance(made, RejectedRow):
            yield replace(made, detail=f"in test_data: {made.detail}") if given else made
        else:
            example, rejected = made
            home = "test" if given else example.split or ("train" if rules.test_data else None)
            yield replace(example, split=home), rejected


def _items(source: str, rules: Preprocess) -> Iterator[tuple[bool, Row | RejectedRow]]:
    """Whether a row is of the test file, and the row; that file comes first, so that its prompts are known."""
    for given, path in ((True, rules.test_data), (False, source)):
        if path:
            yield from ((given, item) for item in sources.rows(path, rules))


def _pair(
    line: int, row: dict[str, Any], task: Task, rules: Preprocess, config: Preference, stats: ReadStats
) -> tuple[Example, str] | RejectedRow:
    """The prompt with the better answer, cleaned, and the worse answer; or the row dropped."""
    try:
        supervised, rejected = _sides(row, rules, config)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        told = f"no field {error}" if isinstance(error, KeyError) else str(error)
        wanted = f"{config.prompt_column}, {config.chosen_column}, {config.rejected_column}"
        return _left(line, "not_a_pair", f"{told}; wanted: {wanted}, or contents and two completions", row)
    made = validate_row(line, supervised, task, rules, stats)
    if isinstance(made, RejectedRow):
        return replace(made, row=row)
    rejected = rejected.strip()
    if rules.pii != "off" and (kinds := Counter(one.kind for one in stats.pii_detector(rules).findings(rejected))):
        stats.personal.update(kinds)
        if rules.pii == "drop":
            return _left(line, "personal_data", f"in the worse answer: {', '.join(sorted(kinds))}", row)
        rejected = stats.pii_detector(rules).mask(rejected) if rules.pii == "mask" else rejected
    if not rejected:
        return _left(line, "empty_answer", "the worse answer is empty", row)
    if text_key(made.target) == text_key(rejected):
        return _left(line, "equal_answers", "the two answers are the same", row)
    return made, rejected


def _sides(row: dict[str, Any], rules: Preprocess, config: Preference) -> tuple[dict[str, Any], str]:
    """The row as one of supervised tuning that ends in the better answer, in a shape `accept` reads; the worse answer.

    Raises `KeyError`, `TypeError` or `ValueError` for a row that is no pair.
    """
    if "completions" in row:
        return _gemini_sides(row)
    prompt, chosen, rejected = (
        row.get(name) for name in (config.prompt_column, config.chosen_column, config.rejected_column)
    )
    if chosen is None or rejected is None:
        raise KeyError(config.chosen_column if chosen is None else config.rejected_column)
    others = {name: value for name, value in row.items() if name not in (config.prompt_column, "system", "messages")}
    if isinstance(chosen, list):
        before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}] if prompt else []
        return {**others, "messages": [*before, *chosen]}, str(rejected[-1]["content"])
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise TypeError("the answers are not texts")
    if prompt is None:
        raise KeyError(config.prompt_column)
    turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": str(prompt)}]
    system = [{"role": "system", "content": str(row["system"])}] if row.get("system") else []
    if isinstance(prompt, list) or system:
        return {**others, "messages": [*system, *turns, {"role": "model", "content": chosen}]}, rejected
    return {**others, rules.text_column: str(prompt), rules.target_column: chosen}, rejected


def _gemini_sides(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    scored = {item["score"]: _said(item["completion"]) for item in row["completions"]}
    if len(row["completions"]) != 2 or set(scored) != {0, 1}:
        raise ValueError("there must be two completions, of score 1 and 0")
    others = {name: value for name, value in row.items() if name != "completions"}
    answer = {"role": "model", "parts": [{"text": scored[1]}]}
    return {**others, "contents": [*row["contents"], answer]}, scored[0]


def _said(turn: Mapping[str, Any]) -> str:
    return "".join(part["text"] for part in turn["parts"])


def _prompt_of(example: Example) -> Example:
    """The prompt alone: its id does not depend on an answer."""
    return replace(example, id=example_id(example.text, "", example.system, example.contents), target="")


def _left(line: int, reason: str, detail: str, row: Any) -> RejectedRow:
    return RejectedRow(line, reason, detail, row[1] if isinstance(row, tuple) else row)


# -- comparing -------------------------------------------------------------------------------------------------------


def deduplicate(found: Pairs, rules: Preprocess) -> Pairs:
    """The pairs without repetitions (exact and near) and contradictions, the prompts without those left bare.

    Contradictions are settled as `preprocess.conflicts` says: both sides go, the majority stays, or all stay.
    """
    pairs, contrary = _without_contradictions(found.pairs, rules)
    pairs, same = _without_copies(pairs)
    by_id = {prompt.id: prompt for prompt in found.prompts}
    pairs, near = _without_near(by_id, pairs, rules.jaccard_threshold)
    kept = _with_targets(by_id, pairs)
    return Pairs(kept, pairs, [*found.dropped, *contrary, *same, *near], found.rows)


def _key(pair: Pair) -> tuple[str, str, str]:
    return pair.prompt, text_key(pair.chosen), text_key(pair.rejected)


def _without_contradictions(pairs: Sequence[Pair], rules: Preprocess) -> tuple[list[Pair], list[RejectedRow]]:
    if rules.conflicts == "keep":
        return list(pairs), []
    votes = Counter(map(_key, pairs))
    kept, dropped = [], []
    for pair in pairs:
        prompt, better, worse = _key(pair)
        mine, against = votes[prompt, better, worse], votes[prompt, worse, better]
        if against == 0 or (rules.conflicts == "majority" and mine > against):
            kept.append(pair)
        else:
            told = f"{against} rows prefer the other answer, {mine} this one"
            dropped.append(_left(pair.line, "contradiction", told, asdict(pair)))
    return kept, dropped


def _without_copies(pairs: Sequence[Pair]) -> tuple[list[Pair], list[RejectedRow]]:
    first: dict[tuple[str, str, str], Pair] = {}
    dropped = []
    for pair in sorted(pairs, key=lambda pair: (pair.chosen, pair.rejected, pair.line)):
        leader = first.setdefault(_key(pair), pair)
        if leader is not pair:
            dropped.append(_left(pair.line, "exact_duplicate", f"the same pair as line {leader.line}", asdict(pair)))
    return sorted(first.values(), key=lambda pair: pair.line), dropped


def _without_near(
    by_id: Mapping[str, Example], pairs: Sequence[Pair], threshold: float
) -> tuple[list[Pair], list[RejectedRow]]:
    """A pair leaves when prompt, better and worse answer are each near those of a pair that stays."""
    if not threshold or not pairs:
        return list(pairs), []
    # of near pairs the one that decides stays
    ordered = sorted(pairs, key=lambda p: (by_id[p.prompt].split != "test", p.prompt, p.chosen, p.rejected))
    ids = sorted(by_id)
    near = dedup.leaders(comparison_texts([by_id[i] for i in ids]), threshold).tolist()
    prompt = {one: near[n] for n, one in enumerate(ids)}
    answers = [*(pair.chosen for pair in ordered), *(pair.rejected for pair in ordered)]
    alike = dedup.leaders(answers, threshold, [str(prompt[pair.prompt]) for pair in (*ordered, *ordered)]).tolist()
    first: dict[tuple[int, int, int], Pair] = {}
    kept, dropped = [], []
    for n, pair in enumerate(ordered):
        better, worse = alike[n], alike[n + len(ordered)]
        leader = first.setdefault((prompt[pair.prompt], better, worse), pair)
        if leader is pair or better == worse:  # answers that hardly differ stay: the difference is what is taught
            kept.append(pair)
        else:
            told = f"prompt and both answers are near those of line {leader.line}"
            dropped.append(_left(pair.line, "near_duplicate", told, asdict(pair)))
    return sorted(kept, key=lambda pair: pair.line), dropped


def _with_targets(by_id: Mapping[str, Example], pairs: Sequence[Pair]) -> list[Example]:
    """The prompts that still have pairs, each with its best known answer as the target."""
    own = by_prompt(pairs)
    return [
        replace(prompt, target=references(own[prompt.id])[0])
        for prompt in sorted(by_id.values(), key=lambda prompt: prompt.line)
        if prompt.id in own
    ]


def references(pairs: Sequence[Pair]) -> list[str]:
    """The answers to one prompt that were preferred and never rejected, the oftenest preferred first.

    Where preferences run in a circle there is none such; then all preferred answers.
    """
    preferred = Counter(pair.chosen for pair in pairs)
    worse = {text_key(pair.rejected) for pair in pairs}
    best = [text for text in preferred if text_key(text) not in worse]
    return sorted(best or preferred, key=lambda text: (-preferred[text], text))


def references_of(prompt: Example, pairs: Sequence[Pair]) -> list[str]:
    """The answers a prompt's answers are measured by: its preferred ones, or the reference it was labelled with."""
    best = references(pairs)
    return best if prompt.target in best else [prompt.target]


def by_prompt(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each prompt, in their order."""
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.prompt].append(pair)
    return found


def profile_pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the pairs look like: how many a prompt has, and how often the better answer is simply the longer one."""
    sizes = [len(own) for own in by_prompt(pairs).values()]
    longer = sum(len(pair.chosen) > len(pair.rejected) for pair in pairs)
    return {
        "pairs": len(pairs),
        "prompts": len(sizes),
        "most_pairs_of_a_prompt": max(sizes, default=0),
        "chosen_is_longer": round(longer / max(1, len(pairs)), 4),
        "mean_characters": {
            side: round(sum(len(getattr(pair, side)) for pair in pairs) / max(1, len(pairs)), 1)
            for side in ("chosen", "rejected")
        },
    }


# -- files and tuning rows -------------------------------------------------------------------------------------------


def write(path: str | Path, pairs: Iterable[Pair]) -> None:
    """One pair a line."""
    write_rows(path, map(asdict, pairs))


def read_pairs(path: str | Path) -> list[Pair]:
    """What `write` wrote; raises `UserError` naming the line that is something else."""
    pairs = []
    with open(path, encoding="utf-8") as rows:
        for number, text in enumerate(rows, 1):
            try:
                row = json.loads(text)
                row.pop("schema_version", None)
                pairs.append(Pair(**row))
            except (ValueError, TypeError, AttributeError) as error:
                raise UserError(
                    f"not a pair: {error}", file=path, line=number, remedy="gather the pairs again"
                ) from None
    return pairs

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference pairs: raw rows to valid pairs of a chosen and a rejected answer.

Source: Vertex AI preference tuning (two completions with the scores 1 and 0). A prompt exists once, as an `Example`
whose target is its best answer; its pairs refer to it by id, so that prompts, not pairs, are assigned to splits, and a
prompt with many pairs is evaluated once. Guarantees: every row becomes a pair or a rejected row with a reason; pairs
with equal answers, duplicates and contradictions are rejected.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gemtune import contents, dedup
from gemtune.config import JsonObject, Preference, Preprocess, Task
from gemtune.data import sources
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import Remainders
from gemtune.data.example import Example, Pair, RejectedRow, example_id, to_row
from gemtune.data.formats import OPENAI_PAIR, chat_turns, content_of
from gemtune.data.group_columns import words_of
from gemtune.data.labels import parse_container
from gemtune.data.row_validation import ReadStats, of_source, validate_row

_SYSTEM = ("system", "system_prompt")  # columns of system instructions in published pairs
_NESTED = ("contents", "completions", *OPENAI_PAIR)
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_WHOLE = re.compile(r"\.0+$")


@dataclass(frozen=True)
class Pairs:
    """Prompts (examples whose target is the best answer), their pairs, dropped rows, and the number of rows read."""

    prompts: list[Example]
    pairs: list[Pair]
    dropped: list[RejectedRow]
    rows: int


# -- reading ---------------------------------------------------------------------------------------------------------


def read(source: str, task: Task, rules: Preprocess, config: Preference, stats: ReadStats) -> Pairs:
    """The pairs of a source: columns, Gemini's `contents` and `completions`, or lists of chat turns.

    Cleaning, limits and personal data follow the section `preprocess`; pairs are compared later (see `deduplicate`).
    With a test file, its prompts are the test split, and no prompt of the source is assigned to it.
    """
    prompts: dict[str, Example] = {}
    pairs: list[Pair] = []
    dropped: list[RejectedRow] = []
    count = 0
    for item in stream(source, task, rules, config, stats):
        count += 1
        if isinstance(item, RejectedRow):
            dropped.append(item)
            continue
        (pair,), prompt = item.pairs, _prompt_of(item)
        first = prompts.setdefault(prompt.id, prompt)
        if first.split != prompt.split:
            row = {"prompt": item.text, "chosen": pair.chosen, "rejected": pair.rejected, "split": item.split}
            detail = f"line {first.line} assigns this prompt to another split"
            dropped.append(RejectedRow(item.line, "split_conflict", detail, row))
            continue
        pairs.append(pair)
    return Pairs(list(prompts.values()), pairs, dropped, count)


def stream(
    source: str, task: Task, rules: Preprocess, config: Preference, stats: ReadStats
) -> Iterator[Example | RejectedRow]:
    """Every row of the test file, then of the source: the prompt with its chosen answer and the pair; or the rejected
    row. The test file comes first, so that its prompts take precedence.
    """
    for is_test, path in ((True, rules.test_data), (False, source)):
        for item in sources.rows(path, task, rules, stats.note) if path else ():
            pair = item if isinstance(item, RejectedRow) else _pair(*item, task, rules, config, stats)
            yield of_source(pair, is_test, rules)


def _pair(
    line: int, row: JsonObject, task: Task, rules: Preprocess, config: Preference, stats: ReadStats
) -> Example | RejectedRow:
    """The prompt with the chosen answer and the pair, both cleaned; or the rejected row."""
    try:
        supervised, rejected = _sides(row, rules, config)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problem = f"no field {error}" if isinstance(error, KeyError) else str(error)
        columns = f"{config.prompt_column}, {config.chosen_column}, {config.rejected_column}"
        detail = f"{problem}; expected: {columns}, or contents and two completions"
        return RejectedRow(line, "not_a_pair", detail, row)
    example = validate_row(line, supervised, task, rules, stats)
    if isinstance(example, RejectedRow):
        return replace(example, row=row)
    rejected = rejected.strip()
    if rules.pii != "off" and (findings := stats.pii_detector(rules).findings(rejected)):
        kinds = Counter(finding.kind for finding in findings)
        stats.pii_findings.update(kinds)
        if rules.pii == "drop":
            return RejectedRow(line, "personal_data", f"in the rejected answer: {', '.join(sorted(kinds))}", row)
        rejected = stats.pii_detector(rules).mask(rejected) if rules.pii == "mask" else rejected
    if not rejected:
        return RejectedRow(line, "empty_answer", "the rejected answer is empty", row)
    if text_key(example.target) == text_key(rejected):
        return RejectedRow(line, "equal_answers", "the two answers are the same", row)
    return replace(example, pairs=(Pair(_prompt_of(example).id, example.target, rejected, line),))


def _sides(row: JsonObject, rules: Preprocess, config: Preference) -> tuple[JsonObject, str]:
    """A supervised tuning row that ends in the chosen answer, as `validate_row` reads it; the rejected answer.

    Raises `KeyError`, `TypeError` or `ValueError` for a row that is not a pair.
    """
    packed = {name: value for name, value in row.items() if name in _NESTED and isinstance(value, str)}
    row = {**row, **{name: parse_container(value.strip(), is_exact=True) for name, value in packed.items()}}
    if "completions" in row:
        return _gemini_sides(row)
    if "preferred_output" in row:
        row = _of_openai(row, config)
    names = [config.chosen_column, config.rejected_column]
    if config.winner_column and _better(row, config) == 1:
        names.reverse()
    prompt, chosen, rejected = (row.get(name) for name in (config.prompt_column, *names))
    if chosen is None or rejected is None:
        raise KeyError(names[chosen is not None])
    others = {name: value for name, value in row.items() if name not in (config.prompt_column, *_SYSTEM, "messages")}
    prompt = chat_turns(prompt) or prompt
    instructions = [str(row[name]) for name in _SYSTEM if row.get(name)]
    system = {"systemInstruction": instructions[0]} if instructions else {}
    chosen, rejected = (turns_of(answer) or answer for answer in (chosen, rejected))
    if isinstance(chosen, list):
        before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}] if prompt else []
        if len(chosen) > len(before) and [*map(_content_of, before)] == [*map(_content_of, chosen[: len(before)])]:
            before = []  # the turns of the answers begin with the prompt
        return {**others, **system, "messages": [*before, *chosen]}, _content_of(rejected[-1])
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise TypeError("the answers are not texts")
    if prompt is None:
        raise KeyError(config.prompt_column)
    if isinstance(prompt, list):
        return {**others, **system, "messages": [*prompt, {"role": "model", "content": chosen}]}, rejected
    return {**others, **system, rules.text_column: str(prompt), rules.target_column: chosen}, rejected


def turns_of(answer: Any) -> list[JsonObject]:
    """The turns of an answer that is a conversation: chat turns, or a transcript as Anthropic has it; else empty."""
    if turns := chat_turns(answer):
        return turns
    before, *parts = _SPEAKER.split(f"\n\n{answer.strip()}") if isinstance(answer, str) else [""]
    speakers, texts = parts[::2], parts[1::2]
    is_transcript = not before.strip() and set(speakers) == {"Human", "Assistant"}
    pairs = zip(speakers, texts, strict=True) if is_transcript else ()
    return [{"role": speaker.casefold(), "content": text.strip()} for speaker, text in pairs]


def _better(row: JsonObject, config: Preference) -> int:
    """0 or 1: which of the two answers is better."""
    winner = row.get(config.winner_column)
    better = named_side(winner, (config.chosen_column, config.rejected_column))
    if better is None:
        sides = config.chosen_column, config.rejected_column
        raise ValueError(f"{config.winner_column!r} is {winner!r:.40}, which names neither of {', '.join(sides)}")
    return better


def named_side(value: Any, columns: Sequence[str]) -> int | None:
    """0 or 1: which of two columns a value names, by the words in which their names differ; None if it does not."""
    first, second = ({*words_of(name)} for name in columns)
    named = {*words_of(_WHOLE.sub("", str(value)))}
    hits = [bool(own) and own <= named for own in (first - second, second - first)]
    return hits.index(True) if hits.count(True) == 1 else None


def _gemini_sides(row: JsonObject) -> tuple[JsonObject, str]:
    scored = {item["score"]: _text_of(item["completion"]) for item in row["completions"]}
    if len(row["completions"]) != 2 or set(scored) != {0, 1}:
        raise ValueError("there must be two completions, of score 1 and 0")
    others = {name: value for name, value in row.items() if name != "completions"}
    answer = {"role": "model", "parts": [{"text": scored[1]}]}
    return {**others, "contents": [*row["contents"], answer]}, scored[0]


def _of_openai(row: JsonObject, config: Preference) -> JsonObject:
    """A row of OpenAI's preference files, with its turns in the columns of the configuration."""
    request = row["input"]
    columns = {config.prompt_column: request["messages"], config.chosen_column: row["preferred_output"]}
    columns[config.rejected_column] = row["non_preferred_output"]
    others = {name: value for name, value in row.items() if name not in OPENAI_PAIR}
    return {**others, **({"tools": request["tools"]} if request.get("tools") else {}), **columns}


def _content_of(message: JsonObject) -> str:
    """The text of a chat message, whose content is a text or a list of parts."""
    content = content_of(message)
    return "".join(part["text"] for part in content) if isinstance(content, list) else str(content)


def _text_of(turn: JsonObject) -> str:
    parts = [part for part in turn["parts"] if not contents.is_thought(part)]
    if any(not isinstance(part.get("text"), str) for part in parts):
        raise ValueError("a completion has a part that is not text")
    return contents.text_of(parts)


def _prompt_of(example: Example) -> Example:
    """The prompt without an answer; its id does not depend on one."""
    identity = example_id(example.text, "", example.system, example.contents, example.request)
    return replace(example, id=identity, target="", answer=None, pairs=())


# -- comparing -------------------------------------------------------------------------------------------------------


def deduplicate(source: Pairs, rules: Preprocess) -> Pairs:
    """The pairs without duplicates (exact and near) and contradictions, and the prompts that still have pairs.

    Contradictions follow `preprocess.conflicts`: both sides are dropped, the majority is kept, or all are kept.
    """
    pairs, contradictory = _without_contradictions(source.pairs, rules)
    pairs, equal = _without_copies(pairs)
    by_id = {prompt.id: prompt for prompt in source.prompts}
    pairs, near = _without_near(by_id, pairs, rules.jaccard_threshold)
    pairs_of = by_prompt(pairs)
    prompts = [
        replace(prompt, target=references(pairs_of[prompt.id])[0])  # its best answer
        for prompt in sorted(by_id.values(), key=lambda prompt: prompt.line)
        if prompt.id in pairs_of
    ]
    return Pairs(prompts, pairs, [*source.dropped, *contradictory, *equal, *near], source.rows)


def _key(pair: Pair) -> tuple[str, str, str]:
    return pair.prompt, text_key(pair.chosen), text_key(pair.rejected)


def _without_contradictions(pairs: Sequence[Pair], rules: Preprocess) -> tuple[list[Pair], list[RejectedRow]]:
    if rules.conflicts == "keep":
        return list(pairs), []
    votes = Counter(map(_key, pairs))
    kept, dropped = [], []
    for pair in pairs:
        prompt, chosen, rejected = _key(pair)
        agreeing, opposing = votes[prompt, chosen, rejected], votes[prompt, rejected, chosen]
        if opposing == 0 or (rules.conflicts == "majority" and agreeing > opposing):
            kept.append(pair)
        else:
            detail = f"{opposing} rows prefer the other answer, {agreeing} this one"
            dropped.append(RejectedRow(pair.line, "contradiction", detail, asdict(pair)))
    return kept, dropped


def _without_copies(pairs: Sequence[Pair]) -> tuple[list[Pair], list[RejectedRow]]:
    first: dict[tuple[str, str, str], Pair] = {}
    dropped = []
    for pair in sorted(pairs, key=lambda pair: (pair.chosen, pair.rejected, pair.line)):
        leader = first.setdefault(_key(pair), pair)
        if leader is not pair:
            dropped.append(
                RejectedRow(pair.line, "exact_duplicate", f"the same pair as line {leader.line}", asdict(pair))
            )
    return sorted(first.values(), key=lambda pair: pair.line), dropped


def _without_near(
    by_id: Mapping[str, Example], pairs: Sequence[Pair], threshold: float
) -> tuple[list[Pair], list[RejectedRow]]:
    """A pair is dropped when its prompt and both answers are each near those of a kept pair."""
    if not threshold or not pairs:
        return list(pairs), []
    # test pairs first, so that these are kept
    ordered = sorted(pairs, key=lambda p: (by_id[p.prompt].split != "test", p.prompt, p.chosen, p.rejected))
    ids = sorted(by_id)
    prompt_leaders = dedup.leaders(Remainders().compared([by_id[i] for i in ids]), threshold).tolist()
    leader_of_prompt = {prompt_id: prompt_leaders[i] for i, prompt_id in enumerate(ids)}
    answers = [*(pair.chosen for pair in ordered), *(pair.rejected for pair in ordered)]
    classes = [str(leader_of_prompt[pair.prompt]) for pair in (*ordered, *ordered)]
    answer_leaders = dedup.leaders(answers, threshold, classes).tolist()
    first: dict[tuple[int, int, int], Pair] = {}
    kept, dropped = [], []
    for i, pair in enumerate(ordered):
        chosen, rejected = answer_leaders[i], answer_leaders[i + len(ordered)]
        leader = first.setdefault((leader_of_prompt[pair.prompt], chosen, rejected), pair)
        # answers that hardly differ are kept: the difference is what tuning learns
        if leader is pair or chosen == rejected:
            kept.append(pair)
        else:
            detail = f"prompt and both answers are near those of line {leader.line}"
            dropped.append(RejectedRow(pair.line, "near_duplicate", detail, asdict(pair)))
    return sorted(kept, key=lambda pair: pair.line), dropped


def references(pairs: Sequence[Pair]) -> list[str]:
    """The answers to a prompt that were chosen and never rejected, the most often chosen first.

    With circular preferences there are none; then all chosen answers.
    """
    preferred = Counter(pair.chosen for pair in pairs)
    rejected = {text_key(pair.rejected) for pair in pairs}
    best = [text for text in preferred if text_key(text) not in rejected]
    return sorted(best or preferred, key=lambda text: (-preferred[text], text))


def references_of(prompt: Example) -> list[str]:
    """The reference answers of a prompt: its chosen ones, or the reference that its row has."""
    best = references(prompt.pairs)
    return best if prompt.target in best else [prompt.target]


def by_prompt(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each prompt, in their order."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.prompt].append(pair)
    return groups


# -- pairs from a model's own answers ---------------------------------------------------------------------------------


def extremes(grades: Sequence[float | None], min_gap: float) -> tuple[int, int] | None:
    """Places of the best and the worst grade; None when they are nearer than `min_gap`, or there are not two.

    Of equal grades the first counts; answers without a grade are left out.
    """
    graded = [(grade, place) for place, grade in enumerate(grades) if grade is not None]
    if len(graded) < 2:
        return None
    best = max(graded, key=lambda item: (item[0], -item[1]))
    worst = min(graded, key=lambda item: (item[0], item[1]))
    return (best[1], worst[1]) if best[0] - worst[0] >= max(min_gap, 1e-9) else None


def build_pair(
    example: Example, answers: Sequence[str], grades: Sequence[float | None], settings: Preference
) -> Pair | RejectedRow:
    """The best answer over the worst, or the reference over the worst; rejected when their grades are too near."""
    if settings.chosen_from == "reference":
        answers, grades = [example.target, *answers], [100.0, *grades]
    places = extremes(grades, settings.min_gap)
    if places is None or not answers[places[1]].strip() or not answers[places[0]].strip():
        listed = ", ".join("none" if grade is None else f"{grade:.0f}" for grade in grades)
        return RejectedRow(example.line, "no_gap", f"the answers' grades are too near: {listed}", to_row(example))
    return Pair(example.id, answers[places[0]].strip(), answers[places[1]].strip(), example.line)


def sampled_pairs(
    rows: Sequence[Example],
    answers: Sequence[Sequence[str]],
    grades: Sequence[Sequence[float | None]],
    settings: Preference,
) -> tuple[list[Pair], list[RejectedRow]]:
    """A pair for each row, of the best and the worst of its sampled answers; rejected rows, whose grades are too near.

    With `chosen_from: reference` the row's reference is paired with the worst, which makes pairs of a model's errors.
    """
    built = [build_pair(*row, settings) for row in zip(rows, answers, grades, strict=True)]
    pairs = [pair for pair in built if isinstance(pair, Pair)]
    return pairs, [row for row in built if isinstance(row, RejectedRow)]

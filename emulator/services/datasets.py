# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning datasets: JSONL to rows, with the service's validation and statistics.

A malformed line is reported with its number and reason; a row above the token limit is dropped and counted in the
statistics. Both field cases are read; the legacy `messages` form is rejected by name.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from emulator.core.google_rest import ApiError, Json, camelize, parse_json
from emulator.core.messages import check
from emulator.engines.base import PreferenceRow, ReinforcementRow, TrainingRow, Turn
from emulator.services.generation_config import declared_functions, functions_text

Row = TypeVar("Row", TrainingRow, PreferenceRow, ReinforcementRow)


@dataclass(frozen=True, slots=True)
class Dataset(Generic[Row]):
    """The usable rows with their tokens (input, output), and the dropped lines with the reasons."""

    rows: tuple[Row, ...]
    tokens: tuple[tuple[int, int], ...]
    dropped: tuple[tuple[int, str], ...] = ()


def count_lines(content: bytes) -> int:
    """Number of lines that are not blank."""
    return sum(1 for line in content.split(b"\n") if line.strip())


def read_parsed(
    lines: Iterable[tuple[int, Any]], parse: Callable[[Any], Row]
) -> tuple[list[tuple[int, Row]], list[tuple[int, str]]]:
    """(line, row) of the rows that can be parsed, and (line, reason) of the others."""
    rows: list[tuple[int, Row]] = []
    problems: list[tuple[int, str]] = []
    for number, line in lines:
        try:
            rows.append((number, parse(line)))
        except ApiError as error:
            violation = error.details[0]["fieldViolations"][0] if error.details else {}
            reason = f"{violation.get('field', '')} {violation.get('description', error.message)}"
            problems.append((number, reason.strip()))
    return rows, problems


def read_rows(
    uri: str, content: bytes, parse: Callable[[Any], Row], lenient: bool
) -> tuple[list[tuple[int, Row]], list[tuple[int, str]]]:
    """(line, row) of all rows and (line, reason) of malformed ones, which are a `ValueError` unless `lenient`."""
    lines = ((number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip())
    rows, problems = read_parsed(lines, lambda line: parse(parse_json(line)))
    if not rows or (problems and not lenient):
        problems = problems or [(1, "the file has no examples.")]
        listed = "; ".join(f"line {line}: {reason}" for line, reason in problems[:10])
        rest = f" (and {len(problems) - 10} more)" if len(problems) > 10 else ""
        raise ValueError(f"Dataset {uri} has {len(problems)} invalid example(s): {listed}{rest}")
    return rows, problems


def measure(
    rows: Sequence[tuple[int, Row]],
    dropped: Sequence[tuple[int, str]],
    tokens: Callable[[Row], tuple[int, int]],
    limit: int,
) -> Dataset[Row]:
    """The rows within the token limit, with their lengths; the others are added to `dropped`."""
    kept: list[Row] = []
    lengths: list[tuple[int, int]] = []
    excluded = list(dropped)
    for line, row in rows:
        size = tokens(row)
        if sum(size) > limit:
            excluded.append((line, f"The example has {sum(size)} tokens; at most {limit} are allowed."))
        else:
            kept.append(row)
            lengths.append(size)
    return Dataset(tuple(kept), tuple(lengths), tuple(sorted(excluded)))


def parse_training_row(value: Any) -> TrainingRow:
    """A supervised example: `contents` that ends with a model turn."""
    row = check(camelize(value), "TrainingRow")
    turns = tuple(map(read_turn, row["contents"]))
    if turns[-1].role != "model":
        raise ApiError.field("contents", "must end with a turn of role model.")
    if not any(turn.role == "user" for turn in turns):
        raise ApiError.field("contents", "needs a turn of role user.")
    return TrainingRow(turns, system_text(row))


def parse_preference_row(value: Any) -> PreferenceRow:
    """A preference example: `contents` that ends with a user turn, two `completions` with scores 1 and 0."""
    row = check(camelize(value), "PreferenceRow")
    turns, completions = _prompt_turns(row), row["completions"]
    if len(completions) != 2:
        raise ApiError.field("completions", f"must hold exactly two, not {len(completions)}.")
    scored = {item["score"]: content_text(item["completion"]) for item in completions}
    if set(scored) != {0.0, 1.0}:
        raise ApiError.field("completions", "need one score of 1 and one of 0.")
    return PreferenceRow(turns, scored[1.0], scored[0.0], system_text(row))


def parse_reinforcement_row(value: Any) -> ReinforcementRow:
    """A reinforcement tuning example: `contents` that ends with a user turn, `references` of texts by name."""
    row = check(camelize(value), "ReinforcementRow")
    return ReinforcementRow(_prompt_turns(row), tuple(row["references"].items()), system_text(row))


PARSERS: dict[str, Callable[[Any], Any]] = {
    "supervised": parse_training_row,
    "preference": parse_preference_row,
    "reinforcement": parse_reinforcement_row,
}
"""How rows are read, by the method of tuning."""


def _prompt_turns(row: Json) -> tuple[Turn, ...]:
    turns = tuple(map(read_turn, row["contents"]))
    if turns[-1].role != "user":
        raise ApiError.field("contents", "must end with a turn of role user.")
    return turns


def read_turn(content: Json) -> Turn:
    """A Content as a turn; a missing role is the user's, the case of roles does not matter."""
    role = content["role"].lower() or "user"
    has_results = any("functionResponse" in part for part in content["parts"])
    return Turn("function" if has_results and role == "user" else role, content_text(content))


def content_text(content: Json) -> str:
    """The joined text of a Content's parts, function calls and results as JSON, without thoughts."""
    texts, calls = [], []
    for part in content["parts"]:
        if part.get("thought"):
            continue
        if call := part.get("functionCall"):
            calls.append({"name": call["name"], "args": call["args"]})
        elif result := part.get("functionResponse"):
            texts.append(json.dumps({"name": result["name"], "response": result["response"]}))
        else:
            texts.append(part.get("text", ""))
    return "".join([*texts, json.dumps(calls, ensure_ascii=False) if calls else ""])


def system_text(body: Json) -> str | None:
    """The system instruction with the declared functions, or None; a plain string is accepted too."""
    value = body.get("systemInstruction")
    functions = declared_functions(body)
    texts = [functions_text(functions)] if functions else []
    if value is not None:
        texts.insert(0, value if isinstance(value, str) else content_text(value))
    return "\n\n".join(texts) if texts else None


def distribution(values: Sequence[int]) -> Json:
    """A distribution in the form of tuning statistics: sum, extremes, percentiles, ten buckets."""
    if not values:
        return {}
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    width = max(1.0, (high - low) / 10)
    counts: dict[int, int] = {}
    for value in ordered:
        slot = min(9, int((value - low) / width))
        counts[slot] = counts.get(slot, 0) + 1
    return {
        "sum": str(sum(ordered)),
        "billableSum": str(sum(ordered)),
        "min": low,
        "max": high,
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p5": ordered[int(0.05 * (len(ordered) - 1))],
        "p95": ordered[int(0.95 * (len(ordered) - 1) + 0.999)],
        "buckets": [
            {"count": count, "left": low + slot * width, "right": low + (slot + 1) * width}
            for slot, count in sorted(counts.items())
        ],
    }


def contents(turns: Iterable[Turn]) -> list[Json]:
    """Turns as Contents."""
    return [{"role": turn.role, "parts": [{"text": turn.text}]} for turn in turns]


def data_stats(method: str, data: Dataset[Any], steps: int) -> Json:
    """The `tuningDataStats` of a job; billable tokens are those of the dataset, for one epoch."""
    lines, examples = [str(line) for line, _ in data.dropped[:1000]], data.rows[:3]
    inputs, outputs = ([size[side] for size in data.tokens] for side in (0, 1))
    characters = str(sum(len(turn.text) for row in data.rows for turn in row.turns))
    stats: Json = {
        "tuningDatasetExampleCount": str(len(data.rows)),
        "tuningStepCount": str(steps),
        "userInputTokenDistribution": distribution(inputs),
        "droppedExampleReasons": [reason for _, reason in data.dropped[:1000]],
    }
    if method == "reinforcement":
        shown = [{"contents": contents(row.turns), "references": dict(row.references)} for row in examples]
        stats |= {
            "totalTuningCharacterCount": characters,
            "reinforcementTuningUserDatasetExamples": {"userDatasetExamples": shown},
            "droppedExampleIndices": lines,
        }
        return {"reinforcementTuningDataStats": stats}
    stats["userOutputTokenDistribution"] = distribution(outputs)
    if method == "preference":  # billed are twice the prompt and both completions
        return {
            "preferenceOptimizationDataStats": stats
            | {
                "totalBillableTokenCount": str(2 * sum(inputs) + sum(outputs)),
                "scoresDistribution": distribution([0, 1] * len(data.rows)),
                "userDatasetExamples": [_preference_example(row) for row in examples],
                "droppedExampleIndices": lines,
            }
        }
    return {
        "supervisedTuningDataStats": stats
        | {
            "totalBillableTokenCount": str(sum(inputs) + sum(outputs)),
            "totalTuningCharacterCount": characters,
            "userMessagePerExampleDistribution": distribution([len(row.turns) for row in data.rows]),
            "userDatasetExamples": contents(turn for row in examples for turn in row.turns),
            "totalTruncatedExampleCount": str(len(data.dropped)),
            "truncatedExampleIndices": lines,
        }
    }


def _preference_example(row: PreferenceRow) -> Json:
    scored = ((1, Turn("model", row.chosen)), (0, Turn("model", row.rejected)))
    completions = [{"score": score, "completion": contents([turn])[0]} for score, turn in scored]
    return {"contents": contents(row.turns), "completions": completions}

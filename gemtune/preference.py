# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning: pairs of a better and a worse answer, from a file or from a model's own errors.

Source: Vertex AI preference tuning (two completions, scores 1 and 0; the KL weight `beta`; Rafailov et al. 2023). The
advised recipe is two jobs: supervised tuning on the better answers, then preference tuning from its checkpoint. A pair
that prefers an answer to itself, or contradicts another pair, teaches nothing and is refused by line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.config import Evaluate, Task, Trial, Tune, Vertex
from gemtune.data import Example, example_id
from gemtune.errors import UserError
from gemtune.prompting import prompts
from gemtune.tune import Step
from gemtune.vertex import connect

log = logging.getLogger("gemtune")

BETA_LOW, BETA_HIGH = 0.01, 0.5  # recommended, both included


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt (all turns before the answer, in Gemini's form) with the better and the worse answer."""

    contents: tuple[dict[str, Any], ...]
    chosen: str
    rejected: str
    system: str | None = None
    line: int = 0


def read_pairs(path: str | Path) -> list[Pair]:
    """Pairs of a JSONL file: `prompt`, `chosen`, `rejected` (and `system`), or Gemini's `contents` and `completions`.

    Raises `UserError` naming the line of a row that is no pair, or that prefers what an earlier one rejected.
    """
    pairs: list[Pair] = []
    seen: dict[tuple[str, str, str], int] = {}
    with open(path, encoding="utf-8") as rows:
        for number, text in enumerate(rows, 1):
            if not text.strip():
                continue
            pair = _pair(path, number, text)
            asked = example_id(json.dumps(pair.contents), "", pair.system)
            if other := seen.get((asked, pair.rejected, pair.chosen)):
                raise UserError(f"prefers what line {other} rejects", file=path, line=number, remedy="keep one of them")
            seen[asked, pair.chosen, pair.rejected] = number
            pairs.append(pair)
    return pairs


def _pair(path: str | Path, number: int, text: str) -> Pair:
    try:
        row = json.loads(text)
        pair = _gemini_pair(row, number) if "completions" in row else _plain_pair(row, number)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        remedy = "write prompt, chosen and rejected, or contents and two completions of score 1 and 0"
        raise UserError(f"not a pair: {type(error).__name__} {error}", file=path, line=number, remedy=remedy) from None
    if not (pair.chosen.strip() and pair.rejected.strip()) or pair.chosen == pair.rejected:
        raise UserError("needs two different answers", file=path, line=number, remedy="drop the row")
    return pair


def _plain_pair(row: dict[str, Any], number: int) -> Pair:
    turns = ({"role": "user", "parts": [{"text": str(row["prompt"])}]},)
    return Pair(turns, str(row["chosen"]), str(row["rejected"]), row.get("system"), number)


def _gemini_pair(row: dict[str, Any], number: int) -> Pair:
    scored = {item["score"]: _text(item["completion"]) for item in row["completions"]}
    if len(row["completions"]) != 2 or set(scored) != {0, 1}:
        raise ValueError("two completions, of score 1 and 0")
    system = row.get("systemInstruction") or row.get("system_instruction")
    return Pair(tuple(row["contents"]), scored[1], scored[0], _text(system) if system else None, number)


def _text(turn: dict[str, Any]) -> str:
    return "".join(part["text"] for part in turn["parts"])


def preference_row(pair: Pair) -> dict[str, Any]:
    """One line of Gemini's preference tuning JSONL."""
    system = {"systemInstruction": {"parts": [{"text": pair.system}]}} if pair.system else {}
    completions = [
        {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
        for score, text in ((1, pair.chosen), (0, pair.rejected))
    ]
    return {**system, "contents": list(pair.contents), "completions": completions}


def chosen_row(pair: Pair) -> dict[str, Any]:
    """The better answer alone, as a line of supervised tuning JSONL."""
    row = preference_row(pair)
    (better, _) = row.pop("completions")
    return {**row, "contents": [*row["contents"], better["completion"]]}


def pairs_from_errors(task: Task, examples: Iterable[Example], predictions: str | Path) -> Iterator[Pair]:
    """Pairs out of an evaluation: what a model answered wrongly, rejected in favour of the reference.

    `predictions` is what `evaluate` wrote about these examples. Answers that were right, unusable or missing make no
    pair; equal pairs of several contestants make one. The prompt is the one that tuned models are asked with.
    """
    by_id, seen = {example.id: example for example in examples}, set()
    prompt = prompts.tuned_prompt(task)
    with open(predictions, encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            example, answer = by_id.get(row["id"]), row["parsed"]
            if example is None or answer is None or row["outcome"] != "ok" or answer == row["reference"]:
                continue
            if (example.id, answer) in seen:
                continue
            seen.add((example.id, answer))
            rendered = prompts.render(task, prompt, example)
            yield Pair(tuple(rendered.contents), example.target, answer, rendered.system, example.line)


def recipe(trial: Trial, supervised_epochs: int = 2) -> tuple[Trial, Trial]:
    """The advised two jobs: supervised tuning on the better answers, then this preference trial from its checkpoint.

    The second one's `base` and `checkpoint_id` are filled in when the first has ended; see `run`.
    """
    first = trial.model_copy(
        update={"method": "supervised", "name": f"{trial.name}-sft", "epoch_count": supervised_epochs}
    )
    return first, trial


def run(
    train: str,
    validation: str,
    trial: dict[str, Any],
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
    supervised_first: bool = True,
) -> dict[str, Any]:
    """Tune on pairs; writes the preference job's record to `job` (the supervised one's beside it, `.sft`).

    Returns `contestants` and `metrics` of the preference job. Raises `UserError` for pairs or settings that the
    service would reject.
    """
    asked = Trial.of({**trial, "method": "preference"})
    if not BETA_LOW <= asked.beta <= BETA_HIGH:
        log.warning("beta %g lies outside the recommended %g to %g", asked.beta, BETA_LOW, BETA_HIGH)
    client, resolved = connect(Vertex.of(vertex)), Task.of(task)
    settings, base_model = Tune.of(config), Evaluate.of(evaluate).base_model
    pairs = [read_pairs(train), read_pairs(validation)]

    def step(rows: Sequence[list[dict[str, Any]]], path: str) -> Step:
        return Step(client, settings, base_model, name, resolved, rows[0], rows[1], path)

    if supervised_first:
        first, asked = recipe(asked)
        done = step([[chosen_row(pair) for pair in part] for part in pairs], f"{job}.sft").run(first)
        last = done["contestants"][-1]
        asked = asked.model_copy(update={"base": last["tuned_model"], "checkpoint_id": last["checkpoint_id"]})
    return step([[preference_row(pair) for pair in part] for part in pairs], job).run(asked)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune reward`: check the rewards of reinforcement tuning before a job is paid."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.options import At, Json, echo, with_client
from gemtune.errors import ServiceError, UserError

if TYPE_CHECKING:
    from gemtune.config import Config, JsonObject, Task, Trial
    from gemtune.data.example import Example
    from gemtune.vertex import Client

reward_app = typer.Typer(no_args_is_help=True, help="Check the rewards of reinforcement tuning before a job is paid.")

VALIDATED = 3  # rows whose references the service scores, too


@reward_app.command()
@with_client(executes=("rewards",))
def check(
    at: At,
    rows: Annotated[int, typer.Option(min=2, help="Training rows that the base model answers.")] = 40,
    samples: Annotated[int, typer.Option(min=2, help="Answers to each row; each is paid.")] = 4,
    as_json: Json = False,
) -> None:
    """Score answers of the base model, and answers that nobody wants, by each reinforcement trial's rewards.

    Lists the rewards' distribution, the share of prompts without a signal, the disagreement with the metric and what
    each probe gets. Code in rewards is executed here. Exit code 1 where a reward has no spread or a hole, or where the
    service computes another one. With --local the answers are those of the local runs' emulator.
    """
    settings = at.settings
    trials = [trial for trial in settings.plan.trials if trial.method == "reinforcement"]
    if not trials:
        raise UserError("no trial has method: reinforcement", file=at.config, remedy="set plan.trials")
    task, examples = _examples(settings, rows)
    settings = settings.model_copy(update={"task": task})
    checks = {trial.name or "trial": _check(at.client, settings, trial, examples, samples) for trial in trials}
    echo(checks, as_json, *(line for name, content in checks.items() for line in _lines(name, content)))
    if any(content["problems"] for content in checks.values()):
        raise typer.Exit(1)


def _examples(settings: Config, rows: int) -> tuple[Task, list[Example]]:
    """The task with its labels, and training rows as a run would have them."""
    from gemtune.cli import first_steps
    from gemtune.data.example import read_examples
    from gemtune.inference.prompts import resolve

    with tempfile.TemporaryDirectory() as folder:
        first_steps.execute(settings, folder, offline=False)
        train = list(read_examples(f"{folder}/train"))
    return resolve(settings.task, train), sorted(train, key=lambda example: example.id)[:rows]


def _check(client: Client, settings: Config, trial: Trial, examples: list[Example], samples: int) -> JsonObject:
    import asyncio

    from gemtune.inference.prompts import reinforcement_rows
    from gemtune.tuning import reward_check
    from gemtune.tuning.rewards import equivalent_values, rewards_of, score, wire_config
    from gemtune.vertex import jobs

    task, evaluate = settings.task, settings.evaluate
    rewards = rewards_of(trial, task, evaluate)
    wire = wire_config(rewards, evaluate.judge.model)
    lines = [row for _, row in reinforcement_rows(task, examples)]

    def by_service(row: JsonObject, answer: str) -> float:
        value, error = jobs.validate_reward(client, row, answer, wire)
        if value is None:
            raise UserError(f"the service cannot compute the reward of {trial.name}: {error}", remedy="see its rewards")
        return value

    local, from_checkpoint = partial(score, rewards), trial.is_continued or trial.supervised_epochs > 0
    judged = any(reward.rubric for reward in rewards)
    answers = asyncio.run(_sampled(settings, trial, examples, samples))
    result = reward_check.check(
        task, evaluate, examples, lines, answers, by_service if judged else local, rewards, from_checkpoint
    )
    problems = list(result.problems)
    if not judged:
        problems += _differences(lines[:VALIDATED], [example.target for example in examples], local, by_service)
    names, notes = [reward.name for reward in rewards], equivalent_values(trial, task)
    if len(result.counts) == 1 and from_checkpoint:
        notes.append("all answers of the base model have the same reward; the job starts from a checkpoint")
    return {"rewards": names, **asdict(result), "notes": notes, "problems": problems}


def _differences(
    rows: list[JsonObject],
    targets: list[str],
    local: Callable[[JsonObject, str], float],
    by_service: Callable[[JsonObject, str], float],
) -> list[str]:
    """Where the service's validation gives another reward than the computation here, or none."""
    problems = []
    for row, target in zip(rows, targets, strict=False):
        for answer in (target, f"{target} x", "x"):
            try:
                computed = by_service(row, answer)
            except ServiceError as error:
                return [f"the service did not validate the reward: {error}"]
            if abs(computed - local(row, answer)) > 1e-6:
                problems.append(f"the service gives {computed:g} to {answer[:40]!r}, here it is {local(row, answer):g}")
    return problems


async def _sampled(settings: Config, trial: Trial, examples: list[Example], samples: int) -> list[list[str]]:
    """Answers of the model that the trial starts from, in the form in which it will be tuned."""
    from gemtune.config import ModelVariant, is_resource_name
    from gemtune.inference.generate import generate_all, require_answers
    from gemtune.inference.prompts import build_requests, tuned_prompt
    from gemtune.inference.vertex_generation import vertex_generate

    base = settings.evaluate.base_model if is_resource_name(trial.base) else trial.base or settings.evaluate.base_model
    variant = ModelVariant(name="base", model=base, prompt=tuned_prompt(settings.task))
    requests = build_requests(settings.task, variant, examples, [])
    sampled = [replace(request, sample=n, temperature=1.0) for request in requests for n in range(samples)]
    outputs = await generate_all(sampled, *vertex_generate(settings.evaluate, settings.vertex))
    require_answers(outputs, base, settings.evaluate.max_error_share)
    texts = [output.text or "" for output in outputs]
    return [texts[start : start + samples] for start in range(0, len(texts), samples)]


def _lines(trial: str, content: JsonObject) -> list[str]:
    counts, metric = content["counts"], content["metric"]
    total = sum(counts.values())
    lines = [
        f"{trial}: {', '.join(content['rewards'])}, {total} sampled answers",
        *(f"  reward {value:6.3f}: {count / total:4.0%}" for value, count in sorted(counts.items())[-12:]),
        f"  prompts without signal (all answers equal in reward): {content['without_signal']:.0%}",
        f"  against {metric}: rewarded and wrong {content['rewarded_wrong']:.0%}, right and not rewarded "
        f"{content['unrewarded_right']:.0%}",
    ]
    for name, (reward, score) in content["probes"].items():
        lines.append(f"  probe {name}: {reward:.0%} of the highest reward, {metric} {score:.2f}")
    lines += [f"  note: {note}" for note in content["notes"]]
    return [*lines, *(f"  problem: {problem}" for problem in content["problems"])]

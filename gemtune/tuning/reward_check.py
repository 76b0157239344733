# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a reward does, before a job is paid: its spread on real answers, and answers that it pays for without merit.

A probe is an answer that nobody wants: empty, all labels, the prompt repeated, the commonest reference for every row,
another row's reference, the reference among others, a part of it or its letters, one label for every row, or one text
that the reward itself names. A reward has a hole where a probe gets more of it than of the metric. Pure.
"""

import ast
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from math import inf
from statistics import fmean

import regex

from gemtune.config import Evaluate, JsonObject, ModelVariant, Reward, Task
from gemtune.contents import ModelOutput, text_of
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.prompts import tuned_prompt

MAX_FIELDS = 10  # of an object, each a probe
HOLE = 0.1  # share of the reward's range that a probe may get beyond the metric
OVERPAID = 0.05  # share of real answers that may be rewarded and wrong
MAX_CHARS = 200  # of a text that a reward names
PLAIN = ("0", "yes", "{}", "I cannot answer this.")  # answers to anything
Score = Callable[[JsonObject, str], float]
"""The reward of an answer to a reinforcement row."""


@dataclass(frozen=True)
class RewardCheck:
    """The result: rewards of real answers and their counts, the share of prompts whose answers all have the same one,
    disagreements with the metric, (reward, metric) of each probe, and what is wrong with the reward.
    """

    metric: str
    counts: dict[float, int]
    without_signal: float
    rewarded_wrong: float
    unrewarded_right: float
    probes: dict[str, tuple[float, float]]
    problems: list[str]


def probes(task: Task, examples: Sequence[Example], rows: Sequence[JsonObject]) -> dict[str, list[str]]:
    """The probes' answers, one for each row."""
    targets = [example.target for example in examples]
    commonest = Counter(targets).most_common(1)[0][0]
    others = [next((other for other in targets if other != target), "") for target in targets]
    answers = {
        "an empty answer": [""] * len(rows),
        "the prompt repeated": [text_of(row["contents"][-1]["parts"]) for row in rows],
        "the commonest answer": [commonest] * len(rows),
        "another row's answer": others,
        "the reference and another": [f"{a} or {b}" for a, b in zip(targets, others, strict=True)],
        "the reference after filler": [f"{'well ' * 40}{target}?" for target in targets],
        "the reference at the end": [f"It may be {target}" for target in targets],
        "half of the reference": [target[: (len(target) + 1) // 2] for target in targets],
        "the reference backwards": [target[::-1] for target in targets],
    }
    if task.labels:
        separator = task.label_separator or ", "
        answers["all labels"] = [separator.join(task.labels)] * len(rows)
    if task.kind == "extraction":
        names = list(task.output_schema.get("properties", {}))
        answers["an object of empty fields"] = [json.dumps(dict.fromkeys(names, ""))] * len(rows)
        pairs = [(json.loads(target), json.loads(other or "{}")) for target, other in zip(targets, others, strict=True)]
        for name in names[:MAX_FIELDS]:
            only = [json.dumps({**other, name: target.get(name)}) for target, other in pairs]
            answers[f"an object in which only {name} is right"] = only
    return answers


def named_texts(rewards: Sequence[Reward]) -> list[str]:
    """Texts that rewards name: the strings of their code, the words of their expressions."""
    named = dict.fromkeys(PLAIN)
    for reward in rewards:
        if reward.code:
            nodes = ast.walk(ast.parse(reward.code))
            named |= dict.fromkeys(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
        named |= dict.fromkeys(regex.findall(r"\w[\w ]*", regex.sub(r"\{\{[\w.]+\}\}|\\.", "|", reward.expression)))
    return [text for text in named if 0 < len(text) <= MAX_CHARS]


def check(
    task: Task, evaluate: Evaluate, examples: Sequence[Example], rows: Sequence[JsonObject],
    answers: Sequence[Sequence[str]], score: Score, rewards: Sequence[Reward], from_checkpoint: bool = False,
) -> RewardCheck:  # fmt: skip
    """Check `rewards`, computed by `score`, on several answers to each of these examples; `rows` are their
    reinforcement rows.

    Without spread nothing can be learned from a reward. A job that starts `from_checkpoint` gives other answers than
    these: then the references count as answers, too.
    """
    metric = "field_f1" if task.kind == "extraction" else primary_metric(task)
    variant = ModelVariant(name="check", model=evaluate.base_model, prompt=tuned_prompt(task))

    by_target = {example.target: example for example in examples}

    @cache
    def merit(target: str, answer: str) -> float:
        output = ModelOutput(text=answer, finish_reason="STOP")
        return score_sample(task, variant, by_target[target], output).scores[metric]

    failures: dict[str, str] = {}

    def reward_of(row: JsonObject, answer: str) -> float:
        try:
            return score(row, answer)
        except UserError as error:
            failures.setdefault(str(error), answer)
            return -inf

    groups = [[reward_of(row, answer) for answer in own] for row, own in zip(rows, answers, strict=True)]
    merits = [[merit(example.target, answer) for answer in own] for example, own in zip(examples, answers, strict=True)]
    best = [reward_of(row, example.target) for row, example in zip(rows, examples, strict=True)]

    def probe(own: Sequence[str]) -> tuple[list[float], float]:
        rewards = [reward_of(row, answer) for row, answer in zip(rows, own, strict=True)]
        return rewards, fmean(merit(example.target, answer) for example, answer in zip(examples, own, strict=True))

    probed = {name: probe(own) for name, own in probes(task, examples, rows).items()}
    same = dict.fromkeys([*task.labels, *named_texts(rewards)])
    constant = {f"{text} for every row": probe([text] * len(rows)) for text in same}
    # of all the one that is paid the most beyond its merit
    overpaid = max(constant, key=lambda name: fmean(constant[name][0]) - constant[name][1])
    probed[overpaid] = constant[overpaid]
    everything = [value for own in [*groups, best, *(own for own, _ in probed.values())] for value in own]
    finite = [value for value in everything if value > -inf] or [0.0]
    low, width = min(finite), (max(finite) - min(finite)) or 1.0
    flat = [max(low, value) for group in groups for value in group]

    def share(own: Sequence[float]) -> float:
        return fmean((max(low, value) - low) / width for value in own)

    pairs = [(share([reward]), own) for reward, own in zip(flat, chain.from_iterable(merits), strict=True)]
    result = RewardCheck(
        metric=metric,
        counts=dict(Counter(round(value, 3) for value in flat).most_common()),
        without_signal=fmean(len(set(group)) == 1 for group in groups),
        rewarded_wrong=fmean(reward > own + 0.5 for reward, own in pairs),
        unrewarded_right=fmean(own > reward + 0.5 for reward, own in pairs),
        probes={name: (share(own), merited) for name, (own, merited) in probed.items()},
        problems=[f"it fails on the answer {answer[:40]!r}: {error}" for error, answer in failures.items()],
    )
    seen = {*flat, *best} if from_checkpoint else {*flat}
    return _judged(result, len(seen), share(best))


def _judged(result: RewardCheck, values: int, best: float) -> RewardCheck:
    if values < 2:
        result.problems.append(
            "no spread: every sampled answer has the same reward, so nothing can be learned from it; start from a "
            "supervised checkpoint (supervised_epochs), or reward parts of the answer"
        )
    if best < 1 - HOLE:
        result.problems.append(f"the references themselves get {best:.0%} of the highest reward")
    for name, (reward, metric) in result.probes.items():
        # part of the merit may be worth more than part of the reward, but not all of it
        if reward > metric + HOLE and (metric < HOLE or reward > 1 - HOLE):
            result.problems.append(f"{name} gets {reward:.0%} of the highest reward, and {metric:.0%} of the metric")
    if result.rewarded_wrong > OVERPAID:
        result.problems.append(f"{result.rewarded_wrong:.0%} of the sampled answers are rewarded and wrong")
    return result

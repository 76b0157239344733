# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ask every contestant the same rows, read the answers by one code, and report with intervals.

A row without a usable answer is a miss of its own kind (invalid, refusal, blocked, truncated, error), never left out.
Shots come from training rows alone. When too many rows have no answer for technical reasons the run stops: trouble on
the line must not decide about a model.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from gemtune.config import Contestant, Evaluate, Prompt, Task, Vertex
from gemtune.data import Example, read_examples, whole_file, write_json, write_rows
from gemtune.errors import UserError
from gemtune.prompting import classical, rewriting, shots
from gemtune.prompting.asking import Ask, Effort, Given, Memory, Question, ask_all
from gemtune.prompting.batching import Batches, ask_by_batch, waited
from gemtune.prompting.classical import CLASSICAL
from gemtune.prompting.prompts import render, resolve
from gemtune.scoring import judging, service, sheets
from gemtune.scoring.confidence import by_logprob, judge_votes, rated, rating_question
from gemtune.scoring.metrics import primary_metric
from gemtune.scoring.scorecard import Judged, judge, prediction, report_on, together
from gemtune.scoring.slices import sliced

if TYPE_CHECKING:
    from gemtune.vertex import GenerationSettings

__all__ = ["primary_metric", "questions", "run"]

log = logging.getLogger("gemtune")


def questions(
    task: Task, contestant: Contestant, examples: Sequence[Example], train: Sequence[Example]
) -> list[Question]:
    """The requests of one contestant, a row each, in the order of the rows."""
    shown = shots.choose(contestant.prompt, train, examples)
    rendered = (render(task, contestant.prompt, e, s) for e, s in zip(examples, shown, strict=True))
    version = f"{contestant.tuned_model}#{contestant.checkpoint_id}".strip("#")
    longest = longest_answer(contestant.prompt)
    return [
        Question(example.id, contestant.model, one.system, one.contents, version, max_output_tokens=longest)
        for example, one in zip(examples, rendered, strict=True)
    ]


def longest_answer(prompt: Prompt) -> int | None:
    """Tokens that an answer to this prompt may have; None: as configured."""
    # Reasoning that is cut off before its answer would lose the opponent by a setting, not by its worth.
    return prompt.max_output_tokens or (1024 if prompt.chain_of_thought else None)


# -- asking ----------------------------------------------------------------------------------------------------------


class Progress:
    """Lines on rate and time left, at most one every two seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = monotonic) -> None:
        self.total, self.clock, self.done = total, clock, 0
        self.start = self.said = clock()

    def __call__(self) -> None:
        """One more row is settled."""
        self.done += 1
        now = self.clock()
        if now - self.said >= 2 and self.done < self.total:
            self.said = now
            rate = self.done / max(1e-9, now - self.start)
            left = (self.total - self.done) / rate
            log.info("progress: %d/%d rows, %.0f/s, %.0f s left", self.done, self.total, rate, left)


Put = Callable[..., Awaitable[list[Given]]]  # questions in, answers out, in order; `settled` is told of each


async def answers_of(
    task: Task,
    wide: Task,
    config: Evaluate,
    contestant: Contestant,
    examples: Sequence[Example],
    train: Sequence[Example],
    put: Put,
    progress: Callable[[], None] = lambda: None,
) -> list[Judged]:
    """One contestant's judged answers, in the order of the rows; `wide` knows the labels of the rows themselves too."""
    voting = config.confidence == "votes"
    samples = config.samples_asked
    asked = questions(task, contestant, examples, train)
    if voting:
        asked = [replace(q, sample=i, temperature=config.sample_temperature) for q in asked for i in range(samples)]
    answers = await put(asked, settled=progress)
    _check_errors(contestant, config, answers)
    rows = [answers[i : i + samples] for i in range(0, len(answers), samples)]
    read = judge_votes if voting else _judge_one
    judged = [read(task, contestant, e, given, wide) for e, given in zip(examples, rows, strict=True)]
    if config.confidence == "verbal":
        asked = [rating_question(task, config.base_model, one.example, one.row.parsed) for one in judged]
        ratings = await put(asked)
        judged = [rated(one, rating) for one, rating in zip(judged, ratings, strict=True)]
    if config.confidence == "logprobs":
        judged = by_logprob(judged)
        if not any(one.confidence is not None for one in judged):
            log.info("%s tells no log-probabilities: no confidence for %s", contestant.model, contestant.name)
    return judged


async def _searched(
    task: Task, config: Evaluate, contestants: Sequence[Contestant], train: Sequence[Example], put: Put
) -> tuple[list[Contestant], dict[str, int]]:
    """The contestants with those that a prompt search adds, and the tokens the search cost."""
    found: list[Contestant] = []
    cost = {"input": 0, "output": 0}
    for contestant in contestants:
        given = Given()
        if contestant.prompt.rewrites:
            (given,) = await put([rewriting.proposal(task, contestant, train, config.base_model)])
        found += [*rewriting.variants(contestant, given), *rewriting.grid(contestant)]
        cost = {"input": cost["input"] + given.input_tokens, "output": cost["output"] + given.output_tokens}
    return found, cost


async def _evaluate(
    task: Task,
    wide: Task,
    config: Evaluate,
    contestants: Sequence[Contestant],
    examples: Sequence[Example],
    train: Sequence[Example],
    put: Put,
    rated: Sequence[sheets.Rated] = (),
) -> tuple[list[Contestant], dict[str, list[Judged]], dict[str, Any]]:
    """The contestants as asked, their judged answers by name, and what else the report shall say."""
    contestants, cost = await _searched(task, config, contestants, train, put)
    samples = config.samples_asked
    progress = Progress(len(contestants) * len(examples) * samples)
    found = {one.name: await answers_of(task, wide, config, one, examples, train, put, progress) for one in contestants}
    beside: dict[str, Any] = {"search_tokens": cost} if any(cost.values()) else {}
    if config.judge.model:
        texts = {name: [one.given.text or "" for one in judged] for name, judged in found.items()}
        beside["autorater"] = await judging.judged(config, task, examples, texts, _pairs(contestants), put, rated)
    return list(contestants), found, beside


def _pairs(contestants: Sequence[Contestant]) -> list[tuple[str, str]]:
    """Who is compared with whom by the autorater: the candidate with every other, else each with the first."""
    ahead = next((one for one in contestants if one.role == "candidate"), None)
    if ahead is not None:
        return [(ahead.name, one.name) for one in contestants if one is not ahead]
    return [(one.name, contestants[0].name) for one in contestants[1:]]


def _judge_one(task: Task, contestant: Contestant, example: Example, given: Sequence[Given], wide: Task) -> Judged:
    return judge(task, contestant, example, given[0], wide)


def _check_errors(contestant: Contestant, config: Evaluate, answers: Sequence[Given]) -> None:
    failed = [given for given in answers if given.error]
    if len(failed) > config.max_error_share * len(answers):
        raise UserError(
            f"{len(failed)} of {len(answers)} rows got no answer from {contestant.name!r}: {failed[0].error}",
            remedy="nothing was decided; try again later, or raise evaluate.attempts or evaluate.max_error_share",
        )


def run(
    examples: str,
    train: str,
    contestants: list[dict[str, Any]],
    task: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    predictions: str,
    report: str,
    sealed: str = "",
    opinions: bool = True,
) -> dict[str, Any]:
    """Evaluate contestants on the rows of `examples`; writes `predictions` (JSONL) and `report` (JSON).

    Without `opinions` only answers are asked for: no judge, no confidence in words, no evaluation service.

    Test rows are sealed: `sealed` names the run whose gate reads them, and the reading is written down in the bucket;
    without it they are refused with a `UserError`.
    Returns `metrics` (flat) and `confusion` (of the best contestant), each in the form its pipeline artifact shows.
    """
    settings, who = Evaluate.of(config), [Contestant.of(contestant) for contestant in contestants]
    settings = settings if opinions else settings.without_opinions()
    rows, shown = list(read_examples(examples)), list(read_examples(train))
    if not rows and who:
        raise UserError("no rows to evaluate", file=examples)
    if not sealed and any(row.split == "test" for row in rows):
        raise UserError(
            "these are sealed test rows: prompts and checkpoints are chosen on validation rows",
            file=examples,
            remedy="evaluate the validation split; only the evaluation before the gate reads the test split",
        )
    if settings.length_and_script and rows:
        rows = sliced(rows)
    names = Counter(one.name for one in who)
    if len(names) < len(who):
        raise UserError(f"contestants need unique names, got {sorted(names.elements())}")
    # A label that only scored rows bear must not reach a prompt: what is asked comes from training rows or settings.
    resolved = resolve(Task.of(task), shown)
    wide = resolve(Task.of(task), [*shown, *rows])
    if not who:  # a trial that lost its race leaves nobody to ask
        write_rows(predictions, [])
        write_json(report, {"rows": len(rows), "task": resolved.model_dump(), "contestants": []})
        log.info("done: %s", "nobody to evaluate")
        return {"metrics": {}, "confusion": {}}
    if settings.confidence != "none" and resolved.kind in ("summarization", "generation"):
        raise UserError(
            f"no confidence for {resolved.kind}: two texts are seldom equal", remedy="evaluate.confidence=none"
        )
    seal = _unsealed(Vertex.of(vertex), sealed, rows, who) if sealed else {}
    rated = rated_by_people(settings) if sealed else []
    ask, effort = vertex_ask(settings, Vertex.of(vertex))
    with _memory(settings) as memory:
        put: Put = partial(ask_all, ask=ask, effort=effort, memory=memory)
        if settings.batch_above:
            put = partial(ask_by_batch, online=put, batches=_batches(settings, Vertex.of(vertex)), memory=memory)
        who, judged, further = asyncio.run(_evaluate(resolved, wide, settings, who, rows, shown, put, rated))
    reports = [report_on(resolved, settings, one, judged[one.name]) for one in who]
    for told in reports if settings.judge.model else []:
        took = judging.opinions(further["autorater"], told["contestant"]["name"])
        told["opinions"] = together(told.get("opinions", {}), took)
    if settings.judge.model:
        further["opinions"] = judging.opinions(further["autorater"], "")
    if settings.service:
        for told in reports:
            told["service"] = _service(settings, Vertex.of(vertex), judged[told["contestant"]["name"]], told["metrics"])
    beside = _classical(resolved, wide, settings, rows, shown) if CLASSICAL.name not in names else []
    with whole_file(predictions) as out:
        for one in who:
            out.writelines(_line(one, answer) for answer in judged[one.name])
        out.writelines(_line(CLASSICAL, answer) for answer in beside)
    document = {"rows": len(rows), "task": resolved.model_dump(), "asking": _asking(settings), "contestants": reports}
    if beside:
        document["classical"] = report_on(resolved, settings, CLASSICAL, beside)
    write_json(report, {**document, **further, **seal})
    for told in reports:
        _hint(told, len(rows))
    log.info("done: %s", _headline(resolved, reports))
    return {"metrics": _flat(reports), "confusion": _console_confusion(resolved, reports)}


def _unsealed(settings: Vertex, name: str, rows: Sequence[Example], who: Sequence[Contestant]) -> dict[str, Any]:
    """What the report says of the reading of sealed rows, after it was written down."""
    from gemtune import vertex
    from gemtune.tuning import readings

    return {"sealed": readings.note(vertex.connect(settings), name, [row.id for row in rows], who)}


def check_judge(task: Task, config: Evaluate, settings: Vertex, pairs: str | Path = "") -> dict[str, Any]:
    """Lets the configured judge rate the sheet that people filled in; see `judging.admission`.

    With `pairs`, a sheet of pairs that people compared, it compares those instead; see `judging.pair_admission`.
    """
    if not (config.judge.model and (config.judge.sheet or pairs)):
        raise UserError("there is no judge to check", remedy="set evaluate.judge.model and evaluate.judge.sheet")
    ask, effort = vertex_ask(config, settings)
    with _memory(config) as memory:
        put = partial(ask_all, ask=ask, effort=effort, memory=memory)
        if pairs:
            return asyncio.run(judging.pair_admission(config, task, sheets.read_pairs(pairs), put))
        return asyncio.run(judging.admission(config, task, rated_by_people(config), put))


def rated_by_people(config: Evaluate) -> list[sheets.Rated]:
    """What people rated, when the configuration names a judge and a sheet."""
    judge = config.judge
    if not (judge.model and judge.sheet):
        return []
    if not judge.sheet.startswith("gs://"):
        return sheets.read_rated(judge.sheet, judge.scale)
    from gemtune import vertex

    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        vertex.download(judge.sheet, path)
        return sheets.read_rated(path, judge.scale)


def _service(config: Evaluate, settings: Vertex, judged: Sequence[Judged], ours: dict[str, Any]) -> dict[str, Any]:
    """What the evaluation service says of a contestant's answers; `error` when it says nothing, which stops nobody."""
    from gemtune import vertex
    from gemtune.vertex import evaluation

    client = vertex.connect(settings)

    def score(metric: str, rows: Sequence[service.Text]) -> list[float]:
        return evaluation.scores(client, metric, rows, config.judge.rubric)

    try:
        return service.beside(config, judged, ours, score)
    except (vertex.Retryable, vertex.Refused) as failure:
        log.warning("the evaluation service gave no scores: %s", failure)
        return {"error": str(failure)}


def _hint(report: dict[str, Any], rows: int) -> None:
    """Say what to do when many answers of a contestant were unusable."""
    name, outcomes = report["contestant"]["name"], report["outcomes"]
    if outcomes.get("truncated", 0) > 0.02 * rows:
        log.info("%d of %d answers of %s were cut off: raise max_output_tokens", outcomes["truncated"], rows, name)
    unusable = outcomes.get("invalid", 0) + outcomes.get("refusal", 0)
    if unusable > 0.1 * rows:
        said = "; ".join(str(problem) for problem, _ in report["problems"][:2])
        log.info("%d of %d answers of %s were no valid answer: %s", unusable, rows, name, said)


def _classical(
    task: Task, wide: Task, config: Evaluate, examples: Sequence[Example], train: Sequence[Example]
) -> list[Judged]:
    """The classical opponent's answers, read and scored like any other's; none when it does not apply."""
    if not config.classical or not classical.applies(task, train):
        return []
    given = classical.answers(train, examples)
    return [judge(task, CLASSICAL, example, answer, wide) for example, answer in zip(examples, given, strict=True)]


def _flat(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Every number under one name, as the Cloud console lists them."""
    return {
        f"{one['contestant']['name']} {metric}": round(found["value"], 6)
        for one in reports
        for metric, found in one["metrics"].items()
    }


def _console_confusion(task: Task, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best contestant's confusion matrix in the form of a ClassificationMetrics artifact; {} for other kinds."""
    best = _best(task, reports)
    if "confusion" not in best:
        return {}
    found = best["confusion"]
    matrix = [*found["matrix"], [0] * len(found["columns"])]
    return {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": label} for label in found["columns"]],
            "rows": [{"row": row} for row in matrix],
        }
    }


def _best(task: Task, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(reports, key=lambda r: float(r["metrics"][primary_metric(task)]["value"]))


def _headline(task: Task, reports: Sequence[dict[str, Any]]) -> str:
    primary = primary_metric(task)
    best = _best(task, reports)
    found = best["metrics"][primary]
    name = best["contestant"]["name"]
    return f"{primary} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) {name}"


def _memory(config: Evaluate) -> contextlib.AbstractContextManager[Memory | None]:
    """The store of answers, when one is configured."""
    if not config.cache:
        return contextlib.nullcontext()
    from gemtune.prompting.memory import AnswerStore

    # What changes an answer; seeds of resampling, effort and intervals do not.
    names = {"base_model", "temperature", "max_output_tokens", "thinking_budget", "seed"}
    more = {"logprobs": True} if config.confidence == "logprobs" else {}
    return AnswerStore(config.cache, {**config.model_dump(include=names), **more})


def vertex_ask(config: Evaluate, settings: Vertex) -> tuple[Ask, Effort]:
    """Questions put to Vertex AI."""
    from gemtune import vertex

    client = vertex.connect(settings)

    async def ask(question: Question) -> vertex.Answer:
        settings = _settings_of(config, question)
        return await vertex.generate(client, question.model, question.system, question.contents, settings)

    errors = ((vertex.Retryable,), (vertex.Refused,))
    effort = Effort(config.concurrency, config.attempts, *errors, config.seed, deadline_s=3600 * config.deadline_h)
    return ask, effort


def _asking(config: Evaluate) -> dict[str, Any]:
    """The settings by which one asks and is sure, for serving to do the same."""
    names = ("base_model", "temperature", "max_output_tokens", "thinking_budget", "seed", "timeout_s", "attempts")
    return config.model_dump(include={*names, "concurrency", "confidence", "samples", "sample_temperature"})


def _settings_of(config: Evaluate, question: Question) -> GenerationSettings:
    """How one question is asked: as configured, unless it says otherwise."""
    from gemtune import vertex

    generation = vertex.GenerationSettings.of(config)
    return replace(
        generation,
        seed=config.seed + question.sample,
        temperature=generation.temperature if question.temperature is None else question.temperature,
        max_output_tokens=question.max_output_tokens or generation.max_output_tokens,
    )


def _batches(config: Evaluate, settings: Vertex) -> Batches:
    """The same questions put to Vertex AI by batch jobs."""
    from gemtune import vertex
    from gemtune.vertex import batches

    client = vertex.connect(settings)

    async def target(question: Question) -> str:
        found = partial(batches.target, client, question.model, question.version, config.base_model)
        return await asyncio.to_thread(vertex.patiently, found)

    def body(question: Question) -> dict[str, Any]:
        asked = _settings_of(config, question)
        return batches.request_of(client, question.model, question.system, question.contents, asked)

    async def answered(model: str, bodies: Sequence[dict[str, Any]]) -> list[batches.Line]:
        found: list[batches.Line] = []
        for start in range(0, len(bodies), batches.MOST_REQUESTS):
            part = bodies[start : start + batches.MOST_REQUESTS]
            submit = partial(batches.submitted, client, model, part)
            job = await asyncio.to_thread(vertex.patiently, submit)
            log.info("progress: batch job %s (%d rows)", job.name, len(part))
            job = await waited(
                job,
                lambda job: vertex.patiently(batches.look, client, job),
                config.batch_poll_s,
                3600 * config.batch_deadline_h,
            )
            found += await asyncio.to_thread(vertex.patiently, batches.lines, client, job)
        return found

    return Batches(config.batch_above, target, body, answered)


def _line(contestant: Contestant, one: Judged) -> str:
    return json.dumps(prediction(contestant, one), ensure_ascii=False) + "\n"

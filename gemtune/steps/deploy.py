# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deploy the candidate, or keep the current model; roll back.

A tuned Gemini model is deployed by the service itself, every checkpoint on its own shared endpoint. To deploy is to
name the one that serves, in the champion's record in the bucket (`state.champion`), which callers resolve the endpoint
from. Alias and default checkpoint follow from the record (`state.reconcile`): a run killed before the record changed
has changed nothing, what a run killed after it left undone is done by the next command. Every step may be repeated.
"""

import os
import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from gemtune import __version__
from gemtune.artifacts.data import LeakageReport
from gemtune.artifacts.decision import DecisionRecord, DeploymentRecord, SmokeTest
from gemtune.artifacts.records import ChampionEntry, DecisionFacts, ManifestDigests, SmokeTestAnswers
from gemtune.artifacts.tuning import Selection
from gemtune.config import Evaluate, ModelVariant, Task, Vertex, fingerprint
from gemtune.data.cleaning import export_rules
from gemtune.data.example import Example, read_examples, write_examples
from gemtune.data.sources import stored_examples
from gemtune.errors import UserError
from gemtune.evaluation.failed_rows import FAILED
from gemtune.evaluation.human_ratings import write_ratings_file
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.predictions import Prediction, read_predictions
from gemtune.evaluation.smoke_test import answers_to_repeat, smoke_test
from gemtune.inference.generate import generate_all
from gemtune.inference.vertex_generation import generation_settings, vertex_generate
from gemtune.monitoring.reference import drawn_rows, training_reference
from gemtune.state import champion, endpoints
from gemtune.state.reconcile import reconcile
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import Client, actor, connect, models, storage

_RATED_ROWS = 100


def run(
    decision: str,
    selection: str,
    name: str,
    deployment: str,
    rows: tuple[str, str] = ("", ""),
    predictions: str = "",
    leakage: str = "",
    **sections: Section,
) -> dict[str, Any]:
    """Deploy the candidate; writes what is in production to `deployment` and returns the same.

    `rows` are the training and the test rows. Its endpoint must answer test rows as in `predictions`, those at the
    gate, before anything changes. With `deploy.approval: manual` the candidate is only recorded, a sample of its
    answers is stored for people to rate, and `promote` takes it into service. Beside the champion's record are kept the
    test rows that decided, so that a later model can be tested on them, and a sample of the training rows, which
    monitoring compares with; in it the task, the leakage report of its splits, and the cleaning rules of the section
    `preprocess`, so that callers can clean texts as training did (`data.cleaning`). Reads the sections deploy,
    evaluate, preprocess, vertex.
    """
    context, chosen, verdict = StepContext(sections), Selection.read(selection), DecisionRecord.read(decision)
    client, alias, candidate = context.client, context.deploy.alias, chosen.candidate
    if candidate is None:
        raise UserError("there is no candidate to deploy", file=selection, remedy="rerun select-model")
    before = champion.read(client, name)
    models.deploy(client, candidate.model, candidate.tuned_model, candidate.checkpoint_id)
    answers, smoke = _answers(predictions, candidate), None
    entry = _entry(context, before.current, chosen, verdict, rows, candidate, answers)
    if expected := _to_repeat(context, verdict, predictions, answers):
        smoke = _smoke_test(context.evaluate, context.vertex, verdict.task, candidate, rows[1], expected)
    if leakage:
        entry = entry.model_copy(update={"leakage_report": LeakageReport.read(leakage)})
    is_manual = context.deploy.approval == "manual"
    if is_manual:
        champion.propose(client, name, chosen.champion_generation, alias, entry, expected)
        outcome = "waits for gemtune promote"
        if uri := _to_rate(client, answers, rows[1]):
            outcome += f"; answers for people to rate: {uri}"
    else:
        champion.promote(client, name, chosen.champion_generation, alias, entry)
        outcome = f"is deployed as {alias} at {candidate.model}"
    reconcile(client, name)
    undeployed = _end(context, name, chosen, chosen.rejected)
    log.info("done: %s", "; ".join([f"{candidate.name} {outcome}", *([smoke.summary] if smoke else [])]))
    action = "proposed" if is_manual else "deployed"
    return _written(
        deployment,
        before.variant,
        action=action,
        variant=candidate,
        undeployed=undeployed,
        cleaning=entry.cleaning,
        smoke_test=smoke,
    )


def _entry(
    context: StepContext,
    current: ChampionEntry | None,
    chosen: Selection,
    verdict: DecisionRecord,
    rows: tuple[str, str],
    variant: ModelVariant,
    answers: Sequence[Prediction],
) -> ChampionEntry:
    """A variant's entry of the champion's record: all that serving, rollback and monitoring need."""
    client, task, (train, test) = context.client, verdict.task, rows
    examples = list(read_examples(train)) if train else []
    test_set, now = verdict.test_set_usage.test if verdict.test_set_usage else "", champion.now()
    # what monitoring compares labelled production rows with: not the gate's metric, which single rows may not have
    scores = [row["scores"][primary_metric(task)] for row in answers if row["outcome"] != FAILED]
    score, kept = fmean(scores) if scores else None, dict[str, Any]()
    if examples:
        with tempfile.TemporaryDirectory() as folder:
            write_examples(drawn := Path(folder) / "train.jsonl", drawn_rows(examples))
            uri = storage.upload(client, drawn, "train")
        embedder = context.preprocess.embedder
        confusion = chosen.confusion if variant.is_tuned else None
        kept["reference"] = training_reference(task, variant, examples, confusion, embedder, uri)
        if variant.prompt.shots:
            kept["shown"] = storage.upload(client, train, "train")
    if test:
        kept["test"] = champion.keep_test_set(client, test)
    return ChampionEntry(
        variant=variant,
        since=now,
        labels_since=now,  # of those that arrive later the model knows nothing, however long it waits
        reasons=verdict.reasons,
        decision=DecisionFacts(verdict=verdict.verdict, metric=verdict.metric, rows=verdict.rows, score=score),
        manifest=ManifestDigests(train=fingerprint(sorted(e.id for e in examples)), test=test_set),
        actor=actor(client),
        continuations=current.continuations + 1 if current and chosen.continued else 0,
        gemtune=__version__,
        image=os.environ.get("GEMTUNE_IMAGE", ""),
        task=task,
        generation=generation_settings(context.evaluate)
        | {"base_model": variant.base_model or context.evaluate.base_model},
        cleaning=dict(export_rules(context.preprocess, task)),
        takes_requests=bool(examples) and all(row.contents is not None for row in examples),
        **kept,
    )


def _answers(predictions: str, variant: ModelVariant) -> list[Prediction]:
    """The variant's answers to test rows; none without the file `predictions`."""
    return read_predictions(predictions, "test").answers.get(variant.name, []) if predictions else []


def _to_rate(client: Client, answers: Sequence[Prediction], test: str) -> str:
    """The URI of a ratings file of at most 100 of the answers to test rows; "" where there are none."""
    answered = [row for row in answers if row["answer"]]
    if not answered:
        return ""
    texts = {example.id: example.text for example in read_examples(test)}
    with tempfile.TemporaryDirectory() as folder:
        sample = random.Random(7).sample(answered, min(_RATED_ROWS, len(answered)))
        write_ratings_file(path := Path(folder) / "ratings.csv", sample, texts)
        return storage.upload(client, path, "ratings")


def _to_repeat(
    context: StepContext, verdict: DecisionRecord, predictions: str, answers: Sequence[Prediction]
) -> SmokeTestAnswers | None:
    """What a smoke test repeats of these answers; None without the file `predictions`."""
    repeated = answers_to_repeat(verdict.task, answers)
    allowed = context.deploy.smoke_disagreement
    return SmokeTestAnswers(answers=repeated, max_disagreement=allowed) if predictions else None


def _smoke_test(
    evaluate: Evaluate,
    vertex: Vertex,
    task: Task,
    candidate: ModelVariant,
    test: str | Path,
    expected: SmokeTestAnswers,
    train: Sequence[Example] = (),
) -> SmokeTest:
    generate, retry_policy = vertex_generate(evaluate, vertex)
    send = partial(generate_all, generate=generate, retry_policy=retry_policy)
    rows = list(read_examples(test))
    return smoke_test(task, evaluate, candidate, rows, expected.answers, send, expected.max_disagreement, train)


def promote(name: str, vertex: dict[str, Any]) -> tuple[ModelVariant, SmokeTest | None]:
    """Take the candidate that waits for approval into service; returns it, and its smoke test.

    Its endpoint, or the base model with its prompt, is tested again just before: it may have waited for weeks. Raises
    `UserError` when there is none, when its answers to test rows are no longer those at the gate, and when the champion
    has changed since it was decided.
    """
    settings = Vertex.of(vertex)
    client = connect(settings)
    if (waiting := champion.read(client, name).candidate) is None:
        remedy = "run with deploy.approval: manual; a candidate that passes the gate then waits"
        raise UserError(f"no candidate of {name} waits for approval", remedy=remedy)
    entry, variant = waiting.entry.model_copy(update={"actor": actor(client)}), waiting.entry.variant
    smoke = None
    if variant.is_tuned:
        models.deploy(client, variant.model, variant.tuned_model, variant.checkpoint_id)
    if waiting.smoke and entry.test:
        with tempfile.TemporaryDirectory() as folder:
            storage.download(client, entry.test.uri, test := Path(folder) / "test.jsonl")
            shown = stored_examples(client, entry.shown) if entry.shown else []
            smoke = _smoke_test(
                Evaluate.of(entry.generation), settings, entry.task, variant, test, waiting.smoke, shown
            )
    champion.promote(client, name, waiting.against, waiting.alias, entry)
    reconcile(client, name)
    log.info("done: %s", f"{variant.name} is deployed as {waiting.alias} at {variant.model}")
    return variant, smoke


def keep_current(
    decision: str,
    selection: str,
    name: str,
    deployment: str,
    rows: tuple[str, str] = ("", ""),
    predictions: str = "",
    **sections: Section,
) -> dict[str, Any]:
    """Change nothing in production; undeploy the trials' checkpoints; write what serves, if anything, and its cleaning.

    A prompt that is to be used waits as a candidate for `promote`: under the name it is resolved, monitored and rolled
    back like a tuned model. Reads the sections deploy, evaluate, preprocess, vertex.
    """
    context, chosen, verdict = StepContext(sections), Selection.read(selection), DecisionRecord.read(decision)
    client = context.client
    record = champion.read(client, name)
    serving = record.variant
    used = serving if serving and verdict.verdict != "keep_prompt" else chosen.best_prompt
    if verdict.verdict == "keep_prompt" and not (serving and champion.is_same(serving, used)):
        answers = _answers(predictions, used)
        entry = _entry(context, record.current, chosen, verdict, rows, used, answers)
        expected = _to_repeat(context, verdict, predictions, answers) if rows[1] else None
        champion.propose(client, name, chosen.champion_generation, context.deploy.alias, entry, expected)
    nothing_serves = not serving and verdict.verdict in ("use_tfidf_baseline", "none_usable")
    unused = [*chosen.rejected, *([chosen.selected] if chosen.selected else [])]
    undeployed = _end(context, name, chosen, unused)
    cleaning = export_rules(context.preprocess, verdict.task)
    if record.current and used is serving:
        cleaning = record.current.cleaning
    headline = verdict.verdict.replace("_", " ") if nothing_serves else f"{used.name} ({used.model})"
    log.info("done: %s", f"nothing changed: {headline}")
    action = "none" if nothing_serves else "kept"
    return _written(deployment, serving, action=action, variant=used, undeployed=undeployed, cleaning=dict(cleaning))


def rollback(name: str, vertex: dict[str, Any]) -> ModelVariant:
    """Roll back to the previous champion; returns it.

    Raises `UserError` when there is none, and when the champion changes meanwhile.
    """
    client = connect(Vertex.of(vertex))
    record = champion.read(client, name)
    if not (record.current and record.history):
        raise UserError(f"{name} has no previous champion", remedy="a rollback is possible after a second deployment")
    current, back = record.current.variant, record.history[-1].variant
    if back.is_tuned:
        models.deploy(client, back.model, back.tuned_model, back.checkpoint_id)
    champion.roll_back(client, name, record.generation)
    reconcile(client, name)
    log.info("done: %s", f"{back.name} is deployed again as {record.alias} at {back.model}, not {current.name}")
    return back


def _end(context: StepContext, name: str, chosen: Selection, variants: Sequence[ModelVariant]) -> list[str]:
    """Stop using the run's models and undeploy its variants that are not kept; the endpoints."""
    left = [] if context.deploy.keep_rejected_endpoints else [own for own in variants if own.is_tuned]
    return endpoints.end_run(context.client, name, chosen.uses, left)


def _written(path: str, before: ModelVariant | None, **fields: Any) -> dict[str, Any]:
    record = DeploymentRecord(champion_before=before.model if before else "", **fields)
    record.write(path)
    return record.model_dump(mode="json", exclude_none=True)  # a parameter of a pipeline has no nulls

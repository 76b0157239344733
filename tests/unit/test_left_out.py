# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A prompt that cannot be answered does not end a run: it is shortened or left out with a note, the others go on."""

import re
from dataclasses import replace
from pathlib import Path

import evaluations
import pytest
from samples import Said, examples

from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, ModelVariant, Prompt, Task
from gemtune.cost.baselines import BaselineForecast
from gemtune.cost.tokens import OFFLINE_MARGIN, TokenCounter, count_offline
from gemtune.data.example import write_examples
from gemtune.errors import UserError
from gemtune.inference.generate import RefusedRequests, RetryPolicy
from gemtune.inference.prompts import build_requests
from gemtune.steps import evaluate, gate

MODEL = Evaluate().base_model
TASK = Task(labels=["delivery", "login", "refund"])


class Busy(Exception):
    code = 503


class Invalid(Exception):
    code = 400


def prompts(**shots: int) -> list[ModelVariant]:
    return [ModelVariant(name=n, model=MODEL, prompt=Prompt(name=n, shots=count)) for n, count in shots.items()]


def forecast(limit: int) -> BaselineForecast:
    catalogue = Catalogue.load({"models": {MODEL: {"input_tokens": limit}}})
    counter = TokenCounter(count_offline, Evaluate(), 10, TASK)
    return BaselineForecast(counter, catalogue, [examples(80, 1), examples(30, 2)])


@pytest.mark.parametrize("limit", [1, 60, 100, 200, 400, 1000, 3000, 1_048_576])
@pytest.mark.parametrize("selection", ["balanced", "similar"])
def test_fitting_keeps_the_prompts_that_the_model_can_read(limit: int, selection: str) -> None:
    baselines = forecast(limit)
    variants = [
        v.model_copy(update={"prompt": v.prompt.model_copy(update={"selection": selection, "try_shots": [2, 64]})})
        for v in prompts(zero_shot=0, few_shot=8, many_shot=64)
    ]
    if limit < 100:
        with pytest.raises(UserError, match="no prompt is left: the prompt 'zero_shot' is left out"):
            baselines.fitting(variants)
        return
    kept, notes = baselines.fitting(variants)
    assert [variant.name for variant in kept] == ["zero_shot", "few_shot", "many_shot"]
    for variant in kept:
        for count in [variant.prompt.shots, *variant.prompt.try_shots]:
            sent = variant.model_copy(update={"prompt": variant.prompt.model_copy(update={"shots": count})})
            requests = build_requests(TASK, sent, baselines.splits[1], baselines.splits[0])
            assert max(OFFLINE_MARGIN * count_offline(r.system, r.contents) for r in requests) <= limit
    changed = {before.name for before, after in zip(variants, kept, strict=True) if before != after}
    assert {match[1] for note in notes if (match := re.search("the prompt '(.*?)'", note))} == changed
    assert bool(changed) == (limit < 3000)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Exception]]:
    """Errors of requests whose system instruction contains a word."""
    errors: dict[str, type[Exception]] = {}

    async def generate(request):
        for word, error in errors.items():
            if word in (request.system or ""):
                raise error("400 INVALID_ARGUMENT: the input is too long")
        return Said("refund")

    policy = RetryPolicy(8, 2, (Busy,), (Invalid,), initial_backoff_s=0.001)
    evaluations.script(monkeypatch, generate, policy)
    return errors


def evaluated(folder: Path) -> EvaluationReport:
    paths = [str(folder / name) for name in ("validation", "train", "predictions", "report")]
    write_examples(paths[0], examples(40, 2))
    write_examples(paths[1], examples(60, 1))
    baselines = [{"name": name, "instruction": f"Instruction {name}."} for name in ("short", "long")]
    sections = {
        "task": {},
        "evaluate": {"baselines": baselines, "constrain_best_prompt": False},
        "vertex": {"project": "p"},
    }
    evaluate.run_baselines(*paths, **sections)
    return EvaluationReport.read(paths[3])


def test_run_baselines_leaves_out_a_prompt_that_the_service_refuses(tmp_path: Path, scripted) -> None:
    assert evaluated(tmp_path).notes == []
    scripted["long"] = Invalid
    report = evaluated(tmp_path)
    assert [result.variant.name for result in report.variants] == ["short"]
    (note,) = report.notes
    assert note.startswith("left out: the service refuses 40 of 40 requests to 'long': 400 INVALID_ARGUMENT")
    assert "again later" not in note


def test_run_baselines_leaves_out_a_refused_prompt_among_other_trouble(tmp_path: Path, monkeypatch) -> None:
    async def generate(request):
        if "long" not in (request.system or ""):
            return Said("refund")
        raise Busy("503") if request.key.endswith("7") else Invalid("400 INVALID_ARGUMENT")

    evaluations.script(monkeypatch, generate, RetryPolicy(8, 2, (Busy,), (Invalid,), initial_backoff_s=0.001))
    (note,) = evaluated(tmp_path).notes
    assert note.startswith("left out: the service refuses ")


def test_run_baselines_without_a_prompt_left_names_the_error_once(tmp_path: Path, scripted) -> None:
    scripted["Instruction"] = Invalid
    with pytest.raises(RefusedRequests, match="refuses 40 of 40 requests to 'short': 400 INVALID_ARGUMENT") as caught:
        evaluated(tmp_path)
    assert "again later" not in str(caught.value)


def test_run_baselines_with_transient_errors_still_stops(tmp_path: Path, scripted) -> None:
    scripted["long"] = Busy
    with pytest.raises(UserError, match="check the network"):
        evaluated(tmp_path)


def test_gate_repeats_the_notes_on_prompts_in_the_decision(tmp_path: Path, scripted) -> None:
    scripted["long"] = Invalid
    report = evaluated(tmp_path)
    plan = evaluations.tuning_plan(tmp_path / "plan", MODEL, {"input": 1.0, "output": 1.0}, report)
    write_examples(tmp_path / "test", (replace(row, split="test") for row in examples(40, 3)))
    variants = [*prompts(zero_shot=0), ModelVariant(name="tuned", model=MODEL, role="candidate")]
    evaluations.evaluated(tmp_path, variants, rows="test", task={}, vertex={"project": "p"})
    selection = evaluations.selection(tmp_path / "selection", variants)
    paths = [str(tmp_path / name) for name in ("predictions", "report", "decision")]
    gate.run(paths[0], selection, plan, paths[1], paths[2], task={}, gate={"resamples": 1000})
    assert report.notes[0] in DecisionRecord.read(paths[2]).notes


def test_finalists_are_never_left_out(tmp_path: Path, scripted) -> None:
    scripted["long"] = Invalid
    write_examples(tmp_path / "rows", examples(40, 2))
    write_examples(tmp_path / "train", examples(60, 1))
    variants = [ModelVariant(name="long", model=MODEL, prompt=Prompt(instruction="long"))]
    with pytest.raises(RefusedRequests):
        evaluations.evaluated(tmp_path, [*prompts(zero_shot=0), *variants], task={}, vertex={"project": "p"})

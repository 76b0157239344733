# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Each task kind from one declaration: prompts, training rows, parsing, metrics, gate and report follow from it.

A scripted pair of models answers: the candidate knows three rows in four more than the prompt. Confidence is fitted on
validation rows and shown on test rows; a judge stands beside the texts.
"""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from evaluations import evaluated, script, selection, tuning_plan
from samples import Said

from gemtune.artifacts.cost import BudgetReport, CostForecast
from gemtune.artifacts.decision import DecisionRecord, DeploymentRecord
from gemtune.artifacts.evaluation import EvaluationReport, TestSetUsage
from gemtune.config import ModelVariant, Task
from gemtune.data.example import Example, write_examples
from gemtune.evaluation.metrics import metric_names
from gemtune.inference.prompts import build_requests, resolve, training_row, tuned_prompt
from gemtune.steps import evaluate, gate, preprocess, report, split
from gemtune.steps.context import StepContext

WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven"]


def classes(number: int) -> str:
    return ["refund", "delivery", "login"][number % 3]


def several(number: int) -> str:
    return "; ".join(["angry", "refund", "late"][: 1 + number % 3])


def feeling(number: int) -> str:
    return ["positive", "negative"][number % 2]


def fields(number: int) -> str:
    return json.dumps({"name": WORDS[number % 8], "city": [WORDS[(number + 1) % 8], "Rome"][: 1 + number % 2]})


def sentence(number: int) -> str:
    return f"the {WORDS[number % 8]} order {number} was late"


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "city": {"type": "array"}}}
KINDS = {
    "classification": ({"kind": "classification"}, classes),
    "several labels": ({"kind": "classification", "label_separator": "; "}, several),
    "sentiment": ({"kind": "sentiment", "instruction": "Say how it sounds.", "target_name": "Sentiment"}, feeling),
    "extraction": ({"kind": "extraction", "instruction": "Extract.", "output_schema": SCHEMA}, fields),
    "summarization": ({"kind": "summarization", "instruction": "Summarize.", "target_name": "Summary"}, sentence),
    "generation": ({"kind": "generation", "instruction": "Reply.", "target_name": "Reply"}, sentence),
}


def rows(target, split: str, start: int, count: int) -> list[Example]:
    return [
        Example(f"{split}{i}", f"{WORDS[i % 8]} wrote {i} about it", target(i), i, split=split)
        for i in range(start, start + count)
    ]


def knows(model: str, number: int, sample: int) -> bool:
    """Whether a scripted model knows a row; on some rows it wavers between samples."""
    draw = hashlib.sha256(f"{number}".encode()).digest()[0] / 256
    luck = hashlib.sha256(f"{model}{number}/{sample}".encode()).digest()[0] / 256
    return draw < (0.3 if model == "base" else 0.75) or (draw > 0.9 and luck < 0.5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_task_kind_sets_prompts_parsing_metrics_and_report(kind, monkeypatch, tmp_path):
    declared, target = KINDS[kind]
    labelled = kind in ("classification", "several labels", "sentiment")
    splits = {"train": rows(target, "train", 0, 30), "validation": rows(target, "validation", 100, 120)}
    splits["test"] = rows(target, "test", 300, 120)
    for name, part in splits.items():
        write_examples(tmp_path / name, part)
    task = resolve(Task.of(declared), splits["train"])

    async def generate(request):
        content = request.contents[-1]["parts"][0]["text"]
        if request.model == "judge":
            quoted = json.loads(content)
            if "answer" in quoted:
                return Said(json.dumps({"score": 5 if quoted["answer"] == quoted["reference"] else 2}))
            first, second = (quoted[side] == quoted["reference"] for side in ("first", "second"))
            return Said(json.dumps({"better": "tie" if first == second else "first" if first else "second"}))
        number = int(request.key.removeprefix("validation").removeprefix("test").split("-")[0])
        wrong = target(number + 1) if labelled or kind == "extraction" else "no idea about that"
        return Said(target(number) if knows(request.model, number, request.sample) else wrong)

    script(monkeypatch, generate)
    usage = TestSetUsage(test="test", candidates=1, uses=1)
    monkeypatch.setattr(evaluate.test_set_usage, "record", lambda *known: usage)
    monkeypatch.setattr(StepContext, "client", SimpleNamespace(token=lambda: None))
    prompt = tuned_prompt(task)
    variants = [
        ModelVariant(name="zero_shot", model="base"),
        ModelVariant(name="t@1", model="tuned", prompt=prompt, role="candidate"),
    ]
    texts = kind in ("summarization", "generation")
    config: dict[str, Any] = {"injection_rows": 5}
    config |= {"resamples": 300, "confidence": "none" if texts else "votes", "samples": 5, "target_precision": 0.6}
    config |= {"judge": {"model": "judge"}} if texts else {"tfidf_baseline": False}  # no other model is as good here

    # the training row equals the request to the tuned model: same system, same turn
    row = training_row(task, prompt, splits["train"][0])
    (request,) = build_requests(task, variants[1], splits["train"][:1], [])
    assert row["contents"][:-1] == request.contents
    assert row["contents"][-1]["parts"][0]["text"] == target(0)

    _, validated = evaluated(tmp_path, variants, rows="validation", task=declared, evaluate=config)
    finalists = [report.variant for report in validated.variants]
    assert bool(finalists[1].calibration) is not texts
    chosen = selection(tmp_path / "selection", finalists, metric_names(task)[0])
    files = [str(tmp_path / f"test.{name}") for name in ("predictions", "report")]
    inputs = [str(tmp_path / "test"), str(tmp_path / "train"), chosen]
    evaluate.run_finalists(*inputs, "run", *files, task=declared, evaluate=config)
    tested = EvaluationReport.read(files[1])
    assert [report.variant.name for report in tested.variants] == ["zero_shot", "t@1"]
    candidate = tested.variants[1]
    assert [report.role for report in tested.injection] == (["baseline", "candidate"] if labelled else [])
    assert f"no injection probe: {kind} has no labels" in tested.notes or labelled
    assert set(tested.variants[0].metrics) == set(metric_names(task))
    assert bool(candidate.confusion) is (labelled and not task.label_separator)
    assert bool(candidate.per_class) is not texts

    settings = {"resamples": 1000, **({} if texts else {"max_ece": 0.2}), "max_injection_rate": 0.1 * labelled}
    base = validated.model_copy(update={"variants": validated.variants[:1]})
    plan = tuning_plan(tmp_path / "plan", "base", {"input": 1.0, "output": 2.0}, base)
    passed = gate.run(files[0], chosen, plan, files[1], str(tmp_path / "decision"), task=declared, gate=settings)
    decision = DecisionRecord.read(tmp_path / "decision")
    assert passed, decision.reasons
    assert decision.metric == metric_names(task)[0]
    assert decision.test_set_usage == usage
    if not texts:
        assert "calibration" in [rule.name for rule in decision.rules]
        assert candidate.calibration["validation_of_map"]["abstain"]["accuracy_high"] >= 0.6
        assert "map" not in candidate.calibration  # nothing is fitted on test rows

    page = report_page(tmp_path, splits, declared, candidate.variant)
    assert "t@1" in page
    assert ("<h3>Labels</h3>" in page) is labelled
    assert ("Calibration: <bdi>t@1" in page) is not texts
    assert ("LLM judge" in page) is texts


def report_page(folder, splits, declared, candidate) -> str:
    """The report's page of these files; the reports of preprocessing and splitting are made from the same rows."""
    raw = [{"text": e.text, "label": e.target} for part in splits.values() for e in part]
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in raw))
    preprocess_files = [str(folder / name) for name in ("rows", "rejected", "data")]
    preprocess.run(
        str(folder / "raw.jsonl"),
        *preprocess_files,
        task=declared,
        preprocess={"jaccard_threshold": 1, "find_label_issues": False},
    )
    cut = tuple(str(folder / f"cut.{name}") for name in splits)
    split.run(
        preprocess_files[0],
        cut,
        str(folder / "split"),
        "",
        "run",
        split={"jaccard_threshold": 1, "semantic_threshold": 0},
    )
    names = {"tested": "test.report", "predictions": "test.predictions"}
    fields = ["data", "split", "plan", "selection", "tested", "predictions", "train", "test", "decision", "budget"]
    BudgetReport(name="run", forecast=CostForecast.of([], 1), fingerprint="d").write(folder / "budget")
    paths = {field: str(folder / names.get(field, field)) for field in fields}
    outcome = DeploymentRecord(
        action="deployed", variant=candidate, champion_before="", undeployed=[], cleaning={}
    ).model_dump()
    outputs = {name: str(folder / name) for name in ("page", "verdict", "summary", "manifest")}
    job = ("job", "2026-11-26T09:00:00Z")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gemtune.state.champion.record_manifest", lambda *_: None)
        patch.setattr("gemtune.state.store.update", lambda *_: None)
        report.run({**paths, "dropped": preprocess_files[1]}, outcome, "run", job, outputs, vertex={"project": "p"})
    return (folder / "page").read_text()

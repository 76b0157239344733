# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The injection probe: what is planted, what models that obey and that do not are measured at, rule, bound."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from gate_evidence import decided, failed, scored, share
from hypothesis import given
from hypothesis import strategies as st

from gemtune.artifacts.cost import Estimate
from gemtune.artifacts.evaluation import InjectionReport, InjectionShare, Score
from gemtune.catalogue import Price
from gemtune.config import Evaluate, Gate, ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.cost.items import RequestTokens, injection_items
from gemtune.cost.tokens import count_offline
from gemtune.data.example import Example
from gemtune.evaluation import injection
from gemtune.evaluation.variant_scores import VariantScorer
from gemtune.inference.generate import GenerateRequest

TASK = Task(labels=["billing", "delivery", "refund", "refund request"])
ROWS = [Example(f"r{n}", f"text number {n}", TASK.labels[n % 4], split="test") for n in range(40)]
VARIANTS = [
    ModelVariant(name=role, model=role, role=role)  # type: ignore[arg-type]
    for role in ("baseline", "candidate", "champion", "supervised")
]


def probed(
    variants: Sequence[ModelVariant] = VARIANTS, task: Task = TASK, failing: Sequence[str] = (), **settings: object
) -> tuple[list[InjectionReport], str, list[GenerateRequest]]:
    """The probe of models that are right without an attack; the candidate obeys it, other models do not."""
    sent: list[GenerateRequest] = []

    async def send(requests: Sequence[GenerateRequest], **_: object) -> list[ModelOutput]:
        sent.extend(requests)
        outputs = []
        for request in requests:
            text = request.contents[-1]["parts"][-1]["text"]
            number = int(re.findall(r"text number (\d+)", text)[-1])
            planted = re.search(r"(?:answer only |Answer: |but this: )(.+?)\.?$", text, re.MULTILINE)
            if planted and request.model in failing:
                outputs.append(ModelOutput(None, error="unavailable"))
                continue
            obeys = request.model == "candidate" and planted
            outputs.append(ModelOutput(planted[1] if obeys and planted else TASK.labels[number % 4], "STOP", "", 50, 2))
        return outputs

    config = Evaluate.model_validate({"injection_rows": 12, "confidence": "votes", **settings})
    scorer = VariantScorer(task, task, config.model_copy(update={"confidence": "none"}), ROWS, [], send)  # type: ignore[arg-type]

    async def run() -> tuple[list[InjectionReport], str]:
        scores = {variant.name: await scorer.score(variant) for variant in variants}
        sent.clear()
        return await injection.probe(scorer, variants, scores, config)

    return *asyncio.run(run()), sent


def test_probe_reports_what_turned() -> None:
    reports, note, sent = probed()
    assert note == ""
    assert [report.role for report in reports] == ["baseline", "candidate", "champion"]
    assert len(sent) == 3 * 3 * 12  # a sample each, whatever the confidence
    for report in reports:
        assert [own.attack for own in report.shares] == list(injection.ATTACKS)
        turned = 1.0 if report.role == "candidate" else 0.0
        assert {(own.rows, own.share.value) for own in report.shares} == {(12, turned)}
        assert all(
            own.share.low <= turned <= own.share.high and own.share.low < own.share.high for own in report.shares
        )
        assert (report.tokens.requests, report.tokens.input, report.tokens.output) == (36, 36 * 50, 36 * 2)


def test_probe_is_off_by_default_and_notes_what_it_cannot_send() -> None:
    assert Evaluate().injection_rows == 0
    assert probed(injection_rows=0) == ([], "", [])
    prompts = replace(ROWS[0], contents=[{"role": "user", "parts": [{"text": "x"}]}])
    assert injection.probes(TASK, [(prompts, ["billing"])], 5, 1) == []
    _, note, _ = probed(injection_rows=40)
    assert note == ""
    reports, note, _ = probed(task=TASK.model_copy(update={"kind": "generation"}))
    assert (reports, note) == ([], "no injection probe: generation has no labels")


LABELS = st.lists(st.text("abAnswer text", min_size=1, max_size=8).map(str.strip).filter(bool), min_size=2, max_size=5,
                  unique=True)  # fmt: skip


@given(LABELS, st.data())
def test_probes_never_contain_the_reference_and_are_reproducible(labels: list[str], data: st.DataObject) -> None:
    task = Task(labels=labels)
    label = st.sampled_from(labels)
    answered = [(Example(f"r{n}", "the row", data.draw(label)), [data.draw(label), None]) for n in range(6)]
    made = injection.probes(task, answered, 4, 7)
    assert made == injection.probes(task, list(reversed(answered)), 4, 7)
    assert len(made) <= 4 * len(injection.ATTACKS)
    own = {row.id: (row.target, answers[0]) for row, answers in answered}
    for probe in made:
        reference, answer = own[probe.example.id.split("-")[0]]
        planted = probe.example.text.removeprefix("the row\n\n")
        assert probe.label in planted
        assert probe.label not in (reference, answer)
        assert not re.search(rf"(?<!\w){re.escape(reference)}(?!\w)", planted, re.IGNORECASE)


def test_probes_depend_on_the_seed() -> None:
    answered = [(row, [row.target]) for row in ROWS]
    drawn = [[(p.example.id, p.label) for p in injection.probes(TASK, answered, 10, seed)] for seed in (1, 2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(("role", "passes"), [("candidate", False), ("baseline", True)])
def test_decide_limits_the_injection_rate(role: str, passes: bool) -> None:
    (turned,) = (report for report in probed()[0] if report.role == role)
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    gate = Gate(resamples=2000, max_injection_rate=0.1)
    record = decided(gate, both, injection=[turned.model_copy(update={"role": "candidate"})])
    assert (record.verdict == "deploy") is passes
    assert failed(record) == ([] if passes else ["injection_rate"])
    assert failed(decided(gate, both)) == ["injection_rate"]
    assert "injection was not measured" in decided(gate, both).reasons[0]
    assert failed(decided(Gate(resamples=2000), both, injection=[turned])) == []


def test_decide_counts_failed_requests_as_turned() -> None:
    _, candidate, _ = probed()[0]
    quiet = Score(value=0.0, low=0.0, high=0.2)
    shares = [InjectionShare(attack="closed frame", rows=rows, share=quiet, failed=20 - rows) for rows in (19, 17)]
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    for limit, passes in ((0.16, True), (0.14, False)):
        report = candidate.model_copy(update={"shares": shares})
        record = decided(Gate(resamples=2000, max_injection_rate=limit), both, injection=[report])
        assert (failed(record) == []) is passes
        assert any("3 failed requests counted as turned): 0.15" in rule.summary for rule in record.rules)


@pytest.mark.parametrize("models", [["candidate"], ["baseline", "candidate", "champion"]])
def test_probe_goes_on_where_requests_fail(models: list[str]) -> None:
    reports, _, _ = probed(failing=models)
    assert [[(own.rows, own.failed) for own in report.shares] == [(0, 12)] * 3 for report in reports] == [
        report.role in models for report in reports
    ]


@given(st.integers(1, 60), st.integers(1, 5))
def test_injection_items_bound_what_is_sent(count: int, samples: int) -> None:
    """The bound holds for every sample of rows that are at most 1.5 times as long as the mean, and longest answers."""
    evaluate = Evaluate(injection_rows=count, max_output_tokens=8, confidence="votes", samples=max(2, samples))
    mean = sum(count_offline(None, [{"parts": [{"text": row.text}]}]) for row in ROWS) / len(ROWS)
    tokens = RequestTokens(Estimate.exact(mean * evaluate.samples), Estimate(expected=2, upper=8))
    (item,) = injection_items(evaluate, len(ROWS), "the candidate", tokens, Price(train=0, input=1, output=1))
    sent = [p.example.text for p in injection.probes(TASK, [(row, [row.target]) for row in ROWS], count, 7)]
    actual = sum(count_offline(None, [{"parts": [{"text": text}]}]) + 8 for text in sent)
    assert actual <= item.tokens.upper
    assert item.tokens.expected <= item.tokens.upper
    off = Evaluate()
    assert injection_items(off, len(ROWS), "the candidate", tokens, Price(train=0, input=1, output=1)) == []

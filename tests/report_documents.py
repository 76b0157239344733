# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The documents of a small run and of monitoring as their steps write them, for tests of the pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from markupsafe import escape

from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem, Estimate, TokenUsage
from gemtune.artifacts.data import (
    DataReport,
    LeakageReport,
    PersonalData,
    SplitOverlap,
    SplitReport,
)
from gemtune.artifacts.decision import Comparison, DecisionRecord, DeploymentRecord, Rule, RunSummary
from gemtune.artifacts.evaluation import (
    ClassReport,
    Confusion,
    EvaluationReport,
    Latency,
    Score,
    SliceReport,
    TestSetUsage,
    VariantReport,
)
from gemtune.artifacts.monitoring import (
    Check,
    DriftReport,
    Moments,
    MonitoringDecision,
    MonitoringRecord,
    QualityEstimate,
    QualityReport,
    Topic,
    WindowRecord,
)
from gemtune.artifacts.tuning import (
    BestPrompt,
    CheckpointScore,
    Diagnosis,
    PriceList,
    Selection,
    TrialSummary,
    TuningPlan,
)
from gemtune.config import Gate, ModelVariant, Prompt, Task
from gemtune.data.example import Example, write_examples, write_rows
from gemtune.evaluation.predictions import write_predictions
from gemtune.steps import report, report_monitoring

TASK = Task(labels=["a", "b"], instruction="Choose.")


SCORE = Score(value=0.75, low=0.5, high=0.9)


PRICES = PriceList(base_model="m", models={"m": {"input": 1.0, "output": 2.0}, "judge": {"input": 1.0, "output": 2.0}})


def variant(name: str, role: Any, shots: int = 0) -> ModelVariant:
    return ModelVariant(name=name, model="m", role=role, prompt=Prompt(name="p", shots=shots))


def reported(name: str, role: Any) -> VariantReport:
    return VariantReport(
        variant=variant(name, role),
        metrics={"accuracy": SCORE, "macro_f1": SCORE},
        outcomes={"ok": 3, "blocked": 1},
        tokens=TokenUsage(input=1_000_000, output=500_000),
        latency_s=Latency(median=0.1, p95=0.2),
        attempts=4,
        cached=0,
        per_class=[ClassReport(label="a", precision=1.0, recall=0.5, f1=0.67, support=2)],
        confusion=Confusion(labels=["a", "b"], columns=["a", "b", "(none)"], matrix=[[1, 1, 0], [0, 1, 1]]),
        slices={"channel": {"web": SliceReport(rows=4, metrics={"accuracy": SCORE})}},
    )


def evaluated(*reports: VariantReport, **more: Any) -> EvaluationReport:
    generation = {"base_model": "m", "confidence": "votes", "samples": 3}
    return EvaluationReport(dataset="test", rows=4, task=TASK, generation=generation, variants=list(reports), **more)


def comparison(versus: str, metric: str, p_value: float, test: str) -> Comparison:
    return Comparison(
        versus=versus,
        role="baseline",
        metric=metric,
        candidate=0.8,
        baseline=0.7,
        delta=0.1,
        low=0.05,
        high=0.2,
        p_value=p_value,
        test=test,
        wins=3,
        losses=1,
        disagreement=0.2,
        rows=4,
    )


def write_answers(paths: Path, reference: str, answer: str) -> None:
    """An unusable answer of the candidate to the test row, and the right one of the prompt."""
    row = {"dataset": "test", "id": "1", "reference": reference, "slices": {"length": "short"}}
    new = {"variant": "t@2", "answer": answer, "outcome": "invalid", "scores": {"exact_match": 0.0}}
    old = {"variant": "zero_shot", "answer": reference, "outcome": "ok", "scores": {"exact_match": 1.0}}
    write_predictions(str(paths / "predictions"), [row | new, row | old])


@pytest.fixture
def paths(tmp_path: Path, recorded: list[tuple[Any, ...]]) -> Path:
    """Files of a small run as its steps write them."""
    DataReport(
        data="rows.csv",
        settings={},
        rows=6,
        examples=4,
        dropped={"empty_text": 2},
        labels={"a": 2, "b": 2},
        cleaned={},
        corrected=0,
        corrections_without_row=0,
        personal_data=PersonalData(findings={}, lines=()),
        text_characters=None,
        text_tokens_estimated=None,
        target_characters=None,
        scripts={},
        slices={},
    ).write(tmp_path / "data")
    overlap = SplitOverlap(split="test", other_split="train", rows=0, exact=0, near=0, group=0, passage=3, semantic=4)
    leakage = LeakageReport(
        jaccard_threshold=0.8,
        passage_chars=100,
        cosine_threshold=0.95,
        embedded={},
        overlaps=(overlap,),
        clean=True,
        rows={},
        splits="f",
    )
    SplitReport(
        settings={},
        rows={"train": 2, "validation": 1, "test": 1},
        excluded=(),
        labels={"a": {"train": 1, "validation": 1, "test": 0}},
        slices={},
        times={},
        assignments_kept=0,
        leakage_report=leakage,
    ).write(tmp_path / "split")
    forecast = CostItem(kind="tuning", label="tuning t", cost=Estimate(expected=2.5, upper=3.0))
    items = [CostItem.actual("baseline", "zero_shot on validation", 10, 0.5), forecast]
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=BestPrompt(variant=variant("zero_shot", "baseline"), score=SCORE),
        detectable_lift=0.1,
        rows={"train": 2, "validation": 1, "test": 1},
        trials=[],
        prices=PRICES,
        forecast=CostForecast.of(items, 10.0),
        fingerprint="f",
        baselines=evaluated(reported("zero_shot", "baseline")),
    ).write(tmp_path / "plan")
    trial = TrialSummary(
        name="t",
        method="supervised",
        hyperparameters={"epoch_count": 2, "learning_rate_multiplier": 1.0, "adapter_size": 4},
        job="projects/p/locations/l/tuningJobs/1",
        base_model="m",
        states=[],
        diagnosis=Diagnosis("fine", "<b>loss</b> settled", "none"),
        curve={"/train_total_loss": [(1, 2.0), (2, 1.0)], "/eval_total_loss": [(2, 1.1)]},
        dropped=0,
        dropped_reasons=[],
    )
    Selection(
        metric="accuracy",
        reason="the best score",
        best_prompt=variant("zero_shot", "baseline"),
        candidate=variant("t@2", "candidate"),
        checkpoints=[CheckpointScore(name="t@2", variant=variant("t@2", "candidate"), score=SCORE, selected=True)],
        trials=[trial],
        spent=[CostItem.actual("tuning", "tuning t", 100, 1.0)],
    ).write(tmp_path / "selection")
    evaluated(reported("zero_shot", "baseline"), reported("t@2", "candidate")).write(tmp_path / "tested")
    DecisionRecord(
        verdict="deploy",
        reasons=["it is better"],
        task=TASK,
        notes=["a linear model does as well"],
        metric="accuracy",
        rows=4,
        confidence_level=0.95,
        settings=Gate(),
        test_set_usage=TestSetUsage(test="f00", candidates=2, uses=3),
        comparisons=[
            comparison("zero_shot", "accuracy", 0.01, "exact McNemar"),
            comparison("champion", "macro_f1", 0.02, "paired permutation"),
        ],
        rules=[Rule(name="invalid_rate", passed=True, measured=0.0, required=0.05, summary="few")],
    ).write(tmp_path / "decision")
    write_examples(tmp_path / "train", [Example("2", "asked", "a", 2), Example("3", "shown", "b", 3)])
    dropped = {"line": 9, "reason": "empty_text", "detail": "no <i>text</i>", "row": {"text": "", "label": "a"}}
    write_rows(tmp_path / "dropped", [dropped] * 5)
    write_examples(tmp_path / "test", [Example("1", "<script>alert(1)</script>", "a", 1)])
    write_answers(tmp_path, "a", "<img src=x onerror=1>")
    BudgetReport(name="n", forecast=CostForecast.of([], 1.0), fingerprint="d").write(tmp_path / "budget")
    return tmp_path


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was recorded as decided on, with its name."""
    decisions: list[tuple[Any, ...]] = []
    monkeypatch.setattr("gemtune.state.champion.record_manifest", lambda *_: None)
    monkeypatch.setattr(
        "gemtune.state.store.update", lambda _client, _kind, name, edit: decisions.append((name, edit(None)))
    )
    return decisions


STARTED = "2026-11-26T09:00:00Z"


def outputs(folder: Path) -> dict[str, str]:
    """Where the step writes."""
    names = {"page": "html", "verdict": "md", "summary": "json", "manifest": "manifest"}
    return {name: str(folder / file) for name, file in names.items()}


def run(
    paths: Path, action: Literal["deployed", "none"] = "deployed", champion_before: str = "", **sections: Any
) -> tuple[str, str, RunSummary]:
    """The page, the verdict in Markdown, and the summary."""
    deployed = DeploymentRecord(
        action=action,
        variant=variant("t@2", "candidate", shots=1),
        champion_before=champion_before,
        undeployed=[],
        cleaning={"lowercase": True},
    )
    names = (
        "data",
        "split",
        "plan",
        "selection",
        "tested",
        "predictions",
        "train",
        "test",
        "decision",
        "budget",
        "dropped",
    )
    inputs = {name: str(paths / name) for name in names}
    own = {"vertex": {"project": "p"}, "notify": {"webhook": "https://secret"}} | sections
    report.run(inputs, deployed.model_dump(mode="json"), "n", ("job-1", STARTED), outputs(paths), **own)
    return (paths / "html").read_text(), (paths / "md").read_text(), RunSummary.read(paths / "json")


def shown(text: str) -> str:
    """The text on the page: control characters are symbols."""
    return str(escape("".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\t\n" else c for c in text)))


def labelled(paths: Path, labels: list[str]) -> None:
    """Rewrite the documents: the rows have these labels, all wrong in a circle."""
    data, split, tested = (kind.read(paths / name) for kind, name in (
        (DataReport, "data"), (SplitReport, "split"), (EvaluationReport, "tested")))  # fmt: skip
    data.model_copy(update={"labels": dict.fromkeys(labels, 3)}).write(paths / "data")
    counts = {label: {"train": 2, "validation": 1, "test": 0} for label in labels}
    split.model_copy(update={"labels": counts}).write(paths / "split")
    matrix = [[int(j == i + 1) * (i + 1) for j in range(len(labels) + 1)] for i in range(len(labels))]
    table = Confusion(labels=labels, columns=[*labels, "(none)"], matrix=matrix)
    classes = [ClassReport(label=label, precision=0.5, recall=0.5, f1=0.5, support=1) for label in labels]
    values = {label: SliceReport(rows=1, metrics={"accuracy": SCORE}) for label in labels}
    update = {"confusion": table, "per_class": classes, "slices": {label: values for label in labels[:3]}}
    variants = [report.model_copy(update=update) for report in tested.variants]
    tested.model_copy(update={"variants": variants}).write(paths / "tested")


SINCE = datetime(2026, 10, 1, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script> US$ 返金 \u202eevil \x07"


def check(name: str, value: float, **more: Any) -> Check:
    return Check(
        name=name, value=value, low=value - 0.01, high=value + 0.01, rows=100, summary=f"{name} is seen", **more
    )


def window(number: int, *checks: Check) -> WindowRecord:
    start, moments = SINCE + timedelta(weeks=number), {"a": Moments(rows=1, total=0.5, squares=0.25)}
    end = start + timedelta(weeks=1)
    return WindowRecord(
        start=start, end=end, rows=120, texts=100, similarity=moments, confidence={}, checks=list(checks)
    )


def monitoring_page(
    folder: Path,
    verdict: Any = "retrain",
    windows: int = 3,
    language: str = "en",
    summary: list[str] | None = None,
) -> tuple[str, str, dict[str, Any]]:
    """The page, the verdict in Markdown and the summary of a run with these windows."""
    alarm = check("similarity", 0.41, threshold=0.45, alarm=True, p_value=0.001, examples=["row-7"])
    listed = [window(number, check("similarity", 0.5, threshold=0.45)) for number in range(windows - 1)]
    examined = [*listed, window(windows, alarm)] if windows else []
    history = MonitoringRecord(generation=1, since=SINCE, windows=examined, retrained=[])
    topic = Topic(rows=9, tightness=0.8, ids=["row-7"], texts=[HOSTILE], ngrams=["<b>", "返金"])
    share = Score(value=0.25, low=0.2, high=0.3)
    drift = DriftReport(
        history=history, missing_windows=0, topics=[topic], label_mix={HOSTILE: share}, scripts={"Han": 3}
    )
    drift.write(folder / "drift")
    estimate = QualityEstimate(end=SINCE + timedelta(weeks=2), score=share, variance=0.01, labels=40)
    QualityReport(estimates=[estimate], limit=0.8, checks=[check("quality", 0.25)], labelled=[], to_label=40).write(
        folder / "quality"
    )
    MonitoringDecision(verdict=verdict, summary=summary or ["similarity fell"], reasons=[]).write(folder / "decision")
    paths = {name: str(folder / name) for name in ("drift", "quality", "decision")}
    outputs = [str(folder / name) for name in ("page", "verdict", "summary")]
    report_monitoring.run(paths, "gs://b/annotations.csv", "support", *outputs, reporting={"language": language})
    texts = [Path(path).read_text("utf-8") for path in outputs]
    return texts[0], texts[1], json.loads(texts[2])

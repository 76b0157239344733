# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuned and selected models that tests deploy, with genuine clients against the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samples import sections, splits, write_plan

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.decision import DecisionRecord, DeploymentRecord, Verdict
from gemtune.artifacts.evaluation import EvaluationReport, Latency, Score, VariantReport
from gemtune.artifacts.tuning import Selection, TuningRecord
from gemtune.config import Gate, ModelVariant, Task
from gemtune.steps import deploy, evaluate, select_model, tune
from gemtune.vertex import Client, models

TASK = Task(labels=["delivery", "login", "refund"])
PROMPT = ModelVariant(name="zero_shot", model="gemini-3.1-flash-lite")


def report(variant: ModelVariant, value: float) -> VariantReport:
    return VariantReport(
        variant=variant,
        metrics={"accuracy": Score(value=value, low=value - 0.01, high=value + 0.01)},
        outcomes={"ok": 40},
        tokens=TokenUsage(input=400, output=40),
        latency_s=Latency(median=0, p95=0),
        attempts=40,
        cached=0,
    )


class Run:
    """One trial tuned and selected; the scores say which checkpoint wins."""

    def __init__(self, folder: Path, name: str, seed: int, scores: list[float]) -> None:
        self.name, self.folder = name, folder
        train, validation, _ = splits(folder, seed=seed)
        trial = {"name": "trial-1", "epoch_count": len(scores), "plan": f"plan-{seed}"}
        settings = sections()
        job, scored, plan, self.selection = (str(folder / file) for file in ("job", "scored", "plan", "selection"))
        tune.run(train, validation, trial, name, job, str(folder / "events"), **settings)
        self.variants = TuningRecord.read(job).variants
        reports = [report(variant, value) for variant, value in zip(self.variants, scores, strict=True)]
        task = Task.of(settings["task"])
        EvaluationReport(dataset="validation", rows=40, task=task, variants=reports).write(scored)
        assert write_plan(Path(plan), settings) == PROMPT
        select_model.run(plan, self.selection, name, [job], scored, **settings)
        self.finalists = Selection.read(self.selection).finalists
        self.test, self.predictions = str(folder / "test.jsonl"), ""

    def evaluate_finalists(self) -> None:
        self.predictions = str(self.folder / "predictions")
        paths = (self.test, str(self.folder / "train.jsonl"), self.selection, self.name, self.predictions)
        evaluate.run_finalists(*paths, str(self.folder / "tested"), **sections("evaluate.resamples=200"))

    @property
    def entry(self) -> dict[str, Any]:
        """What deploy reads beside decision and selection, once the finalists are evaluated."""
        rows = (str(self.folder / "train.jsonl"), self.test)
        return {"rows": rows, "predictions": self.predictions} if self.predictions else {}

    def deploy(self, step: Any = deploy.run, verdict: Verdict = "deploy", *overrides: str) -> DeploymentRecord:
        decision, out = str(self.folder / "decision"), str(self.folder / "deployment")
        DecisionRecord(
            verdict=verdict, reasons=["because"], task=TASK, metric="accuracy", rows=60, confidence_level=0.95,
            settings=Gate(),
        ).write(decision)  # fmt: skip
        returned = step(decision, self.selection, self.name, out, **self.entry, **sections(*overrides))
        written = DeploymentRecord.read(out)
        assert returned == written.model_dump(mode="json", exclude_none=True)
        return written


def serving(client: Client, variants: list[ModelVariant]) -> list[bool]:
    return [bool(models.deployed(client, variant.model)) for variant in variants]

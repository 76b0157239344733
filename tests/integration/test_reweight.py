# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Step reweight-hard-examples: scripted answers, the record of hard rows in a bucket of the emulator."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import PHRASES, Said, examples, sections

from gemtune.artifacts.cost import CostForecast
from gemtune.artifacts.data import HardExamplesReport
from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.tuning import BestPrompt, PriceList, TuningPlan
from gemtune.config import ModelVariant
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.errors import UserError
from gemtune.inference import vertex_generation
from gemtune.inference.generate import GenerateRequest, RetryPolicy
from gemtune.steps import reweight
from gemtune.vertex import Client

MODEL = "gemini-3.1-flash-lite"
ROWS = examples(60, 1)
PLAN = TuningPlan(
    should_tune=True,
    reasons=[],
    metric="accuracy",
    best_prompt=BestPrompt(
        variant=ModelVariant(name="zero_shot", model=MODEL), score=Score(value=0.5, low=0.4, high=0.6)
    ),
    detectable_lift=0.1,
    rows={"train": 60, "validation": 40, "test": 60},
    trials=[],
    prices=PriceList(base_model=MODEL, models={MODEL: {"input": 1.0, "output": 10.0}}),
    forecast=CostForecast.of([], 10),
    fingerprint="f",
)


class Step:
    """The step on rows of which the prompt misses some; validation rows are others of the same kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        self._wrong: set[str] = set()
        self._answers: dict[str, str] = {}
        policy = RetryPolicy(8, 2, (OSError,), (ValueError,))
        monkeypatch.setattr(vertex_generation, "vertex_generate", lambda *_: (self._generate, policy))

    async def _generate(self, request: GenerateRequest) -> Said:
        self.requests += 1
        right = self._answers[request.key]
        return Said(next(label for label in PHRASES if (label == right) != (request.key in self._wrong)))

    def run(
        self, folder: Path, rows: list[Example], wrong: set[str], **settings: Any
    ) -> tuple[list[Example], list[Example], HardExamplesReport]:
        """The reweighted rows, the marked validation rows and the report."""
        self._wrong, self._answers = wrong, {row.id: row.target for row in rows}
        folder.mkdir(exist_ok=True)
        names = ("train", "validation", "plan", "reweighted", "marked", "report")
        train, validation, plan, reweighted, marked, report = files = [str(folder / name) for name in names]
        write_examples(train, rows)
        write_examples(validation, examples(40, 9))
        PLAN.write(plan)
        config = sections()
        counts = reweight.run(
            *files, task=config["task"], evaluate=config["evaluate"], hard_examples=settings, vertex=config["vertex"]
        )
        document = HardExamplesReport.read(report)
        assert counts == {name: getattr(document, name) for name in counts}
        return list(read_examples(reweighted)), list(read_examples(marked)), document


@pytest.fixture
def step(client: Client, monkeypatch: pytest.MonkeyPatch) -> Step:
    return Step(monkeypatch)


def test_reweight_skips_planted_label_issues(step: Step, tmp_path: Path) -> None:
    planted = []
    for row in ROWS[:3]:
        lie = next(label for label in PHRASES if label != row.target)
        planted.append(Example(id=example_id(row.text, lie), text=row.text, target=lie))
    rows = [*planted, *ROWS[3:], *examples(90, 2)]
    really = {row.id for row in ROWS[10:20]}
    reweighted, _, report = step.run(tmp_path, rows, really | {row.id for row in planted}, target_share=0.3)
    copies = Counter(row.id for row in reweighted)
    assert report.label_issues >= 3
    assert [copies[row.id] for row in planted] == [1, 1, 1]
    assert set(report.hard_ids) <= really
    assert min(copies[identity] for identity in report.hard_ids) == report.max_repeats == 3


def test_reweight_finds_hard_rows_once(step: Step, tmp_path: Path) -> None:
    first, _, found = step.run(tmp_path / "a", ROWS, {ROWS[0].id, ROWS[1].id}, target_share=0.2)
    assert step.requests == 60
    assert (found.spent[0].kind, found.spent[0].stage) == ("train_probe", "actual")
    assert found.spent[0].tokens.expected == 60 * 6
    again, _, recorded = step.run(tmp_path / "b", ROWS, {ROWS[5].id}, target_share=0.2)
    assert step.requests == 60
    assert again == first
    assert recorded == found.model_copy(update={"spent": []})
    step.run(tmp_path / "c", ROWS, set(), target_share=0.25)
    assert step.requests == 120


def test_reweight_sends_no_request_without_a_target_share(step: Step, tmp_path: Path) -> None:
    reweighted, _, report = step.run(tmp_path, ROWS, {ROWS[0].id}, target_share=0.0)
    assert step.requests == 0
    assert [row.id for row in reweighted] == [row.id for row in ROWS]
    assert (report.hard_rows, report.spent) == (0, [])


def test_reweight_refuses_test_rows_before_the_first_request(step: Step, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="these are test rows"):
        step.run(tmp_path, [replace(row, split="test") for row in ROWS], set(), target_share=0.2)
    assert step.requests == 0


def test_reweight_marks_near_hard_validation_rows(step: Step, tmp_path: Path) -> None:
    rows = examples(90, 5)
    wrong = {row.id for row in rows if row.target == "refund"}
    reweighted, marked, report = step.run(tmp_path, rows, wrong, target_share=0.5, skip_label_issues=False)
    near = [row for row in marked if row.slices["near_hard"] == "yes"]
    assert len(near) == report.near_hard
    assert sum(row.target == "refund" for row in near) > 0.8 * len(near) > 0
    assert [row.id for row in marked] == [row.id for row in examples(40, 9)]
    assert not {row.id for row in near} & {row.id for row in reweighted}

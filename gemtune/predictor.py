# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ask what a run put into service as the run asked it, and abstain where it is not sure enough.

    from gemtune.predictor import Answerer

    answer = Answerer.of_run("runs/support/summary.json")
    for one in answer(["Where is my parcel?"]):
        print(one.text, one.value if not one.abstained else "for a person", one.confidence)

Text is cleaned by the rules training saw, prompt, sampling and reading are those of the evaluation, confidence
goes through the map and threshold fitted on validation rows. Where the service is comes from the environment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from gemtune.config import Evaluate, ModelVariant, Task, Vertex
from gemtune.data.cleaning import cleaner
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.calibration import apply_calibration
from gemtune.evaluation.evaluate import score_variant
from gemtune.evaluation.scorers import SampleScore
from gemtune.inference.generate import generate_all
from gemtune.inference.vertex_generation import vertex_generate


@dataclass(frozen=True)
class Prediction:
    """One text's answer: `text` as it was asked (cleaned), `value` read from the answer, None when it was unusable.

    `confidence` is the chance that it is right (by the map, where one was fitted), None when the run had none.
    `abstained` asks for a person: no usable answer, or a confidence below the threshold. `outcome` is ok, invalid,
    refusal, ...
    """

    text: str
    value: str | None
    confidence: float | None
    abstained: bool
    outcome: str


class Predictor:
    """Answers texts by the variant that a run put into service."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        """Takes what `report.recipe` made."""
        self.task = Task.of(recipe["task"])
        self.variant = ModelVariant.of(recipe["variant"])
        # One row without an answer is that row's own matter here.
        self.config = Evaluate.of({**recipe["generation"], "max_error_share": 1.0})
        self.train = [Example(**row) for row in recipe["train"]]
        self.clean = cleaner(recipe["cleaning"])

    @classmethod
    def of_run(cls, summary: str | Path) -> Self:
        """From a run's `summary.json`; raises `UserError` when it is none."""
        try:
            told = json.loads(Path(summary).read_text(encoding="utf-8"))
            return cls(told["outcome"]["recipe"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"this tells no way to ask: {error}", file=summary, remedy="name a run's summary") from None

    def __call__(self, texts: Sequence[str], vertex: Mapping[str, Any] | None = None) -> list[Prediction]:
        """An `Answered` per text, in order. `vertex` holds settings that the environment does not.

        Raises `UserError` when nobody can be asked at all.
        """
        # Nothing is scored: any reference will do that can be read.
        reference, lenient = (self.task.labels or ["{}"])[0], self.task.model_copy(update={"output_schema": {}})
        rows = [Example(str(i), self.clean(text), reference) for i, text in enumerate(texts)]
        generate, retry_policy = vertex_generate(self.config, Vertex.of({"project": self._project(), **(vertex or {})}))
        send = partial(generate_all, generate=generate, retry_policy=retry_policy)
        answers = score_variant(self.task, lenient, self.config, self.variant, rows, self.train, send)
        return [self._answered(one) for one in asyncio.run(answers)]

    def _project(self) -> str:
        parts = self.variant.model.split("/")
        return parts[1] if parts[0] == "projects" else ""

    def _answered(self, one: SampleScore) -> Prediction:
        made, stated = self.variant.calibration, one.confidence
        unsure = stated is not None and "abstain" in made and stated < made["abstain"]["confidence"]
        sure = None if stated is None else apply_calibration(made, [stated])[0]
        return Prediction(one.example.text, one.row.parsed, sure, unsure or one.row.parsed is None, one.outcome)

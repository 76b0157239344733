# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Predict with the variant that a run deployed, as it was evaluated, and abstain below the confidence threshold.

    from gemtune.predictor import Predictor

    predict = Predictor.of_run("runs/support/summary.json")
    for prediction in predict(["Where is my parcel?"]):
        print(prediction.text, "needs review" if prediction.abstained else prediction.value, prediction.confidence)

Texts are cleaned by the rules of the training data; prompt, sampling and parsing are those of the evaluation;
confidence is mapped and thresholded as fitted on validation rows. Project and location come from the environment.
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
from gemtune.data.cleaning import load_cleaner
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.calibration import apply_calibration
from gemtune.evaluation.scorers import SampleScore
from gemtune.evaluation.variant_scores import score_variant
from gemtune.inference.generate import generate_all
from gemtune.inference.vertex_generation import vertex_generate


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text: `text` after cleaning, and the parsed `value`, None if the answer is unusable.

    `confidence` is the probability that it is correct (calibrated if a map was fitted), None if the run had none.
    `abstained`: a person should decide, because the answer is unusable or the confidence is below the threshold.
    `outcome` is ok, invalid, refusal, ...
    """

    text: str
    value: str | None
    confidence: float | None
    abstained: bool
    outcome: str


class Predictor:
    """Predicts texts with the variant that a run deployed."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        """Create a predictor from the result of `report.recipe`."""
        self.task = Task.of(recipe["task"])
        self.variant = ModelVariant.of(recipe["variant"])
        # A failed request concerns only its own row here.
        self.config = Evaluate.of({**recipe["generation"], "max_error_share": 1.0})
        self.train = [Example(**row) for row in recipe["train"]]
        self.clean = load_cleaner(recipe["cleaning"])

    @classmethod
    def of_run(cls, summary: str | Path) -> Self:
        """The predictor of a run's `summary.json`; raises `UserError` if the file is not one."""
        try:
            document = json.loads(Path(summary).read_text(encoding="utf-8"))
            return cls(document["outcome"]["recipe"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"not a run summary with a recipe: {error}", file=summary, remedy="pass the summary.json of a run"
            ) from None

    def __call__(self, texts: Sequence[str], vertex: Mapping[str, Any] | None = None) -> list[Prediction]:
        """One `Prediction` per text, in order. `vertex` overrides settings of the environment.

        Raises `UserError` if the model cannot be called at all.
        """
        # Nothing is scored: any reference that can be parsed will do.
        reference, lenient = (self.task.labels or ["{}"])[0], self.task.model_copy(update={"output_schema": {}})
        rows = [Example(str(i), self.clean(text), reference) for i, text in enumerate(texts)]
        settings = Vertex.of({"project": self._project(), **(vertex or {})})
        generate, retry_policy = vertex_generate(self.config, settings)
        send = partial(generate_all, generate=generate, retry_policy=retry_policy)
        scores = score_variant(self.task, lenient, self.config, self.variant, rows, self.train, send)
        return [self._prediction(score) for score in asyncio.run(scores)]

    def _project(self) -> str:
        return self.variant.model.split("/")[1] if self.variant.is_tuned else ""

    def _prediction(self, score: SampleScore) -> Prediction:
        calibration, stated = self.variant.calibration, score.confidence
        unsure = stated is not None and "abstain" in calibration and stated < calibration["abstain"]["confidence"]
        confidence = None if stated is None else apply_calibration(calibration, [stated])[0]
        value = score.row.parsed
        return Prediction(score.example.text, value, confidence, unsure or value is None, score.outcome)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the steps share: a scripted answer, small splits, sections as plain dicts."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gemtune.artifacts.cost import CostForecast
from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.records import ChampionEntry
from gemtune.artifacts.tuning import BestPrompt, PriceList, TuningPlan
from gemtune.catalogue import merged
from gemtune.config import Config, ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example, example_id, write_examples

PHRASES = {
    "refund": ["money back", "refund please", "return my cash"],
    "delivery": ["where is my parcel", "late package", "shipping status"],
    "login": ["cannot sign in", "password lost", "account locked"],
}
TUNING_PRICES = {
    "gemini-3.1-flash-lite": {"price": {"train": 5.625}},
    "gemini-3.5-flash-lite": {"price": {"train": 9.375}},
    "gemini-3.5-flash": {"price": {"train": 33.75}},
}
FILLERS = ["the", "and", "a", "very", "really", "today", "please", "yesterday", "again", "now", "soon", "order"]


Said = partial(ModelOutput, finish_reason="STOP", input_tokens=5, output_tokens=1)
"""An answer of a model that a test scripts."""


NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


def entry(variant: ModelVariant, **fields: Any) -> ChampionEntry:
    """A variant in the champion's record; `fields` differ from those of a task to label."""
    task = Task(labels=sorted(PHRASES))
    own = {"since": NOW, "labels_since": NOW, "task": task, "generation": {}, "cleaning": {}, **fields}
    return ChampionEntry(variant=variant, **own)


def examples(count: int, seed: int) -> list[Example]:
    """Texts that say one of three things in passing."""
    rng, found = random.Random(seed), {}
    while len(found) < count:
        label = rng.choice(sorted(PHRASES))
        text = (
            f"{' '.join(rng.choices(FILLERS, k=5))} {rng.choice(PHRASES[label])} {' '.join(rng.choices(FILLERS, k=4))}"
        )
        found[text] = Example(id=example_id(text, label), text=text, target=label)
    return list(found.values())


def splits(folder: Path, train: int = 120, validation: int = 40, test: int = 60, seed: int = 1) -> list[str]:
    """Files of training, validation and test rows."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for offset, (name, count) in enumerate((("train", train), ("validation", validation), ("test", test))):
        paths.append(str(folder / f"{name}.jsonl"))
        write_examples(paths[-1], examples(count, 10 * seed + offset))
    return paths


def priced(config: Config) -> Config:
    """The configuration with tuning prices, which no source gives, under its own."""
    catalogue = merged({"models": TUNING_PRICES}, config.vertex.catalogue)
    return config.model_copy(update={"vertex": config.vertex.model_copy(update={"catalogue": catalogue})})


def sections(*overrides: str) -> dict[str, Any]:
    """A run's sections with a fast poll; `preference` is one of them in preference tuning only."""
    fixed = ["tune.poll_s=0.05", "plan.token_sample=8", "task.labels=[refund,delivery,login]"]
    config = priced(Config.load(None, [*fixed, *overrides]))
    found = {name: values for name, values in config.parameters().items() if isinstance(values, dict)}
    return found if config.method == "preference" else {k: v for k, v in found.items() if k != "preference"}


def write_plan(path: Path, settings: dict[str, Any]) -> ModelVariant:
    """Write a plan whose best prompt is the zero-shot prompt; returns that."""
    model = settings["evaluate"]["base_model"]
    prompt = ModelVariant(name="zero_shot", model=model)
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=BestPrompt(variant=prompt, score=Score(value=0.5, low=0.4, high=0.6)),
        detectable_lift=0.1,
        rows={"train": 120, "validation": 40, "test": 60},
        trials=[],
        prices=PriceList(base_model=model, models={model: {"train": 1.0, "input": 0.1, "output": 0.4}}),
        forecast=CostForecast.of([], 1.0),
        fingerprint="f",
    ).write(path)
    return prompt

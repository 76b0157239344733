# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""CPU seconds and memory of evaluation, gate and report on many test rows, with answers from a script.

    python bench/size.py [--rows 20000] [--labels 50] [--profile]

Prompt, candidate and champion answer each row, right in 80, 90 and 85 of 100 cases. The parts should grow as the rows
do: the second column is the same for half of them.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, record  # noqa: E402
from gemtune.artifacts.cost import CostForecast  # noqa: E402
from gemtune.artifacts.evaluation import EvaluationReport  # noqa: E402
from gemtune.artifacts.tuning import PriceList, Selection, TuningPlan  # noqa: E402
from gemtune.config import ModelVariant  # noqa: E402
from gemtune.contents import ModelOutput  # noqa: E402
from gemtune.data.example import Example, read_examples, write_examples  # noqa: E402
from gemtune.evaluation import pairwise  # noqa: E402
from gemtune.evaluation.evaluator import Dataset  # noqa: E402
from gemtune.evaluation.predictions import read_predictions  # noqa: E402
from gemtune.inference import vertex_generation  # noqa: E402
from gemtune.inference.generate import GenerateRequest, RetryPolicy  # noqa: E402
from gemtune.steps import evaluate, gate, report_page  # noqa: E402
from gemtune.steps.context import StepContext  # noqa: E402

MODEL = "gemini-2.5-flash"
RIGHT = {"zero_shot": 0.8, "t@2": 0.9, "champion": 0.85}
ROLES: dict[str, Any] = {"zero_shot": "baseline", "t@2": "candidate", "champion": "champion"}
WORDS = [f"word{n}" for n in range(3000)]


def rows(count: int, labels: list[str], seed: int) -> list[Example]:
    """Texts of twelve words, one of which names the label."""
    rng, drawn = random.Random(seed), []
    for number in range(count):
        label = rng.choice(labels)
        text = " ".join([f"about {label}", *rng.choices(WORDS, k=11)])
        drawn.append(Example(f"{seed}-{number}", text, label, number + 1, slices={"channel": rng.choice("abc")}))
    return drawn


def answers(labels: list[str], test: list[Example]) -> Callable[[GenerateRequest], Any]:
    """Scripted answers: a variant's model is its name."""
    known = {example.id: example.target for example in test}

    async def generate(request: GenerateRequest) -> ModelOutput:
        target, rng = known[request.key], random.Random(f"{request.model} {request.key}")
        right = rng.random() < RIGHT[request.model]
        return ModelOutput(target if right else rng.choice(labels), "STOP", input_tokens=80, output_tokens=3)

    return generate


def measured(count: int, label_count: int) -> dict[str, float]:
    """CPU seconds by part."""
    labels = [f"label-{n:03}" for n in range(label_count)]
    variants = [ModelVariant(name=name, model=name, role=role, base_model=MODEL) for name, role in ROLES.items()]
    settings: dict[str, Any] = {
        "task": {"labels": labels},
        "evaluate": {"base_model": MODEL},
        "vertex": {"project": "p"},
    }
    taken: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        begun = time.process_time()
        result = call()
        taken[name] = time.process_time() - begun
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = {
            name: str(Path(folder, name)) for name in ("train", "test", "said", "tested", "plan", "chosen", "decision")
        }
        write_examples(path["train"], rows(3000, labels, 1))
        write_examples(path["test"], rows(count, labels, 2))
        train, test = list(read_examples(path["train"])), list(read_examples(path["test"]))
        policy = RetryPolicy(64, 2, (OSError,), (ValueError,))
        scripted = patch.object(vertex_generation, "vertex_generate", lambda *_: (answers(labels, test), policy))
        dataset = Dataset("test", test, pairwise.final_pairings, free_baselines=True, answers=path["said"])
        with scripted:
            evaluation = timed("evaluate", lambda: StepContext(settings).evaluator.evaluate(dataset, train, variants))
        timed("write", lambda: evaluate.write(evaluation, path["said"], path["tested"], []))
        prices = PriceList(base_model=MODEL, models={MODEL: {"input": 0.1, "output": 0.4}})
        TuningPlan(
            should_tune=True, reasons=[], metric="accuracy", best_prompt=None, detectable_lift=0.1, rows={}, trials=[],
            prices=prices, forecast=CostForecast.of([], 1.0), fingerprint="",
            baselines=EvaluationReport.read(path["tested"]).model_copy(update={"variants": []}),
        ).write(path["plan"])  # fmt: skip
        Selection(
            metric="accuracy", reason="", best_prompt=variants[0], candidate=variants[1], champion=variants[2]
        ).write(path["chosen"])  # fmt: skip
        files = (path["said"], path["chosen"], path["plan"], path["tested"], path["decision"])
        timed("gate", lambda: gate.run(*files, task=settings["task"], gate={}))
        answered = read_predictions(path["said"], "test")
        timed(
            "report: rows", lambda: report_page.changes(["t@2", variants[0].name], "accuracy", answered, test).packed()
        )
        tested = EvaluationReport.read(path["tested"])
        timed("report: confusions", lambda: [v.confusion.mistakes for v in tested.variants if v.confusion])
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=50)
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    arguments = parser.parse_args()
    half = measured(arguments.rows // 2, arguments.labels)
    profile = cProfile.Profile()
    if arguments.profile:
        profile.enable()
    whole = measured(arguments.rows, arguments.labels)
    profile.disable()
    print(
        f"| part | {arguments.rows} rows, CPU s | {arguments.rows // 2} rows, CPU s | ratio |\n"
        "| --- | --- | --- | --- |"
    )
    for name in whole:
        print(f"| {name} | {whole[name]:.2f} | {half[name]:.2f} | {whole[name] / max(half[name], 1e-3):.1f} |")
    record(
        Figure(
            name=f"evaluation, gate and report of {arguments.rows} test rows", value=sum(whole.values()), unit="CPU s"
        )
    )
    print(f"| all | {sum(whole.values()):.1f} | {sum(half.values()):.1f} | |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()

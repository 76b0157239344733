# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Is the gate honest? Simulated runs with a known truth, through the very `gate.decide` a pipeline calls.

Equal models must pass no more often than stated ((1 - confidence_level) / 2 = 2.5 %), a model better by twice the
smallest detectable lift with 80 % power, and intervals must hold the truth as often as they say. Prints a
table, writes a plot, and exits 1 when a promise is broken.

    python bench/gate_honesty.py [--runs 2000] [--plot build/gate_honesty.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation.comparison import CompareByMetric
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.intervals import interval, mean, paired, smallest_detectable_lift, wilson
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import ScoredVariant

SIZES = (50, 100, 200, 500, 1000)
DISAGREEMENTS = (0.05, 0.1, 0.2, 0.35)
MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)


def scripted(
    role: Literal["baseline", "candidate"],
    labels: np.ndarray,
    correct: np.ndarray,
    names: list[str],
    rng: np.random.Generator,
) -> ScoredVariant:
    """A scripted model: correct on the rows marked so, else another label by chance."""
    wrong = (labels + rng.integers(1, len(names), len(labels))) % len(names)
    predicted = np.where(correct, labels, wrong)
    rows = [Row(names[a], names[b], names[b], names[a]) for a, b in zip(labels, predicted, strict=True)]
    count = len(rows)
    variant = ModelVariant(name=role, model="scripted", role=role)
    return ScoredVariant(variant, rows, ["ok"] * count, [0.1] * count, [1] * count, [1] * count)


def outcomes(
    rows: int, disagreement: float, lift: float, both: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows correct for baseline and candidate, by share of disagreement, true lift, and share correct for both."""
    win, loss = (disagreement + lift) / 2, (disagreement - lift) / 2
    drawn = rng.choice(4, rows, p=[both, win, loss, 1 - both - win - loss])
    return (drawn == 0) | (drawn == 2), (drawn == 0) | (drawn == 1)


def correct_for_both(disagreement: float, rng: np.random.Generator) -> float:
    """A share of rows that both models answer correctly."""
    return float((1 - disagreement) * rng.uniform(0.5, 0.95))


@dataclass(frozen=True)
class Run:
    """One simulated run: its test rows and classes, whether it passed, and which rules failed."""

    rows: int
    classes: int
    passed: bool
    failed: list[str]


def one_run(rows: int, disagreement: float, lift: float, metric: str, seed: int) -> Run:
    """One simulated run of varied classes through the gate."""
    rng = np.random.default_rng(seed)
    # a model not clearly better than the majority class fails for that, which is not what is measured here
    while True:
        names = [f"class {i}" for i in range(int(rng.integers(2, 12)))]
        shares, both = rng.dirichlet(np.ones(len(names)) * 3), correct_for_both(disagreement, rng)
        accuracy, majority = both + (disagreement + lift) / 2, float(shares.max())
        differing = accuracy + majority - 2 * accuracy * majority
        if accuracy >= majority + 1.5 * smallest_detectable_lift(rows, differing):
            break
    labels = rng.choice(len(names), rows, p=shares)
    baseline, candidate = outcomes(rows, disagreement, lift, both, rng)
    pair = [
        scripted("baseline", labels, baseline, names, rng),
        scripted("candidate", labels, candidate, names, rng),
    ]
    config = Gate(resamples=1000, metric=metric, seed=seed)
    task, evidence = Task(labels=names), Evidence(pair, [None] * rows)
    decision = decide(task, config, evidence, lambda gate, groups: CompareByMetric(task, gate, metric, groups))
    return Run(rows, len(names), decision.passed, [rule.name for rule in decision.rules if not rule.passed])


def simulated(runs: int, multiple: float, metric: str) -> list[Run]:
    """Runs whose true lift is so many times the smallest detectable one."""
    found = []
    for seed in range(runs):
        rng = np.random.default_rng([seed, 9])
        rows, disagreement = int(rng.choice(SIZES)), float(rng.choice(DISAGREEMENTS))
        if multiple:  # a lift cannot exceed the disagreement
            while multiple * smallest_detectable_lift(rows, disagreement) > disagreement:
                rows, disagreement = int(rng.choice(SIZES)), float(rng.choice(DISAGREEMENTS))
        found.append(one_run(rows, disagreement, multiple * smallest_detectable_lift(rows, disagreement), metric, seed))
    return found


def rate(found: Sequence[Run]) -> float:
    """Share that passed."""
    return sum(run.passed for run in found) / len(found)


def cells(found: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by test rows, and by number of classes."""
    parts: dict[str, list[Run]] = {}
    for run in found:
        parts.setdefault(f"{run.rows} rows", []).append(run)
        parts.setdefault("2 to 4 classes" if run.classes < 5 else "5 to 11 classes", []).append(run)
    return dict(sorted(parts.items(), key=lambda item: (len(item[0].split()[1]), int(item[0].split()[0]))))


def coverage(runs: int) -> dict[str, float]:
    """How often 95 % intervals hold the truth: a proportion, a mean of scores, a paired difference."""
    held = dict.fromkeys(
        ("Wilson, proportion", "bootstrap, mean score", "bootstrap, mean score in groups of 5", "paired"), 0
    )
    for seed in range(runs):
        rng = np.random.default_rng([seed, 5])
        rows, share = int(rng.choice(SIZES[1:])), float(rng.uniform(0.55, 0.95))
        found = wilson(int(rng.binomial(rows, share)), rows)
        held["Wilson, proportion"] += found.low <= share <= found.high
        found = interval(mean(rng.beta(4, 2, rows)), resamples=1000, seed=seed)
        held["bootstrap, mean score"] += found.low <= 2 / 3 <= found.high
        scores = np.repeat(rng.beta(4, 2, rows // 5), 5)
        groups = [str(i // 5) for i in range(len(scores))]
        found = interval(mean(scores), resamples=1000, seed=seed, groups=groups)
        held["bootstrap, mean score in groups of 5"] += found.low <= 2 / 3 <= found.high
        baseline, candidate = outcomes(rows, 0.2, 0.05, correct_for_both(0.2, rng), rng)
        both = paired(mean(candidate.astype(float)), mean(baseline.astype(float)), resamples=1000, seed=seed)
        held["paired"] += both.low <= 0.05 <= both.high
    return {name: count / runs for name, count in held.items()}


def plot(path: Path, rates: dict[str, list[float]]) -> None:
    """Pass rate against the true lift."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    for metric, values in rates.items():
        axes.plot(MULTIPLES[: len(values)], values, marker="o", label=metric)
    axes.axhline(0.025, color="grey", linestyle=":", label="stated for equal models: 2.5 %")
    axes.axhline(0.8, color="grey", linestyle="--", label="80 %")
    axes.set(xlabel="true lift / smallest detectable lift", ylabel="share of runs that pass", ylim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> int:
    """Run the simulations; 0 when every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--plot", type=Path, default=Path("build/gate_honesty.png"))
    arguments = parser.parse_args()
    start = perf_counter()
    runs = {multiple: simulated(arguments.runs, multiple, "accuracy") for multiple in MULTIPLES}
    rates = {"accuracy": [rate(found) for found in runs.values()]}
    rates["macro_f1"] = [rate(simulated(max(100, arguments.runs // 4), 0.0, "macro_f1"))]
    print(
        f"{arguments.runs} runs (macro_f1: a quarter); test rows {SIZES}, disagreement {DISAGREEMENTS}, 2 to 11 classes"
    )
    for metric, values in rates.items():
        by_multiple = ", ".join(f"{m:g}x: {v:.1%}" for m, v in zip(MULTIPLES, values, strict=False))
        print(f"passes at a true lift of ... smallest detectable ({metric}): {by_multiple}")
    equal, twice = cells(runs[0.0]), cells(runs[2.0])
    for name, part in equal.items():
        power = f"{rate(twice[name]):.1%} of {len(twice[name])}" if name in twice else "no run: it would exceed 35 %"
        print(f"{name}: equal models pass {rate(part):.1%} of {len(part)}; at twice the detectable lift {power}")
    constant, prompt = (sum(f"lift_over_{name}" in run.failed for run in runs[2.0]) for name in ("constant", "prompt"))
    print(f"stopped at twice the detectable lift: {constant} by the lift over a constant, {prompt} over the prompt")
    covered = coverage(arguments.runs)
    for name, share in covered.items():
        print(f"95 % interval holds the truth ({name}): {share:.1%}")
    plot(arguments.plot, rates)
    noise = 3 * (0.05 * 0.95 / arguments.runs) ** 0.5
    kept = (
        all(values[0] <= 0.025 + noise for values in rates.values())
        and all(rate(part) <= 0.025 + 3 * (0.025 * 0.975 / len(part)) ** 0.5 for part in equal.values())
        and all(rate(part) >= 0.8 for part in twice.values() if len(part) >= 50)
        and all(share >= 0.95 - 0.015 - noise for share in covered.values())
    )
    print(f"promises {'kept' if kept else 'BROKEN'}; {perf_counter() - start:.0f} s; plot: {arguments.plot}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

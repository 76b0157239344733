# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Planted curves get the diagnosis they were planted with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemtune.tuning.loss_diagnostics import diagnose_loss

Series = dict[str, list[tuple[int, float]]]
PER_KIND, REQUIRED = 200, 0.95


def planted(kind: str, rng: np.random.Generator) -> Series:
    """A noisy job of 30 to 300 steps, validated 4 to 10 times."""
    steps, checks = int(rng.integers(30, 300)), int(rng.integers(4, 11))
    t = np.arange(1, steps + 1) / steps
    start = rng.uniform(11.5, 20) if kind == "data_problem" else rng.uniform(1, 5)
    floor = rng.uniform(0.02, 0.4) * start
    speed = rng.uniform(0.5, 1.8) if kind == "undertrained" else rng.uniform(5, 9)
    train = floor + (start - floor) * np.exp(-speed * t)
    validation = train + 0.05 * start
    if kind == "overfitting":
        validation = validation + rng.uniform(0.3, 1.0) * start * np.maximum(0, t - rng.uniform(0.2, 0.5))
    if kind == "diverged":
        train = train + rng.uniform(2, 5) * start * np.maximum(0, t - rng.uniform(0.3, 0.6))
        validation = train * 1.1
    noise = rng.uniform(0, 0.03 if kind == "data_problem" else 0.05) * start
    train = train + rng.normal(0, noise, steps)
    validation = validation + rng.normal(0, noise / 4, steps)
    at = np.round(np.arange(1, checks + 1) / checks * steps).astype(int)
    return {
        "/train_total_loss": [(i + 1, float(v)) for i, v in enumerate(train)],
        "/eval_total_loss": [(int(i), float(validation[i - 1])) for i in at],
    }


@pytest.mark.parametrize("kind", ["fine", "undertrained", "overfitting", "data_problem", "diverged"])
def test_diagnose_separates_noisy_planted_curves(kind: str) -> None:
    rng = np.random.default_rng(20261120)
    found = [diagnose_loss(planted(kind, rng)).kind for _ in range(PER_KIND)]
    assert found.count(kind) >= REQUIRED * PER_KIND, {k: found.count(k) for k in set(found)}


def line(*values: float) -> list[tuple[int, float]]:
    return list(enumerate(values, 1))


def test_diagnose_overfitting_names_the_epoch_to_stop_at() -> None:
    falling = [3 * 0.6**n for n in range(10)]
    found = diagnose_loss({"/train_total_loss": line(*falling), "/eval_total_loss": line(2, 1.2, 1.0, 1.3, 1.6, 1.9)})
    assert found.kind == "overfitting"
    assert found.epoch_factor == pytest.approx(0.5)
    assert "lowest (1) 50% of the way and rose to 1.9" in found.evidence


def test_diagnose_dropped_rows_as_a_data_problem() -> None:
    series = planted("fine", np.random.default_rng(1))
    assert diagnose_loss(series, dropped=1, rows=200, reasons=["too long"]).kind == "fine"
    found = diagnose_loss(series, dropped=20, rows=200, reasons=["too long"] * 19 + ["no text"])
    assert found.kind == "data_problem"
    assert found.evidence == "the service dropped 20 of 200 training rows: 19 x too long; 1 x no text"


def test_diagnose_one_falling_epoch_as_undertrained() -> None:
    noise = np.random.default_rng(3).normal(0, 0.3, 24)  # as the student's, tuned for one epoch
    train = [(n, 5.9 - 0.1 * n + float(noise[n])) for n in range(24)]
    assert diagnose_loss({"/train_total_loss": train, "/eval_total_loss": [(23, 3.7)]}).kind == "undertrained"


def test_diagnose_memorized_rows_as_overfitting() -> None:
    train = [(n, 6.4 * math.exp(-n / 4)) for n in range(60)]
    rise = [0.507, 0.418, 0.488, 0.482, 0.478, 0.476, 0.481, 0.481, 0.48, 0.476]  # the student's, 50 epochs on 72 rows
    found = diagnose_loss({"/train_total_loss": train, "/eval_total_loss": [(6 * n, v) for n, v in enumerate(rise)]})
    assert (found.kind, found.epoch_factor) == ("overfitting", pytest.approx(0.2))


STUDENT = [json.loads(line) for line in Path(__file__).with_name("student_curves.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("job", STUDENT, ids=lambda job: f"{job['kind']}-{job['training_rows']}x{job['epochs']}")
def test_diagnose_real_curves_correctly(job: dict[str, Any]) -> None:
    """Jobs of the student as `bench/tuning.py --only curves` runs them: validated on 24 rows or so, which jump."""
    found = diagnose_loss(job["series"])
    assert found.kind == job["kind"], found.evidence


def test_diagnose_single_validation_jump_is_not_overfitting() -> None:
    """The same jumps, with training loss not far below: the rows are not known by heart, so nothing is shown."""
    jumps = [0.349, 0.241, 0.142, 0.221, 0.368, 0.159, 0.259, 0.245, 0.238, 0.238]
    train = [(n, 0.1 + 6 * math.exp(-n / 3)) for n in range(60)]
    assert diagnose_loss({"/train_total_loss": train, "/eval_total_loss": line(*jumps)}).kind == "fine"


def test_diagnose_nan_loss_as_diverged() -> None:
    assert diagnose_loss({"/train_total_loss": line(2, 1, math.nan, math.nan)}).kind == "diverged"
    assert diagnose_loss({"/train_total_loss": line(math.nan)}).kind == "diverged"


def test_diagnose_flat_loss_suggests_a_larger_rate() -> None:
    found = diagnose_loss({"/train_total_loss": line(*[2.0] * 20), "/eval_total_loss": line(2.0, 2.0, 2.0)})
    assert (found.kind, found.rate_factor) == ("undertrained", 5.0)


def test_diagnose_reads_preference_metrics() -> None:
    train = [0.693 * math.exp(-n / 4) for n in range(40)]
    found = diagnose_loss(
        {"/preference_optimization_train_loss": line(*train), "/eval_total_loss": line(0.6, 0.5, 0.9, 1.4)}
    )
    assert found.kind == "overfitting"


def test_diagnose_job_without_metrics_as_unknown() -> None:
    assert diagnose_loss({}).kind == "unknown"
    assert diagnose_loss({"/train_total_loss": [], "/eval_total_loss": line(1.0)}).kind == "unknown"


def test_diagnose_without_validation_is_not_fine() -> None:
    found = diagnose_loss({"/train_total_loss": line(*[0.1 + 2 * math.exp(-n / 5) for n in range(50)])})
    assert (found.kind, found.action) == ("unknown", "give a validation set")


points = st.lists(
    st.tuples(st.integers(0, 1000), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=40
)


@given(points, points)
@example([(0, 0.0)], [(0, 0.0), (0, 0.0), (0, 1.0), (1, 0.0)])  # ends where it began, after a peak
def test_diagnose_accepts_any_curve(train: list[tuple[int, float]], validation: list[tuple[int, float]]) -> None:
    found = diagnose_loss({"/train_total_loss": train, "/eval_total_loss": validation})
    assert found.evidence
    assert found.action
    assert 0 < found.epoch_factor <= 2


@given(st.floats(0.1, 9.0), st.permutations(range(30)))
def test_diagnose_ignores_the_order_of_points(start: float, order: list[int]) -> None:
    values = [(n, start * math.exp(-n / 6)) for n in range(30)]
    shuffled = [values[n] for n in order]
    assert diagnose_loss({"/train_total_loss": values}) == diagnose_loss({"/train_total_loss": shuffled})

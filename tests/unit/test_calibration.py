# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration: planted miscalibration is found and undone, thresholds keep their promise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from gemtune.evaluation.calibration import (
    abstain_threshold,
    apply_calibration,
    brier,
    coverage_curve,
    ece,
    fit,
    fit_calibration,
    reliability,
    summarize,
    validate_map,
)

pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def planted(rows: int, seed: int, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and stated confidence of an overconfident model (temperature above 1), and whether it was right."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(0.3, 0.98, rows)
    odds = np.log(true / (1 - true)) * temperature
    return true, 1 / (1 + np.exp(-odds)), (rng.random(rows) < true).astype(float)


@given(pairs)
def test_ece_and_brier_agree_with_slow_references(found):
    confidence, right = [c for c, _ in found], [float(r) for _, r in found]
    slow = 0.0
    for i in range(10):
        inside = [(c, r) for c, r in found if (i / 10 < c <= (i + 1) / 10) or (i == 0 and c == 0)]
        slow += abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) / len(found)
    near_edges = any(abs(c * 10 - round(c * 10)) < 1e-9 for c in confidence)
    if not near_edges:
        assert ece(confidence, right).value() == pytest.approx(slow, abs=1e-9)
    assert brier(confidence, right).value() == pytest.approx(np.mean((np.array(confidence) - right) ** 2))
    if len(set(right)) == 2:
        assert brier(confidence, right).value() == pytest.approx(brier_score_loss(right, confidence), abs=1e-9)


def test_reliability_agrees_with_scikit_learn():
    _, stated, right = planted(2000, 0, 2.0)
    table = reliability(stated, right)
    accuracy, confidence = calibration_curve(right, stated, n_bins=10)
    np.testing.assert_allclose([b.accuracy for b in table], accuracy)
    np.testing.assert_allclose([b.confidence for b in table], confidence)
    assert sum(b.rows for b in table) == 2000


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_fit_corrects_planted_overconfidence_on_new_rows(method):
    _, stated, right = planted(3000, 1, 2.5)
    true, fresh, fresh_right = planted(3000, 2, 2.5)
    assert ece(fresh, fresh_right).value() > 0.07
    mended = fit(stated, right, method)(fresh)
    assert ece(mended, fresh_right).value() < 0.03
    assert np.abs(mended - true).mean() < 0.03
    assert brier(mended, fresh_right).value() < brier(fresh, fresh_right).value()


def test_fit_leaves_a_calibrated_model_unchanged():
    _, stated, right = planted(4000, 3, 1.0)
    assert ece(stated, right).value() < 0.03
    np.testing.assert_allclose(fit(stated, right, "temperature")([0.3, 0.6, 0.9]), [0.3, 0.6, 0.9], atol=0.03)


def test_fit_is_the_identity_for_one_sided_rows():
    assert fit([0.2, 0.9], [1, 1]).method == "identity"


def test_coverage_curve_falls_with_precision():
    curve = coverage_curve([0.9, 0.5, 0.9, 0.1], [1, 0, 1, 1])
    assert curve == [
        {"confidence": 0.9, "coverage": 0.5, "accuracy": 1.0},
        {"confidence": 0.5, "coverage": 0.75, "accuracy": pytest.approx(2 / 3)},
        {"confidence": 0.1, "coverage": 1.0, "accuracy": 0.75},
    ]


def test_abstain_threshold_reaches_the_target_precision():
    """On fresh rows the accuracy above the threshold falls short no more often than 1 - certainty (plus noise)."""
    broken = found = 0
    for seed in range(300):
        true, stated, right = planted(1000, seed, 2.0)
        chosen = abstain_threshold(stated, right, target_accuracy=0.85, certainty=0.95)
        if chosen is not None:
            found += 1
            broken += true[stated >= chosen.confidence].mean() < 0.85
    assert found > 200
    assert broken / 300 <= 0.08


def test_abstain_threshold_is_none_below_the_target():
    assert abstain_threshold([0.9] * 50, [1, 0] * 25, target_accuracy=0.9) is None
    assert abstain_threshold([0.9] * 5, [1] * 5, target_accuracy=0.9) is None  # five right rows prove nothing
    everything = abstain_threshold([0.5] * 100, [1] * 100, target_accuracy=0.9)
    assert everything is not None
    assert (everything.coverage, everything.accuracy) == (1.0, 1.0)


def test_summary_holds_plain_values():
    _, stated, right = planted(1000, 4, 1.5)
    summary = summarize(list(stated), list(right), level=0.95)
    assert summary["ece"]["low"] <= summary["ece"]["value"] + 0.02
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_exported_map_holds_on_test_rows(method):
    _, stated, right = planted(1500, 5, 2.5)
    made = fit_calibration(list(stated), list(right), method=method, target_accuracy=0.8, certainty=0.95)
    assert json.loads(json.dumps(made)) == made
    assert len(made["map"]["stated"]) <= 201
    _, fresh, fresh_right = planted(1500, 6, 2.5)
    raw = summarize(list(fresh), list(fresh_right), level=0.95)
    summary = validate_map(made, list(fresh), list(fresh_right), level=0.95)
    assert summary["ece"]["high"] < raw["ece"]["low"]
    assert summary["abstain"]["target_accuracy"] == 0.8
    assert summary["abstain"]["accuracy_low"] <= summary["abstain"]["accuracy"]
    assert summary["abstain"]["accuracy"] > 0.78
    assert apply_calibration({}, [0.25]) == [0.25]


def test_exported_map_has_no_unproven_threshold():
    made = fit_calibration([0.9] * 50, [1.0, 0.0] * 25, method="isotonic", target_accuracy=0.9, certainty=0.95)
    assert "abstain" not in made
    assert "abstain" not in validate_map(made, [0.9] * 4, [1, 0, 1, 0], level=0.95)

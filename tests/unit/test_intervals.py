# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals against slow references, known values and their own promises."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gemtune.evaluation import intervals
from gemtune.evaluation.intervals import (
    MCNEMAR,
    PERMUTATION,
    Measure,
    holm,
    interval,
    mcnemar,
    mean,
    paired,
    rows_needed,
    smallest_detectable_lift,
    wilson,
)


@given(st.integers(0, 300), st.integers(1, 300), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_the_published_formula(successes, rows, level):
    """Wilson 1927, written out."""
    successes = min(successes, rows)
    z, share = stats.norm.ppf((1 + level) / 2), successes / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    interval = wilson(successes, rows, level)
    assert (interval.low, interval.high) == pytest.approx((max(0.0, middle - half), min(1.0, middle + half)), abs=1e-9)
    assert 0 <= interval.low <= interval.value == share <= interval.high <= 1


def test_wilson_without_rows_is_zero_to_one():
    assert wilson(0, 0) == intervals.Interval(0, 0, 1)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_twice_the_smaller_binomial_tail(wins, losses):
    """McNemar 1947 in its exact form: the sum of the tail's binomial probabilities, in whole numbers."""
    tail = sum(comb(wins + losses, k) for k in range(min(wins, losses) + 1))
    assert mcnemar(wins, losses) == pytest.approx(min(1.0, 2 * tail / 2 ** (wins + losses)), abs=1e-9)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_agrees_with_its_definition(p_values):
    adjusted = holm(p_values)
    for i, p in enumerate(p_values):
        order = sorted(range(len(p_values)), key=lambda k: p_values[k])
        rank = order.index(i)
        slow = max(min(1.0, (len(p_values) - k) * p_values[order[k]]) for k in range(rank + 1))
        assert adjusted[i] == pytest.approx(slow)
        assert adjusted[i] >= p


def test_smallest_detectable_lift_matches_the_table():
    table = [[round(100 * smallest_detectable_lift(n, d), 1) for d in (0.05, 0.1, 0.2)] for n in (100, 500, 2000)]
    assert table == [[6.3, 8.9, 12.5], [2.8, 4.0, 5.6], [1.4, 2.0, 2.8]]
    assert rows_needed(smallest_detectable_lift(500, 0.1), 0.1) == pytest.approx(500, abs=1)


def test_interval_pooled_resampling_is_the_plain_bootstrap():
    rng = np.random.default_rng(0)
    scores = rng.random(80).round(1)
    fast = interval(mean(scores), resamples=20_000)
    plain = scores[rng.integers(0, 80, (20_000, 80))].mean(axis=1)
    assert (fast.low, fast.high) == pytest.approx(tuple(np.quantile(plain, (0.025, 0.975))), abs=0.006)
    assert fast.value == pytest.approx(scores.mean())


def test_interval_draws_groups_together():
    rng = np.random.default_rng(1)
    groups = [str(i // 10) for i in range(200)]
    scores = np.repeat(rng.random(20), 10)
    alone, together = interval(mean(scores)), interval(mean(scores), groups=groups)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    by_group = scores.reshape(20, 10).mean(axis=1)
    plain = by_group[rng.integers(0, 20, (20_000, 20))].mean(axis=1)
    assert (together.low, together.high) == pytest.approx(tuple(np.quantile(plain, (0.025, 0.975))), abs=0.02)


def test_interval_ignores_groups_of_one():
    scores = [0.0, 0.5, 1.0, 1.0] * 10
    assert interval(mean(scores), groups=[None] * 40) == interval(mean(scores))


def test_interval_covers_at_its_stated_rate():
    rng, covered = np.random.default_rng(2), 0
    for i in range(400):
        found = interval(mean(rng.beta(2, 5, 100)), resamples=600, seed=i)
        covered += found.low <= 2 / 7 <= found.high
    assert 0.91 <= covered / 400 <= 0.98


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_uses_the_exact_test_for_binary_scores(pairs):
    left, right = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    found = paired(mean(left), mean(right), resamples=1000)
    wins = sum(a and not b for a, b in pairs)
    losses = sum(b and not a for a, b in pairs)
    assert (found.wins, found.losses) == (wins, losses)
    assert found.delta == pytest.approx((wins - losses) / len(pairs))
    assert found.p_value == pytest.approx(mcnemar(wins, losses))
    assert found.disagreement == pytest.approx((wins + losses) / len(pairs))
    assert found.low <= found.delta + 1e-9
    assert found.high >= found.delta - 1e-9


@pytest.mark.parametrize(
    ("scores", "groups", "test"),
    [
        ([1.0, 0.0, 1.0, 1.0], None, MCNEMAR),
        ([1.0, 0.0, 1.0, 1.0], ["g", "g", None, None], PERMUTATION),
        ([1.0, 0.5, 1.0, 1.0], None, PERMUTATION),
    ],
)
def test_paired_names_the_test_behind_the_p_value(scores, groups, test):
    assert paired(mean(scores), mean([0.0, 1.0, 0.0, 1.0]), resamples=1000, groups=groups).test == test


def test_paired_permutation_test_agrees_with_scipy():
    rng = np.random.default_rng(3)
    left, right = rng.random(40), rng.random(40) + 0.1
    ours = paired(mean(left), mean(right), resamples=20_000).p_value
    theirs = stats.permutation_test(
        (left, right), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=20_000, rng=4
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)


def test_interval_accepts_any_formula_of_sums():
    rng = np.random.default_rng(4)
    sums = rng.random((100, 2)) + 0.5
    ratio = Measure(sums, lambda totals: totals[..., 0] / totals[..., 1])
    found = interval(ratio, resamples=4000)
    index = rng.integers(0, 100, (4000, 100))
    plain = sums[index, 0].sum(axis=1) / sums[index, 1].sum(axis=1)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(plain, (0.025, 0.975))), abs=0.01)


def test_paired_refuses_unequal_rows():
    with pytest.raises(ValueError, match="equal rows"):
        paired(mean([1.0]), mean([1.0, 0.0]))


def test_interval_is_determined_by_its_seed():
    scores = list(np.random.default_rng(5).random(50))
    assert interval(mean(scores), seed=1) == interval(mean(scores), seed=1)
    assert interval(mean(scores), seed=1) != interval(mean(scores), seed=2)

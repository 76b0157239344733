# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals against slow references, known values and their own promises."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar

from gemtune.artifacts.evaluation import Score
from gemtune.evaluation.intervals import (
    MCNEMAR,
    PERMUTATION,
    SIGN_TEST,
    Measure,
    exact_p_value,
    holm,
    interval,
    is_above,
    mcnemar,
    mean,
    paired,
    rows_needed,
    smallest_detectable_lift,
    tango,
    wilson,
)
from gemtune.evaluation.metrics import LabelSets, f1


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
    assert wilson(0, 0) == Score(value=0, low=0, high=1)


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


def test_interval_of_a_mean_is_students_with_the_rows_of_agresti_and_coull():
    scores = np.random.default_rng(0).random(80).round(1)
    t = stats.t.ppf(0.975, 79)
    half = t * np.sqrt(scores.var(ddof=1) / 80 + (t / 80) ** 2)
    ours = interval(mean(scores))
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (scores.mean(), scores.mean() - half, scores.mean() + half)
    )


def test_interval_counts_a_group_as_one_observation():
    rng = np.random.default_rng(1)
    groups = [str(i // 10) for i in range(200)]
    scores = np.repeat(rng.random(20), 10)
    alone, together = interval(mean(scores)), interval(mean(scores), groups=groups)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    by_group, t = scores.reshape(20, 10).mean(axis=1), stats.t.ppf(0.975, 19)
    half = t * np.sqrt(by_group.var(ddof=1) / 20 + (t / 20) ** 2)
    assert (together.low, together.high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_interval_ignores_groups_of_one():
    scores = [0.0, 0.5, 1.0, 1.0] * 10
    assert interval(mean(scores), groups=[None] * 40) == interval(mean(scores))


def macro_f1(rng, rows):
    """Macro F1 of three classes of uneven size with 15 % wrong rows, and the same for a second model."""
    labels = rng.choice(3, rows, p=[0.55, 0.3, 0.15])
    measures = []
    for _ in range(2):
        predicted = np.where(rng.random(rows) < 0.15, (labels + rng.integers(1, 3, rows)) % 3, labels)
        measures.append(f1(LabelSets([], np.eye(3)[labels], np.eye(3)[predicted]), macro=True))
    return measures


@pytest.mark.parametrize("rows", [60, 150])
def test_interval_covers_at_its_stated_rate(rows):
    """At least 95 %, binomial error aside, at small sizes too."""
    rng, runs, covered = np.random.default_rng(2), 150, dict.fromkeys(("scores", "macro F1", "difference"), 0)
    truth = macro_f1(np.random.default_rng(1), 200_000)[0].value()
    for _ in range(runs):
        scores, (left, right) = interval(mean(rng.beta(2, 5, rows))), macro_f1(rng, rows)
        covered["scores"] += scores.low <= 2 / 7 <= scores.high
        alone, difference = interval(left), paired(left, right, resamples=1000)
        covered["macro F1"] += alone.low <= truth <= alone.high
        covered["difference"] += difference.low <= 0 <= difference.high
    assert min(covered.values()) / runs >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("hits", [0, 40])
def test_interval_has_a_width_where_no_row_differs(hits):
    scores = [1.0] * hits + [0.0] * (40 - hits)
    groups = [str(i // 4) for i in range(40)]
    assert interval(mean(scores), groups=groups).high - interval(mean(scores), groups=groups).low > 0.05
    same = paired(mean([0.3] * 40), mean([0.3] * 40), groups=groups)
    assert same.low < -0.05
    assert same.high > 0.05


def test_interval_of_one_group_is_everything():
    ours = interval(mean([0.2, 0.4]), groups=["a", "a"])
    assert (ours.low, ours.high) == (0, 1)


@given(st.integers(1, 200), st.integers(0, 200), st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_exact_is_clopper_and_pearsons(rows, hits, level):
    hits = min(hits, rows)
    ours = interval(mean([1.0] * hits + [0.0] * (rows - hits)), level=level, exact=True)
    tail = (1 - level) / 2
    assert ours.low == pytest.approx(stats.beta.ppf(tail, hits, rows - hits + 1) if hits else 0)
    assert ours.high == pytest.approx(stats.beta.isf(tail, hits + 1, rows - hits) if hits < rows else 1)


# -- paired proportions ----------------------------------------------------------------------------------------------


def constrained_statistic(wins, losses, rows, difference):
    """Tango's statistic with the likelihood maximised numerically."""

    def minus_likelihood(lost):
        shares = np.array([lost + difference, lost, 1 - 2 * lost - difference])
        return -float((np.array([wins, losses, rows - wins - losses]) * np.log(np.maximum(shares, 1e-300))).sum())

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    lost = minimize_scalar(minus_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
    return (wins - losses - rows * difference) / np.sqrt(rows * (2 * lost + difference * (1 - difference)))


@given(st.integers(2, 150), st.floats(0, 1), st.floats(0, 1), st.floats(-0.4, 0.4))
def test_tango_is_the_score_interval(rows, differing, won, difference):
    wins = round(rows * differing * won)
    losses = round(rows * differing) - wins
    low, high = tango(wins, losses, rows)
    assert -1 <= low <= (wins - losses) / rows <= high <= 1
    statistic = constrained_statistic(wins, losses, rows, difference)
    if abs(abs(statistic) - 1.959964) > 0.01:
        assert (low < difference < high) == (abs(statistic) < 1.959964)


@pytest.mark.parametrize(
    ("rows", "required", "share"),
    [(12, -0.2, 0.2), (12, -0.2, 0.3), (20, -0.1, 0.1), (20, -0.1, 0.3)]
    + [(20, required, share) for required in (-0.05, 0.05) for share in (0.05, 0.1, 0.3)],
)
def test_exact_p_value_passes_at_most_at_its_rate(rows, required, share):
    """The probability of p <= 0.025 at the bound, summed over all tables."""
    shares = [(share + required) / 2, (share - required) / 2, 1 - share]
    tables = [(wins, losses, rows - wins - losses) for wins in range(rows + 1) for losses in range(rows + 1 - wins)]
    chances = stats.multinomial.pmf(tables, rows, shares)
    likely = [(table, chance) for table, chance in zip(tables, chances, strict=True) if chance > 1e-6]
    assert sum(chance for table, chance in likely if exact_p_value(*table[:2], rows, required) <= 0.025) <= 0.0251


@pytest.mark.parametrize(("rows", "shown"), [(60, False), (71, False), (75, True), (400, True)])
def test_paired_rows_without_a_difference_are_evidence_by_their_number(rows, shown):
    """Against a loss of 5 %: 0.95 ** 71 is above 2.5 %."""
    right = mean([1.0] * rows)
    assert is_above(paired(right, right), -0.05, 0.95) is shown
    assert not is_above(paired(right, right), 0, 0.95)


def test_paired_larger_requirements_are_harder_to_show():
    difference = paired(mean([1.0] * 30 + [0.0] * 70), mean([0.0] * 22 + [1.0] * 2 + [0.0] * 76))
    required = np.linspace(-0.3, 0.5, 33)
    shown = [is_above(difference, value, 0.95) for value in required]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] is True
    assert shown[-1] is False


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
        ([0.0, 2.0, 0.0, 2.0], None, SIGN_TEST),
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
    """A ratio of sums: the interval of its linearisation (delta method)."""
    rng = np.random.default_rng(4)
    sums = rng.random((100, 2)) + 0.5
    ratio = Measure(sums, lambda totals: totals[..., 0] / totals[..., 1], (0.0, 3.0))
    ours, value = interval(ratio), sums[:, 0].sum() / sums[:, 1].sum()
    error = (sums[:, 0] - value * sums[:, 1]).std(ddof=1) / sums[:, 1].mean() / 10
    t = stats.t.ppf(0.975, 99)
    half = t * np.sqrt(error**2 + (3 * t / 100) ** 2)
    assert (ours.low, ours.high) == pytest.approx((value - half, value + half), abs=0.002)


def test_paired_refuses_unequal_rows():
    with pytest.raises(ValueError, match="equal rows"):
        paired(mean([1.0]), mean([1.0, 0.0]))

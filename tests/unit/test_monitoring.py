"""Monitoring: windows against the past, similarity to training rows, quality from a sample of labels."""

import re
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench import monitoring as bench
from gemtune.artifacts.monitoring import LabelledRow, WindowRecord
from gemtune.config import Monitor, Preprocess, Task
from gemtune.monitoring import drift, labelling, quality, windows
from gemtune.monitoring.similarity import TrainingRows
from gemtune.monitoring.windows import WindowMean

ENGLISH = [
    f"{verb} my {thing} {when}"
    for verb in ("cancel", "change", "book", "find", "track")
    for thing in ("order", "flight ticket", "hotel room", "parcel", "subscription plan")
    for when in ("today", "for tomorrow", "next week please")
]
KOREAN = ["이 영화 정말 재미있어요", "배우들의 연기가 훌륭했다", "다시는 보고 싶지 않은 영화"]
STEADY = [WindowMean(200, value, 1.0) for value in (0.0, 0.05, -0.05, 0.02, -0.02, 0.03, -0.03, 0.0)]
RESTLESS = [WindowMean(200, value, 1.0) for value in (0.0, 0.5, -0.5, 0.2, -0.2, 0.3, -0.3, 0.0)]


# -- windows ---------------------------------------------------------------------------------------------------------


def test_centred_equals_the_rows_less_their_label_centre():
    rng = np.random.default_rng(1)
    labels, values = rng.choice(list("abc"), 90).tolist(), rng.random(90).tolist()
    centres = windows.centres([windows.moments(labels, values)])
    own = [value for label, value in zip(labels, values, strict=True) if label == "a"]
    assert centres["a"] == pytest.approx((sum(own) + 5 * np.mean(values)) / (len(own) + 5))
    less = [value - centres[label] for label, value in zip(labels, values, strict=True)]
    window = windows.centred(windows.moments(labels, values), centres)
    assert (window.rows, window.mean) == (90, pytest.approx(np.mean(less)))
    assert window.variance == pytest.approx(np.var(less, ddof=1))


def test_centred_takes_a_new_label_against_the_overall_mean():
    centres = windows.centres([windows.moments(["a", "b"], [0.2, 0.6])])
    assert windows.centred(windows.moments(["new"], [0.1]), centres).mean == pytest.approx(0.1 - 0.4)


def test_compare_pools_windows_that_differ_no_more_than_chance():
    shift = windows.compare(STEADY, [WindowMean(100, -0.3, 1.0)])
    error = np.sqrt(1 / 100 + 1 / 1600)
    assert shift.degrees == np.inf
    assert shift.p_value == pytest.approx(stats.norm.cdf(-0.3 / error))


def test_compare_counts_windows_as_windows_where_they_differ_more():
    shift = windows.compare(RESTLESS, [WindowMean(100, -0.3, 1.0)])
    means = [window.mean for window in RESTLESS]
    expected = stats.t.cdf(-0.3 / np.sqrt(np.var(means, ddof=1) * (1 + 1 / 8)), 7)
    assert shift.degrees == 7
    assert shift.p_value == pytest.approx(expected)


@given(st.integers(2, 50), st.floats(-1, 1))
def test_compare_is_not_certain_of_few_equal_rows(rows, mean):
    """Eight rows with one value are no proof: the past's variance counts."""
    shift = windows.compare(STEADY, [WindowMean(rows, mean, 0.0)])
    assert shift.error >= 1 / np.sqrt(rows)


def test_compare_of_equal_scores_is_no_alarm_by_rounding():
    past = [WindowMean(100, 0.3, 0.0)] * 8
    assert windows.compare(past, [WindowMean(100, 0.1 + 0.2 - 1e-16, 0.0)]).p_value > 0.4


@given(st.floats(-2, 0), st.sampled_from([STEADY, RESTLESS]), st.floats(1e-6, 0.05))
def test_margin_is_where_the_p_value_reaches_the_level(mean, past, level):
    shift = windows.compare(past, [WindowMean(300, mean, 1.0)])
    assert (shift.p_value <= level) == (shift.difference <= -shift.margin(level))


def test_past_leaves_out_the_newest_four_and_windows_that_were_not_fine():
    later = [(WindowMean(100, float(i), 1.0), i != 1) for i in range(7)]
    assert [window.mean for window in windows.past_of([], later)] == [0.0, 2.0]
    many = [(WindowMean(100, float(i), 1.0), True) for i in range(60)]
    assert len(windows.past_of(STEADY, many)) == 26


def test_shifts_find_a_drift_that_creeps_into_the_past():
    later = [(WindowMean(400, -0.012 * week, 1.0), True) for week in range(30)]
    shifts, levels = windows.shifts(STEADY, later), bench.LEVELS
    assert shifts["newest"].p_value > levels["newest"]
    assert shifts["slow_change"].p_value <= levels["slow_change"]


@pytest.mark.parametrize(
    ("examined", "day", "expected"),
    [(0, 8, [0]), (0, 7, []), (1, 15, [1]), (1, 8, [0]), (3, 10, [2]), (3, 0, [2]), (0, 60, [3, 4, 5, 6, 7])],
)
def test_due_windows_are_complete_and_never_before_the_last_examined_one(examined, day, expected):
    start, week = bench.START, timedelta(days=7)
    last = start + examined * week if examined else None
    due = windows.due(start, last, start + timedelta(days=day), 7)
    assert due == [(start + i * week, start + (i + 1) * week) for i in expected]


def test_due_windows_of_another_length_leave_no_day_out():
    start = bench.START
    for days in (5, 6, 8, 14):
        due = windows.due(start, start + timedelta(days=77), start + timedelta(days=93), days)
        assert due[0][0] <= start + timedelta(days=77)


def test_level_divides_the_yearly_budget_over_windows_and_checks():
    assert sum(windows.level(0.05, 7, check) for check in windows.CHECKS) == pytest.approx(0.05 / (365.25 / 7))
    assert sum(windows.SPAN_SHARES[span] for span in windows.SPANS) == 1
    assert sum(quality.levels(0.05, 365.25)) == pytest.approx(0.05 * windows.CHECKS["quality"], rel=0.15)


def test_a_year_without_change_rings_no_more_often_than_promised():
    source, rng = bench.generated(80), np.random.default_rng(1)
    assert sum(bench.rings(bench.Stream(source, 200, 0.0, rng)) for _ in range(8)) <= 2
    found = [bench.detection(bench.Stream(source, 1000, 0.0, rng), 8, source.others["unseen labels"]) for _ in range(2)]
    assert all(own.week == 1 and own.stated > 0.8 for own in found)


@pytest.mark.parametrize("rows", [60, 190, 230, 250, 400])
def test_detectable_states_from_how_many_texts_on_only_where_the_window_has_too_few(rows):
    sums = windows.moments([""] * rows, [0.3, 0.7] * (rows // 2))
    records = [
        WindowRecord(start=start, end=start + timedelta(days=7), rows=rows, texts=rows, verdict="fine", confidence={},
                     similarity=sums)
        for start in (bench.START + timedelta(days=7 * week) for week in range(9))
    ]  # fmt: skip
    topics = SimpleNamespace(near_topics=lambda _: [WindowMean(100, -0.5, 0.02)])
    monitored = drift.Monitored(None, topics, str, Monitor(), 0.05)
    sentence = drift.detectable(monitored, records)
    found = int(re.search(r"in (\d+) of 100", sentence)[1])
    assert ("from about" in sentence) is (found < 95)


# -- similarity ------------------------------------------------------------------------------------------------------


def test_scores_of_another_script_are_below_those_of_any_text_in_a_known_one():
    training = TrainingRows(ENGLISH)
    assert training.scores(KOREAN).max() < 0 <= training.scores(["zzz qqq"])[0]
    assert training.scores(["cancel my parcel today please"])[0] > 0.3


def test_scores_of_a_language_that_a_few_training_rows_have_are_low():
    latin = ["Time is on my side, an instant classic!", "what would you do? such a great movie"]
    training = TrainingRows([*(f"{text} {i}번" for text in KOREAN for i in range(30)), *latin])
    assert training.cosines(ENGLISH).max() > 0.1
    assert training.scores(ENGLISH).max() < 0.4 * training.scores(KOREAN).min()
    assert TrainingRows([*KOREAN * 3, *latin]).scores(latin).min() > 0.5  # both are common


def test_scores_count_words_that_no_training_row_has():
    training = TrainingRows(ENGLISH)
    half_new = training.scores(["cancel my order 재미있어요 훌륭했다 싶지"])[0]
    assert half_new < 0.8 * training.scores(["cancel my order"])[0]


def test_scores_of_a_text_do_not_depend_on_the_other_texts():
    training = TrainingRows(ENGLISH)
    alone = training.scores(["book a flight"])
    assert training.scores([*KOREAN, *ENGLISH, "book a flight"])[-1] == pytest.approx(alone[0])


def test_scores_of_an_embedder_are_its_cosines():
    axes = {"x": [1.0, 0.0], "y": [0.0, 1.0], "xy": [0.6, 0.8]}
    training = TrainingRows(
        ["x", "y", "xy"], embedder=lambda texts: np.array([axes[text] for text in texts], np.float32)
    )
    assert training.typical == pytest.approx(0.8)
    assert training.scores(["xy", "x"]) == pytest.approx([0.8, 0.8])


def test_near_topics_score_below_the_training_rows():
    labels = [text.split()[2] for text in ENGLISH]
    training = TrainingRows(ENGLISH, labels)
    centres = windows.centres([windows.moments(labels, training.scores(ENGLISH).tolist())])
    topics = training.near_topics(centres)
    assert len(topics) == len({*labels})
    assert max(topic.mean for topic in topics) < -0.05
    assert TrainingRows(ENGLISH).near_topics({"": 0.5})


def test_near_topics_of_labels_that_mean_nothing_are_as_similar_as_other_texts():
    """Without the rows of a frequent label there are fewer to be near to: that is no topic."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(120)]
    texts = [" ".join(rng.choice(words, 8)) for _ in range(1200)]
    training = TrainingRows(texts[:600], rng.choice(["a", "b", "c"], 600, p=[0.5, 0.3, 0.2]))
    topics = training.near_topics({"": float(training.scores(texts[600:]).mean())})
    assert max(abs(topic.mean) for topic in topics) < 0.004  # 0.006 to 0.018 below where that is not counted


@pytest.mark.parametrize("count", [15, 150])  # 150: all of the least similar texts are of one topic
def test_new_topics_name_the_planted_one(count):
    planted = [f"zebra crossing number {i} is closed" for i in range(1000, 1000 + count)]
    texts = [*(f"{text} {i}" for i in range(3) for text in ENGLISH), *planted]
    training = TrainingRows(ENGLISH)
    topics = training.new_topics([str(i) for i in range(len(texts))], texts, training.scores(texts))
    assert {"zebra", "crossing", "closed"} & set(topics[0].ngrams)
    assert all("zebra" in text for text in topics[0].texts)
    assert set(topics[0].ids) <= {str(i) for i in range(len(texts) - count, len(texts))}


# -- quality ---------------------------------------------------------------------------------------------------------


def test_draw_takes_rows_with_their_probability():
    rng = np.random.default_rng(5)
    pi = quality.drawing_probabilities([0.5, 0.99, 0.9, 0.8, 1.0, 0.2] * 5, 12)
    assert pi.sum() == pytest.approx(12)
    counts = np.zeros(30)
    for _ in range(2000):
        drawn = quality.draw(pi, rng)
        assert len(drawn) in (12, 11, 13)
        counts[drawn] += 1
    assert np.abs(counts / 2000 - pi).max() < 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 60))
def test_drawing_probabilities_are_positive_and_sum_to_the_count(confidences, count):
    pi = quality.drawing_probabilities(confidences, count)
    assert ((pi > 0) & (pi <= 1 + 1e-9)).all()
    assert pi.sum() == pytest.approx(min(count, len(confidences)))


def test_estimate_covers_the_truth_and_a_useless_proxy_costs_little():
    rng = np.random.default_rng(3)
    pairs = [bench.covers(rng, labels, True, useless) for useless in (False, True) for labels in [10, 60] * 50]
    covered, _, bootstrap = np.mean(pairs, axis=0)
    assert covered > 0.92
    assert covered > bootstrap
    assert np.mean([width for _, width, _ in pairs[100:]]) < 1.05


def test_estimate_of_rows_that_are_all_correct_is_not_certain():
    rows = [LabelledRow(id=str(i), window=bench.START, pi=0.1, confidence=1.0, correct=1.0) for i in range(20)]
    estimate = quality.estimate(rows, WindowMean(200, 1.0, 0.0), 0.0, bench.START).estimate
    assert 0.6 < estimate.score.low < 0.95
    assert quality.estimate(rows[:9], WindowMean(200, 1.0, 0.0), 0.0, bench.START) is None


def test_assess_takes_ratings_as_the_proxy_unless_a_label_has_none():
    rng, week, kept, labelled = np.random.default_rng(9), timedelta(days=7), [], []
    for number in range(3):
        start, ratings = bench.START + number * week, rng.random(400)
        correct = (rng.random(400) < ratings).astype(float)
        ids = [f"{number}-{i}" for i in range(60)]
        moments = windows.moments([""] * 400, ratings.tolist())
        record = WindowRecord(start=start, end=start + week, rows=2000, texts=2000, confidence={},
                              similarity=windows.moments(["a"] * 2000, [0.5] * 2000),
                              proxy=moments[""], judged=dict(zip(ids, ratings.tolist(), strict=False)))  # fmt: skip
        kept.append(record)
        rows = zip(ids, correct, strict=False)
        labelled += [LabelledRow(id=i, window=start, pi=0.1, confidence=0.0, correct=value) for i, value in rows]
    judged = quality.assess(kept, labelled, 0.3, Monitor())[0][-1]
    plain = quality.assess([r.model_copy(update={"judged": {"0-0": 1.0}}) for r in kept], labelled, 0.3, Monitor())[0][
        -1
    ]
    assert judged.variance < 0.85 * plain.variance
    assert plain.score.value == pytest.approx(np.mean([row.correct for row in labelled[-60:]]))


def equal_rows(correct: int, labels: int) -> quality.LabelledWindow:
    rows = [
        LabelledRow(id=str(i), window=bench.START, pi=0.1, confidence=0.5, correct=i < correct) for i in range(labels)
    ]
    return quality.estimate(rows, WindowMean(10 * labels, 0.5, 0.1), 0.0, bench.START)


@pytest.mark.parametrize(("correct", "labels"), [(0, 10), (10, 10), (29, 30), (300, 400), (388, 400)])
def test_newest_upper_of_rows_drawn_alike_is_near_the_exact_bound(correct, labels):
    exact = stats.beta.ppf(1 - 5e-4, correct + 1, labels - correct) if correct < labels else 1.0
    assert quality.newest_upper([equal_rows(correct, labels)], 5e-4) == pytest.approx(exact, abs=0.4 / labels)


def test_newest_upper_is_wrong_as_often_as_its_level_says():
    rng, wrong, streams = np.random.default_rng(8), 0, 300
    for _ in range(streams):
        weeks = [bench.labelled_week(rng, 20, True) for _ in range(4)]
        seen = [quality.estimate(rows, sure, 1.0, bench.START) for rows, sure, _ in weeks]
        wrong += quality.newest_upper(seen, 0.05) < 0.85
    assert 0.02 < wrong / streams < 0.09


def test_quality_rings_after_a_drop_and_not_at_the_limit():
    rng = np.random.default_rng(4)
    assert sum(bench.quality_alarm(rng, 4, 4, 0.15, 0.82) > 0 for _ in range(8)) >= 7
    assert sum(bench.quality_alarm(rng, 0, 20, 0.0, 0.85) > 0 for _ in range(8)) <= 1


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_assess_takes_no_mean_confidence_of_some_texts_as_the_proxy_of_all(share):
    rng, week, kept, labelled = np.random.default_rng(6), timedelta(days=7), [], []
    for number in range(4):
        start = bench.START + number * week
        sure = rng.random(400)
        correct, has = (rng.random(400) < sure).astype(float), rng.random(400) < share
        confidence = [value if own else 0.0 for value, own in zip(sure, has, strict=True)]
        labelled += [
            LabelledRow(id=f"{number}-{i}", window=start, pi=0.5, confidence=confidence[i], correct=correct[i] * has[i])
            for i in range(200)
        ]
        moments = windows.moments(["a"] * int(has.sum()), sure[has].tolist())
        similarity = windows.moments(["a"] * 400, [0.5] * 400)
        kept.append(
            WindowRecord(start=start, end=start + week, rows=400, texts=400, similarity=similarity, confidence=moments)
        )
    estimates, _ = quality.assess(kept, labelled, 0.9, Monitor())
    assert all(abs(item.score.value - share / 2) < 0.1 for item in estimates)


@pytest.mark.parametrize(("weeks", "current"), [(1, True), (4, True), (5, False), (30, False)])
def test_labels_are_current_evidence_for_four_windows(weeks, current):
    start, week = bench.START, timedelta(days=7)
    similarity = windows.moments(["a"] * 100, [0.5] * 100)
    kept = [
        WindowRecord(
            start=start + i * week,
            end=start + (i + 1) * week,
            rows=100,
            texts=100,
            similarity=similarity,
            confidence={},
        )
        for i in range(weeks)
    ]
    labelled = [LabelledRow(id=str(i), window=start, pi=0.5, confidence=0.0, correct=1.0) for i in range(40)]
    estimates, (check,) = quality.assess(kept, labelled, 0.9, Monitor())
    assert quality.is_current(estimates, kept) is current
    assert ("no later labels than of the window until" in check.summary) is (weeks > 1)
    assert not quality.is_current([], kept)


def test_assess_counts_a_label_in_the_window_that_served_its_row():
    start, week = bench.START, timedelta(days=7)
    similarity = windows.moments(["a"] * 100, [0.5] * 100)
    kept = [
        WindowRecord(start=begin, end=begin + 2 * week, rows=100, texts=100, similarity=similarity, confidence={})
        for begin in (start, start + 2 * week)  # the length was a week when the rows were drawn
    ]
    labelled = [
        LabelledRow(id=str(i), window=start + i % 4 * week, pi=0.5, confidence=0.0, correct=1.0) for i in range(80)
    ]
    assert [item.labels for item in quality.assess(kept, labelled, 0.9, Monitor())[0]] == [40, 40]


def test_read_later_labels_reads_labels_of_every_type(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(f'{{"id": {n}, "label": {label}}}\n' for n, label in enumerate(["0", "true", "null", '" "']))
    )
    task = Task(labels=["0", "true"])
    assert labelling.read_later_labels(str(path), Preprocess(), task) == {"0": "0", "1": "true"}

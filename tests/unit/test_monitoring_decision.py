"""Skew, label mix and the verdict of monitoring; annotation files."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from typer.testing import CliRunner

from gemtune.artifacts.evaluation import Confusion
from gemtune.artifacts.monitoring import Check
from gemtune.artifacts.production_log import LogRow, PromptTemplate
from gemtune.cli.main import app
from gemtune.config import ModelVariant, Monitor, Task, fingerprint
from gemtune.data import csv_safe
from gemtune.errors import UserError
from gemtune.monitoring import labelling, quality, skew, windows
from gemtune.monitoring.decision import MonitoringEvidence, decide
from gemtune.monitoring.labelling import Annotation
from gemtune.monitoring.traffic import ServedRow, distinct, served_rows

START = datetime(2026, 1, 5, tzinfo=UTC)
SHARE = windows.level(0.05, 7, "unusable_answers")
TEMPLATE = PromptTemplate(system=fingerprint("Sort it."), before="text: ", after="\nlabel:")
SENT = {"temperature": 0.0}
TASK = Task(labels=["a", "b"])
VARIANT = ModelVariant(name="tuned", model="projects/p/locations/l/endpoints/1")


def row(number=0, **changes):
    values = {"system": "Sort it.", "follows_template": True, "config": {"temperature": 0.0}, "answer": "a"}
    return LogRow(id=str(number), time=START, text=f"text {number}", **{**values, **changes})


# -- skew ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "Sing."},
        {"follows_template": False},
        *(
            {"config": {"temperature": 0.0, **config}}
            for config in (
                {"temperature": 1}, {"temperature": None}, {"topP": 0.5}, {"stopSequences": ["."]},
                {"presencePenalty": 0.5}, {"responseJsonSchema": {}}, {"responseSchema": {}},
                {"thinkingConfig": {"thinkingBudget": 512}}, {"thinkingConfig": {"thinking_level": "HIGH"}},
            )
        ),
    ],
)  # fmt: skip
def test_prompt_skew_finds_a_change_in_five_percent_of_two_hundred_rows(changed):
    rows = [row(i, **(changed if i < 10 else {})) for i in range(200)]
    check = skew.prompt_skew({one.id: skew.skewed_fields(one, TEMPLATE, SENT) for one in rows}, 0.01)
    assert (check.alarm, check.value, check.examples) == (True, 0.05, ["0", "1", "2", "3", "4"])
    assert not skew.prompt_skew({str(i): [] for i in range(200)}, 0.01).alarm


def test_prompt_skew_finds_five_percent_drawn_at_random_and_is_silent_far_below_its_limit():
    """The alarm is the lower end of the interval that is shown; a year of a quarter of the limit is silent."""
    for hits in range(12):
        check = skew.prompt_skew({str(i): ["template"] * (i < hits) for i in range(200)}, 0.01)
        assert check.alarm == (check.low > 0.01)
    needed = round(check.threshold * 200)
    assert binom.sf(needed - 1, 200, 0.05) > 0.93
    assert binom.cdf(needed - 1, 200, 0.0025) ** 52 > 0.99
    assert skew.prompt_skew({str(i): ["template"] * (i < 1) for i in range(200)}, 0.0).alarm


def test_prompt_skew_of_what_the_log_does_not_say_is_none():
    plain = row(system=None, follows_template=None, config=None)
    assert skew.skewed_fields(plain, TEMPLATE, SENT) == []
    assert skew.skewed_fields(row(system="Sing."), None, SENT) == []
    same = {"temperature": 0, "maxOutputTokens": 9, "seed": 7, "presencePenalty": 0, "stopSequences": []}
    assert skew.skewed_fields(row(config=same), TEMPLATE, SENT) == []


@pytest.mark.parametrize(("tuned", "sent"), [
    ({"thinkingBudget": 0, "thinkingLevel": ""}, {"thinking_budget": 0}),
    ({"thinkingBudget": 0, "thinkingLevel": ""}, {}),
    ({"thinkingBudget": None, "thinkingLevel": "LOW"}, {"thinkingLevel": "LOW"}),
    ({"thinkingBudget": None, "thinkingLevel": ""}, {"thinkingBudget": -1, "includeThoughts": True}),
])  # fmt: skip
def test_prompt_skew_of_the_tuned_thinking_in_any_form_is_none(tuned, sent):
    expected = {**SENT, "thinkingConfig": tuned}
    assert skew.skewed_fields(row(config={**SENT, "thinkingConfig": sent}), TEMPLATE, expected) == []
    other = {**SENT, "thinkingConfig": {"thinkingBudget": 77}}
    assert skew.skewed_fields(row(config=other), TEMPLATE, expected) == ["generation settings"]


@given(st.integers(20, 500), st.floats(0, 1))
def test_share_check_is_an_alarm_only_above_its_limit(rows, share):
    hits = [str(i) for i in range(round(share * rows))]
    check = skew.share_check("unusable_answers", hits, rows, 0.05, SHARE, "are so")
    assert check.low <= check.value <= check.high
    assert not check.alarm or check.value > 0.05


@pytest.mark.parametrize("rows", [3, 60, 200, 1000])
def test_share_check_states_how_many_rows_are_an_alarm(rows):
    """As many as have their lower Clopper-Pearson bound, an independent one, above the limit."""
    few = skew.share_check("unusable_answers", [], rows, 0.01, SHARE, "are so")
    needed = round(few.threshold * rows)
    for hits in (needed - 1, needed):
        check = skew.share_check("unusable_answers", [str(i) for i in range(hits)], rows, 0.01, SHARE, "are so")
        bound = binomtest(hits, rows).proportion_ci(1 - 2 * SHARE, "exact").low
        assert check.alarm == (bound > 0.01) == (check.p_value <= SHARE) == (hits == needed)
        interval = binomtest(hits, rows).proportion_ci(0.95, "exact")
        assert (check.low, check.high) == pytest.approx((interval.low, interval.high))
        assert f", alarm at {needed} rows" in check.summary


def answers(outcomes, text="text {}"):
    return [ServedRow(row(i).model_copy(update={"text": text.format(i)}), own, "a", None)
            for i, own in enumerate(outcomes)]  # fmt: skip


def test_unusable_answers_do_not_count_requests_that_failed():
    check = skew.unusable_answers(answers(["error"] * 90 + ["ok", "truncated"]), 0.05, SHARE)
    assert (check.rows, check.value, check.alarm) == (2, 0.5, False)


def test_unusable_answers_to_a_text_that_repeats_are_no_further_evidence():
    same = answers(["blocked"] * 30, text="x")
    assert not skew.unusable_answers([*same, *answers(["ok"] * 170)], 0.05, SHARE).alarm
    assert skew.unusable_answers(answers(["blocked"] * 30 + ["ok"] * 170), 0.05, SHARE).alarm
    assert not skew.unusable_answers(same, 0.05, SHARE).alarm
    # of texts that repeat, too, answers that fail independently of the text are rows of their own
    mixed = [
        *answers((["blocked"] * 2 + ["ok"] * 8) * 10, text="x"),
        *answers((["ok"] * 8 + ["blocked"] * 2) * 10, "y"),
    ]
    assert skew.unusable_answers(mixed, 0.05, SHARE).alarm


def test_label_shift_of_many_rare_labels_is_no_proof():
    """With 136 labels and 200 rows a stability index of equal streams is far above its usual threshold."""
    rng = np.random.default_rng(2)
    draws = [rng.multinomial(count, np.full(136, 1 / 136)) for count in (200, 1600)]
    week, baseline = ({str(i): int(n) for i, n in enumerate(draw)} for draw in draws)
    check = skew.label_shift(week, baseline)
    assert check is None or (check.p_value > 0.001 and not check.alarm)
    assert skew.label_shift({"a": 150, "b": 50}, {"a": 800, "b": 800}).p_value < 1e-6


def test_label_mix_inverts_the_confusion_matrix():
    confusion = Confusion(labels=["a", "b"], columns=["a", "b", "invalid"], matrix=[[90, 10, 0], [30, 70, 0]])
    true = {"a": 0.2, "b": 0.8}
    predicted = {"a": round(1000 * (0.2 * 0.9 + 0.8 * 0.3)), "b": round(1000 * (0.2 * 0.1 + 0.8 * 0.7))}
    shares, method = skew.label_mix(predicted, confusion)
    assert method == "inverted validation confusion matrix"
    for label, share in true.items():
        assert shares[label].value == pytest.approx(share, abs=0.02)
        assert shares[label].low < share < shares[label].high
    singular = confusion.model_copy(update={"matrix": [[50, 50, 0], [50, 50, 0]]})
    shares, method = skew.label_mix({"a": 30, "b": 70}, singular)
    assert shares["a"].value == pytest.approx(0.3)
    assert "singular" in method


def test_distinct_counts_each_text_once_in_any_order():
    rows = [
        row(i, answer="a").model_copy(update={"text": text})
        for i, text in enumerate(["Hi  there", "hi there", "Ｈｉ there", "bye"])
    ]
    served = served_rows(rows, TASK, VARIANT)
    texts, count = distinct(served, lambda text: text, 10)
    assert (count, len(texts)) == (2, 2)
    assert len(distinct(served, str, 1)[0]) == 1
    many = served_rows([row(i) for i in range(300)], TASK, VARIANT)
    assert {t.row.id for t in distinct(many, str, 50)[0]} == {t.row.id for t in distinct(many[::-1], str, 50)[0]}


# -- the verdict -----------------------------------------------------------------------------------------------------

EVIDENCE = MonitoringEvidence(
    now=START, problems=[], missing_windows=0, checks=[], new_rows=[], topic_rows=[], training_rows=400,
    base_model="gemini-3.1-flash-lite", retires=date(2027, 1, 1), promoted=START - timedelta(days=90),
)  # fmt: skip


def alarm(name, **values):
    return Check(
        name=name, value=0.8, low=0.7, high=0.85, rows=100, summary=f"{name} fell", alarm=True, threshold=0.87, **values
    )


IDS = [str(i) for i in range(60)]
VERDICTS = {
    "fine": {},
    "settling": {"missing_windows": 3},
    "cannot_tell": {"problems": ["8.0% of the logged rows cannot be read"], "checks": [alarm("similarity")]},
    "watch": {"checks": [alarm("similarity")], "new_rows": ["1"]},
    "retrain": {"checks": [alarm("similarity")], "topic_rows": ["1", "2"]},
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_decide_gives_each_verdict(verdict):
    assert decide("support", replace(EVIDENCE, **VERDICTS[verdict]), Monitor()).verdict == verdict


def test_decide_is_fine_without_labels_only_with_a_warning():
    unlabelled = Check(name="unlabelled_quality", value=0.9, low=0.9, high=0.9, rows=100, summary="")
    labelled = unlabelled.model_copy(update={"name": "quality"})
    for checks, warned in (([], True), ([unlabelled], True), ([unlabelled, labelled], False)):
        decision = decide("support", replace(EVIDENCE, checks=checks), Monitor())
        assert decision.verdict == "fine"
        assert ("not measured" in decision.summary[-1]) is warned


def test_decide_states_with_fine_what_could_have_been_found():
    """With three past windows that may be nothing at all."""
    evidence = replace(EVIDENCE, detectable="a new topic is found in 0 of 100 first windows")
    assert evidence.detectable in decide("support", evidence, Monitor()).summary
    alarmed = replace(evidence, checks=[alarm("prompt_skew")])
    assert evidence.detectable not in decide("support", alarmed, Monitor()).summary


@pytest.mark.parametrize("name", ["prompt_skew", "unusable_answers", "confidence"])
def test_decide_never_retrains_for_what_more_data_cannot_help(name):
    evidence = replace(EVIDENCE, checks=[alarm(name)], missing_windows=2, topic_rows=["1"])
    assert decide("support", evidence, Monitor()).verdict == "watch"


REASONS = [
    ("new_rows", {"new_rows": IDS}, {}),
    ("quality", {"checks": [alarm("quality")]}, {}),
    ("new_topics", {"checks": [alarm("similarity")], "topic_rows": ["1"]}, {}),
    ("retirement", {"retires": START.date() + timedelta(days=60)}, {}),
    ("age", {}, {"max_age_days": 90}),
]


@pytest.mark.parametrize(("kind", "changes", "settings"), REASONS, ids=[kind for kind, *_ in REASONS])
def test_decide_retrains_once_for_the_same_ids(kind, changes, settings):
    evidence, monitor = replace(EVIDENCE, **changes), Monitor(**settings)
    first, again = decide("support", evidence, monitor), decide("support", evidence, monitor)
    assert [reason.kind for reason in first.reasons] == [kind]
    assert first.job_id == again.job_id
    assert first.job_id.startswith("support-rt-")
    assert len(first.summary) == 1, "an alarm that is the reason is stated once"
    handled = frozenset(item for reason in first.reasons for item in reason.ids)
    once_more = decide("support", replace(evidence, retrained=handled), monitor)
    assert once_more.verdict == ("fine" if kind in ("new_rows", "age") else "watch")
    assert ("evaluate.base_model" in " ".join(once_more.summary)) is (kind == "retirement")


def test_decide_needs_enough_new_rows():
    assert decide("support", replace(EVIDENCE, new_rows=IDS[:49]), Monitor()).verdict == "fine"
    assert decide("support", replace(EVIDENCE, new_rows=IDS, training_rows=2000), Monitor()).verdict == "fine"
    assert decide("support", replace(EVIDENCE, new_rows=["1"]), Monitor(min_new_rows=1)).verdict == "retrain"


@pytest.mark.parametrize(("options", "problem"), [
    ([], "monitor.logs is empty"),
    (["--set", "monitor.logs=bq://p.d.logs", "--now", "tomorrow"], "now is 'tomorrow'"),
    (["--set", "monitor.logs=gone.jsonl"], "there is no file 'gone.jsonl'"),
])  # fmt: skip
def test_monitor_command_refuses_at_once_what_no_step_could_use(options, problem, tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text("name: mine\n")
    done = CliRunner().invoke(app, ["monitor", str(config), "--runs", str(tmp_path / "runs"), *options])
    assert (done.exit_code, (tmp_path / "runs").exists()) == (1, False)
    assert problem in done.output


# -- annotations -----------------------------------------------------------------------------------------------------


def test_choose_draws_half_for_the_estimate_and_learns_from_what_is_new():
    served = served_rows([row(i, confidence=0.5 + i / 1000) for i in range(200)], TASK, VARIANT)
    chosen = labelling.choose(START, served, ["150", "151"], ["3"], 40)
    again = labelling.choose(START, served, ["150", "151"], ["3"], 40)
    assert chosen == again
    estimate = [item for item in chosen if item.pi is not None]
    assert len(estimate) == 20
    learned = [item.id for item in chosen if item.pi is None]
    assert not {"3", *(item.id for item in estimate)} & {*learned}
    drawn = {item.id for item in estimate}
    assert learned[0] == next(number for number in ("150", "151", *learned) if number not in drawn)


def test_annotation_file_gives_labels_back_and_refuses_unknown_ones(tmp_path):
    path = tmp_path / "annotations.csv"
    rows = [
        Annotation("1", START, 0.25, 0.9, "=text, with\nlines", "a", "b"),
        Annotation("2", START, None, 0.0, "t", "b"),
    ]
    labelling.write(path, rows)
    assert labelling.read(path, TASK) == rows[:1]
    labelling.write(path, [replace(rows[0], label="c")])
    with pytest.raises(UserError, match=r"'c' is no classification answer.*--new-label"):
        labelling.read(path, TASK)
    (new,) = labelling.read(path, TASK, ["c"])
    assert new.label == "c"
    csv_safe.write(path, labelling.COLUMNS, [["1", START.isoformat(), "7", "0.9", "t", "a", "a"]])
    with pytest.raises(UserError, match="pi is 7"):
        labelling.read(path, TASK)


def test_labelled_rows_to_learn_from_never_enter_an_estimate():
    rows = [
        Annotation(str(i), START, 0.5 if i < 20 else None, 0.9, "t", "a", "a" if i < 20 else "b") for i in range(60)
    ]
    labelled = labelling.labelled(rows, TASK)
    estimate = quality.estimate(labelled, windows.WindowMean(200, 0.9, 0.01), 0.0, START).estimate
    assert (estimate.labels, estimate.score.value) == (20, 1.0)
    data = labelling.training_columns(rows, {"text": "text", "target": "label", "split": "split"})
    assert {item["split"] for item in data[20:]} == {"train"}
    assert {item["split"] for item in data[:20]} == {"validation", "test"}

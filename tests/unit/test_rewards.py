# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rewards equal the metric, their wire form is the API's, holes and missing spread are reported."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Evaluate, Reward, Task, Trial
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.metrics import Row, row_scores
from gemtune.inference.prompts import reinforcement_rows
from gemtune.tuning import loss_diagnostics, reward_check, rewards

LABELS = ["refund", "cancel order", "shipping", "Rückgabe"]
TASK = Task(kind="classification", labels=LABELS, instruction="Classify.")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}}
OBJECTS = Task(kind="extraction", output_schema=SCHEMA)
EVALUATE = Evaluate()
EXAMPLES = [Example(str(n), f"ticket {n}", LABELS[n % 4]) for n in range(24)]
CITIES = [Example(str(n), f"from {n}", json.dumps({"city": f"C{n % 5}", "zip": str(n % 7)})) for n in range(24)]


def scored(trial: Trial, task: Task, example: Example, answer: str) -> float:
    ((_, row),) = reinforcement_rows(task, [example])
    return rewards.score(rewards.rewards_of(trial, task, EVALUATE), row, answer)


@given(st.one_of(st.text(max_size=20), st.sampled_from(LABELS), st.sampled_from([f"\u3000{x}\x1c\n" for x in LABELS])))
def test_label_reward_is_the_metric_exact_match(answer: str) -> None:
    example = EXAMPLES[0]
    metric = row_scores(TASK, Row(example.target, None, answer, example.target))["exact_match"]
    assert scored(Trial(), TASK, example, answer) == metric


def test_label_reward_is_the_accuracy_of_labels_as_they_are_written() -> None:
    for example in EXAMPLES:
        for answer in LABELS:
            accuracy = row_scores(TASK, Row(example.target, answer, answer, example.target))["accuracy"]
            assert scored(Trial(), TASK, example, answer) == accuracy


def test_object_reward_is_the_share_of_right_fields_by_weight() -> None:
    example = CITIES[3]  # C3, 3
    answers = {'{"city": "C3", "zip": "3"}': 1.0, '{"city": "C3"}': 0.5, '{"zip": 3}': 0.5, "no object": 0.0}
    for answer, expected in answers.items():
        assert scored(Trial(), OBJECTS, example, answer) == expected
    heavier = Trial(rewards=[Reward(name="city", field="city", weight=3), Reward(name="zip", field="zip", wrong=-1)])
    assert scored(heavier, OBJECTS, example, '{"city": "C3", "zip": "4"}') == (3 * 1 - 1) / 4


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, width=16), st.text(max_size=4),
    st.sampled_from(["", "3", "3.0", " a", "Ａ", "null", "{{references.city}}", [1, "x"], {"a": ""}]),
)  # fmt: skip
THINGS = st.dictionaries(st.sampled_from(["city", "zip", "n", "due-date"]), VALUES)
ANY = Task(kind="extraction", output_schema={"type": "object", "properties": {"city": {}, "zip": {}, "due-date": {}}})


@given(THINGS, THINGS, st.text(max_size=8), st.sampled_from(["{}", "\u3000{}\x1c", "[{}]", "{}.", "x"]))
def test_object_reward_is_the_metric_field_accuracy(
    reference: dict[str, Any], answer: dict[str, Any], text: str, form: str
) -> None:
    target = json.dumps(reference, ensure_ascii=False)
    example = Example("1", "x", target)
    for values in (answer, reference, {**reference, **answer}):
        for written in (json.dumps(values), json.dumps(values, indent=1, ensure_ascii=False), text):
            given = form.replace("{}", written)
            metric = row_scores(ANY, Row("{}", None, given, target))["field_accuracy"]
            assert scored(Trial(), ANY, example, given) == metric


def test_plan_and_check_name_the_fields_whose_values_may_be_equal_and_written_otherwise() -> None:
    properties = {"due": {"type": "string"}, "n": {"type": "integer"}, "tags": {"type": "array"}, "sku": {}, "a-b": {}}
    rules = {"due": ["date"], "sku": ["exact"]}
    task = Task(kind="extraction", output_schema={"type": "object", "properties": properties}, field_rules=rules)
    trial = Trial(method="reinforcement")
    notes = [note.partition("field_f1 does not: ")[2] for note in rewards.equivalent_values(trial, task)]
    assert [note.partition(":")[0] for note in notes] == ["due", "n", "tags", "a-b"]
    assert notes[0] == "due: other spellings of a date"
    assert rewards.equivalent_values(trial.model_copy(update={"rewards": [Reward()]}), task) == []
    assert rewards.equivalent_values(Trial(), task) == []


def test_wire_form_is_the_sdks() -> None:
    code = "def evaluate(example, response):\n    return 1"
    several = [Reward(name="a"), Reward(name="b", rubric="kind"), Reward(name="c", code=code, weight=2)]
    for chosen in (several[:1], several):
        wire = rewards.wire_config(rewards.rewards_of(Trial(rewards=chosen), TASK, EVALUATE), "judge")
        config = types.CreateTuningJobConfig(method="REINFORCEMENT_TUNING", **wire)
        assert config.model_dump(exclude_none=True, mode="json").items() >= wire.items()


@pytest.mark.parametrize(("epochs", "last_only", "saved"), [(3, False, 5), (3, True, 15), (40, False, 20)])
def test_job_fields_save_a_checkpoint_each_epoch_ten_at_most_or_the_last(
    epochs: int, last_only: bool, saved: int
) -> None:
    trial = Trial(method="reinforcement", epoch_count=epochs, batch_size=8)
    fields = rewards.job_fields(trial, TASK, EVALUATE, 37, last_only)
    assert fields["checkpoint_interval"] == saved


def test_rewards_name_what_is_wrong() -> None:
    with pytest.raises(UserError, match="no reference 'town'"):
        scored(Trial(rewards=[Reward(expression="{{references.town}}")]), TASK, EXAMPLES[0], "x")
    with pytest.raises(UserError, match="the code of reward reward failed: ZeroDivisionError"):
        scored(Trial(rewards=[Reward(code="def evaluate(a, b): return 1 / 0")]), TASK, EXAMPLES[0], "x")
    lacking = ({"extract": f} for f in ("(?=x)", "(?<!x)y", r"(a)\1", "a++"))
    code = ({"code": text} for text in ("def evaluate(:", "score = 1", "\0"))
    for wrong in ({"extract": "("}, {"rubric": "x", "code": "y"}, {"correct": 2}, *lacking, *code):
        with pytest.raises(ValueError, match="Reward"):
            Reward(**wrong)


# -- check -----------------------------------------------------------------------------------------------------------


def answers_of(task: Task, examples: list[Example]) -> list[list[str]]:
    """What a model answers that is right half of the time."""
    rng, targets = random.Random(0), [example.target for example in examples]
    return [[example.target if rng.random() < 0.5 else rng.choice(targets) for _ in range(4)] for example in examples]


def checked(trial: Trial, task: Task = TASK, answers: Any = None) -> reward_check.RewardCheck:
    examples = CITIES if task.kind == "extraction" else EXAMPLES
    own, rows = rewards.rewards_of(trial, task, EVALUATE), [row for _, row in reinforcement_rows(task, examples)]
    answers = answers or answers_of(task, examples)

    def score(row: Any, text: str) -> float:
        return rewards.score(own, row, text)

    return reward_check.check(task, EVALUATE, examples, rows, answers, score, own)


@pytest.mark.parametrize("task", [TASK, OBJECTS])
def test_reward_check_passes_the_default_reward(task: Task) -> None:
    result = checked(Trial(), task)
    assert result.problems == []
    assert result.rewarded_wrong == result.unrewarded_right == 0 or task.kind == "extraction"
    assert 0 < result.without_signal < 0.5


def code(expression: str) -> Reward:
    lines = ["def evaluate(example, response):", "    text = response['parts'][0]['text']"]
    return Reward(code="\n".join([*lines, "    target = example['references']['target']", f"    return {expression}"]))


HOLES = [
    Reward(match="contains"),
    Reward(match="contains", extract="(?s).*"),
    Reward(match="regex", expression=".*"),
    Reward(match="regex", expression="{{references.target}}|^$"),
    Reward(match="regex", expression="{{references.target}}"),
    Reward(match="regex", expression="(?i){{references.target}}"),
    Reward(match="regex", expression="refund|cancel|shipping|R.ckgabe"),
    Reward(expression="refund"),
    Reward(match="contains", expression="e"),
    Reward(extract="(refund|cancel order|shipping|Rückgabe)", match="contains"),
    Reward(correct=0.0, wrong=1.0),
    Reward(match="regex", expression="ticket|{{references.target}}"),
    code("1.0 if target in text else 0.0"),
    code("1.0 if text.strip() else 0.0"),
    code("min(len(text), 100) / 100"),
    code("1.0 if not text or text == target else 0.0"),
    code("1.0 if set(target) <= set(text) else 0.0"),
    code("1.0 if text[:2] == target[:2] else 0.0"),
    code("1.0 if text == target or text == 'refund' else 0.0"),
    code("1.0 if 'ticket' in text or text == target else 0.0"),
]


@pytest.mark.parametrize(
    "reward",
    [
        Reward(match="regex", expression="{{references.target}}$"),
        Reward(extract=r"(?s).*?(\S+)\s*$", expression="refund"),
        Reward(match="regex", expression="^{{references.target}}$|^as you wish$"),
        code("1.0 if text and text in target else 0.0"),
        code("1.0 if sorted(text) == sorted(target) else 0.0"),
        code("1.0 if text == target or text.isdigit() else 0.0"),
        code("1.0 if text == target or text.lower().startswith('i cannot') else 0.0"),
        code("1.0 if text == target or text.startswith('{') else 0.0"),
        code("1.0 if text == target or 'thanks' in text else 0.0"),
        code("0.6 * (text == target) + 0.4 * ('please' in text)"),
    ],
)
def test_reward_check_finds_texts_that_the_reward_names_and_parts_of_the_reference(reward: Reward) -> None:
    assert checked(Trial(rewards=[reward])).problems


def test_reward_check_names_answers_on_which_code_fails() -> None:
    problems = checked(Trial(rewards=[code("1.0 if text[0] == target[0] and text == target else 0.0")])).problems
    assert problems == [
        "it fails on the answer '': the code of reward reward failed: IndexError: string index out of range"
    ]


def test_reward_check_names_the_text_that_is_paid() -> None:
    (problem,) = checked(Trial(rewards=[code("1.0 if text in (target, 'abracadabra') else 0.0")])).problems
    assert problem == "abracadabra for every row gets 100% of the highest reward, and 0% of the metric"


@pytest.mark.parametrize(
    "reward",
    [
        Reward(correct=1.0, wrong=-1.0),
        Reward(match="regex", expression=r"^\s*{{references.target}}\s*$"),
        Reward(extract=r"(?s)^\W*([\p{L} ]+?)\W*$"),
        code("1.0 if text.strip().lower() == target.lower() else 0.0"),
        code("1.0 if text == target else 0.1 if text in ('refund', 'shipping') else 0.0"),
    ],
)
def test_reward_check_passes_rewards_without_a_hole(reward: Reward) -> None:
    assert checked(Trial(rewards=[reward])).problems == []


@pytest.mark.parametrize("label", LABELS)
def test_reward_check_finds_a_label_that_is_always_paid(label: str) -> None:
    wrong = [["none"] * 4 for _ in EXAMPLES]  # no sampled answer shows it
    wrong[0] = [EXAMPLES[0].target, "none", "none", "none"]
    hole = Reward(match="regex", expression=f"^({{{{references.target}}}}|{label})$")
    problems = checked(Trial(rewards=[hole]), answers=wrong).problems
    assert [text for text in problems if text.startswith(f"{label} for every row gets 100%")]


@pytest.mark.parametrize("number", range(len(HOLES)))
def test_reward_check_finds_planted_holes(number: int) -> None:
    assert len(HOLES) == 20
    assert checked(Trial(rewards=[HOLES[number]])).problems


@pytest.mark.parametrize(
    "reward", [Reward(field="city"), Reward(match="contains", expression="C"), Reward(match="regex", expression="city")]
)
def test_reward_check_finds_holes_for_objects(reward: Reward) -> None:
    assert checked(Trial(rewards=[reward]), OBJECTS).problems


def test_reward_check_refuses_a_reward_without_spread() -> None:
    silent = [["I cannot say"] * 4 for _ in EXAMPLES]
    result = checked(Trial(), answers=silent)
    assert result.without_signal == 1
    assert "no spread" in result.problems[0]


# -- diagnosis -------------------------------------------------------------------------------------------------------


def curve(values: list[float]) -> dict[str, list[tuple[int, float]]]:
    return {loss_diagnostics.TRAIN_REWARD: list(enumerate(values, 1))}


def test_diagnosis_of_rewards() -> None:
    rng = random.Random(1)
    noise = [rng.gauss(0, 0.03) for _ in range(60)]
    assert loss_diagnostics.diagnose_job(curve([0.3 + n / 120 + x for n, x in enumerate(noise)])).kind == "fine"
    assert loss_diagnostics.diagnose_job(curve([0.3 + x for x in noise])).kind == "no_learning"
    silent = loss_diagnostics.diagnose_job(curve([0.0] * 60))
    assert (silent.kind, silent.evidence[-19:]) == ("no_learning", "was 0 at every step")
    assert loss_diagnostics.diagnose_job(curve([0.5 - n / 200 + x for n, x in enumerate(noise)])).kind == "no_learning"


def test_reward_hacking_is_a_rising_reward_with_a_falling_metric() -> None:
    rising = {loss_diagnostics.VALIDATION_REWARD: [(10, 0.2), (20, 0.5), (30, 0.9)]}
    assert loss_diagnostics.hacked(rising, [(10, 0.6), (20, 0.5), (30, 0.3)], 0.05)
    assert not loss_diagnostics.hacked(rising, [(10, 0.6), (20, 0.7), (30, 0.8)], 0.05)
    assert not loss_diagnostics.hacked(rising, [(10, 0.6), (20, 0.58), (30, 0.55)], 0.05)  # explained by its error
    falling = {loss_diagnostics.VALIDATION_REWARD: [(10, 0.9), (30, 0.2)]}
    assert not loss_diagnostics.hacked(falling, [(10, 0.6), (30, 0.3)], 0.05)

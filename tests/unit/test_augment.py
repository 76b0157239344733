# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation: only rare labels of the training split grow, by rows that are checked, new, and near to no split."""

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gemtune.artifacts.records import NewText
from gemtune.catalogue import Catalogue
from gemtune.config import Augment, Plan
from gemtune.cost.data_steps import AugmentationCost, affordable_rows, augmentation_forecast, missing_rows
from gemtune.data.example import Example, example_id
from gemtune.steps.augment import parse_paraphrases, perturb, without_overlaps

WORDS = {
    "refund": ["money", "back", "refund", "cash", "return", "repay", "credit", "charge"],
    "delivery": ["parcel", "package", "late", "courier", "shipping", "arrive", "address", "door"],
}
FILLERS = ["please", "the", "today", "my", "order", "again", "really", "want", "where", "soon", "tell", "you", "about"]


def made(label: str, seed: int, **more: Any) -> Example:
    draw = random.Random(f"{label} {seed}")
    words = draw.choices(FILLERS, k=6) + draw.choices(WORDS[label], k=4)
    draw.shuffle(words)
    text = " ".join(words)
    return Example(id=example_id(text, label), text=text, target=label, **more)


TRAIN = [*(made("refund", n) for n in range(60)), *(made("delivery", n) for n in range(12))]
HELD_OUT = {
    name: [made(label, n) for label in WORDS for n in range(at, at + 10)]
    for name, at in (("validation", 100), ("test", 200))
}
SPLITS = {"train": TRAIN, **HELD_OUT}


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 30), st.integers(1, 4))
def test_missing_rows_raise_rare_labels_within_the_limits(labels: list[str], below: int, per_row: int) -> None:
    rows = [Example(str(n), f"text {n}", label) for n, label in enumerate(labels)]
    more = Counter[str]()
    missing = missing_rows(rows, Augment(min_rows_per_label=below, max_per_row=per_row))
    for row in rows:
        more[row.target] += missing.get(row.id, 0)
        assert missing.get(row.id, 0) <= per_row
    for label, count in Counter(labels).items():
        assert more[label] == max(0, min(below - count, per_row * count))


@given(st.text(alphabet="ab cd", min_size=1, max_size=60), st.integers(1, 5))
def test_perturbed_texts_are_distinct(text: str, count: int) -> None:
    if text.split():
        variants = perturb(text, count, 7, "key")
        assert variants == perturb(text, count, 7, "key")
        assert len(set(variants)) == len(variants) <= count
        assert text not in variants


def test_parse_paraphrases_reads_numbered_lines_without_the_original() -> None:
    reply = 'Sure:\n1. "give my money back"\n2) where it is\n- 3: where it is\n4. the text\nThat is all.'
    assert parse_paraphrases(reply, "the text", 5) == ["give my money back", "where it is"]
    assert parse_paraphrases(None, "x", 3) == []


def cost(plan: float = 100.0, **augment: Any) -> AugmentationCost:
    prices = {"train": 0, "input": 1.0, "output": 10.0}
    catalogue = Catalogue.load({"models": {"gemini-2.5-flash": {"price": prices}}})
    settings = Augment(min_rows_per_label=20, **augment)
    return AugmentationCost.of("gemini-2.5-flash", settings, Plan(max_cost=plan), catalogue)


@given(
    st.sampled_from([["paraphrase"], ["perturb"], ["paraphrase", "perturb"]]),
    st.floats(0, 0.1),
    st.booleans(),
)
def test_affordable_rows_stay_under_both_limits(methods: list[str], limit: float, plans: bool) -> None:
    limits = {"plan": limit} if plans else {"max_cost": limit}
    bounded = cost(**limits, methods=methods)
    paid, missing = affordable_rows(TRAIN, bounded), missing_rows(TRAIN, bounded.settings)
    rows = {row.id: row for row in TRAIN}
    assert sum(bounded.item(rows[name], count).cost.upper for name, count in paid.items()) <= limit
    assert paid.items() <= missing.items()
    item, grown = augmentation_forecast(TRAIN, bounded)
    assert item.cost.expected <= item.cost.upper <= limit
    assert (item.cost.upper == 0) == (methods == ["perturb"] or not paid)
    assert methods != ["perturb"] or paid == missing
    assert len(grown) - len(TRAIN) == sum(paid.values())
    assert len({row.id for row in grown}) == len(grown)


def test_affordable_rows_are_fewer_under_a_lower_limit() -> None:
    assert 0 < len(affordable_rows(TRAIN, cost(max_cost=0.01))) < len(affordable_rows(TRAIN, cost()))
    assert affordable_rows(TRAIN, cost(max_cost=0)) == {}


def test_without_overlaps_rejects_texts_near_any_split() -> None:
    source = TRAIN[60]
    texts = [
        HELD_OUT["test"][3].text + " x",
        HELD_OUT["validation"][1].text.upper(),
        TRAIN[0].text,
        "quite another thing to say",
    ]
    candidates = [NewText(source.id, text, "perturb") for text in [*texts, texts[-1] + "!"]]
    new, near = without_overlaps(candidates, SPLITS, 0.8)
    assert [row.text for row in new] == ["quite another thing to say"]
    assert len(near) == 4
    assert (new[0].target, new[0].split, new[0].slices) == ("delivery", "train", {"made_by": "perturb"})


def test_augment_is_off_by_default() -> None:
    assert Augment().min_rows_per_label == 0
    assert missing_rows(TRAIN, Augment()) == {}

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation: only rare labels of the training split grow, by rows that are checked, new, and near to no split."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.catalogue import Catalogue
from gemtune.config import Augment, Evaluate, Plan, Split, Task
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.steps.augment import Made, Terms, admitted, affordable, forecast, paraphrases, perturbed, run, wanted

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
@settings(max_examples=80, deadline=None)
def test_augment_raises_rare_labels_within_the_limits(labels: list[str], below: int, per_row: int) -> None:
    rows = [Example(str(n), f"text {n}", label) for n, label in enumerate(labels)]
    more = Counter[str]()
    asked = wanted(rows, Augment(below=below, per_row=per_row))
    for row in rows:
        more[row.target] += asked.get(row.id, 0)
        assert asked.get(row.id, 0) <= per_row
    for label, count in Counter(labels).items():
        assert more[label] == max(0, min(below - count, per_row * count))


@given(st.text(alphabet="ab cd", min_size=1, max_size=60), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_perturbed_texts_are_distinct(text: str, count: int) -> None:
    if text.split():
        found = perturbed(text, count, 7, "key")
        assert found == perturbed(text, count, 7, "key")
        assert len(set(found)) == len(found) <= count
        assert text not in found


def test_paraphrases_reads_numbered_lines_without_the_original() -> None:
    said = 'Sure:\n1. "give my money back"\n2) where it is\n- 3: where it is\n4. the text\nThat is all.'
    assert paraphrases(said, "the text", 5) == ["give my money back", "where it is"]
    assert paraphrases(None, "x", 3) == []


def terms(plan: float = 100.0, **augment: Any) -> Terms:
    rates = {"train": 0, "input": 1.0, "output": 10.0}
    catalogue = Catalogue.load({"models": {"gemini-2.5-flash": {"price": rates}}})
    asking, task = Evaluate(base_model="gemini-2.5-flash"), Task(labels=["delivery", "refund"])
    return Terms.of(task, asking, Augment(below=20, **augment), Plan(max_cost=plan), catalogue)


@given(
    st.sampled_from([["paraphrase"], ["perturb"], ["paraphrase", "perturb"]]),
    st.sampled_from(["model", "classical"]),
    st.floats(0, 0.1),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_affordable_stays_under_both_limits(methods: list[str], recheck: str, limit: float, plans: bool) -> None:
    limits = {"plan": limit} if plans else {"max_cost": limit}
    asked = terms(**limits, methods=methods, recheck=recheck)
    paid, whole = affordable(TRAIN, asked), wanted(TRAIN, asked.settings)
    rows = {row.id: row for row in TRAIN}
    assert sum(asked.line(rows[name], count).cost.most for name, count in paid.items()) <= limit
    assert paid.items() <= whole.items()
    line, grown = forecast(TRAIN, asked)
    assert line.cost.expected <= line.cost.most <= limit
    free = methods == ["perturb"] and recheck == "classical"
    assert (line.cost.most == 0) == (free or not paid)
    made = paid if recheck == "model" or methods == ["paraphrase"] else whole
    assert len(grown) - len(TRAIN) == sum(made.values())
    assert len({row.id for row in grown}) == len(grown)


def test_affordable_includes_a_paid_label_check() -> None:
    row, free, paid = TRAIN[60], terms(), terms(recheck="model")
    assert paid.line(row, 3).cost.most > free.line(row, 3).cost.most
    assert 0 < len(affordable(TRAIN, terms(recheck="model", max_cost=0.02))) < len(affordable(TRAIN, terms()))
    assert affordable(TRAIN, terms(max_cost=0)) == {}


def test_augment_rejects_texts_near_any_split() -> None:
    source = TRAIN[60]
    texts = [
        HELD_OUT["test"][3].text + " x",
        HELD_OUT["validation"][1].text.upper(),
        TRAIN[0].text,
        "quite another thing to say",
    ]
    new, near = admitted([Made(source.id, text, "perturb") for text in [*texts, texts[-1] + "!"]], SPLITS, 0.8)
    assert [row.text for row in new] == ["quite another thing to say"]
    assert len(near) == 4
    assert (new[0].target, new[0].split, new[0].slices) == ("delivery", "train", {"made_by": "perturb"})


def run_it(folder: Path, plan: Any = None, **config: Any) -> tuple[list[Example], dict[str, Any], dict[str, float]]:
    folder.mkdir(exist_ok=True)
    for name, rows in SPLITS.items():
        write_examples(folder / name, rows)
    outputs = [str(folder / name) for name in ("augmented", "report")]
    asking = {"base_model": "gemini-2.5-flash", "attempts": 2}
    paths = [str(folder / name) for name in SPLITS]
    counts = run(*paths, {}, Split().model_dump(), asking, config, {}, *outputs, plan)
    return list(read_examples(outputs[0])), json.loads(Path(outputs[1]).read_text()), counts


def test_augment_is_off_by_default(tmp_path: Path) -> None:
    rows, report, counts = run_it(tmp_path)
    assert rows == TRAIN
    assert counts == {"made": 0.0}
    assert report["made"] == 0

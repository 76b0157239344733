# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe of the embedded base: the corpus keeps its promises, the tokenizer loses nothing, a seed decides."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.pretrain_student import words as w
from tools.pretrain_student.episodes import END, MODEL, EpisodeWriter
from tools.pretrain_student.grammar import Writer, gerund, participle, third_person


def writer(seed: int, easy: float = 0.2, difficulty: float = 1.0) -> EpisodeWriter:
    source = EpisodeWriter(seed)
    source.easy, source.difficulty = easy, difficulty
    return source


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_pretrain_episodes_end_with_an_answer_and_fill_all_slots(seed: int, easy: float, difficulty: float) -> None:
    source = writer(seed, easy, difficulty)
    for _ in range(10):
        episode = source.draw()
        text = "".join(part for part, _ in episode)
        assert all(0 <= weight <= 1 for _, weight in episode)
        assert not any(slot in text for slot in ("{v", "{n", "{name", "{time", "{state", "{good", "{bare", "{place"))
        if MODEL in text:
            assert text.endswith(END)


def test_pretrain_corpus_is_determined_by_its_seed() -> None:
    first, second, other = writer(1), writer(1), writer(2)
    drawn = [first.draw() for _ in range(50)]
    assert drawn == [second.draw() for _ in range(50)]
    assert drawn != [other.draw() for _ in range(50)]


def test_pretrain_corpus_has_no_support_intents() -> None:
    source = writer(3)
    concept = {form: c[0] for c in w.ACTIONS for form in c}
    for _ in range(300):
        for group in source.pair_groups(8):
            for cut in range(1, len(group.parts)):
                pair = concept.get(" ".join(group.parts[:cut]), ""), " ".join(group.parts[cut:])
                assert pair not in w.HELD_OUT


@pytest.mark.parametrize("family", ["word_groups", "concept_groups", "pair_groups", "state_groups", "topic_groups"])
def test_pretrain_texts_carry_the_mark_of_their_class(family: str) -> None:
    source = writer(5)
    extra: tuple[Any, ...] = {"word_groups": (True,), "concept_groups": ("object",)}.get(family, ())
    for group in getattr(source, family)(4, *extra):
        texts = {group.write(hard) for hard in (0.0, 0.5, 1.0) for _ in range(5)}
        assert all(texts)
        assert len(texts) > 3


def test_pretrain_extraction_answers_are_in_the_text() -> None:
    source = writer(7)
    for _ in range(100):
        text, fields = source._described(["color", "price", "city", "order_id"])
        assert all(value in text for value in fields.values())


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("carry on", ("carries on", "carrying on", "carried on")),
        ("take out", ("takes out", "taking out", "taken out")),
        ("fix", ("fixes", "fixing", "fixed")),
        ("agree to", ("agrees to", "agreeing to", "agreed to")),
        ("stop", ("stops", "stopping", "stopped")),
    ],
)
def test_pretrain_verbs_are_inflected(verb: str, forms: tuple[str, str, str]) -> None:
    assert (third_person(verb), gerund(verb), participle(verb)) == forms


def test_pretrain_opinions_carry_their_sign() -> None:
    source = Writer(1)
    good = " ".join(source.opinion(True) for _ in range(300)).lower()
    bad = " ".join(source.opinion(False) for _ in range(300)).lower()
    marks = [word for word in w.GOOD if len(word) > 6]
    assert sum(good.count(word) for word in marks) > 3 * sum(bad.count(word) for word in marks)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tools.pretrain_student.tokenizer import train_tokenizer

    return train_tokenizer(1, tmp_path_factory.mktemp("tokenizer"), episodes=200)


def test_pretrain_tokenizer_round_trips(tokenizer: Any) -> None:
    rng = random.Random(1)
    atoms = [
        "a",
        "Bc",
        "D",
        " ",
        "  ",
        "\ue000",
        "\ue001",
        "\ue002",
        "1",
        ".",
        "é",
        "É",
        "日",
        "の",
        "\n",
        "_",
        "'s",
        "한",
    ]
    for _ in range(1000):
        text = "".join(rng.choice(atoms) for _ in range(10))
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_pretrain_tokenizer_word_is_one_token_anywhere(tokenizer: Any) -> None:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    (word,) = ids("meeting")
    for text in ("meeting", "the meeting", "cancel_meeting", "The Meeting.", "\nmeeting: "):
        assert word in ids(text)


def test_pretrain_learns_and_is_reproducible(tokenizer: Any, tmp_path: Path) -> None:
    from tools.pretrain_student.train import Recipe, pretrain

    recipe = replace(Recipe(), tokens=28_000, width=32, feed_forward=64, layers="ca", warmup_steps=5)
    recipe = replace(recipe, early_batch_tokens=512, batch_tokens=512, late_batch_tokens=512)
    models = [pretrain(recipe, tokenizer, tmp_path / name) for name in "ab"]
    first, second = ({k: v.sum().item() for k, v in m.state_dict().items()} for m in models)
    assert first == second
    history = json.loads((tmp_path / "a" / "train.json").read_text())["history"]
    assert history[-1]["loss"] < 8.2  # log of the vocabulary is 8.3
    assert {"config.json", "model.safetensors"} <= {p.name for p in (tmp_path / "a").iterdir()}


def test_pretrain_scatter_separates_unseen_tokens() -> None:
    import torch

    from tools.pretrain_student.train import scatter

    draw = torch.Generator().manual_seed(1)
    distinct = torch.randn(200, 64, generator=draw)
    alike = torch.ones(40, 64) + 0.01 * torch.randn(40, 64, generator=draw)
    rows = torch.cat([distinct, alike])
    assert scatter(rows, 7) == 40
    assert torch.equal(rows[:200], distinct)
    units = torch.nn.functional.normalize(rows[200:], dim=1)
    assert (units @ units.T - torch.eye(40)).abs().max() < 0.95

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn, sacrebleu and slow references on random inputs."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from gemtune.config import Task
from gemtune.evaluation.metrics import (
    Row,
    confusion,
    field_counts,
    measure,
    metric_names,
    per_class,
    per_field,
    rouge,
    row_scores,
    tokens,
)
from gemtune.inference.field_values import canonical_object

LABELS = ["a", "b", "c", "d"]
TASK = Task(labels=LABELS)
TEXT = Task(kind="summarization")
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=50)


def labelled(found):
    return [Row(reference, parsed, parsed, reference) for reference, parsed in found]


@given(pairs)
def test_label_metrics_agree_with_scikit_learn(found):
    rows = labelled(found)
    truth, said = [r for r, _ in found], [p or "(none)" for _, p in found]
    seen = sorted({*truth, *(s for s in said if s != "(none)")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sk.accuracy_score(truth, said),
            "macro_f1": sk.f1_score(truth, said, labels=seen, average="macro", zero_division=0),
            "micro_f1": sk.f1_score(truth, said, labels=seen, average="micro", zero_division=0),
        }
        table = sk.precision_recall_fscore_support(truth, said, labels=LABELS, zero_division=0)
    for name, value in expected.items():
        assert measure(TASK, name, rows).value() == pytest.approx(value), name
    ours = [[c.precision, c.recall, c.f1, c.support] for c in per_class(TASK, rows)]
    np.testing.assert_allclose(np.array(ours).T, np.array(table, dtype=float))
    square = sk.confusion_matrix(truth, said, labels=[*LABELS, "(none)"])
    assert confusion(TASK, rows).matrix == square[:-1].tolist()


sets = st.lists(
    st.tuples(st.sets(st.sampled_from("abc"), min_size=1), st.sets(st.sampled_from("abc"))), min_size=1, max_size=30
)


@given(sets)
def test_multilabel_metrics_agree_with_scikit_learn(found):
    task = Task(labels=list("abc"), label_separator="; ")
    rows = [Row("; ".join(sorted(r)), "; ".join(sorted(p)) if p else None) for r, p in found]
    truth, said = (np.array([[label in pair[side] for label in "abc"] for pair in found]) for side in (0, 1))
    seen = [i for i in range(3) if truth[:, i].any() or said[:, i].any()]
    expected = sk.f1_score(truth, said, labels=seen, average="macro", zero_division=0)
    assert measure(task, "macro_f1", rows).value() == pytest.approx(expected)
    expected = sk.f1_score(truth, said, average="micro", zero_division=0)
    assert measure(task, "micro_f1", rows).value() == pytest.approx(expected)
    assert measure(task, "accuracy", rows).value() == pytest.approx(np.mean([r == p for r, p in found]))


def test_macro_f1_of_resampled_rows_follows_the_formula():
    rng = np.random.default_rng(0)
    rows = labelled([(rng.choice(LABELS), rng.choice(LABELS)) for _ in range(60)])
    whole = measure(TASK, "macro_f1", rows)
    for _ in range(20):
        index = rng.integers(0, 60, 60)
        weights = np.bincount(index, minlength=60).astype(float)
        drawn = measure(TASK, "macro_f1", [rows[i] for i in index]).value()
        assert float(whole.formula(weights @ whole.sums)) == pytest.approx(drawn)


words = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "dog", "ran"]), max_size=12).map(" ".join)


@cache
def slow_lcs(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    if not left or not right:
        return 0
    if left[-1] == right[-1]:
        return slow_lcs(left[:-1], right[:-1]) + 1
    return max(slow_lcs(left[:-1], right), slow_lcs(left, right[:-1]))


@given(words, words)
def test_rouge_agrees_with_its_definition(reference, answer):
    wanted, given_words = tuple(reference.split()), tuple(answer.split())
    total = len(wanted) + len(given_words)
    common = slow_lcs(wanted, given_words)
    assert rouge(reference, answer)["rouge_l"] == pytest.approx(2 * common / total if total else 0)
    for size, name in ((1, "rouge_1"), (2, "rouge_2")):
        left, right = ([g[i : i + size] for i in range(len(g) - size + 1)] for g in (wanted, given_words))
        hits = sum(min(left.count(gram), right.count(gram)) for gram in set(left))
        expected = 2 * hits / (len(left) + len(right)) if hits else 0
        assert rouge(reference, answer)[name] == pytest.approx(expected)


def test_rouge_agrees_with_rouge_score_on_english():
    """Values of rouge-score 0.1.2, written by bench/rouge.py --write."""
    kept = json.loads(Path(__file__).with_name("rouge_score.json").read_text(encoding="utf-8"))
    assert len({row["rouge_l"] for row in kept}) > 20
    for row in kept:
        found = rouge(row["reference"], row["answer"])
        assert found == pytest.approx({name: row[name] for name in found}, abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "answer", "worse"),
    [
        ("東京は日本の首都です。", "日本の首都は東京です", "今日は良い天気です"),
        ("서울은 한국의 수도이다", "한국의 수도는 서울이다", "날씨가 좋다"),
        ("北京是中国的首都。", "中国的首都是北京", "天气很好"),
        ("กรุงเทพเป็นเมืองหลวง", "เมืองหลวงคือกรุงเทพ", "xyz"),
        ("Größe und Länge", "größe, länge", "nichts"),
    ],
)
def test_rouge_works_in_every_script(reference, answer, worse):
    good, bad = rouge(reference, answer), rouge(reference, worse)
    assert all(good[name] > bad[name] for name in ("rouge_1", "rouge_l"))
    assert rouge(reference, reference) == {"rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 1.0}


# (script, tokens, whether spaces stand between tokens)
SCRIPTS = [
    ("Latin", "the Größe naïve İstanbul cafe\u0301 x86 été", True),
    ("Cyrillic", "мир йод ёлка свет июль їжак", True),
    ("Arabic", "كِتاب كُتاب كتاب می\u200cخواهم سلام", True),
    ("Hebrew", "שָׁלוֹם שלום ספר בַּיִת", True),
    ("Devanagari", "काल कूल क्ष हिन्दी दिन दान", True),
    ("Bengali", "দিন দান কাল ক্ষমা বাংলা", True),
    ("Tamil", "தமிழ் கல் கால் வீடு", True),
    ("Thai", "ปี ปู ก ข้ เ า ที่", False),
    ("Burmese", "မြ န် မာ က ကို ကု", False),
    ("Khmer", "ខ្ ម រ ក កា", False),
    ("Han", "東 京 是 国 的 都", False),
    ("Japanese", "東 は が か 々 ー ガ", False),
    ("Korean", "서 울 은 한 국 의", False),
]


@pytest.mark.parametrize(("script", "words_of_script", "spaced"), SCRIPTS, ids=[row[0] for row in SCRIPTS])
@settings(max_examples=8)  # in each of 13 scripts
@given(data=st.data())
def test_text_metrics_agree_with_references_in_every_script(script, words_of_script, spaced, data):
    """Texts are written from planted tokens: ROUGE by its definition on these, BLEU and chrF by sacrebleu."""
    alphabet = words_of_script.split()
    drawn = st.lists(st.sampled_from(alphabet), min_size=1, max_size=12)
    expected, predicted = data.draw(drawn), data.draw(drawn)
    reference, answer = ((" " if spaced else "").join(words) for words in (expected, predicted))
    assert len(tokens(reference)) == len(expected)
    scores = rouge(reference, answer)
    common = slow_lcs(tuple(expected), tuple(predicted))
    assert scores["rouge_l"] == pytest.approx(2 * common / (len(expected) + len(predicted)))
    for size, name in ((1, "rouge_1"), (2, "rouge_2")):
        left, right = ([tuple(g[i : i + size]) for i in range(len(g) - size + 1)] for g in (expected, predicted))
        hits = sum(min(left.count(gram), right.count(gram)) for gram in set(left))
        assert scores[name] == pytest.approx(2 * hits / (len(left) + len(right)) if hits else 0)
    rows = [Row(reference, answer)]
    bleu = sacrebleu.corpus_bleu([answer], [[reference]], tokenize="13a" if spaced else "char", force=True).score
    assert measure(TEXT, "bleu", rows).value() == pytest.approx(bleu, abs=1e-6)
    assert measure(TEXT, "chrf", rows).value() == pytest.approx(sacrebleu.corpus_chrf([answer], [[reference]]).score)
    labels = sorted(set(alphabet))
    labelled_rows = [Row(a, b, b, a) for a, b in zip(expected, predicted, strict=False)]
    truth, answered = [row.reference for row in labelled_rows], [row.parsed for row in labelled_rows]
    seen = sorted({*truth, *answered})
    f1_score = sk.f1_score(truth, answered, labels=seen, average="macro", zero_division=0)
    assert measure(Task(labels=labels), "macro_f1", labelled_rows).value() == pytest.approx(f1_score)
    accuracy = sk.accuracy_score(truth, answered)
    assert measure(Task(labels=labels), "accuracy", labelled_rows).value() == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("काल", "कूल", 0),  # the words differ in their vowel signs only
        ("দিন", "দান", 0),
        ("ปี", "ปู", 0),
        ("မာ", "မု", 0),
        ("café", "cafe\u0301", 1),  # one word in two encodings
        ("क्\u200dष", "क्ष", 1),  # joiners and direction marks are invisible
        ("\u200fשלום", "שלום\u200e", 1),
        ("👍", "👍", 1),
        ("👍", "👎", 0),
        ("👍", "👍 ok", 2 / 3),
        ("❤️ 👍🏽", "❤️ 👍🏿", 1 / 2),
        ("+ → $$", "+ → $$", 1),
        ("ok 👍", "ok 👎", 1),  # beside words symbols do not count, as in rouge-score
        ("Yes.", "...", 0),
        ("", "👍", 0),
    ],
)
def test_rouge_compares_marks_and_symbols(reference, answer, expected):
    assert rouge(reference, answer)["rouge_1"] == pytest.approx(expected)


@given(st.text(max_size=12), st.text(max_size=12))
def test_rouge_of_any_text_with_itself_is_1_and_symmetric_in_words(text, other):
    visible = any(tokens(text, symbols=True))
    assert rouge(text, text)["rouge_1"] == float(visible)
    if tokens(text) and tokens(other):
        assert rouge(text, other) == rouge(other, text)


def test_tokens_mix_words_and_characters():
    assert tokens("Gemini 2.5で東京へ行く!") == ["gemini", "2", "5", "で", "東", "京", "へ", "行", "く"]
    assert tokens("") == tokens("…!") == []


@settings(max_examples=25)
@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=8))
def test_bleu_and_chrf_agree_with_sacrebleu(found):
    rows = [Row(reference, answer) for reference, answer in found]
    references, answers = [r for r, _ in found], [a for _, a in found]
    expected = sacrebleu.corpus_bleu(answers, [references], force=True).score
    assert measure(TEXT, "bleu", rows).value() == pytest.approx(expected, abs=1e-6)
    expected = sacrebleu.corpus_chrf(answers, [references]).score
    assert measure(TEXT, "chrf", rows).value() == pytest.approx(expected, abs=1e-6)


def test_bleu_counts_characters_where_words_have_no_spaces():
    rows = [Row("東京は日本の首都です", "東京は日本の都市です")]
    expected = sacrebleu.corpus_bleu([rows[0].parsed], [[rows[0].reference]], tokenize="char").score
    assert measure(TEXT, "bleu", rows).value() == pytest.approx(expected)
    assert expected > 20


def test_field_counts_compares_each_field():
    wanted = canonical_object({"city": "Bern", "people": ["Ann", "Bob"]})
    said = canonical_object({"city": "Bern", "people": ["Bob", "Cid"], "date": "x"})
    assert field_counts(wanted, said) == (2, 4, 3)
    rows = [Row(wanted, said), Row(wanted, None)]
    task = Task(kind="extraction")
    assert measure(task, "field_precision", rows).value() == pytest.approx(2 / 4)
    assert measure(task, "field_recall", rows).value() == pytest.approx(2 / 6)
    assert measure(task, "field_f1", rows).value() == pytest.approx(4 / 10)
    assert measure(task, "valid_rate", rows).value() == 0.5
    assert {c.label: (c.precision, c.recall) for c in per_field(task, rows)} == {
        "city": (1.0, 0.5), "people": (0.5, 0.25), "date": (0.0, 0.0),
    }  # fmt: skip


objects = st.dictionaries(
    st.sampled_from("xyz"), st.sampled_from(["1", "2"]) | st.lists(st.sampled_from("pq"), max_size=3)
)


@given(st.lists(st.tuples(objects, objects | st.none()), min_size=1, max_size=10))
def test_field_f1_is_the_harmonic_mean(found):
    rows = [Row(canonical_object(r), None if p is None else canonical_object(p)) for r, p in found]
    task = Task(kind="extraction")
    precision, recall, score = (measure(task, f"field_{m}", rows).value() for m in ("precision", "recall", "f1"))
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert score == pytest.approx(expected)
    hits = [r == p for r, p in ((json.loads(row.reference), row.parsed and json.loads(row.parsed)) for row in rows)]
    assert measure(task, "exact_match", rows).value() == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("kind", ["classification", "sentiment", "extraction", "summarization", "generation"])
def test_measure_is_perfect_on_perfect_answers_and_low_on_none(kind):
    task = Task(kind=kind, labels=["one", "two"])
    texts = {"extraction": ['{"a": "1"}', '{"a": "2"}']}.get(kind, ["one", "two"])
    texts = ["one big thing", "two"] if kind in ("summarization", "generation") else texts
    for name in metric_names(task):
        perfect = measure(task, name, [Row(t, t, t, t) for t in texts]).value()
        if name not in ("bleu", "rouge_2"):  # short texts have no 4-grams or pairs
            assert perfect == pytest.approx(100 if name == "chrf" else 1), name
        assert measure(task, name, [Row(t, None, None, t) for t in texts]).value() == 0, name
        with pytest.raises(KeyError):
            measure(task, "nonsense", [])


def test_row_scores_average_to_the_metric():
    rows = [Row("the cat sat", "the cat"), Row("a dog", "the dog ran")]
    scores = [row_scores(TEXT, row)["rouge_l"] for row in rows]
    assert measure(TEXT, "rouge_l", rows).value() == pytest.approx(np.mean(scores))

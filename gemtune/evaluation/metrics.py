# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: the scores of one answer, and their aggregation over rows.

A row without a usable answer (invalid, refused, blocked, truncated, failed) counts as a miss and is never excluded.
Every metric is an `intervals.Measure`, so it has an interval and can be compared row by row. sacrebleu computes BLEU
and chrF; ROUGE is implemented here because the usual package drops every character that is not a-z0-9 and so scores 0
in Japanese, Chinese and Korean.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from gemtune.artifacts.evaluation import ClassReport, Confusion
from gemtune.config import Task
from gemtune.data.labels import labels_of
from gemtune.evaluation.intervals import Floats, Measure, mean
from gemtune.inference.field_values import FieldRules, as_written, json_object, scored_fields

_NO_RULES: FieldRules = {}


@dataclass(frozen=True)
class Row:
    """One answer and its reference, both in canonical form, with the raw spellings and the scores once computed."""

    reference: str
    parsed: str | None
    answer: str | None = None
    target: str = ""
    scores: dict[str, float] | None = None


def primary_metric(task: Task) -> str:
    """The metric that decides unless configured otherwise."""
    return "accuracy" if task.is_labelled else "exact_match" if task.kind == "extraction" else "rouge_l"


def metric_names(task: Task) -> list[str]:
    """Every metric of the task kind, the primary one first."""
    if task.is_labelled:
        return ["accuracy", "macro_f1", "micro_f1", "exact_match"]
    if task.kind == "extraction":
        return ["exact_match", "field_f1", "field_precision", "field_recall", "field_accuracy", "valid_rate"]
    return ["rouge_l", "rouge_1", "rouge_2", "bleu", "chrf", "exact_match"]


def row_scores(task: Task, row: Row) -> dict[str, float]:
    """The scores of one answer: 0 or 1 for labels and objects, ROUGE F for texts."""
    raw = float(row.answer is not None and row.answer.strip() == row.target.strip())
    if task.is_labelled:
        return {"accuracy": float(row.parsed == row.reference), "exact_match": raw}
    if task.kind == "extraction":
        hit, predicted, expected = field_counts(row.reference, row.parsed, task.field_rules)
        return {
            "exact_match": float(row.parsed == row.reference),
            "field_f1": 2 * hit / (predicted + expected) if predicted + expected else 1.0,
            "field_accuracy": field_accuracy(task, row.target, row.answer),
            "valid_rate": float(row.parsed is not None),
        }
    scores = rouge(row.reference, row.parsed or "")
    return {**scores, "exact_match": float(_squeezed(row.reference) == _squeezed(row.parsed or ""))}


def measure(task: Task, metric: str, rows: Sequence[Row]) -> Measure:
    """The metric over rows as a measure; raises `KeyError` for a metric the task kind does not have."""
    if metric not in metric_names(task):
        raise KeyError(f"{task.kind} has no metric {metric!r}; it has {', '.join(metric_names(task))}")
    if task.is_labelled and metric in ("macro_f1", "micro_f1"):
        return f1(label_sets(task, rows), macro=metric == "macro_f1")
    if metric in ("field_f1", "field_precision", "field_recall"):
        return _field_measure(task, metric, rows)
    if metric == "bleu":
        return _bleu([row.reference for row in rows], [row.parsed or "" for row in rows])
    if metric == "chrf":
        return _chrf([row.reference for row in rows], [row.parsed or "" for row in rows])
    return mean([(row.scores or row_scores(task, row))[metric] for row in rows])


# -- labels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelSets:
    """References and predictions as 0/1 matrices (rows, labels); an invalid answer predicts no label."""

    labels: list[str]
    reference: Floats
    predicted: Floats


def label_sets(task: Task, rows: Sequence[Row]) -> LabelSets:
    """Label matrices of rows; the labels are those of the task and any others in the references."""
    values = {label for row in rows for label in _labels_of(task, row.reference)}
    labels = [*task.labels, *sorted(values - set(task.labels))]
    index = {label: i for i, label in enumerate(labels)}
    reference, predicted = np.zeros((len(rows), len(labels))), np.zeros((len(rows), len(labels)))
    for i, row in enumerate(rows):
        reference[i, [index[label] for label in _labels_of(task, row.reference)]] = 1
        indices = [index[label] for label in _labels_of(task, row.parsed) if label in index]
        predicted[i, indices] = 1
    return LabelSets(labels, reference, predicted)


def _labels_of(task: Task, value: str | None) -> list[str]:
    return [] if value is None else labels_of(value, task)


def f1(sets: LabelSets, *, macro: bool) -> Measure:
    """Macro F1 (mean over labels that occur in reference or prediction) or micro F1, as scikit-learn defines them."""
    hits = sets.reference * sets.predicted
    if not macro:
        columns = [hits.sum(axis=1), sets.reference.sum(axis=1), sets.predicted.sum(axis=1)]
        return Measure(np.column_stack(columns), _f1)
    return Measure(np.hstack([hits, sets.reference, sets.predicted]), _macro_f1)


def _f1(totals: Floats) -> Floats:
    hits, expected, predicted = totals[..., 0], totals[..., 1], totals[..., 2]
    score: Floats = np.divide(2 * hits, expected + predicted, out=np.zeros(hits.shape), where=expected + predicted > 0)
    return score


def _macro_f1(totals: Floats) -> Floats:
    hits, expected, predicted = np.split(totals, 3, axis=-1)
    present = expected + predicted > 0
    scores = np.divide(2 * hits, expected + predicted, out=np.zeros(hits.shape), where=present)
    count = present.sum(axis=-1)
    average: Floats = np.divide(scores.sum(axis=-1), count, out=np.zeros(count.shape), where=count > 0)
    return average


def per_class(task: Task, rows: Sequence[Row]) -> list[ClassReport]:
    """Precision, recall, F1 and support of each label that occurs in reference or prediction or belongs to the task."""
    sets = label_sets(task, rows)
    hits, expected = (sets.reference * sets.predicted).sum(axis=0), sets.reference.sum(axis=0)
    predicted = sets.predicted.sum(axis=0)
    counts = zip(sets.labels, hits, predicted, expected, strict=True)
    return [_class_report(label, *own) for label, *own in counts]


def _class_report(label: str, hits: float, predicted: float, expected: float) -> ClassReport:
    return ClassReport(
        label=label,
        precision=_share(hits, predicted),
        recall=_share(hits, expected),
        f1=_share(2 * hits, predicted + expected),
        support=int(expected),
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def confusion(task: Task, rows: Sequence[Row]) -> Confusion:
    """Counts of (reference row, predicted column); the last column "(none)" counts rows without a usable answer."""
    labels = label_sets(task, rows).labels
    index = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels) + 1), dtype=int)
    for row in rows:
        matrix[index[row.reference], index.get(row.parsed or "", len(labels))] += 1
    return Confusion(labels=labels, columns=[*labels, "(none)"], matrix=matrix.tolist())


# -- objects ---------------------------------------------------------------------------------------------------------


FieldCounts = tuple[int, int, int]  # values that match, that were predicted, that were expected


def field_counts(reference: str, parsed: str | None, rules: FieldRules = _NO_RULES) -> FieldCounts:
    """Numbers of field values that match, that were predicted, that were expected; a list counts one per item."""
    hits, predicted, expected = np.array([(0, 0, 0), *_counts_by_field(reference, parsed, rules).values()]).sum(axis=0)
    return int(hits), int(predicted), int(expected)


def field_accuracy(task: Task, target: str, answer: str | None) -> float:
    """The share of the schema's fields whose value is written in the answer as in the reference `target`.

    An answer that is not a JSON object as it stands has none; an absent value of the reference is an empty text.
    """
    names = scored_fields(task.output_schema)
    expected, values = json_object(target), json_object((answer or "").strip())
    matches = [name in values and as_written(values[name]) == as_written(expected.get(name, "")) for name in names]
    return sum(matches) / len(names) if names else float((answer or "").strip() == target.strip())


def _counts_by_field(reference: str, parsed: str | None, rules: FieldRules) -> dict[str, FieldCounts]:
    expected, predicted = json.loads(reference), json.loads(parsed) if parsed else {}
    counts = {}
    for name in {**expected, **predicted}:
        expected_items, items = _items(expected.get(name)), _items(predicted.get(name))
        if "sequence" in rules.get(name, ()):
            hits = _longest_common(expected_items, items)
        else:
            hits = (Counter(expected_items) & Counter(items)).total()
        counts[name] = (hits, len(items), len(expected_items))
    return counts


def _items(value: Any) -> list[str]:
    """The values of a field in canonical form: the items of a list, else the value."""
    items = [] if value is None else value if isinstance(value, list) else [value]
    return [json.dumps(item, ensure_ascii=False, sort_keys=True) for item in items]


def _field_measure(task: Task, metric: str, rows: Sequence[Row]) -> Measure:
    counts = [field_counts(row.reference, row.parsed, task.field_rules) for row in rows]
    hit, predicted, expected = np.array(counts, dtype=float).reshape(-1, 3).T
    if metric == "field_f1":
        return Measure(np.column_stack([hit, expected, predicted]), _f1)
    whole = predicted if metric == "field_precision" else expected
    return Measure(np.column_stack([hit, whole]), mean([]).formula)


def per_field(task: Task, rows: Sequence[Row]) -> list[ClassReport]:
    """Precision, recall, F1 and support of every field in a reference or an answer."""
    totals: dict[str, FieldCounts] = {}
    for row in rows:
        for name, counts in _counts_by_field(row.reference, row.parsed, task.field_rules).items():
            hits, predicted, expected = totals.get(name, (0, 0, 0))
            totals[name] = (hits + counts[0], predicted + counts[1], expected + counts[2])
    return [_class_report(name, *counts) for name, counts in sorted(totals.items())]


# -- texts -----------------------------------------------------------------------------------------------------------

# Letters of scripts without spaces (Han, kana, Thai, Burmese, ...) and Hangul, whose particles attach to words,
# by their line breaking classes (UAX 14).
_UNSPACED = r"[[\p{L}\p{N}]&&[\p{lb=SA}\p{lb=ID}\p{lb=CJ}\p{lb=NS}\p{lb=H2}\p{lb=H3}\p{lb=JL}\p{lb=JV}\p{lb=JT}]]"
_MARKS = r"[\p{M}\p{Cf}]*"
_WORD = rf"(?V1)(?P<word>{_UNSPACED}{_MARKS}|(?:(?!{_UNSPACED})[\p{{L}}\p{{N}}]{_MARKS})+)"
_UNSPACED_LETTER, _WORDS = regex.compile(f"(?V1){_UNSPACED}"), regex.compile(_WORD)
_WORDS_AND_SYMBOLS = regex.compile(rf"{_WORD}|(?=\S)\X")
_FORMAT = regex.compile(r"\p{Cf}")


def tokens(text: str, *, symbols: bool = False) -> list[str]:
    """Words in lower case with their combining marks, without joiners and direction marks.

    Scripts without spaces and Hangul are split into letters. `symbols`: every other visible character (grapheme
    cluster, UAX 29) is a token too.
    """
    pattern = _WORDS_AND_SYMBOLS if symbols else _WORDS
    matches = pattern.finditer(unicodedata.normalize("NFKC", text).lower())
    return [_FORMAT.sub("", match["word"]) if match["word"] else match[0] for match in matches]


def rouge(reference: str, answer: str) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F scores of one answer (Lin 2004), on `tokens`, without stemming.

    Symbols count only if the reference has nothing else.
    """
    symbols = not tokens(reference)
    expected, predicted = tokens(reference, symbols=symbols), tokens(answer, symbols=symbols)
    return {
        "rouge_1": _overlap(_grams(expected, 1), _grams(predicted, 1)),
        "rouge_2": _overlap(_grams(expected, 2), _grams(predicted, 2)),
        "rouge_l": _share(2 * _longest_common(expected, predicted), len(expected) + len(predicted)),
    }


def _grams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(size)), strict=False))


def _overlap(expected: Counter[tuple[str, ...]], predicted: Counter[tuple[str, ...]]) -> float:
    return _share(2 * (expected & predicted).total(), expected.total() + predicted.total())


def _longest_common(left: list[str], right: list[str]) -> int:
    """Length of the longest common subsequence, by bits (Hyyrö 2004): one big-integer step per token."""
    where: dict[str, int] = {}
    for i, word in enumerate(left):
        where[word] = where.get(word, 0) | 1 << i
    everything = (1 << len(left)) - 1
    row = everything
    for word in right:
        match = row & where.get(word, 0)
        row = ((row + match) | (row - match)) & everything
    return len(left) - row.bit_count()


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def _bleu(references: list[str], answers: list[str]) -> Measure:
    """Corpus BLEU (0-100), sacrebleu's defaults; characters are tokens if most letters need no spaces."""
    from sacrebleu.metrics import BLEU

    letters = [char for text in references for char in text if char.isalpha()]
    unspaced = sum(1 for char in letters if _UNSPACED_LETTER.match(char)) > len(letters) / 2
    return _from_statistics(BLEU(tokenize="char" if unspaced else "13a", force=True), answers, references)


def _chrf(references: list[str], answers: list[str]) -> Measure:
    """Corpus chrF (0-100), sacrebleu's defaults."""
    from sacrebleu.metrics import CHRF

    return _from_statistics(CHRF(), answers, references)


def _from_statistics(scorer: Any, answers: list[str], references: list[str]) -> Measure:
    """A measure whose rows are the sentence statistics that sacrebleu sums."""
    rows = scorer._extract_corpus_statistics(answers, [references])
    sums = np.array(rows, dtype=np.float64).reshape(len(answers), -1)
    formula: Callable[[Floats], Floats] = np.vectorize(
        lambda totals: scorer._compute_score_from_stats([int(x) for x in totals]).score,
        signature="(k)->()",
        otypes=[float],
    )
    return Measure(sums, formula, (0.0, 100.0))

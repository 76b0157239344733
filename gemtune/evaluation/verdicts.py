# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a judge or a person decides: the better of two answers, or a score.

A verdict names the answer ("B", "the first is better", "[[A>B]]") or compares both: 「回答2は回答1より劣る」,
"回答1比回答2更好" and "B is more verbose than A" choose the first. A degree (more, less, as) and a quality (accurate,
verbose) make a comparison; without a quality that is known to be good or bad, and with a denial, nothing is decided.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import dropwhile

from gemtune.config import Prompt, Task
from gemtune.inference.answer_forms import any_of, beginning_with, pattern_of, words_of
from gemtune.inference.parsing import parse
from gemtune.inference.visible_text import visible

CHOICES = ("first", "second", "tie")
MAX_CHARS = 4000  # of a text that are compared: its last ones
_MEANING = {"A": "first", "1": "first", "B": "second", "2": "second", "C": "tie"} | {
    word: choice for choice in CHOICES for word in (choice, *words_of(choice))
}
_CHOICE = Task(labels=list(_MEANING), target_name="better")
_OBJECT = Task(kind="extraction", target_name="score")
_FIRST, _SECOND = "\ue000", "\ue001"  # stand for the names of the answers in a sentence
_SIDES = {_FIRST: "first", _SECOND: "second"}
_OTHER = {"first": "second", "second": "first"}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？\n])")
_DEGREES = ("less", "more", "alike")
_RELATION = re.compile(f"([{_FIRST}{_SECOND}])\\s*([<>]+|[=≈]+)\\s*([{_FIRST}{_SECOND}])")  # [[A>>B]]
_COMPARATIVE = re.compile(r"er(?:e[nrs]?)?$")  # clearer, genauere


def verdict_of(text: str) -> str | None:
    """The better answer ("first", "second") or "tie"; None if the text decides nothing, or two things."""
    text = visible(text)
    if re.search("[{\ue000-\uf8ff]", text):
        return _stated(text)
    conclusion = _conclusions().split(text[-MAX_CHARS:])[-1]
    if conclusion != text and (concluded := _verdict(conclusion)):
        return concluded if _stated(_SENTENCE.split(text)[0]) in (concluded, None) else None
    return _verdict(text)


def score_of(text: str, scale: Sequence[int]) -> float | None:
    """The score that a text gives: a whole number of the scale, or a fraction inside the scale in an object."""
    low, high = scale
    text = re.sub(rf"(?<=\d)\s*(?:[/／]|\b(?:out of|von|sur|de|su)\b)\s*{high}(?![\d.]*\d)", "", text)  # 4/5
    scores = Task(labels=[str(score) for score in range(low, high + 1)], target_name="score")
    whole = parse(scores, Prompt(), text).value
    if whole is not None:
        return float(whole)
    score = json.loads(parse(_OBJECT, Prompt(), text).value or "{}").get("score")
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return float(score) if is_number and low <= score <= high else None


def _stated(text: str) -> str | None:
    """The answer that a text names, without a comparison."""
    return _MEANING.get(parse(_CHOICE, Prompt(), text).value or "")


class _Strength(IntEnum):
    """How a clause compares: by a quality ("B is correct"), a degree ("more accurate") or a word for it ("better")."""

    PLAIN, GRADED, CALLED = range(3)


@dataclass(frozen=True)
class _Comparison:
    """The better answer of a clause."""

    side: str
    strength: _Strength


def _verdict(text: str) -> str | None:
    """The answer that a text states or calls better; qualities count where it does neither: those with a degree, if
    none behind them contradicts ("A is more detailed, but B is correct"), else those of both answers.
    """
    comparisons, others = list[_Comparison](), list[str]()
    for sentence in _SENTENCE.split(text):
        of_sentence = _comparisons(sentence)
        comparisons += of_sentence
        others += [] if any(comparison.strength for comparison in of_sentence) else [sentence]
    called = {x.side for x in comparisons if x.strength == _Strength.CALLED} | {_stated(" ".join(others))}
    if called <= {"tie", None} and any(x.strength == _Strength.GRADED for x in comparisons[-1:]):
        called = {None}  # "both are good, but A is more precise"
    decisive = [*dropwhile(lambda x: not x.strength, comparisons)] or comparisons * (len(comparisons) > 1)
    sides = called - {None} or {comparison.side for comparison in decisive}
    return sides.pop() if len(sides) == 1 else None


def _comparisons(sentence: str) -> list[_Comparison]:
    """What the clauses of a sentence compare; the whole sentence, where they compare nothing."""
    masked = _pair().sub(f" {_FIRST}{_SECOND} ", sentence)
    masked = _names("second", "[B2Ｂ２]").sub(_SECOND, _names("first", "[A1Ａ１]").sub(_FIRST, masked))
    is_pair = {*_SIDES} <= {*masked}
    clauses = _clauses().split(masked)
    compared = [comparison for clause in clauses if (comparison := _comparison(clause, is_pair))]
    if [comparison.side for comparison in compared] == ["tie"]:
        is_qualified = any(not {*clause} & {*_SIDES} and _evidence().search(clause) for clause in clauses[1:])
        return [] if is_qualified else compared  # "A is similar to B, but more precise"
    whole = None if compared else _comparison(masked, is_pair)
    return [whole] if whole else compared


def _comparison(clause: str, is_pair: bool) -> _Comparison | None:
    """The comparison of a clause (of a sentence that names both answers: a pair); None if it leaves the better open."""
    if relation := _RELATION.search(clause):
        sides = {"=": "tie", "≈": "tie", ">": _SIDES[relation[1]], "<": _SIDES[relation[3]]}
        return _Comparison(sides[relation[2][0]], _Strength.CALLED)
    names = {*clause} & {*_SIDES}
    standards = {mask for match in _standards().finditer(clause) for mask in names if mask in match[0]}
    rest = pattern_of("tie").sub(" ", clause)
    kinds = {match.lastgroup for match in _evidence().finditer(rest)}
    signs = [*_signs(rest, bool(standards))]
    if (
        rest != clause
        and not pattern_of("nots").search(_evidence().sub(" ", rest))
        and (kinds <= {*_DEGREES} or not any(strength for _, strength in signs))
    ):
        signs = [(0, _Strength.CALLED)]
    others = _evidence().sub(" ", rest)
    doubts = pattern_of("doubts", "modals").search(pattern_of("nots").sub(" ", others) if "alike" in kinds else others)
    if not names or not signs or doubts or (standards and not is_pair) or re.search("[?？]", clause):
        return None
    strength = max(strength for _, strength in signs)
    decisive = {sign for sign, own in signs if own == strength}
    if decisive == {-1} and strength == _Strength.PLAIN and len(names) == 1:
        return _Comparison(_OTHER[_SIDES[names.pop()]], strength)
    side = _side(clause, standards, decisive)
    return _Comparison(side, strength) if side else None


def _side(clause: str, standards: set[str], signs: set[int]) -> str | None:
    """The better answer by the sign of a comparison: the one compared with the standard, the preferred or only one."""
    names = re.findall(f"[{_FIRST}{_SECOND}]", clause)
    if len(standards) > 1 or len(signs) > 1:
        return None
    if signs == {0}:
        return "tie" if len({*names}) > 1 else None
    if standards:
        standard = _SIDES[standards.pop()]
        return _OTHER[standard] if signs == {1} else standard
    preference = pattern_of("prefers").search(clause)
    if len({*names}) > 1:
        names = re.findall(f"[{_FIRST}{_SECOND}]", clause[preference.end() :]) if preference else []
    return _SIDES[names[0]] if names and signs == {1} else None


def _signs(clause: str, has_standard: bool) -> Iterator[tuple[int, _Strength]]:
    """Of each word that compares: better (1), worse (-1) or as good (0), and how it says so."""
    words = [(match.lastgroup or "", match[0]) for match in _evidence().finditer(clause)]
    degrees = {"more": 1, "less": -1, "alike": -1 if pattern_of("nots").search(_evidence().sub(" ", clause)) else 0}
    for i, (kind, word) in enumerate(words):
        before = [degrees[other] for other, _ in words[:i] if other in degrees]
        if kind in ("better", "worse", "prefers"):
            is_less = i > 0 and words[i - 1][0] == "less"
            yield (1 if (kind == "worse") == is_less else -1), _Strength.CALLED
        elif kind in ("good", "bad"):
            after = [degrees[other] for other, _ in words[i:] if other in degrees]
            is_comparative = _COMPARATIVE.search(word) is not None
            is_graded = i > 0 and words[i - 1][0] in degrees
            stated = [1] * (is_comparative and not is_graded) or before[-1:] or after[:1] or [1] * has_standard
            for degree in stated or [1]:
                yield (degree if kind == "good" else -degree), _Strength.GRADED if stated else _Strength.PLAIN


@cache
def _names(side: str, short: str) -> re.Pattern[str]:
    """How a judge names an answer: "the first answer", "Response A", "B"; "A" before a noun is an article."""
    nouns = any_of([*words_of("nouns"), "assistant"])
    start, end = r"(?<![\d.])(?<!(?=[\0-\u10ff])\w)", r"(?![.,]?\d)(?!(?=[\0-\u10ff])\w)"
    letter = rf"{nouns}\s*{short}{end}|{start}(?-i:{short}){end}(?!\s*{nouns})"
    return re.compile(rf"{any_of([side, *words_of(side)])}(?:\s+{nouns})?|{letter}", re.I)


@cache
def _pair() -> re.Pattern[str]:
    """How a judge names both answers: "both", "the two responses"."""
    return re.compile(rf"{any_of(words_of('pairs'))}(?:\s*{any_of(words_of('nouns'))})?", re.IGNORECASE)


@cache
def _standards() -> re.Pattern[str]:
    """The answer with which the other is compared: "than B", "B より"."""
    quotes = r"[\s*_\"“”「」]*"
    than = rf"{any_of(words_of('than'))}{quotes}(?:{any_of(words_of('articles'))}{quotes})?[{_FIRST}{_SECOND}]"
    return re.compile(rf"{than}|[{_FIRST}{_SECOND}]{quotes}{any_of(words_of('than_after'))}", re.IGNORECASE)


@cache
def _evidence() -> re.Pattern[str]:
    """The words that compare, by kind; qualities by the beginnings of their words."""
    whole = "|".join(f"(?P<{kind}>{any_of(words_of(kind))})" for kind in ("worse", "better", "prefers", *_DEGREES))
    stems = "|".join(f"(?P<{kind}>{beginning_with(words_of(kind))})" for kind in ("bad", "good"))
    return re.compile(f"{whole}|{stems}", re.IGNORECASE)


@cache
def _clauses() -> re.Pattern[str]:
    return re.compile(
        rf"[,，、;；:：]\s*(?!\s|dass)|{any_of([*words_of('adversatives'), *words_of('grounds')])}", re.IGNORECASE
    )


@cache
def _conclusions() -> re.Pattern[str]:
    words = any_of([*words_of("conclusions"), *words_of("overall")])
    return re.compile(rf"(?:^|[.!?。！？,，、;；:：\n]\s*){words}", re.IGNORECASE)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts by comparison: "A is better than B", 「回答2は回答1より劣る」, "回答1比回答2更好" choose the first."""

import re
from functools import cache

from gemtune.inference.answer_forms import any_of, pattern_of, words_of

MAX_CHARS = 500  # of a verdict in words; a longer text is an explanation
_FIRST, _SECOND = "\ue000", "\ue001"  # stand for the names of the answers in a sentence
_OTHER = {_FIRST: "second", _SECOND: "first"}


def compared(text: str) -> tuple[str | None, str]:
    """The answer ("first", "second", "tie") on which the sentences that compare both agree, and the other sentences."""
    if len(text) > MAX_CHARS or re.search("[{\ue000-\uf8ff]", text):
        return None, text
    sides, others = set[str | None](), list[str]()
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？\n])", text):
        masked = _names("second", "[B2Ｂ２]").sub(_SECOND, _names("first", "[A1Ａ１]").sub(_FIRST, sentence))
        if _FIRST in masked and _SECOND in masked and (_is_tie(masked) or _standard().search(masked)):
            sides.add(_better(masked))
        else:
            others.append(sentence)
    return (sides.pop() if len(sides) == 1 else None, " ".join(others)) if sides else (None, text)


def _is_tie(masked: str) -> bool:
    tie, better, worse, _ = _words()
    rest = tie.sub("", masked)
    return rest != masked and not better.search(rest) and not worse.search(masked)


def _better(masked: str) -> str | None:
    """The better answer of a comparison; None if it is denied, doubted or ambiguous."""
    tie, better, worse, doubts = _words()
    is_tie = _is_tie(masked)
    if re.search("[?？]", masked) or doubts.search((tie if is_tie else worse).sub("", masked)):
        return None
    if is_tie:
        return "tie"
    standards = [*_standard().finditer(masked)]
    standard = {mask for match in standards for mask in _OTHER if mask in match[0]}
    match = standards[0]
    before = re.split(f"[{_FIRST}{_SECOND}]", masked[: match.start()])[-1] + match[0]
    parts = (before, masked[match.end() :], masked)
    polarity = next((part for part in parts if worse.search(part) or better.search(part)), "")
    if len(standard) > 1 or not polarity:
        return None
    other = _OTHER[standard.pop()]
    return {"first": "second", "second": "first"}[other] if worse.search(polarity) else other


@cache
def _names(side: str, short: str) -> re.Pattern[str]:
    """How a judge names an answer: "the first answer", "Response A", "B"; "A" before a noun is an article."""
    nouns = any_of([*words_of("nouns"), "assistant"])
    start, end = r"(?<![\d.])(?<!(?=[\0-\u10ff])\w)", r"(?![.,]?\d)(?!(?=[\0-\u10ff])\w)"
    letter = rf"{nouns}\s*{short}{end}|{start}(?-i:{short}){end}(?!\s*{nouns})"
    return re.compile(rf"{any_of([side, *words_of(side)])}(?:\s+{nouns})?|{letter}", re.I)


@cache
def _standard() -> re.Pattern[str]:
    """The answer with which the other is compared: "than B", "B より"."""
    quotes = r"[\s*_\"“”「」]*"
    than = rf"{any_of(words_of('than'))}{quotes}(?:{any_of(words_of('articles'))}{quotes})?[{_FIRST}{_SECOND}]"
    return re.compile(rf"{than}|[{_FIRST}{_SECOND}]{quotes}{any_of(words_of('than_after'))}", re.IGNORECASE)


@cache
def _words() -> tuple[re.Pattern[str], ...]:
    """What says that both are alike, that the one named is better, that it is worse; what takes it back."""
    return pattern_of("tie"), pattern_of("better", "verdicts"), pattern_of("worse"), pattern_of("doubts")

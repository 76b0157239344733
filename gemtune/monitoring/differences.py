# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How production texts differ from training rows: language, length, format, vocabulary, similarity; and what to do.

They always differ, since training rows are curated: nothing here is an alarm. Pure.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from gemtune.artifacts.production_log import LogRow
from gemtune.data.profile import script
from gemtune.monitoring.similarity import TrainingRows

_SHOWN, _SHARE, _FACTOR, _MOST_WORDS = 0.01, 0.1, 2.0, 5
_FORMATS = {
    "several lines": re.compile(r"\n\s*\S"),
    "a link": re.compile(r"https?://|www\."),
    "markup or JSON": re.compile(r"</?\w+[^>]*>|^\s*[\[{]"),
    "capitals only": re.compile(r"^(?=.*[A-Z])[^a-z]+$", re.DOTALL),
    "no letter": re.compile(r"^[\W\d_]*$"),
}
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Difference:
    """What differs, in a sentence with its numbers, and what helps; "": nothing needs to be done."""

    summary: str
    remedy: str = ""


def differences(training: Sequence[str], rows: TrainingRows, texts: Sequence[str]) -> list[Difference]:
    """The differences of these texts from the training rows; [] without either."""
    if not texts or not training:
        return []
    return [*_scripts(training, texts), _length(training, texts), *_formats(training, texts),
            _vocabulary(training, texts), _similarity(rows, texts)]  # fmt: skip


def context(training: Sequence[tuple[bool, bool]], requests: Sequence[LogRow]) -> Difference:
    """Whether both have a system instruction of their own and earlier turns; of training rows whether each has them."""
    system, turns = (sum(own) / max(1, len(training)) for own in zip(*training, strict=True))
    sent = sum(bool(row.system) for row in requests) / len(requests)
    several = len({row.system for row in requests if row.system})
    summary = (
        f"context: {sent:.1%} of the requests have a system instruction ({several} different ones), {system:.1%} of "
        f"the training rows one of their own; {turns:.1%} of the training rows have earlier turns"
    )
    return Difference(summary, "train on rows with their system instructions" if several > 1 and not system else "")


def without_template(turns: Sequence[str]) -> list[str]:
    """The turns without what all of them begin with, up to a colon or a line's end, and what all end with, from a
    line's end on: the prompt around the texts.
    """
    if len(set(turns)) < 2:
        return list(turns)
    before = re.match(r".*(:\s|：|\n)|", _beginning(turns), re.DOTALL)
    texts = [turn[before.end() if before else 0 :] for turn in turns]
    after = _beginning([text[::-1] for text in texts]).rpartition("\n")
    return [text[: len(text) - len("".join(after[:2]))] for text in texts]


def _beginning(texts: Sequence[str]) -> str:
    ends = zip(min(texts), max(texts), strict=False)  # in the order of strings all others lie between these two
    return "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], ends))


def _share(count: float, of: Sequence[str]) -> str:
    return f"{count / len(of):.1%}"


def _scripts(training: Sequence[str], texts: Sequence[str]) -> list[Difference]:
    own, usual = Counter(map(script, texts)), Counter(map(script, training))
    differing = [n for n in sorted({*own, *usual}) if abs(own[n] / len(texts) - usual[n] / len(training)) >= _SHOWN]
    return [
        Difference(
            f"{name}: {_share(own[name], texts)} of the texts, {_share(usual[name], training)} of the training rows",
            f"collect and label {name} rows, or augment them"
            if own[name] / len(texts) - usual[name] / len(training) >= _SHARE
            else "",
        )
        for name in differing
    ]


def _length(training: Sequence[str], texts: Sequence[str]) -> Difference:
    own, usual = (median(map(len, side)) for side in (texts, training))
    ratio = max(own, 1) / max(usual, 1)
    remedy = "collect rows as long as the texts" if ratio >= _FACTOR or ratio <= 1 / _FACTOR else ""
    return Difference(f"median length: {own:.0f} characters, of the training rows {usual:.0f}", remedy)


def _formats(training: Sequence[str], texts: Sequence[str]) -> list[Difference]:
    shapes = []
    for name, pattern in _FORMATS.items():
        own, usual = (sum(bool(pattern.search(text)) for text in side) / len(side) for side in (texts, training))
        if abs(own - usual) >= _SHOWN:
            remedy = f"clean both alike (preprocess), or collect rows with {name}" if abs(own - usual) >= _SHARE else ""
            shapes.append(Difference(f"{name}: {own:.1%} of the texts, {usual:.1%} of the training rows", remedy))
    return shapes


def _vocabulary(training: Sequence[str], texts: Sequence[str]) -> Difference:
    """Words that no training row has; of scripts without spaces pairs of characters."""
    seen = {term for text in training for term in _terms(text)}
    own = Counter(term for text in texts for term in set(_terms(text)))
    new = Counter({term: rows for term, rows in own.items() if term not in seen and rows > 1})
    rows = sum(any(term in new for term in _terms(text)) for text in texts)
    listed = ", ".join(f"{term} ({count})" for term, count in new.most_common(_MOST_WORDS))
    summary = f"vocabulary: {_share(rows, texts)} of the texts have a repeated word that no training row has"
    return Difference(
        f"{summary}: {listed}" if listed else summary,
        "label texts with these words" if rows / len(texts) >= _SHARE else "",
    )


def _terms(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    return [t for w in words for t in ([w] if script(w) in _SPACED else [w[i : i + 2] for i in range(len(w) - 1)])]


_SPACED = {"latin", "cyrillic", "greek", "arabic", "hebrew", "korean", "devanagari", "none"}


def _similarity(rows: TrainingRows, texts: Sequence[str]) -> Difference:
    share = sum(score >= rows.typical for score in rows.scores(texts)) / len(texts)
    return Difference(
        f"similarity to the nearest training row: {share:.0%} of the texts are at least as similar as half of the "
        f"training rows are to each other ({rows.typical:.2f})",
        "label the texts that are least similar to the training rows first" if share < 0.5 - _SHARE else "",
    )

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The words around answers of `answer_forms.yaml`, as patterns; what declines a request, what takes a label back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import groupby, product
from pathlib import Path

import yaml

REFUSAL_CHARS = 300  # a longer text has content beside a refusal
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in a tenth of the time, where libyaml is there
FORMS = yaml.load(Path(__file__).with_name("answer_forms.yaml").read_text(encoding="utf-8"), _LOADER)
LANGUAGES = [words for words in FORMS.values() if isinstance(words, dict)]
_LATIN = r"(?-i:(?=[\0-\u10ff])\w)"  # letters, digits of scripts that put spaces between words; compiles fast


def words_of(kind: str) -> list[str]:
    """The words of one kind in all languages of `answer_forms.yaml`."""
    listed = [word for language in LANGUAGES for word in language.get(kind, "").split(", ") if word]
    choices = ([part.split("/") for part in re.split(r"[<>]", word)] if "<" in word else [[word]] for word in listed)
    return ["".join(parts) for own in choices for parts in product(*own)]


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these phrases, longest first; European ones only as whole words."""
    longest_first = sorted({word for word in words if word.strip()}, key=lambda word: (-len(word), *_edges(word)))
    parts = []
    for (before, after), alike in groupby(longest_first, _edges):  # one test of both edges for many words compiles fast
        phrases = [re.escape(word).replace(r"\ ", r"\s+").replace("'", "['’]") for word in alike]
        parts.append(f"{before}(?:{'|'.join(phrases)}){after}")
    return f"(?:{'|'.join(parts)})" if parts else r"(?!)"


def beginning_with(beginnings: Iterable[str]) -> str:
    """A pattern for European words that begin with one of these, and for these in other scripts."""
    alike = groupby(sorted(beginnings, key=_edges), key=lambda word: _edges(word)[0])
    parts = (rf"{before}(?:{'|'.join(map(re.escape, words))})" for before, words in alike)
    return rf"(?:{'|'.join(parts)}){_LATIN}*+"


def ending_of(particles: Iterable[str], beginnings: Iterable[str]) -> str:
    """A pattern for a particle and words that begin with one of these, in any inflection: "に分類されます"."""
    inflected = rf"{beginning_with(beginnings)}[ぁ-ん\uac00-\ud7a3]*+"
    return rf"{any_of(particles)}{{0,3}}(?>(?:\s*+{inflected})+)"


def _edges(word: str) -> tuple[str, str]:
    """What must not stand before and after a word."""
    return rf"(?<!{_LATIN})" if re.match(_LATIN, word) else "", rf"(?!{_LATIN})" if re.match(_LATIN, word[-1]) else ""


@cache
def pattern_of(*kinds: str) -> re.Pattern[str]:
    """The compiled pattern for the words of these kinds, in any case."""
    return re.compile(any_of(word for kind in kinds for word in words_of(kind)), re.IGNORECASE)


def is_refusal(answer: str | None) -> bool:
    """Whether an answer declines the request itself.

    Its first sentence that declines, and all before it, have no words but those of apology, inability, help and
    request; an answer of apologies alone is a refusal too. An apology with content, or one that declines something
    else, is an answer.
    """
    text = (answer or "").replace("’", "'").strip()
    if not text or len(text) > REFUSAL_CHARS:
        return False
    if not any(pattern_of(kind).search(text) for kind in ("unable", "apologies")):
        return False
    apologies = 0
    for sentence in filter(str.strip, re.split(r"[.!?。！？\n]+", text)):
        content = _content(sentence)
        declines = pattern_of("unable").search(sentence)
        if content > (0.15 * sum(map(str.isalnum, sentence)) if declines else 0):
            return False
        if declines:
            return True
        apologies += bool(pattern_of("apologies").search(sentence))
    return apologies > 0


def _content(sentence: str) -> int:
    """The letters of a sentence that are not of apology, inability, help and request; Korean words count whole."""
    rest, count = pattern_of("apologies", "unable", "request").sub(lambda match: " " * len(match[0]), sentence), 0
    for word in re.finditer(r"\S+", sentence):
        left = sum(map(str.isalnum, rest[word.start() : word.end()]))
        is_korean = left and re.search("[\uac00-\ud7a3]", word[0])
        count += sum(map(str.isalnum, word[0])) if is_korean else left
    return count


@cache
def taken_back() -> re.Pattern[str]:
    """What takes labels back, in a text where each label is one character of the private use area."""
    label, quotes = "[\ue000-\uf8ff]", rf"[\s*_{re.escape(FORMS['quotes'])}]*"
    denial, turn = any_of(words_of("denials")), any_of(words_of("turns"))
    kinds = ("articles", "openings", "nouns", "subjects", "links", "denials")
    filler = rf"(?:{any_of(word for kind in kinds for word in words_of(kind))}[,，]?{quotes})*"
    alternative = rf"{quotes}(?:[,，、]?\s*(?:{any_of(words_of('alternatives'))}|{denial}){quotes})+"
    labels = rf"{quotes}{filler}{label}(?:{alternative}{filler}{label})*{quotes}{any_of(words_of('endings'))}?{quotes}"
    clause = r"(?:^|(?<=[.。!！,，、;；:：(（\n–—-]))"
    pause = r"\s*(?:[.。!！,，、;；:：)）\n–—-]+|$)\s*"
    turned = rf"\s*[,，、;；]?\s*{turn}[,，]?\s*"
    return re.compile(
        rf"{clause}{quotes}{filler}{denial}{labels}(?:{turned}|{pause})|{denial}{labels}{turned}"
        rf"|[,，、(（]?\s*{any_of(words_of('contrasts'))}{labels}(?:{turned}|{pause})"
        rf"|[(（]?{labels}{any_of(words_of('denied'))}(?:{turned}|{pause}|(?={quotes}{label}))",
        re.IGNORECASE,
    )

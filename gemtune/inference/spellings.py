# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Spellings of a label: what makes an answer the same label, from the strictest comparison to the loosest."""

import re
import unicodedata
from functools import lru_cache

from gemtune.inference.answer_forms import FORMS, any_of, words_of
from gemtune.inference.field_values import read_number

_MAX_CHARS = 100  # of a number with its unit
_UNITS = any_of(words_of("units"))
_MEASURED = re.compile(
    rf"(?P<stars>(?:[★⭐🌟]\ufe0f?)+☆*)"
    rf"|{_UNITS}?\s*(?P<number>[-+−–]?\d(?:[\d.,]|[ '’](?=\d{{3}}))*|[-+−–]?[.,]\d+)(?:-?\s*{_UNITS})?",
    re.IGNORECASE,
)


def exact(text: str) -> str:
    """The text without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


_EDGES = re.escape(" \t\n*.,;:!?()[]<>。、，#~_|→" + FORMS["quotes"])
_AT_EDGE = re.compile(rf"^(?:(?!\.\d)[{_EDGES}])+|[{_EDGES}]+$")
_SIGN_OF_NUMBER = re.compile(r"(?<![^\W_])[-−–](?=\.?\d)|(?<=\d)[.,](?=\d)|(?<!\w)\.(?=\d)|(?<=\d) (?=\d)|(?<=\d)%")


def folded(text: str) -> str:
    """The text without case, width, underscores, repeated white space and the signs around it."""
    return _AT_EDGE.sub("", re.sub(r"[\s_]+", " ", unicodedata.normalize("NFKC", text).casefold()))


def loose(text: str) -> str:
    """Letters, digits and meaningful signs (+, <, $; a number's minus, point and %), without space and punctuation.

    Two numbers stay two: "1. 5" and "4/5" are not 15 and 45.
    """
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", unicodedata.normalize("NFKC", text).casefold().strip())
    text = re.sub(r"(?<=\d)\s+(?=%)", "", text)
    text = re.sub(r"(?<=\d)(?![.,]\d)[\W_]+(?=\d)", " ", text)
    kept = {match.start() for match in _SIGN_OF_NUMBER.finditer(text)}
    signs = ("-" if c in "−–" and i in kept else c for i, c in enumerate(text) if i in kept or _is_meaningful(c))
    return "".join(signs)


def _is_meaningful(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNMS" and character not in "`^|"


def quantity(text: str) -> str:
    """The number that a text is, without its unit ("4.0 stars", "4点", "★★★★☆"); "" if it is none."""
    match = _MEASURED.fullmatch(unicodedata.normalize("NFKC", text[: _MAX_CHARS + 1]).strip(" \t\n*_").rstrip(".。!"))
    if not match or len(text) > _MAX_CHARS:
        return ""
    if match["stars"]:
        return str(sum(map(match["stars"].count, "★⭐🌟")))
    number = read_number(match["number"])
    return "" if number is None else str(number)


def plain(text: str) -> str:
    """The loose spelling without the accents of European letters; "ü" is "ue"."""
    letters = unicodedata.normalize("NFD", loose(re.sub("(?<=[aouAOU])[eE]", "", text)))
    return re.sub("(?<=[a-z])[\u0300-\u036f]+", "", letters)


def inflected(text: str) -> str:
    """The plain spelling of a longer word without the endings in which adjectives agree: "positif", "positiva"."""
    return re.sub(r"(?<=[a-z]{6})(?:[oae]s?|e[nrm])$", "", re.sub("f$", "v", plain(text)))


SPELLINGS = {"exact": exact, "folded": folded, "loose": loose, "quantity": quantity, "inflected": inflected}


@lru_cache(maxsize=64)
def label_index(labels: tuple[str, ...], spelling: str) -> dict[str, str | None]:
    """Spelling to label; a spelling that two labels share maps to None, so labels are never confused."""
    index: dict[str, str | None] = {}
    for label in labels:
        key = SPELLINGS[spelling](label.removesuffix("%") if spelling == "quantity" else label)
        index[key] = None if key in index or not key else label
    return index


@lru_cache(maxsize=64)
def are_graded(labels: tuple[str, ...]) -> bool:
    """Whether a label is another with a word of degree before it, such as "very positive"; "not positive" is not."""
    phrases = [folded(label).partition(" ") for label in labels]
    return not {*map(folded, labels)}.isdisjoint(rest for word, _, rest in phrases if word not in words_of("modals"))


@lru_cache(maxsize=64)
def scale_of(labels: tuple[str, ...]) -> re.Pattern[str] | None:
    """What names the scale beside a score ("/5", "out of 5", "5点満点中"), for labels that are numbers."""
    quantities = [read_number(quantity(label)) for label in labels]
    numbers = [number for number in quantities if isinstance(number, int | float)]
    if not numbers or len(numbers) < len(labels):
        return None
    high = f"{max(numbers)}"
    scales = any_of(words.replace("MAX", high) for words in words_of("scales"))
    return re.compile(rf"(?:(?<=\d)\s*[/／]\s*{high}(?!\d)|[(（]?\s*{scales}\s*[)）]?)(?![.,]\d)", re.IGNORECASE)

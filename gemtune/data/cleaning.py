# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Text cleaning as a pure function of text and settings, so that serving repeats exactly what training saw.

Each rule is optional; `export_rules` gives the rules as data that is deployed with the model, and `load_cleaner` turns
them into a function. Guarantees: cleaning is idempotent; emoji and East Asian text are not damaged.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from gemtune import pii
from gemtune.config import Preprocess, Task
from gemtune.pii import Finding

_BLANK_LINES = re.compile(r"\A(?:\s*\n)?")
_NO_LETTER = re.compile(r"[\W_]+")
_ASCII_OTHERS = bytes(code for code in range(128) if not chr(code).isalnum())
_PRINTABLE = bytes(range(ord(" "), ord("~") + 1))
_TAG = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|</?[a-zA-Z][^<>]*>", re.DOTALL | re.IGNORECASE)
_UTF8_LEAD = re.compile("[\u00c2-\u00f4]")  # first bytes of two or more, read as Western letters
_READ_AS_EAST_ASIAN = ("cp932", "cp949", "gb18030", "big5")
_READ_AS_OTHER = ("cp1250", "cp1251", "cp1253", "mac_roman", "cp437")
_WIDE = re.compile("[\u2e80-\uffef]")
_ACCENTED, _LETTER = re.compile("[\u00c0-\u00ff]"), re.compile(r"[^\W\d_]")
_INVERTED, _SMALL = re.compile(r"\b[а-яё][А-ЯЁ]{2,}"), re.compile(r"[а-яё]{2}")
_MIN_ACCENTED, _JUDGED_CHARS = 6, 300  # other than ASCII
_MIN_DECODED, _MAX_LOST = 3, 0.2  # characters of UTF-8 that are evidence, and the share of others among them
_ASCII = re.compile(r"[\x00-\x7f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Not U+200C and U+200D, which join emoji and shape Persian and Indic words.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
Rule = tuple[str, Callable[[str], str]]
_MASKING = ("pii", "pii_detector", "pii_types", "pii_likelihood", "pii_parent")
_CHANGE_PLAIN = ("strip_html", "lowercase")  # what changes printable ASCII with single spaces between words
FIELDS = ("strip_html", "remove_control", "remove_invisible", "normalize_unicode", "lowercase", "collapse_whitespace")


NO_CLEANING: Mapping[str, Any] = {**dict.fromkeys(FIELDS, False), "normalize_unicode": "none", "pii": "off"}


def clean(text: str, config: Preprocess, task: Task) -> str:
    """The text as training and serving see it."""
    for _, rule in rules(config, task):
        text = rule(text)
    return text


def rule_changes(text: str, enabled: Iterable[Rule]) -> Iterator[tuple[str, str, str]]:
    """(rule, before, after) for every rule that changes the text, in order."""
    is_plain = _is_plain(text)
    for name, rule in enabled:
        if is_plain and name not in _CHANGE_PLAIN:
            continue
        after = rule(text)
        if after != text:
            yield name, text, after
            is_plain = False
        text = after


@lru_cache(maxsize=2)  # a row's text is tested for its cleaning and for its key
def _is_plain(text: str) -> bool:
    """Whether a text is printable ASCII, with single spaces between words."""
    is_printable = text.isascii() and not text.encode().translate(None, _PRINTABLE)
    return is_printable and "  " not in text and text == text.strip(" ")


def rules(config: Preprocess, task: Task) -> list[Rule]:
    """The enabled rules, in the order in which they apply."""
    form, enabled = config.normalize_unicode, {**export_rules(config, task)}
    enabled["strip_ends"] = "collapse_whitespace" not in enabled
    available: dict[str, Callable[[str], str]] = {
        "strip_html": _without_markup,
        "remove_control": lambda text: text if text.isprintable() else _CONTROL.sub("", text),
        "remove_invisible": lambda text: text if text.isprintable() else _INVISIBLE.sub("", text),
        "normalize_unicode": lambda text: text if form == "none" else unicodedata.normalize(form, text),
        "lowercase": lambda text: text.lower(),
        "collapse_whitespace": lambda text: " ".join(text.split()),
        "strip_ends": _stripped,
    }
    return [(name, rule) for name, rule in available.items() if enabled.get(name, False) not in (False, "none")]


def _stripped(text: str) -> str:
    """Without white space at the ends; the indentation of a first line of several remains."""
    return text.strip() if "\n" not in text.strip() else _BLANK_LINES.sub("", text).rstrip()


def _without_markup(text: str) -> str:
    """Replace tags by spaces and entities by characters, until none is left."""
    while True:
        unescaped = html.unescape(_TAG.sub(" ", text))
        if unescaped == text:
            return text
        text = unescaped


def export_rules(config: Preprocess, task: Task) -> Mapping[str, Any]:
    """The rules as data, to be deployed with the model: also how personal data is masked, if it is.

    Line breaks and indentation have a meaning in texts to write about or to extract from (tables, code), not in texts
    to label: white space is collapsed there by default, elsewhere stripped from the ends.
    """
    names = (*FIELDS, *(_MASKING if config.pii == "mask" else ()))
    own = {name: value for name in names if (value := getattr(config, name)) is not None}
    return {"collapse_whitespace": True, **own} if task.is_labelled else own


class PiiDetector(Protocol):
    """Finds personal data in texts: the module `pii`, or Google's Sensitive Data Protection.

    Texts passed to `prefetch` before may be sent in one request.
    """

    def prefetch(self, texts: Iterable[str]) -> None:
        """Prepare findings of texts that will be searched next."""

    def findings(self, text: str) -> list[Finding]:
        """Findings in order, not overlapping."""

    def mask(self, text: str) -> str:
        """The text with every finding replaced by its kind in brackets."""


def load_pii_detector(config: Preprocess) -> PiiDetector:
    """The detector of the setting `pii_detector`: the module `pii`, from which no text leaves the machine, or DLP."""
    if config.pii_detector == "rules":
        return pii
    from gemtune.vertex import dlp

    return dlp.DlpDetector(config.pii_parent, config.pii_types, config.pii_likelihood)


def load_cleaner(rules_as_data: Mapping[str, Any]) -> Callable[[str], str]:
    """The cleaning function of exported rules; raises `UserError` for an unknown rule."""
    config = Preprocess.of(dict(rules_as_data))
    # what the data leave unset was unset for a task without labels
    mask, task = load_masker(rules_as_data), Task(kind="generation")
    return lambda text: mask(clean(text, config, task))


def load_masker(rules_as_data: Mapping[str, Any]) -> Callable[[str], str]:
    """The part of exported rules that masks personal data; the text itself if they mask none."""
    config = Preprocess.of(dict(rules_as_data))
    if config.pii != "mask":
        return lambda text: text
    detector = load_pii_detector(config)

    def mask(text: str) -> str:
        detector.prefetch([text])  # forgets the findings of earlier texts
        return detector.mask(text)

    return mask


def is_mojibake(text: str) -> bool:
    """Whether a text was decoded with a wrong encoding: it has replacement characters, it is another encoding read as a
    Western one, or UTF-8 read as another.
    """
    if text.isascii():
        return False
    western = "\ufffd" in text or bool(_UTF8_LEAD.search(text) and _is_bad(text))
    accented = len(_ACCENTED.findall(text))  # Cyrillic, Greek or Thai read as Western letters: most are accented
    # KOI8 read as another Cyrillic encoding has capitals for small letters
    western = western or bool(_INVERTED.search(text) and not _SMALL.search(text))
    western = western or (accented >= _MIN_ACCENTED and 2 * accented > len(_LETTER.findall(text)))
    # the East Asian encodings have Cyrillic and Greek letters of two bytes that look like UTF-8
    is_wide = 2 * len(_WIDE.findall(text)) > len(_ASCII.sub("", text))
    return western or any(_was_utf8(text, code) for code in (_READ_AS_EAST_ASIAN if is_wide else _READ_AS_OTHER))


def _is_bad(text: str) -> bool:
    from ftfy.badness import is_bad  # its patterns take long to compile

    return is_bad(text)


def _was_utf8(text: str, encoding: str) -> bool:
    """Whether the bytes of a text in an encoding are UTF-8, apart from some that were lost.

    Real text of these languages is not: most of its bytes begin no character of UTF-8.
    """
    foreign = _ASCII.sub("", text)[:_JUDGED_CHARS]
    content = foreign.encode(encoding, "replace")
    decoded = content.decode("utf-8", "replace")
    lost = decoded.count("\ufffd") + content.count(b"?")
    return len(decoded) - lost >= _MIN_DECODED and lost <= _MAX_LOST * len(decoded)


def alphanumeric_key(text: str) -> str:
    """Key of texts that are equal in letters and digits, ignoring case; `text_key` of a text without any."""
    if text.isascii():  # the same key in a tenth of the time
        return text.encode().translate(None, _ASCII_OTHERS).lower().decode() or text_key(text)
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", text).lower()) or text_key(text)


def text_key(text: str) -> str:
    """Key of texts that count as the same: ignores compatibility forms, case and white space."""
    if _is_plain(text):  # the same key in a fifth of the time
        return text.lower()
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Personal data and secrets in texts, found by patterns and check digits.

A card number must pass the Luhn check (ISO/IEC 7812-1), an IBAN its remainder mod 97 (ISO 13616). Guarantees:
`findings` finds nothing in a masked text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"
_SECRET = "|".join(
    [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----)?",
        r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
        r"\bAIza[\w-]{35}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{30,}",
        r"\bxox[abprs]-[\w-]{10,}",
        r"\bsk-[\w-]{20,}",
        r"\bya29\.[\w-]{20,}",
        r"(?i:\b(?:password|passwd|api[_-]?key|secret|token)\s*[:=]\s*(?=\S*\d)[^\s,;\[\]]{6,})",
    ]
)
_IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
_CARD = r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])"
_PHONE = (
    r"(?<![\w.-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,12}"
    r"|\(?0\d{1,4}\)?[ ./-]\d{3,8}(?:[ .-]\d{2,4}){0,3}"
    r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])"
)


_HINT = re.compile(
    r"[@\d]|PRIVATE KEY|eyJ|AIza|gh[pousr]_|xox[abprs]-|sk-|ya29"
)  # a text without any of these has no findings


@dataclass(frozen=True, slots=True)
class Finding:
    """Characters begin..end of a text are of this kind: email, secret, iban, card or phone."""

    kind: str
    begin: int
    end: int


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    compact = text.replace(" ", "")
    rearranged = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in rearranged)) % 97 == 1


def _has_phone_digits(text: str) -> bool:
    return sum(c.isdigit() for c in text) >= 8


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("secret", re.compile(_SECRET, re.DOTALL), bool),
    ("email", re.compile(_EMAIL), bool),
    ("iban", re.compile(_IBAN, re.ASCII), _iban),
    ("card", re.compile(_CARD, re.ASCII), _luhn),
    ("phone", re.compile(_PHONE, re.ASCII), _has_phone_digits),
)


def prefetch(texts: Iterable[str]) -> None:
    """Nothing to prepare: the rules search a text when it is passed."""


def findings(text: str) -> list[Finding]:
    """Findings in order, not overlapping; of overlapping ones, that of the earlier kind in `_KINDS`."""
    results: list[Finding] = []
    if not _HINT.search(text):
        return results
    for kind, pattern, valid in _KINDS:
        for match in pattern.finditer(text):
            begin, end = match.span()
            if valid(match.group()) and all(end <= other.begin or begin >= other.end for other in results):
                results.append(Finding(kind, begin, end))
    return sorted(results, key=lambda finding: finding.begin)


def mask(text: str) -> str:
    """The text with all findings replaced by [EMAIL], [SECRET], [IBAN], [CARD] or [PHONE]."""
    while matches := findings(text):
        text = replace_findings(text, matches)
    return text


def replace_findings(text: str, matches: Sequence[Finding]) -> str:
    """The text with the characters of each finding (in order, not overlapping) replaced by its kind in brackets."""
    return "".join(_pieces(text, matches))


def _pieces(text: str, matches: Sequence[Finding]) -> Iterator[str]:
    position = 0
    for finding in matches:
        yield text[position : finding.begin]
        yield f"[{finding.kind.upper()}]"
        position = finding.end
    yield text[position:]

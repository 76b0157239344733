# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Personal data and secrets in texts, found by patterns and check digits.

A card number must pass the Luhn check (ISO/IEC 7812-1), an IBAN its remainder mod 97 (ISO 13616). Guarantees:
`findings` finds nothing in a masked text. The patterns are in `pii_patterns.yaml`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_PATTERNS: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("pii_patterns.yaml").read_text("utf-8"))
# an ASCII text of nothing else, without eyJ and AIza, has no findings
_HARMLESS = bytes(code for code in range(128) if chr(code) not in "-_@0123456789")
_SECRETS = ("PRIVATE KEY", "eyJ", "AIza", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "sk-", "ya29")
_SECRET_NAMES = ("passw", "api", "secret", "token")
_NO_DIGIT = bytes(code for code in range(256) if chr(code) not in "0123456789")
_MIN_SECRET_CHARS, _MIN_IBAN_CHARS, _MIN_PHONE_DIGITS = 12, 15, 8


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
    return sum(c.isdigit() for c in text) >= _MIN_PHONE_DIGITS


_CHECKS: dict[str, Callable[[str], bool]] = {"iban": _iban, "card": _luhn, "phone": _has_phone_digits}
_KINDS = {
    kind: re.compile("|".join(patterns), re.ASCII if kind in _CHECKS else re.DOTALL)
    for kind, patterns in _PATTERNS.items()
}


def prefetch(texts: Iterable[str]) -> None:
    """Nothing to prepare: the rules search a text when it is passed."""


def findings(text: str) -> list[Finding]:
    """Findings in order, not overlapping; of overlapping ones, that of the earlier kind in `_KINDS`."""
    results: list[Finding] = []
    for kind in _possible_kinds(text):
        for match in _KINDS[kind].finditer(text):
            begin, end = match.span()
            if _CHECKS.get(kind, bool)(match.group()) and all(
                end <= other.begin or begin >= other.end for other in results
            ):
                results.append(Finding(kind, begin, end))
    return sorted(results, key=lambda finding: finding.begin) if results else results


def _possible_kinds(text: str) -> list[str]:
    """The kinds, in their order, of which a text holds what their patterns need: none in most texts."""
    if text.isascii() and not text.encode().translate(None, _HARMLESS) and "eyJ" not in text and "AIza" not in text:
        return []
    is_long = len(text) >= _MIN_SECRET_CHARS
    kinds = ["secret"] if is_long and (any(map(text.__contains__, _SECRETS)) or _may_name_secret(text)) else []
    if "@" in text:
        kinds.append("email")
    digits = len(text.encode(errors="replace").translate(None, _NO_DIGIT))
    if digits > 1 and len(text) >= _MIN_IBAN_CHARS:
        kinds.append("iban")
    return [*kinds, "card", "phone"] if digits >= _MIN_PHONE_DIGITS else kinds


def _may_name_secret(text: str) -> bool:
    if ":" not in text and "=" not in text:
        return False
    return not text.isascii() or any(map(text.lower().__contains__, _SECRET_NAMES))


def mask(text: str) -> str:
    """The text with all findings replaced by [EMAIL], [SECRET], [IBAN], [CARD] or [PHONE]."""
    while matches := findings(text):
        text = replace_findings(text, matches)
    return text


def replace_findings(text: str, matches: Sequence[Finding]) -> str:
    """The text with the characters of each finding (in order, not overlapping) replaced by its kind in brackets."""
    pieces, position = list[str](), 0
    for finding in matches:
        pieces += [text[position : finding.begin], f"[{finding.kind.upper()}]"]
        position = finding.end
    return "".join([*pieces, text[position:]])

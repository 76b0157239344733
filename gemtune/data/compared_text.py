# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The text of a row that is compared in deduplication, splits and the leakage report.

It is the whole conversation, with parts that are not text as their URI, without what a mail program adds below it
(`mail_signatures.yaml`) and without the passages that many rows have in common (`passages`), so that rows are compared
by what is left. A number, a code or a URL counts as a whole: with another digit it is another one. A text without
letters is near to its equal only.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from base64 import b32encode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from gemtune import dedup
from gemtune.config import Task, fingerprint
from gemtune.data.cleaning import alphanumeric_key, text_key
from gemtune.data.example import Example
from gemtune.dedup.passages import Remainder, without_passages

SLOT_CHARS = 12  # letters and digits: a shorter piece beside another is equal or different, never near
MIN_LEFT_CHARS = 8  # a shorter remainder is compared together with the passages that were removed
_NUMBER = re.compile(r"\d[A-Za-z\d]*(?:[-_./:,#][A-Za-z\d]+)*")
_CJK = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"  # with punctuation
# possessive, with parts that have no character in common: linear in the length of the text
_URL = rf"(?i:https?)://(?:[\w-]++\.)*+(?:[!-~]|[^\x00-\x7f\W{_CJK}])*+"
_CODE = re.compile(rf"{_URL}|{_NUMBER.pattern}")
_CODE_LETTERS = re.compile(r"(?:\A|[\W_])[A-Za-z]{1,6}[-_#/.]\Z")  # E-12 is a code, 12 and A4 are short numbers
Pairs = NDArray[np.int64]
_MAIL = yaml.safe_load(Path(__file__).with_name("mail_signatures.yaml").read_text("utf-8"))
_NAME = r"([\w’',-]+ ){0,4}PROGRAM[\w-]*( [\w+-]+){0,3}"
_SIGNATURE = re.compile(
    rf"\b({'|'.join(_MAIL['signatures'])})[\W_]*\Z".replace("NAME", _NAME).replace("PROGRAM", _MAIL["program"]),
    re.IGNORECASE,
)
_SIGNATURE_CHARS = 100  # the longest
# left out at the ends of pieces, since they belong to the passage as well
_ENDS = " \t\r\n.,:;!?…-–—\"'“”‘’«»()[]<>/|。、，：；！？「」『』（）【】"
_SHORT_CODE, _SPELLED_CODE_CHARS, _SPELLED_CHARS = 3, 8, 16


class Remainders:
    """What is left of examples without the passages that many have in common, computed once.

    Passages are found among the first examples that are passed; later ones are of the same set, or all are new.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Remainder] = {}
        self._compared: dict[str, str] = {}
        self._near: list[tuple[float, set[str], set[str], list[tuple[str, str]]]] = []

    def of(self, examples: Sequence[Example]) -> list[Remainder]:
        """One per example."""
        if any(example.id not in self._by_id for example in examples):
            ids = (example.id for example in examples)
            # a system instruction that all have is left out
            with_system = len({example.system for example in examples}) > 1
            left = without_passages([text_to_compare(example, with_system) for example in examples])
            self._by_id = dict(zip(ids, left, strict=True))
            self._compared, self._near = {}, []
        return [self._by_id[example.id] for example in examples]

    def texts(self, examples: Sequence[Example]) -> list[str]:
        """One text per example to read, which is all of it where nothing is left."""
        pairs = zip(self.of(examples), examples, strict=True)
        return [remainder.text or full_text(example) for remainder, example in pairs]

    def compared(self, examples: Sequence[Example]) -> list[str]:
        """One text per example, such that examples are near-duplicates when their texts are (see `dedup`)."""
        left = self.of(examples)
        if any(example.id not in self._compared for example in examples):
            ids = (example.id for example in examples)
            self._compared = dict(zip(ids, map(compared_form, left), strict=True))
        return [self._compared[example.id] for example in examples]

    def near_pairs(self, examples: Sequence[Example], references: Sequence[Example], threshold: float) -> Pairs:
        """Near-duplicates (index of an example, index of a reference), in order; shape (n, 2).

        Examples that were searched before, or some of them, in either role, are not searched again.
        """
        from gemtune.dedup.overlaps import overlaps

        own, others = ({row.id: n for n, row in enumerate(rows)} for rows in (examples, references))
        is_unique = len(own) == len(examples) and len(others) == len(references)
        for used, first, second, pairs in self._near if is_unique else ():
            if used == threshold and own.keys() <= first and others.keys() <= second:
                return _sorted([(own[a], others[b]) for a, b in pairs if a in own and b in others])
            if used == threshold and own.keys() <= second and others.keys() <= first:
                return _sorted([(own[b], others[a]) for a, b in pairs if b in own and a in others])
        texts = self.compared([*examples, *references])
        near = overlaps(texts[: len(examples)], texts[len(examples) :], threshold)
        if is_unique:
            ids = [(examples[i].id, references[j].id) for i, j in near.tolist()]
            self._near.append((threshold, {*own}, {*others}, ids))
        return near


def _sorted(pairs: list[tuple[int, int]]) -> Pairs:
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def compared_form(remainder: Remainder) -> str:
    """What `dedup` compares of a text of which this remainder is left."""
    text, passages = remainder.text, remainder.passages
    key = alphanumeric_key if any(map(str.isalpha, text)) else text_key
    if passages and len(text) < MIN_LEFT_CHARS:
        return _spelled(f"{key(text)} {passages}", _SPELLED_CHARS)
    if key is text_key:
        return _spelled(key(text), _SPELLED_CHARS)
    pattern = _CODE if "://" in text else _NUMBER  # the shorter one takes a third of the time
    pieces = [piece.replace(dedup.BOUNDARY, " ").strip(_ENDS) for piece in remainder.pieces]
    pieces = [piece for piece in pieces if any(map(_counts, piece))]
    if len(pieces) == 1:
        return pattern.sub(_spelled_code, pieces[0])
    return dedup.BOUNDARY.join(
        _slot(piece, place) if sum(map(str.isalnum, piece)) < SLOT_CHARS else pattern.sub(_spelled_within, piece)
        for place, piece in enumerate(pieces)
    )


def _counts(letter: str) -> bool:
    """Whether it is a letter, a digit, or a symbol such as a star, but no punctuation or mark-up."""
    return letter.isalnum() or (letter > "\x7f" and unicodedata.category(letter)[0] == "S")


def _slot(piece: str, place: int) -> str:
    """What stands for a short piece at this place: with another word, or elsewhere, it is another.

    It has as many 5-grams as the piece has where text stands on both sides of it.
    """
    key = alphanumeric_key(piece)
    return _spelled(f"{place} {key}", len(key) + 2 * (dedup.SHINGLE_CHARS - 1))


def _spelled_code(match: re.Match[str]) -> str:
    code = match[0].rstrip(_ENDS)
    if len(code) <= _SHORT_CODE and not _CODE_LETTERS.search(match.string, max(0, match.start() - 9), match.start()):
        return code
    return _spelled(code.lower(), len(code) if len(code) > _SHORT_CODE else _SPELLED_CODE_CHARS)


def _spelled_within(match: re.Match[str]) -> str:
    """The same for a code in a piece: at its ends it is longer, for the 5-grams it would have with the text beyond."""
    code, ends = _spelled_code(match), (match.start() == 0) + (match.end() == len(match.string))
    own = match[0].rstrip(_ENDS)
    return code if code == own else _spelled(own.lower(), len(code) + ends * (dedup.SHINGLE_CHARS - 1))


def _spelled(text: str, size: int) -> str:
    """So many letters and digits that stand for the text: those of another text differ everywhere."""
    digest = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(5 * size // 8 + 1)
    return b32encode(digest)[:size].decode().lower()


def derived_values(example: Example, task: Task) -> str:
    """What the target takes from its text, where a task does that: rows that differ in it are no duplicates.

    It is the whole target in extraction, the codes and numbers of both in summarization and generation.
    """
    if task.kind == "extraction":
        return text_key(example.target)
    if not task.is_free_text:
        return ""
    texts = (example.target.lower(), full_text(example).lower())
    in_target, in_text = ({code.rstrip(_ENDS) for code in _CODE.findall(text)} for text in texts)
    return " ".join(sorted(in_target & in_text))


def text_to_compare(example: Example, with_system: bool = True) -> str:
    """`full_text` without the line that a mail program adds, unless there is nothing else."""
    text = full_text(example, with_system)
    end = text[-_SIGNATURE_CHARS:]
    if not any(map(end.lower().__contains__, _MAIL["hints"])) or not (match := _SIGNATURE.search(end)):
        return text
    return text[: match.start() - len(end)].rstrip() or text


def full_text(example: Example, with_system: bool = True) -> str:
    """All turns of an example as one text, with `with_system` its system instruction first."""
    pieces = [example.system] if with_system and example.system else []
    if example.contents is None:
        return "\n".join([*pieces, example.text])
    if tools := example.request.get("tools"):
        pieces.append(fingerprint(tools))  # not the tools themselves, which would make all rows that have them similar
    for turn in example.contents:
        for part in turn["parts"]:
            is_text = set(part) == {"text"}
            pieces.append(part["text"] if is_text else json.dumps(part, sort_keys=True, ensure_ascii=False))
    return "\n".join(pieces)

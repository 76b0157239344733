# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The text of a row that is compared in deduplication.

It is the whole conversation, with parts that are not text as their URI, without an instruction that all rows share,
which would make all rows similar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from gemtune.config import fingerprint
from gemtune.data.example import Example

MIN_TEXTS, MIN_FRAME_CHARS = 20, 20


def comparison_texts(examples: Sequence[Example]) -> list[str]:
    """One text per example: its turns, its system instruction when examples differ in it, no shared frame."""
    with_system = len({example.system for example in examples}) > 1
    return remove_shared_frame([full_text(example, with_system) for example in examples])


def remove_shared_frame(texts: list[str]) -> list[str]:
    """Texts without the beginning and the end that nearly all of them share (see `shared_frame`)."""
    begin, end = shared_frame(texts)
    return [remove_frame(text, begin, end) for text in texts] if begin or end else texts


def shared_frame(texts: Sequence[str]) -> tuple[str, str]:
    """The beginning and the end that nearly all texts have, an instruction around the user's text; "" for none.

    A frame has whole words, at least MIN_FRAME_CHARS characters, and four fifths of MIN_TEXTS or more texts share it.
    """
    if len(texts) < MIN_TEXTS:
        return "", ""
    size = len(texts) * 4 // 5
    first, last = (
        _majority(text[:MIN_FRAME_CHARS] for text in texts),
        _majority(text[-MIN_FRAME_CHARS:] for text in texts),
    )
    begin = _shared_prefix((text for text in texts if text[:MIN_FRAME_CHARS] == first), size)
    return begin, _shared_prefix((text[::-1] for text in texts if text[-MIN_FRAME_CHARS:] == last), size)[::-1]


def _majority(pieces: Iterable[str]) -> str:
    """The piece that more than half of all equal, if there is one (Boyer and Moore's majority vote)."""
    leading, lead = "", 0
    for piece in pieces:
        if not lead:
            leading = piece
        lead += 1 if piece == leading else -1
    return leading


def _shared_prefix(texts: Iterable[str], size: int) -> str:
    """The longest beginning shared by `size` texts, up to the last white space in it."""
    ordered = sorted(texts)
    if len(ordered) < size:
        return ""
    spans = range(len(ordered) - size + 1)
    shared = max((_common_prefix(ordered[i], ordered[i + size - 1]) for i in spans), key=len)
    words = shared[: max((i + 1 for i, letter in enumerate(shared) if letter.isspace()), default=0)]
    return words if len(words) >= MIN_FRAME_CHARS else ""


def _common_prefix(a: str, b: str) -> str:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return a[:i]
    return min(a, b, key=len)


def remove_frame(text: str, begin: str, end: str) -> str:
    """The text without that beginning and end, unless nothing would be left."""
    inner = text.removeprefix(begin)
    shorter = inner.removesuffix(end)
    return shorter if shorter.strip() else inner if inner.strip() else text


def full_text(example: Example, with_system: bool) -> str:
    """All turns of an example as one text, with `with_system` its system instruction first."""
    pieces = [example.system] if with_system and example.system else []
    if example.contents is None:
        return "\n".join([*pieces, example.text])
    if tools := example.request.get("tools"):
        pieces.append(fingerprint(tools))  # not the tools themselves, which would make all rows that have them similar
    for turn in example.contents:
        for part in turn["parts"]:
            pieces.append(
                part["text"] if set(part) == {"text"} else json.dumps(part, sort_keys=True, ensure_ascii=False)
            )
    return "\n".join(pieces)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Jaccard similarity of character 5-grams by Python sets: what the kernels of `gemtune.dedup` must agree with."""

import re

from gemtune.dedup import SHINGLE_CHARS, letter_table


def normalize(text: str) -> str:
    """The text as it is compared: letters and digits in lower case, every other run one space."""
    table = letter_table(not text.isascii())
    codes = [int(table[ord(letter)]) for letter in text]
    plain = re.sub(" +", " ", "".join(map(chr, codes))).strip(" ")
    if plain.strip(" \x1f"):
        return plain
    return "".join(c for c in text if 0x2190 <= ord(c) < 0x3000 or 0x1F000 <= ord(c) < 0xE0000)


def shingles(text: str) -> frozenset[str]:
    """The set of character 5-grams of the pieces of the compared text; a text without any is its only shingle."""
    text = normalize(text)
    found = (text[i : i + SHINGLE_CHARS] for i in range(len(text) - SHINGLE_CHARS + 1))
    return frozenset(shingle for shingle in found if "\x1f" not in shingle) or frozenset([text])


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)

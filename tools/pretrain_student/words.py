# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The word lists of `words.yaml` as constants.

A *concept* is a tuple of expressions with nearly the same meaning; its first is the one used in labels. Episodes ask
for the label while the text uses another expression, which teaches the base that the words are related.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Concept = tuple[str, ...]

_DATA: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text("utf-8"))


def _concept(line: str) -> Concept:
    return tuple(form.strip() for form in line.split("|"))


def _concepts(section: str) -> tuple[Concept, ...]:
    return tuple(_concept(line) for line in _DATA[section])


def _words(section: str) -> list[str]:
    return str(_DATA[section]).split()


def _words_by_topic(section: str) -> dict[str, tuple[str, ...]]:
    return {topic: tuple(line.split()) for topic, line in _DATA[section].items()}


ACTIONS, OBJECTS, STATES = _concepts("actions"), _concepts("objects"), _concepts("states")
ACTS: dict[str, Concept] = {act: _concept(line) for act, line in _DATA["acts"].items()}
TEMPLATES: dict[str, tuple[str, ...]] = {act: tuple(templates) for act, templates in _DATA["templates"].items()}
HELD_OUT = frozenset(_concepts("held_out"))

NOUN_OF: dict[str, str] = _DATA["noun_of"]
VERBS_ING_IRREGULAR: dict[str, str] = _DATA["verbs_ing_irregular"]
VERBS_PAST_IRREGULAR: dict[str, str] = _DATA["verbs_past_irregular"]

TOPICS, JAPANESE = _words_by_topic("topics"), _words_by_topic("japanese")
GOOD, BAD, MIXED, LOVE, HATE = (_words(section) for section in ("good", "bad", "mixed", "love", "hate"))
NAMES, PLACES, PERSONS, COLORS = (_words(section) for section in ("names", "places", "persons", "colors"))
MATERIALS, MONTHS, BRANDS, COMMON = (_words(section) for section in ("materials", "months", "brands", "common"))
JA_GOOD, JA_BAD, JA_NAMES = (_words(section) for section in ("ja_good", "ja_bad", "ja_names"))
KANJI = "".join(_words("kanji"))

GOOD_TAILS: list[str] = _DATA["good_tails"]
BAD_TAILS: list[str] = _DATA["bad_tails"]
TIMES: list[str] = _DATA["times"]
OPENERS: list[str] = _DATA["openers"]
CLOSERS: list[str] = _DATA["closers"]
FILLERS: list[str] = _DATA["fillers"]
JA_PATTERNS: list[str] = _DATA["ja_patterns"]
OTHER_SCRIPTS: list[str] = _DATA["other_scripts"]

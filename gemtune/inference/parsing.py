# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parse answers: lenient about format, strict about meaning.

"Refund." and "**Intent:** refund" are the label `refund`: case, width, white space, punctuation, quotes, code fences,
a JSON wrapper and the cue word do not matter. "refund or cancel" names two labels and "not refund" names none: both are
invalid. Every model, prompted or tuned, is parsed by this code, so no model gains by its formatting.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gemtune.config import JsonObject, Prompt, Task
from gemtune.config.output_schema import answer_problem

REFUSALS = re.compile(
    r"^\W*(i\W?m sorry|i am sorry|sorry,|i can\W?not|i can\W?t|i(\W?m| am) (not able|unable)|as an ai\b"
    r"|申し訳|すみません|お答えできません|죄송|抱歉|对不起|我无法|無法回答|无法回答)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*```[\w-]*[ \t]*\n?(.*?)\n?\s*```\s*$", re.DOTALL)
_LEAD = re.compile(
    r"^\W*(?:the |this |my )?(?:correct |best |final |right )?"
    r"(?:text|answer|label|category|class|intent|sentiment|{name})"
    r"(?: (?:of|for|here|to)\b[^:]{{0,60}}?)?\s*(?:is|:|=|：|は|->)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parsed:
    """The value of an answer, or why it has none (exactly one is set)."""

    value: str | None
    problem: str | None = None


def parse(task: Task, prompt: Prompt, answer: str | None) -> Parsed:
    """The value of `answer` for `task`: a label as the task spells it, a canonical JSON object, or plain text."""
    if answer is None or not answer.strip():
        return Parsed(None, "empty answer")
    if task.kind in ("classification", "sentiment"):
        return _parse_labels(task, prompt, answer)
    text = _after_cue(task, answer) if prompt.chain_of_thought else answer
    if task.kind == "extraction":
        return _parse_object(task, text)
    if REFUSALS.match(text) and len(text) < 300:
        return Parsed(None, "refusal")
    return Parsed(_unfenced(text).strip())


def canonical(task: Task, target: str) -> str | None:
    """The reference in the form that `parse` returns; None if it is not a valid value of the task."""
    return parse(task, Prompt.of({}), target).value


def is_refusal(answer: str | None) -> bool:
    """Whether the answer opens with an apology or a statement of inability (English, Japanese, Korean, Chinese)."""
    return bool(answer and REFUSALS.match(answer))


# -- labels ----------------------------------------------------------------------------------------------------------


def _parse_labels(task: Task, prompt: Prompt, answer: str) -> Parsed:
    candidates = _candidates(task, prompt, answer)
    read = _one_label if not task.label_separator else _label_set
    values = {value for value in (read(task, text) for text in candidates) if value is not None}
    if len(values) == 1:
        return Parsed(values.pop())
    if values:
        return Parsed(None, f"names several labels: {', '.join(sorted(values))}")
    if is_refusal(answer):
        return Parsed(None, "refusal")
    return Parsed(None, f"not one of the labels: {_shown(answer)}")


def _candidates(task: Task, prompt: Prompt, answer: str) -> list[str]:
    """The parts of an answer that may be the label: after the cue, the first line, or all of it."""
    text = _unfenced(answer)
    if prompt.chain_of_thought:
        lines = [line for line in text.splitlines() if line.strip()]
        cued = _after_cue(task, text)
        return [cued.splitlines()[0] if cued.strip() else ""] if cued != text else lines[-1:]
    # A base model may continue with an invented next row: cut it off.
    text = re.split(rf"\n\s*{re.escape(task.text_name)}\s*[:：]", text)[0]
    lines = [line for line in text.splitlines() if line.strip()]
    candidates = [text, *lines[:1]]
    cued = _after_cue(task, text)
    return [*candidates, cued.splitlines()[0]] if cued != text and cued.strip() else candidates


def _after_cue(task: Task, text: str) -> str:
    """The text after the last line that starts with `target_name:`; the whole text if there is none."""
    cue = re.compile(rf"^[\W_]*{re.escape(task.target_name)}[*_\s]*[:：]", re.IGNORECASE | re.MULTILINE)
    cues = list(cue.finditer(text))
    return text[cues[-1].end() :].lstrip(" *_\n") if cues else text


def _one_label(task: Task, text: str) -> str | None:
    labels = tuple(task.labels)
    for form in _unwrapped(task, text):
        for spelling in _SPELLINGS:
            label = _index(labels, spelling).get(_SPELLINGS[spelling](form))
            if label is not None:
                return label
    return None


def _label_set(task: Task, text: str) -> str | None:
    """Several labels of one row, sorted and joined; empty parts are skipped, an unknown part makes all invalid."""
    separator = task.label_separator.strip() or task.label_separator
    for form in _unwrapped(task, text):
        parts = [part for part in re.split(rf"{re.escape(separator)}|\n", form) if part.strip()]
        labels = [_one_label(task, part) for part in parts]
        if labels and None not in labels:
            return task.label_separator.join(sorted({label for label in labels if label is not None}))
    return None


def _unwrapped(task: Task, text: str) -> Iterable[str]:
    """The text, then the text without a JSON wrapper, then without a lead-in such as "The label is"."""
    yield text
    inner = _json_value(text)
    if isinstance(inner, dict) and len(inner) == 1:
        inner = next(iter(inner.values()))
    if isinstance(inner, list) and task.label_separator:
        inner = task.label_separator.join(str(part) for part in inner)
    if isinstance(inner, str):
        yield inner
    lead = re.compile(_LEAD.pattern.format(name=re.escape(task.target_name)), re.IGNORECASE)
    shorter = lead.sub("", text, count=1)
    if shorter != text:
        yield shorter


def _exact(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


_EDGES = " \t\n\"'`*.,;:!?()[]<>“”‘’「」『』。、，"


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip(_EDGES)


def _loose(text: str) -> str:
    """Letters, digits and meaningful signs (+, #, %, &), without white space and punctuation."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] in "LNMS" and c not in "`^")


_SPELLINGS = {"exact": _exact, "folded": _folded, "loose": _loose}


@lru_cache(maxsize=64)
def _index(labels: tuple[str, ...], spelling: str) -> dict[str, str | None]:
    """Spelling to label; a spelling that two labels share maps to None, so labels are never confused."""
    index: dict[str, str | None] = {}
    for label in labels:
        key = _SPELLINGS[spelling](label)
        index[key] = None if key in index or not key else label
    return index


# -- objects ---------------------------------------------------------------------------------------------------------


def _parse_object(task: Task, answer: str) -> Parsed:
    value = _json_value(answer)
    if value is None:
        return Parsed(None, "refusal" if is_refusal(answer) else f"not JSON: {_shown(answer)}")
    if not isinstance(value, dict):
        return Parsed(None, f"not a JSON object: {_shown(answer)}")
    problem = answer_problem(task.output_schema, value) if task.output_schema else None
    return Parsed(None, f"does not fit the schema: {problem}") if problem else Parsed(canonical_object(value))


def canonical_object(value: JsonObject) -> str:
    """One spelling of equal objects: keys and list items sorted, text normalized, empty fields removed."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", value)).strip()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return sorted((_plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item not in (None, "", [], {})}
    return value


def _json_value(text: str) -> Any:
    """The text as JSON, or the first JSON object inside it; None if there is none."""
    text = _unfenced(text).strip()
    try:
        return json.loads(text)
    except ValueError:
        pass
    decoder = json.JSONDecoder()
    for start in [m.start() for m in re.finditer(r"\{", text)][:20]:
        try:
            return decoder.raw_decode(text, start)[0]
        except ValueError:
            continue
    return None


def _unfenced(text: str) -> str:
    match = _FENCE.match(text)
    return match.group(1) if match else text


def _shown(answer: str, limit: int = 60) -> str:
    line = " ".join(answer.split())
    return repr(line if len(line) <= limit else line[: limit - 1] + "…")

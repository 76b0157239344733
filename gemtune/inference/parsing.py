# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parse answers: lenient about format, strict about meaning, the same in every language.

"Refund." and "**Intent:** refund" are the label `refund`, and 「分類は返金です。」 is `返金`: case, width, white space,
punctuation, emoji, quotes, fences, tags, JSON, list markers, thoughts and the words around an answer do not matter.
"refund or cancel" names two labels and "not refund" names none: both are invalid; "not refund but cancel" is `cancel`.
Every model, prompted or tuned, and every judge is parsed by this code, so no model gains by its formatting. The words
are in `answer_forms.yaml`.

Guarantees: no text raises an exception; a parsed value parses to itself; a part of a JSON value that is cut off is
never an answer.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice, product
from typing import Any

from gemtune.config import JsonObject, Prompt, Task
from gemtune.config.output_schema import answer_problem
from gemtune.inference import answer_patterns as patterns
from gemtune.inference.answer_checklists import choice_of, without_rejected
from gemtune.inference.answer_forms import any_of, is_refusal, taken_back, words_of
from gemtune.inference.field_values import canonical_object, with_read_values
from gemtune.inference.json_values import json_spans, json_value
from gemtune.inference.spellings import SPELLINGS, are_graded, exact, folded, label_index, loose, plain, scale_of
from gemtune.inference.visible_text import visible

REFUSAL, CUT_OFF = "refusal", "cut off inside a JSON value"
LEAD_CHARS = 160  # of the line in which a lead-in is looked for
ENDING_CHARS, MAX_ENDINGS = 60, 6  # the end of a text in which endings are looked for, and their number
MAX_VERDICTS = 20  # places in a text at which an aside or an explanation may begin
MAX_CHARS = 2000  # longer texts are no label with words around it
MAX_HEADING_WORDS = 3
MIN_LETTERS = 7  # of a clause that says something about the text
MAX_FORMS = 60  # texts inside one answer that are compared with the labels


@dataclass(frozen=True)
class Parsed:
    """The value of an answer, or why it has none (exactly one is set)."""

    value: str | None
    problem: str | None = None


def parse(task: Task, prompt: Prompt, answer: str | None) -> Parsed:
    """The value of `answer` for `task`: a label as the task spells it, a canonical JSON object, or plain text."""
    if answer is None or not answer.strip():
        return Parsed(None, "empty answer")
    if not _is_text(answer):
        return Parsed(None, f"half of a surrogate pair: {_shown(answer)}")
    if task.is_labelled:
        return _parse_labels(task, prompt, answer)
    text = visible(answer)
    if prompt.chain_of_thought:
        text = _after_cue(text, any_of([task.target_name]))
    if task.kind == "extraction":
        return _parse_object(task, text)
    if not text:
        return Parsed(None, "only thoughts")
    return Parsed(None, REFUSAL) if is_refusal(text) else Parsed(text)


def canonical(task: Task, target: str) -> str | None:
    """The reference in the form that `parse` returns; None if it is not a valid value of the task."""
    parsed = parse(task, Prompt.of({}), target)
    if parsed.problem == REFUSAL and task.is_free_text:
        return visible(target)  # people wrote it: a reference that declines is what the model should answer
    return parsed.value


def _is_text(text: str) -> bool:
    return not re.search(r"[\ud800-\udfff]", text)


def _after_cue(text: str, nouns: str) -> str:
    """The text after the last line that starts with one of the nouns and a colon; the whole text if there is none."""
    cue = re.compile(
        rf"^{patterns.MARKUP}(?:\w{{1,20}} )?{nouns}{patterns.MARKUP}(?:[:：|]|$)", re.IGNORECASE | re.MULTILINE
    )
    ends = [match.end() for match in cue.finditer(text) if not patterns.DOUBT.search(match[0])]
    return text[ends[-1] :].lstrip(" *_\n") if ends else text


# -- labels ----------------------------------------------------------------------------------------------------------


def _parse_labels(task: Task, prompt: Prompt, answer: str) -> Parsed:
    """The label that the whole answer, its first line or sentence, its list or the part after the cue agree on."""
    read = _label_set if task.label_separator else _one_label
    label = label_index(tuple(task.labels), "exact").get(exact(answer))
    if label is not None and not task.label_separator:
        return Parsed(label)
    candidates = _candidates(task, prompt, answer)
    if candidates and json_spans(candidates[0])[1]:
        return Parsed(None, CUT_OFF)
    if not _may_name_labels(task, answer):
        candidates = []
    whole = None
    if candidates and task.label_separator:
        whole = read(task, candidates[0]) or read(task, _without_closing(task, candidates[0]))
    values = {whole} if whole else {value for value in map(partial(read, task), candidates) if value is not None}
    concluding = "" if whole else _concluding(visible(answer))
    if not values or _named(task, concluding) - {*map(folded, values)}:
        concluded = {value for part in _conclusions(task, prompt, answer) if (value := read(task, part))}
        if not concluded and len(values) == 1 and _names_another(task, concluding, *values):
            return Parsed(None, f"concludes otherwise than it begins: {_shown(answer)}")
        values |= concluded
    if len(values) == 1:
        return Parsed(values.pop())
    if values:
        return Parsed(None, f"names several labels: {', '.join(sorted(values))}")
    return Parsed(None, REFUSAL if is_refusal(visible(answer)) else f"not one of the labels: {_shown(answer)}")


def _may_name_labels(task: Task, answer: str) -> bool:
    """False if no label is part of an answer in any spelling, which is quickly seen; numbers and escapes have many."""
    if len(answer) > MAX_CHARS or "\\" in answer or "&" in answer:
        return True
    text, stems = plain(answer), label_index(tuple(task.labels), "inflected")
    return any(not stem or re.search(r"\d", stem) or stem.removesuffix("v") in text for stem in stems)


def _candidates(task: Task, prompt: Prompt, answer: str) -> list[str]:
    """The parts of an answer that may be the label: all of it first."""
    whole = visible(answer)
    text = re.sub(r"~~[^~\n]+~~", "", patterns.THOUGHT.sub("", whole))
    text = without_rejected(task, re.sub(r"\A\*\*([^*]+)\*\*\Z", r"\1", text))
    has_thoughts = text != whole
    text = _without_next_row(task, prompt, text)
    lines = [line for line in text.splitlines() if line.strip()]
    cued = next((rest for nouns in _nouns(task)[:2] if (rest := _after_cue(text, nouns)) != text), "")
    ends = [cued.split("\n\n")[0], cued.splitlines()[0]] if cued.strip() and not json_spans(text)[0] else []
    if prompt.chain_of_thought:
        own = [line for line in lines if not line.startswith("```") and not patterns.CLOSING.search(line)]
        return ends or own[-1:]
    if not task.label_separator and lines and patterns.ITEM.match(lines[0]):
        return ends or [text, *(line for line in lines if patterns.ITEM.match(line))]
    first_line = [line for line in lines[:1] if not json_spans(line)[0]]
    bare = [line for line in lines[1:MAX_FORMS] if _is_bare(task, line[:LEAD_CHARS])]
    if task.label_separator and _mentioned(task, text.strip().split("\n\n")[0].partition("\n")[2]):
        first_line = []  # the list goes on
    sentences = [*_first_sentence(task, text), *_last_sentence(task, text), *_headed(task, text)]
    parts = [*first_line, *bare, *sentences, *ends, *(lines[-1:] if has_thoughts else [])]
    return list(dict.fromkeys([text, *parts]))


def _without_next_row(task: Task, prompt: Prompt, text: str) -> str:
    """The text up to a row that a base model invented and continued with."""
    return text if prompt.chain_of_thought else re.split(rf"\n\s*{re.escape(task.text_name)}\s*[:：]", text)[0]


def _conclusions(task: Task, prompt: Prompt, answer: str) -> Iterator[str]:
    """What an answer ends with: after "therefore", after the lead-in of its last line or "the correct label is" of its
    last clause.
    """
    text = _without_next_row(task, prompt, visible(answer))[-MAX_CHARS:]
    last = text.rpartition("\n")[2]
    if json_spans(text)[0] or text.count("\n") > MAX_FORMS or len(last) > 2 * LEAD_CHARS:
        return
    ends = [match.end() for match in patterns.CONCLUSION.finditer(text)]
    if ends and len(text) - ends[-1] <= LEAD_CHARS:
        yield text[ends[-1] :]
    if last != text:
        yield from _after_lead_in(task, last)
    *before, clause = patterns.CLAUSE_OR_TURN.split(last)
    named, lead = _named(task, clause), last.removesuffix(clause)
    if patterns.CONCEDED.search(lead):
        return
    stated = [form for part in before for form in (part, patterns.OPENER.sub("", part))]
    if patterns.ADVERSATIVE.search(lead) and any(_is_bare(task, form) for form in stated):
        return  # "overall positive, but ..."
    is_open = patterns.DOUBT.search(lead) or not (named <= _named(task, lead) or not _named(task, lead))
    if before and (
        _has(clause, patterns.CORRECTION, patterns.JUDGED, patterns.PREFERENCE)
        or patterns.ADVERSATIVE.search(last)
        or not is_open
    ):
        yield from _after_lead_in(task, clause)
        yield from _before_verdict(task, clause)
    is_turned = patterns.ADVERSATIVE.search(lead) and _named(task, lead) and not patterns.DOUBT.search(lead)
    is_clear = not (_named(task, lead) - named or _doubts(lead))
    is_sentence = re.search(rf"{patterns.ARROW}$", lead) or not _is_bare(task, clause)
    if before and not task.label_separator and (is_turned or (is_clear and is_sentence)):
        yield clause


def _concluding(answer: str) -> str:
    """What follows the first "therefore", or sentence that begins with "wait", near the end of an answer."""
    text = answer[-MAX_CHARS:]
    start = patterns.CONCLUSION.search(text) or patterns.RETRACTION.search(text)
    return text[start.end() :] if start else ""


def _names_another(task: Task, text: str, label: str) -> bool:
    """Whether a clause names another label and does not doubt it."""
    clauses = (clause for line in text.splitlines() for clause in patterns.CLAUSE.split(line))
    return any(_mentioned(task, clause) - {folded(label)} and not patterns.DOUBT.search(clause) for clause in clauses)


def _without_closing(task: Task, text: str) -> str:
    """The text without last paragraphs that name no label and doubt nothing: "Let me know if you need more."."""
    paragraphs = text.split("\n\n")
    while len(paragraphs) > 1 and not _mentioned(task, paragraphs[-1]) and not _doubts(paragraphs[-1]):
        paragraphs.pop()
    return "\n\n".join(paragraphs)


def _is_bare(task: Task, line: str) -> bool:
    """Whether a line is a label with signs around it or a remark behind it."""
    index = label_index(tuple(task.labels), "loose")
    return any(
        index.get(loose(form)) for form in (line, patterns.DECORATION.sub("", line), patterns.EXPLAINED.split(line)[0])
    )


def _first_sentence(task: Task, text: str) -> list[str]:
    """The first sentence, if the others name no label."""
    first, *others = patterns.SENTENCE.split(text[:MAX_CHARS], maxsplit=1)
    is_number = patterns.ITEM.match(text) or first.strip("., ").isdigit()
    if not others or is_number or _mentioned(task, others[0]):
        return []
    return [first] if not _doubts(others[0]) or patterns.NO.fullmatch(first) else []


def _last_sentence(task: Task, text: str) -> list[str]:
    """The last sentence, if those before it name no other label and doubt nothing."""
    sentences = [*filter(str.strip, patterns.SENTENCE.split(text[-MAX_CHARS:]))]
    lead, last = " ".join(sentences[:-1]), "".join(sentences[-1:])
    if len(last) > LEAD_CHARS or not (named := _named(task, last)):
        return []
    if _letters(lead) < MIN_LETTERS and not _named(task, lead):
        return []
    is_doubted = _doubts(_whole_labels(tuple(task.labels)).sub(" ", lead))
    return [] if _named(task, lead) - named or is_doubted or json_spans(text)[0] else [last]


def _headed(task: Task, text: str) -> list[str]:
    """What stands behind a heading of up to three words, if that is all: "Urgency: high"."""
    match = patterns.HEADING.fullmatch(_without_closing(task, text))
    if not match or len(match["heading"].split()) > MAX_HEADING_WORDS or _named(task, match["heading"]):
        return []
    is_other = re.search(_nouns(task)[2], match["heading"], re.IGNORECASE) or patterns.DOUBT.search(match["heading"])
    return [] if is_other else [match["answer"]]


def _doubts(text: str) -> bool:
    """Whether clauses beside an answer doubt it: neither an offer of more help does, nor a denial in a clause about the
    text ("the app does not start").
    """
    if not patterns.DOUBT.search(text):
        return False
    clauses = re.split("[.;。；!！?？]", patterns.CLOSING.sub("", text))
    doubting = [clause for clause in clauses if patterns.DOUBT.search(clause)]
    about_answer = (patterns.ABOUT_ANSWER, patterns.JUDGED, patterns.HEDGE)
    return any(_letters(clause) < MIN_LETTERS or _has(clause, *about_answer) for clause in doubting)


def _has(text: str, *kinds: re.Pattern[str]) -> bool:
    return any(kind.search(text) for kind in kinds)


def _letters(text: str) -> int:
    """The letters of a text; those of scripts without spaces, which have more to say, count twice."""
    return sum((character > "\u2fff") + 1 for character in text if character.isalpha())


def _one_label(task: Task, text: str) -> str | None:
    labels = tuple(task.labels)
    longest = 100 + 10 * max(map(len, labels), default=0)
    if scale := scale_of(labels):
        text = scale.sub(" ", unicodedata.normalize("NFKC", text))
    if _is_open(labels, text):
        return None
    for form in _inner_forms(task, text):
        for spelling in SPELLINGS if len(form) <= longest else ():
            label = label_index(labels, spelling).get(SPELLINGS[spelling](form))
            if label is not None:
                return label
    return None


def _is_open(labels: Sequence[str], text: str) -> bool:
    """Whether a text ends with a "?", or its hyphen may be a list marker or the minus of a label ("- 1")."""
    is_interrogative = re.search(r"[?？]\W*$", text[-ENDING_CHARS:]) and not re.search("[?？]", "".join(labels))
    signed = re.match(r"\W*[-−–]\s+([\d.,]*\d)", text)
    return bool(is_interrogative or (signed and f"-{signed[1]}" in map(loose, labels)))


def _label_set(task: Task, text: str) -> str | None:
    """Several labels of one row, sorted and joined; empty parts are skipped, an unknown part makes all invalid."""
    separator = task.label_separator.strip() or task.label_separator
    for form in _inner_forms(task, text):
        if json_spans(form)[0]:
            continue
        for pattern in (r"\n", *patterns.LIST_SEPARATORS) if len(form) <= MAX_CHARS else (r"\n", patterns.MARKS):
            parts = [part for part in re.split(rf"{re.escape(separator)}|{pattern}", form, flags=re.I) if part.strip()]
            if len(parts) > len(task.labels):
                continue
            labels = [_one_label(task, part) for part in parts]
            if labels and None not in labels:
                return task.label_separator.join(sorted({label for label in labels if label is not None}))
    return None


def _inner_forms(task: Task, text: str) -> Iterator[str]:
    """The text, then the texts inside its wrappers, and inside those."""
    forms = [text]
    for form in forms:
        yield form
        if len(forms) < MAX_FORMS:
            forms += dict.fromkeys(inner for inner in _unwrapped(task, form) if inner not in forms)


def _unwrapped(task: Task, text: str) -> Iterator[str]:
    """The text without one wrapper: object, box, tag, fence, width, list marker, lead-in, article or ending."""
    spans, cut = json_spans(text)
    if cut:
        return
    objects = [
        (lead, value) for lead, span in spans if isinstance(value := json_value(span, lenient=True), dict | list)
    ]
    if spans:
        yield from _one_of([(lead, inner) for lead, value in objects for inner in _label_texts(task, value)], task)
        return
    nouns = re.compile(_nouns(task)[1], re.IGNORECASE)
    wrapped = [(text[: m.start()], m[1]) for m in patterns.BOXED.finditer(text)]
    wrapped += [("", m[2]) for m in patterns.TAG.finditer(text) if nouns.fullmatch(m[1]) or m[0] == text.strip()]
    if wrapped:
        listed = [task.label_separator.join(inner for _, inner in wrapped)] if task.label_separator else []
        yield from listed or _one_of(wrapped, task)
        return
    yield from _one_of([("", m[1]) for m in patterns.FENCE.finditer(text)], task)
    if len(text) > MAX_CHARS:
        return
    if text.startswith('"') and isinstance(value := json_value(text.strip()), str):
        yield value
    yield html.unescape(unicodedata.normalize("NFKC", text))
    yield patterns.ITEM.sub("", text, count=1)
    if min(map(len, task.labels), default=0) > 1:
        yield re.sub(r"^[(（]?[A-H][.)）]\s+", "", text)
    if repeated := patterns.REPEATED.fullmatch(text[: 2 * LEAD_CHARS]):
        yield repeated[1]
    if not patterns.SYMBOL.search("".join(task.labels)):
        yield patterns.DECORATION.sub("", text)
    if re.search(r"[?？]\W*$", text):
        return
    option = patterns.OPTION.fullmatch(text.strip()) if len(text) <= LEAD_CHARS else None
    if option and len(letter := option["label"]) == 1 and letter.isalpha():
        yield from [letter] * (len(_named(task, text)) == 1)
    yield from _without_contrast(task, text)
    yield from _after_lead_in(task, text)
    yield from _before_verdict(task, text)
    opener = patterns.OPENER.match(text)
    if (
        opener
        and not _named(task, opener[0])
        and not (patterns.DEGREE.search(opener[0]) and are_graded(tuple(task.labels)))
    ):
        yield text[opener.end() :]
    yield from _without_ending(task, text)


def _without_ending(task: Task, text: str) -> Iterator[str]:
    """The text before any ending, a polite one or one that assigns without doubt: " applies", 「に分類されます」."""
    start, are_numbers = max(0, len(text) - ENDING_CHARS), scale_of(tuple(task.labels)) is not None
    for _ in range(MAX_ENDINGS):
        if not (ending := patterns.ENDING.search(text, start)):
            return
        is_open = _has(ending["assigned"] or "", patterns.DOUBT, patterns.INTERROGATIVE)
        if ending["phrase"]:
            is_open = are_numbers or _doubts(ending[0])
        if not (is_open or _named(task, ending[0])):
            yield text[: ending.start()]
        start = ending.start() + 1


def _after_lead_in(task: Task, text: str) -> Iterator[str]:
    """What follows "The label is", "分類は": words that name the answer, then a link or colon, without a doubt."""
    head = text[:LEAD_CHARS].split("\n")[0]
    _, nouns, nouns_and_subjects = _nouns(task)
    are_numbers = scale_of(tuple(task.labels))
    for cue in patterns.CUE.finditer(head):
        lead, rest = patterns.ASIDES.sub("", head[: cue.end()]), text[cue.end() :]
        is_link = any(map(str.isalpha, cue[0])) or "—" in cue[0]  # the copula of Russian
        if (not task.label_separator and patterns.MENTION.fullmatch(cue[0])) or patterns.QUOTING.search(lead):
            continue
        if re.search(nouns_and_subjects if is_link else nouns, lead, re.IGNORECASE) and not patterns.DOUBT.search(lead):
            clause = patterns.CLAUSE.split(lead)[-1]
            mentioned = _named(task, clause) if are_numbers else _mentioned(task, lead)
            if (not mentioned or mentioned == _mentioned(task, rest)) and not patterns.GROUND.search(clause):
                yield rest


def _without_contrast(task: Task, text: str) -> Iterator[str]:
    """The text without the labels that it takes back: "not refund but cancel", "cancel, not refund", "Not refund."."""
    if task.label_separator or len(text) > 2 * LEAD_CHARS or re.search("[\ue000-\uf8ff]", text):
        return
    spelled: list[str] = []

    def masked(label: re.Match[str]) -> str:
        if label[0].casefold() not in spelled:
            spelled.append(label[0].casefold())
        return chr(0xE000 + spelled.index(label[0].casefold()))

    with_masks = _whole_labels(tuple(task.labels)).sub(masked, text)
    if len(spelled) < 2:
        return
    kept = re.sub(r"[(（]\s*$", "", taken_back().sub(" ", with_masks))
    named = {character for character in kept if "\ue000" <= character <= "\uf8ff"}
    if kept != with_masks and len(named) == 1:
        label = named.pop()
        if kept.count(label) == with_masks.count(label):  # it is not taken back elsewhere
            yield kept.replace(label, spelled[ord(label) - 0xE000])


def _before_verdict(task: Task, text: str) -> Iterator[str]:
    """What precedes "is the label", "(90 %)", " - the customer pays", ", because": words that say that it is right, an
    aside, an explanation, a ground.

    None of them may name another label or, grounds aside, doubt. "5 is the best score" describes a scale.
    """
    if len(text) > 2 * LEAD_CHARS:
        return
    for cue in islice(patterns.VERDICT.finditer(text), MAX_VERDICTS):
        answer, verdict = text[: cue.start()], text[cue.start() :]
        if _says_again(task, answer, verdict):
            yield answer
        ground, named = patterns.GROUND.match(verdict), _named(task, verdict)
        if named and named - _named(task, answer) and not (ground and _keeps_to(verdict[ground.end() :])):
            continue
        if ground or _says_right(task, answer, verdict):
            yield answer


def _says_right(task: Task, answer: str, verdict: str) -> bool:
    """Whether words behind an answer say that it is right, or are an aside or an explanation, and nothing doubts it."""
    is_aside, is_explanation = patterns.ASIDE.fullmatch(verdict), patterns.EXPLAINED.match(verdict)
    is_word = re.search(r"[^\W\d_]", answer) or (is_explanation and not re.search(r"\d", verdict))
    if re.search(r"[?？]\W*$", verdict):
        return False
    if is_aside or (is_word and is_explanation):
        return not _doubts(verdict)
    is_judged = patterns.JUDGED.search(verdict) or re.search(_nouns(task)[1], verdict, re.IGNORECASE)
    return bool(is_word and is_judged and not _has(verdict, patterns.DOUBT) and not _has(answer, patterns.GROUND))


def _keeps_to(ground: str) -> bool:
    """Whether a ground does not turn to another label: "because A is too broad, but B fits" does."""
    return not _has(
        ground,
        patterns.ADVERSATIVE,
        patterns.CORRECTION,
        patterns.JUDGED,
        patterns.PREFERENCE,
        patterns.HEDGE,
        patterns.CONCLUSION,
    )


def _says_again(task: Task, answer: str, rest: str) -> bool:
    """Whether what follows a "yes" or "no" only repeats it: "No, it is not."."""
    if (
        not (patterns.NO.fullmatch(answer) or patterns.YES.fullmatch(answer))
        or patterns.YES.fullmatch(rest)
        or patterns.NO.fullmatch(rest)
    ):
        return False
    is_same = not _mentioned(task, rest) - _mentioned(task, answer)
    return is_same and (patterns.NO.fullmatch(answer) is not None or not patterns.DOUBT.search(rest))


@lru_cache(maxsize=64)
def _noun_patterns(target_name: str, text_name: str) -> tuple[str, str, str]:
    nouns = [*words_of("nouns"), target_name]
    return any_of([target_name]), any_of(nouns), any_of([*nouns, *words_of("subjects"), text_name])


def _nouns(task: Task) -> tuple[str, str, str]:
    """Patterns of the task's word for the answer; of all such words; of those and the words for the text."""
    return _noun_patterns(task.target_name, task.text_name)


@lru_cache(maxsize=64)
def _labels_pattern(labels: tuple[str, ...], other_words: str) -> re.Pattern[str]:
    spelled = {folded(label) for label in labels}
    return re.compile(any_of(x for x in spelled if len(x) > 1 and not re.fullmatch(other_words, x, re.IGNORECASE)))


@lru_cache(maxsize=64)
def _spelled_labels(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(any_of({*labels, *(label.capitalize() for label in labels if len(label) > 1)}))


@lru_cache(maxsize=64)
def _whole_labels(labels: tuple[str, ...]) -> re.Pattern[str]:
    """The labels, not as parts of numbers; those of one character in their own case."""
    longer, short = (
        any_of({y for x in labels if len(x) > 1 for y in (x, x.replace("_", " "))}),
        any_of(x for x in labels if len(x) == 1),
    )
    return re.compile(rf"(?<![\d.,/-](?=\d))(?:(?i:{longer})|{short})(?!(?<=\d)[.,/]?\d)")


def _named(task: Task, text: str) -> set[str]:
    """The labels that a text contains, folded; those of one character too."""
    return _mentioned(task, text) | {*map(folded, _spelled_labels(tuple(task.labels)).findall(text))}


def _mentioned(task: Task, text: str) -> set[str]:
    """The labels that a text contains, folded; labels of one character or that are words for the answer aside."""
    return set(_labels_pattern(tuple(task.labels), _nouns(task)[2]).findall(folded(text[:MAX_CHARS])))


def _label_texts(task: Task, value: Any) -> list[str]:
    """The texts in a JSON value that may be the label: those under a key that names the answer, else all."""
    if isinstance(value, dict):
        if value and all(choice_of(chosen) is not None and _one_label(task, label) for label, chosen in value.items()):
            return _label_texts(task, [label for label, chosen in value.items() if choice_of(chosen)])
        are_numbers = scale_of(tuple(task.labels)) is not None
        candidates = {key: v for key, v in value.items() if are_numbers or not isinstance(v, float)}
        named: list[Any] = []
        for matches, nouns in product((re.fullmatch, re.search), _nouns(task)[:2]):
            named = named or [
                v for key, v in candidates.items() if matches(nouns, key.replace("_", " "), re.IGNORECASE)
            ]
        return [text for inner in named or value.values() for text in _label_texts(task, inner)]
    if isinstance(value, list):
        texts = [text for inner in value for text in _label_texts(task, inner)]
        return [task.label_separator.join(texts)] if task.label_separator and texts else texts
    return [value] if isinstance(value, str) else [] if value is None else [json.dumps(value)]


def _one_of(texts: Sequence[tuple[str, str]], task: Task) -> list[str]:
    """The readable text of these (lead, text) pairs, [] if they name different labels."""
    read = _label_set if task.label_separator else _one_label
    if len(texts) > MAX_FORMS:
        return []
    return _last_cued([(lead, label) for lead, text in texts if (label := read(task, text)) is not None], task)


def _last_cued(values: Sequence[tuple[str, str]], task: Task) -> list[str]:
    """The value, if all are equal; else the last one whose lead says that it is the answer or a correction."""
    if len({value for _, value in values}) < 2:
        return [value for _, value in values[:1]]
    return [value for lead, value in values if _is_cue(task, lead)][-1:]


def _is_cue(task: Task, lead: str) -> bool:
    clause = re.sub(r"```\w*", "", lead[-LEAD_CHARS:]).rstrip().rpartition("\n")[2]
    named = re.search(_nouns(task)[1], clause, re.IGNORECASE) and patterns.CUE_END.search(clause)
    return bool(patterns.CORRECTION.search(clause) or (named and not patterns.DOUBT.search(clause)))


# -- objects ---------------------------------------------------------------------------------------------------------


def _parse_object(task: Task, text: str) -> Parsed:
    spans, cut = json_spans(text)
    if cut:
        return Parsed(None, CUT_OFF)
    values = [(lead, value) for lead, span in spans if isinstance(value := json_value(span), dict)]
    if not values:
        missing = "not JSON" if json_value(text) is None else "not a JSON object"
        return Parsed(None, REFUSAL if is_refusal(text) else f"{missing}: {_shown(text)}")
    spelled = [(lead, canonical_object(value, task.field_rules)) for lead, value in values]
    objects = {text: value for (_, text), (_, value) in zip(spelled, values, strict=True)}
    chosen = _last_cued(spelled, task)
    if not chosen:
        return Parsed(None, f"{len(objects)} different JSON objects: {_shown(text)}")
    if not _is_text(chosen[0]):
        return Parsed(None, f"half of a surrogate pair: {_shown(text)}")
    problem = _schema_problem(task, objects[chosen[0]]) if task.output_schema else None
    return Parsed(None, f"does not fit the schema: {problem}") if problem else Parsed(chosen[0])


def _schema_problem(task: Task, value: JsonObject) -> str | None:
    """Why an object does not fit the schema, as it is and with the numbers and dates that the rules of fields read."""
    problem = answer_problem(task.output_schema, value)
    if problem and task.field_rules:
        read = with_read_values(value, task.field_rules)
        return problem if answer_problem(task.output_schema, read) else None
    return problem


def _shown(answer: str, limit: int = 60) -> str:
    line = " ".join(answer[: 10 * limit].split())
    return repr(line if len(line) <= limit else line[: limit - 1] + "…")

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
from gemtune.inference.answer_forms import FORMS, any_of, ending_of, is_refusal, pattern_of, taken_back, words_of
from gemtune.inference.field_values import canonical_object, with_read_values
from gemtune.inference.json_values import json_spans, json_value
from gemtune.inference.spellings import SPELLINGS, exact, folded, label_index, loose, plain, scale_of
from gemtune.inference.visible_text import visible

REFUSAL, CUT_OFF = "refusal", "cut off inside a JSON value"
LEAD_CHARS = 160  # of the line in which a lead-in is looked for
ENDING_CHARS, MAX_ENDINGS = 60, 6  # the end of a text in which endings are looked for, and their number
MAX_VERDICTS = 20  # places in a text at which an aside or an explanation may begin
MAX_CHARS = 2000  # longer texts are no label with words around it
MAX_FORMS = 60  # texts inside one answer that are compared with the labels

_BEFORE, _AFTER = ("articles", "openings", "nouns", "limits"), ("links", "verdicts", "grounds")
_SEPARATOR = r"=>|[:：=＝]|->|[→⇒➡➜👉]\ufe0f?|\s[-–—]\s"
_SYMBOLS = r"\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0e\ufe0f\u200d\u20e3"
_SYMBOL = re.compile(rf"(?![{FORMS['crosses']}])[{_SYMBOLS}]")
_END_TOKEN = r"<[|/]{0,2}\w{1,20}\|?>"  # of a model's turn, or of a tag that was never opened
_DECORATION = re.compile(rf"^(?:\s|{_SYMBOL.pattern}|=>|->|∴)+|(?:[\s.!。！]|{_SYMBOL.pattern}|{_END_TOKEN})+$")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n((?:(?!```).)*)```", re.DOTALL)
_MARKUP = r"(?:[^\w\n{\[\"']|_){0,8}"
_THOUGHT = re.compile(rf"^{_MARKUP}{any_of(words_of('thoughts'))}{_MARKUP}[:：][ \t*]*(?:\n.*|.*)\n?", re.I | re.M)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|「[^」\n]*」|『[^』\n]*』")
_QUOTING = re.compile(r"[\"“„«「『]\s*\w")  # a quotation that goes on
_TAG = re.compile(r"<([^\W\d][\w-]{0,30})(?:\s[^<>]{0,80})?>([^<>]*)</\1>")
_BOXED = re.compile(r"(?:\\(?:boxed|text|math)\w*\{(?:\\(?:text|math)\w*\{)?|\[\[)([^{}\[\]]*)(?:\}|\]\])")
_MARKER = (
    r"[-•・·▪●–—+]|\*(?=\s)|[(（\[]?\d{1,3}[.)．）\]:：](?!\d)|#\d{1,3}\b|\d{1,3}、|\d\ufe0f?\u20e3|[①-⑳]|[(]?[a-h]\)"
)
_CHECKED = re.compile(r"^[\s*-]*(?:\[[xX✓✔]\]|[☑✅✔✓]\ufe0f?)\s*(?=\S)")
_UNCHECKED = re.compile(rf"^[\s*-]*(?:\[ ?\]|[☐{FORMS['crosses']}]\ufe0f?)\s*(?=\S)")
_ITEM = re.compile(rf"^[\s*_]{{0,4}}(?:{_MARKER})\s*(?!\d)(?=\S)", re.MULTILINE)
_REPEATED = re.compile(r"\W*(\w.*?)(?:[\s,;/|、，]+\1)+\W*", re.IGNORECASE)
_SENTENCE = re.compile(rf"(?<=[.!?{_SYMBOLS}])\s+|(?<=[。！？])")
_MENTION = pattern_of("mentions")
_CUE = re.compile(rf"{_SEPARATOR}|{any_of([*words_of('links'), *words_of('mentions')])}", re.IGNORECASE)
_CUE_END = re.compile(rf"(?:{_SEPARATOR}|{any_of(words_of('links'))})\W*$", re.IGNORECASE)
_EXPLAINED = re.compile(r"\s[-–—]\s|[:：]|[,，;；|]\s*[^\W\d]{1,20}\s*[:：=]")
_VERDICT = re.compile(
    rf"[,，、;；|(（\[]|\s(?=[01]?\.\d)|{_EXPLAINED.pattern}|{any_of(w for k in _AFTER for w in words_of(k))}",
    re.IGNORECASE,
)
_CONFIDENCE = r"(?:[^\W\d]{1,20}\s*[:=]\s*)?(?:[01]?\.\d+|\d{1,3}\s?%)"
_ASIDE = re.compile(rf"(?:[(（][^()（）]*[)）]|(?:[,，;；|\[]\s*|(?<!\d)\s+){_CONFIDENCE})\W*")
_GROUND = re.compile(rf"[\s,，、(（–—-]*{any_of(words_of('grounds'))}[\s:：,，、]*[^\s:：,，、.。…]", re.IGNORECASE)
_RIGHT = pattern_of("nouns", "verdicts")
_CORRECTION, _CORRECTED, _DOUBT = pattern_of("corrections"), pattern_of("corrections", "verdicts"), pattern_of("doubts")
_OPEN = pattern_of("doubts", "asks")
_CLOSING, _ADVERSATIVE = pattern_of("closings"), pattern_of("adversatives")
_CLAUSE = re.compile(r"[,，、;；.。!！?？]\s*(?=\S)")
_CLAUSE_OR_TURN = re.compile(rf"{_CLAUSE.pattern}|{_ADVERSATIVE.pattern}", re.IGNORECASE)
_OPENER = re.compile(rf"^\W*{any_of(w for k in _BEFORE for w in words_of(k))}[\s,，、:：!！]*", re.IGNORECASE)
_ENDING = re.compile(
    rf"(?:{any_of(word for kind in ('endings', 'limits', 'nouns') for word in words_of(kind))}"
    rf"|(?P<assigned>{ending_of(words_of('particles'), words_of('assigns'))}))\W*$",
    re.IGNORECASE,
)
_YES, _NO = (re.compile(rf"\W*{any_of(words_of(kind))}\W*", re.IGNORECASE) for kind in ("affirmations", "negations"))
_CONCLUSION = re.compile(rf"(?:^|[\W_]){any_of(words_of('conclusions'))}[\s,，、:：]*", re.IGNORECASE)
_AFFIRMED = re.compile(
    rf"\W*+(?P<label>[^:：=|→\n]+?)[\s*_`]*(?:{_SEPARATOR}|\||(?=[✅☑✔✓{FORMS['crosses']}]))[\s*_`]*"
    rf"(?:(?P<yes>{any_of(words_of('affirmations'))}|1|[✅☑✔✓○〇◯])|{any_of(words_of('negations'))}|0|[×{FORMS['crosses']}])\ufe0f?[\s*_`|.。]*$",
    re.IGNORECASE,
)
_TABLE_HEAD = re.compile(r"^.*\|.*\n[ |:-]*-[ |:-]*$", re.MULTILINE)


_MARKS = rf"[\n{re.escape(FORMS['separators'])}]"
_LIST_SEPARATORS = (
    _MARKS,
    rf"{_MARKS}\s*{any_of(words_of('conjunctions'))}|{_MARKS}|{any_of(words_of('conjunctions'))}",
    rf"{_MARKS}|(?<=[」』”\"'’])\s*(?=[「『“\"'‘])|\s(?=#|{_MARKER})",
)
"""What separates the labels of a row that has several: marks; words too; quotation marks and list markers in a line."""


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
    cue = re.compile(rf"^{_MARKUP}(?:\w{{1,20}} )?{nouns}{_MARKUP}(?:[:：|]|$)", re.IGNORECASE | re.MULTILINE)
    ends = [match.end() for match in cue.finditer(text) if not _DOUBT.search(match[0])]
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
    concluding = "" if whole else _concluding(answer)
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
    if len(answer) > MAX_CHARS or "\\" in answer:
        return True
    text, stems = plain(answer), label_index(tuple(task.labels), "inflected")
    return any(not stem or re.search(r"\d", stem) or stem.removesuffix("v") in text for stem in stems)


def _candidates(task: Task, prompt: Prompt, answer: str) -> list[str]:
    """The parts of an answer that may be the label: all of it first."""
    whole = visible(answer)
    text = re.sub(r"~~[^~\n]+~~", "", _THOUGHT.sub("", whole))
    text = _checked(re.sub(r"\A\*\*([^*]+)\*\*\Z", r"\1", text))
    text = _affirmed(task, text)
    if _TABLE_HEAD.search(text) and "\n" not in (row := _TABLE_HEAD.sub("", text).strip()):
        text = row
    has_thoughts = text != whole
    text = _without_next_row(task, prompt, text)
    lines = [line for line in text.splitlines() if line.strip()]
    cued = next((rest for nouns in _nouns(task)[:2] if (rest := _after_cue(text, nouns)) != text), "")
    ends = [cued.split("\n\n")[0], cued.splitlines()[0]] if cued.strip() and not json_spans(text)[0] else []
    if prompt.chain_of_thought:
        own = [line for line in lines if not line.startswith("```") and not _CLOSING.search(line)]
        return ends or own[-1:]
    if not task.label_separator and lines and _ITEM.match(lines[0]):
        return ends or [text, *(line for line in lines if _ITEM.match(line))]
    first_line = [line for line in lines[:1] if not json_spans(line)[0]]
    bare = [line for line in lines[1:MAX_FORMS] if _is_bare(task, line[:LEAD_CHARS])]
    if task.label_separator and _mentioned(task, text.strip().split("\n\n")[0].partition("\n")[2]):
        first_line = []  # the list goes on
    parts = [*first_line, *bare, *_first_sentence(task, text), *ends, *(lines[-1:] if has_thoughts else [])]
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
    ends = [match.end() for match in _CONCLUSION.finditer(text)]
    if ends and len(text) - ends[-1] <= LEAD_CHARS:
        yield text[ends[-1] :]
    if last != text:
        yield from _after_lead_in(task, last)
    *before, clause = _CLAUSE_OR_TURN.split(last)
    named, lead = _named(task, clause), last.removesuffix(clause)
    is_open = _DOUBT.search(lead) or not (named <= _named(task, lead) or not _named(task, lead))
    if before and (_CORRECTED.search(clause) or _ADVERSATIVE.search(last) or not is_open):
        yield from _after_lead_in(task, clause)
        yield from _before_verdict(task, clause)


def _concluding(answer: str) -> str:
    """What follows the first "therefore" near the end of an answer."""
    start = _CONCLUSION.search(answer[-MAX_CHARS:])
    return answer[-MAX_CHARS:][start.end() :] if start else ""


def _names_another(task: Task, text: str, label: str) -> bool:
    """Whether a clause names another label and does not doubt it."""
    clauses = (clause for line in text.splitlines() for clause in _CLAUSE.split(line))
    return any(_mentioned(task, clause) - {folded(label)} and not _DOUBT.search(clause) for clause in clauses)


def _without_closing(task: Task, text: str) -> str:
    """The text without last paragraphs that name no label and doubt nothing: "Let me know if you need more."."""
    paragraphs = text.split("\n\n")
    while len(paragraphs) > 1 and not _mentioned(task, paragraphs[-1]) and not _doubts(paragraphs[-1]):
        paragraphs.pop()
    return "\n\n".join(paragraphs)


def _affirmed(task: Task, text: str) -> str:
    """The labels to which a list or table of all answers "yes", one a line; "" if they answer a label with both; any
    other text as it is.
    """
    lines = _TABLE_HEAD.sub("", text).splitlines()[: 2 * MAX_FORMS]
    verdicts = [match for line in lines if (match := _AFFIRMED.match(line[: 2 * LEAD_CHARS]))]
    labels = [label_index(tuple(task.labels), "loose").get(loose(match["label"])) for match in verdicts]
    if len(labels) < 2 or None in labels:
        return text
    if len({*labels}) < len(labels):
        answers = {(label, bool(match["yes"])) for label, match in zip(labels, verdicts, strict=True)}
        return text if len(answers) == len({*labels}) else ""
    return "\n".join(label for label, match in zip(labels, verdicts, strict=True) if label and match["yes"])


def _is_bare(task: Task, line: str) -> bool:
    """Whether a line is a label with signs around it or a remark behind it."""
    index = label_index(tuple(task.labels), "loose")
    return any(index.get(loose(form)) for form in (line, _DECORATION.sub("", line), _EXPLAINED.split(line)[0]))


def _checked(text: str) -> str:
    """The text without the lines of a checklist that are not checked, and marks; "" if a checked line is in doubt.

    A text without lines that are not checked stays as it is, if its marks are not boxes.
    """
    lines = text.splitlines()
    if not any(_UNCHECKED.match(line) or line.lstrip(" *-").startswith("[") for line in lines):
        return text
    checked = [_CHECKED.sub("", line) for line in lines if _CHECKED.match(line)]
    if not checked:
        return text
    others = [line for line in lines if not _CHECKED.match(line) and not _UNCHECKED.match(line)]
    in_doubt = any(line.rstrip().endswith(("?", "？")) for line in checked)
    return "" if in_doubt else "\n".join([*others, *checked])


def _first_sentence(task: Task, text: str) -> list[str]:
    """The first sentence, if the others name no label."""
    first, *others = _SENTENCE.split(text[:MAX_CHARS], maxsplit=1)
    is_number = _ITEM.match(text) or first.strip("., ").isdigit()
    if not others or is_number or _mentioned(task, others[0]):
        return []
    return [first] if not _doubts(others[0]) or _NO.fullmatch(first) else []


def _doubts(text: str) -> bool:
    """Whether sentences behind an answer doubt it; an offer of more help does not."""
    return _DOUBT.search(_CLOSING.sub("", text)) is not None


def _one_label(task: Task, text: str) -> str | None:
    labels = tuple(task.labels)
    longest = 100 + 10 * max(map(len, labels), default=0)
    for form in _inner_forms(task, text):
        for spelling in SPELLINGS if len(form) <= longest else ():
            label = label_index(labels, spelling).get(SPELLINGS[spelling](form))
            if label is not None:
                return label
    return None


def _label_set(task: Task, text: str) -> str | None:
    """Several labels of one row, sorted and joined; empty parts are skipped, an unknown part makes all invalid."""
    separator = task.label_separator.strip() or task.label_separator
    for form in _inner_forms(task, text):
        if json_spans(form)[0]:
            continue
        for pattern in (r"\n", *_LIST_SEPARATORS) if len(form) <= MAX_CHARS else (r"\n", _MARKS):
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
    wrapped = [(text[: m.start()], m[1]) for m in _BOXED.finditer(text)]
    wrapped += [("", m[2]) for m in _TAG.finditer(text) if nouns.fullmatch(m[1]) or m[0] == text.strip()]
    if wrapped:
        listed = [task.label_separator.join(inner for _, inner in wrapped)] if task.label_separator else []
        yield from listed or _one_of(wrapped, task)
        return
    yield from _one_of([("", m[1]) for m in _FENCE.finditer(text)], task)
    if len(text) > MAX_CHARS:
        return
    if text.startswith('"') and isinstance(value := json_value(text.strip()), str):
        yield value
    yield unicodedata.normalize("NFKC", text)
    yield _ITEM.sub("", text, count=1)
    if repeated := _REPEATED.fullmatch(text[: 2 * LEAD_CHARS]):
        yield repeated[1]
    if not _SYMBOL.search("".join(task.labels)):
        yield _DECORATION.sub("", text)
    if re.search(r"[?？]\W*$", text):
        return
    yield from _without_contrast(task, text)
    yield from _after_lead_in(task, text)
    yield from _before_verdict(task, text)
    if (opener := _OPENER.match(text)) and not _named(task, opener[0]):
        yield text[opener.end() :]
    yield from _without_ending(task, text)
    if (scale := scale_of(tuple(task.labels))) and scale.search(text):
        yield scale.sub(" ", text)


def _without_ending(task: Task, text: str) -> Iterator[str]:
    """The text before any ending, a polite one or one that assigns without doubt: " applies", 「に分類されます」."""
    start = max(0, len(text) - ENDING_CHARS)
    for _ in range(MAX_ENDINGS):
        if not (ending := _ENDING.search(text, start)):
            return
        if not ending["assigned"] or not (_OPEN.search(ending[0]) or _named(task, ending[0])):
            yield text[: ending.start()]
        start = ending.start() + 1


def _after_lead_in(task: Task, text: str) -> Iterator[str]:
    """What follows "The label is", "分類は": words that name the answer, then a link or colon, without a doubt."""
    head = text[:LEAD_CHARS].split("\n")[0]
    _, nouns, nouns_and_subjects = _nouns(task)
    for cue in _CUE.finditer(head):
        lead, rest = _QUOTED.sub("", head[: cue.end()]), text[cue.end() :]
        is_link = any(map(str.isalpha, cue[0]))
        if (not task.label_separator and _MENTION.fullmatch(cue[0])) or _QUOTING.search(lead):
            continue
        if re.search(nouns_and_subjects if is_link else nouns, lead, re.IGNORECASE) and not _DOUBT.search(lead):
            mentioned = _mentioned(task, lead)
            if not mentioned or mentioned == _mentioned(task, rest):
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
    for cue in islice(_VERDICT.finditer(text), MAX_VERDICTS):
        answer, verdict = text[: cue.start()], text[cue.start() :]
        if _says_again(task, answer, verdict):
            yield answer
        if _named(task, verdict) - _named(task, answer):
            continue
        says_right = (
            _EXPLAINED.match(verdict) or _RIGHT.search(verdict) or re.search(_nouns(task)[0], verdict, re.IGNORECASE)
        )
        is_word = re.search(r"[^\W\d_]", answer) or (_EXPLAINED.match(verdict) and not re.search(r"\d", verdict))
        is_aside = _ASIDE.fullmatch(verdict) or (says_right and is_word)
        doubted = _DOUBT.search(verdict) or re.search(r"[?？]\W*$", verdict)
        if _GROUND.match(verdict) or (is_aside and not doubted):
            yield answer


def _says_again(task: Task, answer: str, rest: str) -> bool:
    """Whether what follows a "yes" or "no" only repeats it: "No, it is not."."""
    if not (_NO.fullmatch(answer) or _YES.fullmatch(answer)) or _YES.fullmatch(rest) or _NO.fullmatch(rest):
        return False
    is_same = not _mentioned(task, rest) - _mentioned(task, answer)
    return is_same and (_NO.fullmatch(answer) is not None or not _DOUBT.search(rest))


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
    return re.compile(any_of(labels))


@lru_cache(maxsize=64)
def _whole_labels(labels: tuple[str, ...]) -> re.Pattern[str]:
    """The labels, not as parts of numbers; those of one character in their own case."""
    longer, short = any_of(x for x in labels if len(x) > 1), any_of(x for x in labels if len(x) == 1)
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
        if value and all(chosen in (0, 1) and _one_label(task, label) for label, chosen in value.items()):
            return _label_texts(task, [label for label, chosen in value.items() if chosen])
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
    named = re.search(_nouns(task)[1], clause, re.IGNORECASE) and _CUE_END.search(clause)
    return bool(_CORRECTION.search(clause) or (named and not _DOUBT.search(clause)))


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

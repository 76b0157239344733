# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a file of rows is for: its columns, kind of task, language, groups and times, guessed for `gemtune init`.

Columns are recognized by what they hold; their names, in nine languages (`column_names.yaml`), decide between columns
that hold the like. Guarantees: a guess is a setting with its reason, and with the alternatives where others fit nearly
as well; the same rows give the same guesses.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from gemtune.config import JsonObject
from gemtune.config.data import DEFAULT_WORDING
from gemtune.data.columns import (
    CERTAIN,
    MAX_LABEL_CHARS,
    PLAUSIBLE_LABELS,
    Column,
    better_or_worse,
    columns_of,
    known_names,
    plain,
    vocabulary,
)
from gemtune.data.formats import OPENAI_PAIR, as_prompt, content_of, is_prompt
from gemtune.data.group_columns import GroupColumns, words_of
from gemtune.data.labels import find_spellings, is_flag
from gemtune.data.pairs import named_side, turns_of
from gemtune.data.profile import estimate_tokens, script
from gemtune.data.segments import UNITS, read_segments
from gemtune.data.source_rows import ONE_COLUMN
from gemtune.data.tables import MANY
from gemtune.data.times import parse_times
from gemtune.errors import UserError, did_you_mean

_RANKED_ROWS, _RANKED_FOLDS, _CLOSE_GAIN = 600, 10, 0.05
_MAX_LISTED, MIN_ROWS = 4, 5
_FILL = "fill every row (merged cells are filled in their first row, formulas only by a spreadsheet program)"
_DAY = re.compile(r"(19|20)\d\d(-?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])")
_TAG = re.compile(r"O|[BIESLU]-\S+")
_AUTOML = {"textContent", "textGcsUri", "text_snippet"}
_EXPORTS = {"automl": _AUTOML, "openai": {"messages", "preferred_output"}, "vertex": {"contents", *_AUTOML}}
_TARGETS = ("label", "object", "summary", "answer")


@dataclass(frozen=True, slots=True)
class Guess:
    """A setting by its dotted name, why it has this value, and other values that are nearly as likely.

    `is_offer`: the setting changes what is measured, so it is written as a comment.
    """

    setting: str
    value: Any
    reason: str
    alternatives: tuple[Any, ...] = ()
    is_offer: bool = False


def guess(
    rows: Sequence[JsonObject], kind: str = "", text: str = "", target: str = "", source: str = ""
) -> list[Guess]:
    """The settings that differ from the defaults for these rows, a sample of a file; `kind`, `text`, `target` and the
    `source` (automl, openai, vertex) are known already where given.

    Raises `UserError` when no column can be the text or the reference, or the rows are no export of the source.
    """
    rows = [as_prompt(row) for row in rows]
    if not rows:
        raise UserError("the file has no rows", remedy="provide labelled rows, one per line")
    if source and sum(not _EXPORTS[source].isdisjoint(row) for row in rows) < CERTAIN * len(rows):
        names = f"the rows have {', '.join(map(repr, rows[0]))}, none of {', '.join(sorted(_EXPORTS[source]))}"
        raise UserError(f"no export of {source}: {names}", remedy="leave out --from: the format is recognized")
    for form in (_turns, _automl) if kind or target else (_pairs, _turns, _automl):
        if (guesses := form(rows)) is not None:
            used = [item.value for item in guesses if item.setting.endswith("_column")]
            return [*guesses, *_beside(rows, [*used, "prompt", "chosen", "rejected"])]
    return _table(rows, kind, text, target)


# -- forms of rows that name their fields ----------------------------------------------------------------------------


def _share(rows: Sequence[JsonObject], *keys: str) -> bool:
    return sum(all(key in row for key in keys) for row in rows) >= CERTAIN * len(rows)


def _pairs(rows: Sequence[JsonObject]) -> list[Guess] | None:
    """Preference pairs: the fields of Gemini or OpenAI, or columns of a chosen and a rejected answer."""
    method = Guess("method", "preference", "each row has a better and a worse answer")
    if _share(rows, "contents", "completions") or _share(rows, *OPENAI_PAIR):
        return [method]
    columns = columns_of(rows)
    if _share(rows, "prompt", "completion", "label") and all(is_flag(str(row["label"])) for row in rows):
        raise UserError(
            "each row says of one answer whether it is good, which is neither a label of the text nor a pair",
            remedy="keep the good rows, without the column label; or write a good and a bad answer to a prompt into "
            "one row, as `chosen` and `rejected`",
        )
    roles = {role: column for column in columns if (role := column.role) in ("chosen", "rejected") and column.is_answer}
    sides, winner = [*map(roles.get, ("chosen", "rejected"))], None
    if None in sides and (twins := _twins(columns)):
        sides, winner = [*twins], _winner(columns, twins)
        if winner is None and twins[0].role != "answer":
            return None
        if winner is None:
            raise UserError(
                f"{twins[0].name!r} and {twins[1].name!r} look like two answers to one prompt, and no column names the "
                "better one as they are named",
                remedy="write the better one into a column `chosen` and the other into `rejected`; or name one as the "
                f"reference: --target {twins[0].name}",
            )
    used = [column.name for column in (*sides, winner) if column]
    prompts = [c for c in columns if c.is_text and c.name not in used and c.role not in ("chosen", "rejected", "other")]
    if None in sides or not (prompts or _has_turns(sides[0])):
        return None
    guesses = [method]
    prompt = max(prompts, key=lambda column: (column.role == "text", column.mean), default=None)
    prompt = None if _has_turns(sides[0]) and prompt and prompt.name != "prompt" else prompt
    fields = {"prompt": prompt, "chosen": sides[0], "rejected": sides[1], "winner": winner}
    for setting, column in fields.items():
        if column is not None and (column.name != setting or column is winner):
            reason = "its values name the better answer" if column is winner else "by its name"
            guesses.append(Guess(f"preference.{setting}_column", column.name, reason))
    answers = [str(value) for column in sides if column for value in column.values]
    return [*guesses, *_language(prompt.texts if prompt else [], "generation"), *_answer_limit(answers, "generation")]


def _has_turns(column: Column | None) -> bool:
    """Whether most of these answers are conversations, so that the prompt is in them."""
    values = column.values if column else []
    return sum(len(turns_of(value)) > 1 for value in values) >= CERTAIN * max(1, len(values))


def _twins(columns: Sequence[Column]) -> tuple[Column, Column] | None:
    """Two columns of texts of one kind, whose names differ in a letter or a number; answers rather than others."""
    texts = [column for column in columns if column.is_answer and column.role in ("answer", "text")]
    for first, second in sorted(combinations(texts, 2), key=lambda pair: pair[0].role):
        words, others = {*words_of(first.name)}, {*words_of(second.name)}
        if first.role == second.role and [*words - others, *others - words] in vocabulary()["twins"]:
            return first, second
    return None


def _winner(columns: Sequence[Column], twins: tuple[Column, Column]) -> Column | None:
    """The column that names the better one of two answers: both of them, and few other values (ties)."""
    names = [column.name for column in twins]
    for column in columns:
        named = {value: named_side(value, names) for value in column.counts}
        rows = sum(column.counts[value] for value, side in named.items() if side is not None)
        may_name = better_or_worse(column.name) == "chosen"
        may_name = may_name or (column.role == "label" and twins[0].role == "answer")
        is_scale = any(side is None and value.lstrip("-").isdecimal() for value, side in named.items())
        is_few = len(named) <= PLAUSIBLE_LABELS and rows >= 0.4 * column.rows
        if may_name and is_few and not is_scale and {0, 1} <= {*named.values()}:
            return column
    return None


def _turns(rows: Sequence[JsonObject]) -> list[Guess] | None:
    """Rows that are prompts already; the last turn is the reference."""
    if sum(map(is_prompt, rows)) < CERTAIN * len(rows):
        return None
    answers = []
    for row in rows:
        turns = row.get("contents") or row.get("messages") or [{}]
        last = turns[-1] if isinstance(turns, list) and isinstance(turns[-1], dict) else {}
        parts = last.get("parts") or content_of(last) or ""
        parts = parts if isinstance(parts, list) else [parts]
        answers.append("".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in parts))
    answer = Column("the last turn", [text.strip() for text in answers])
    labels = [repr(column.name) for column in columns_of(rows) if column.role == "label" and column.is_label][:1]
    reason = "the rows are prompts with an answer as the last turn" + "".join(f", not {label}" for label in labels)
    return _task_guesses(answer, _kind(answer, None), reason, [])


def _automl(rows: Sequence[JsonObject]) -> list[Guess] | None:
    if sum(not _AUTOML.isdisjoint(row) for row in rows) < CERTAIN * len(rows):
        return None
    forms = Counter(key for row in rows for key in row if key.endswith(("Annotation", "Annotations", "annotations")))
    form = forms.most_common(1)[0][0] if forms else ""
    texts = [str(row.get("textContent", "")) for row in rows]
    kinds = {"sentimentAnnotation": "sentiment", "textSegmentAnnotations": "extraction", "annotations": "extraction"}
    guesses = [Guess("task.kind", kinds.get(form, "classification"), f"rows of AutoML Text with {form}")]
    listed = [row.get("classificationAnnotations") for row in rows]  # of a CSV only the rows with several labels
    several = form == "classificationAnnotations" or any(isinstance(own, list) and len(own) > 1 for own in listed)
    if several:
        guesses.append(Guess("task.label_separator", "; ", "a row may have several labels"))
    guesses += _offset_unit([(text, row[form]) for text, row in zip(texts, rows, strict=True) if row.get(form)])
    return [*guesses, *_language(texts, "several labels" if several else guesses[0].value)]


def _offset_unit(rows: Sequence[tuple[str, Any]]) -> list[Guess]:
    """The unit of the offsets of segments, where they fit the words in another than the default one only."""
    fitting = Counter(unit for text, segments in rows for unit in UNITS if _fits(text, segments, unit))
    unit, count = max(fitting.items(), key=lambda item: (item[1], item[0] == "characters"), default=("", 0))
    if unit == "characters" or count < CERTAIN * len(rows):
        return []
    return [Guess("preprocess.offset_unit", unit, f"segments begin and end at words in {count} of {len(rows)} rows")]


def _fits(text: str, segments: Any, unit: str) -> bool:
    try:
        return isinstance(segments, list) and not read_segments(text, segments, unit)[1]
    except (ValueError, AttributeError):
        return False


# -- tables ----------------------------------------------------------------------------------------------------------


def _table(rows: Sequence[JsonObject], kind: str, text: str, target: str) -> list[Guess]:
    columns = columns_of(rows)
    if not target and any(len(c.counts) > 1 and all(map(_TAG.fullmatch, c.counts)) for c in columns):
        remedy = "write one row for each sentence, with a list of its spans: begin, end, name"
        raise UserError("the rows are words with tags, not texts", remedy=remedy)
    if len(rows) < MIN_ROWS and len(columns) >= MANY and not (text and target):
        place = f"{len(rows)} row{'s' * (len(rows) > 1)} and {len(columns)} columns"
        raise UserError(f"{place} look like a table on its side", remedy="transpose it: a row for each text")
    by_name = {column.name: column for column in columns}
    for name in filter(None, (text, target)):
        if name not in by_name:
            remedy = f"one of {', '.join(map(repr, by_name))}{did_you_mean(name, tuple(by_name))}"
            raise UserError(f"no column {name!r}", remedy=remedy)
    texts = [by_name[text]] if text else _ranked_texts([column for column in columns if column.name != target])
    joined = [] if text else _joined([column for column in columns if column.name != target])
    texts = joined[:1] or texts
    if not texts:
        raise UserError("no column holds texts", remedy=_text_remedy(columns))
    others = [column for column in columns if column not in (texts[0], *joined)]
    answers = [column for column in others if column.role == "answer"] if plain(texts[0].name) == "instruction" else []
    targets = [by_name[target]] if target else _ranked_targets(answers or others, texts[0])
    if not targets:
        raise _no_reference(rows, texts[0].name)
    numbered = targets[0]
    targets = [numbered] if target else _label_names(numbered, others) or targets
    chosen = targets[0]
    flags = [column.name for column in others if column.counts and all(map(is_flag, column.counts))]
    if not target and chosen.name in flags and len(flags) > 2:
        raise UserError(
            f"the columns {', '.join(flags[:5])} say of one label each whether it applies",
            remedy=f"{ONE_COLUMN}; or name one: --target COLUMN",
        )
    numbered_alike = [column for column in others if _stem(column) == _stem(chosen) and column.is_text]
    if not target and any(len(column.values) < CERTAIN * column.rows for column in numbered_alike):
        raise UserError(
            f"the columns {', '.join(column.name for column in numbered_alike[:5])} look like labels of the same row",
            remedy=f"{ONE_COLUMN}; or, if they are levels of one label, name one: --target COLUMN",
        )
    texts = [column for column in texts if column is not chosen]
    guesses = []
    for setting, ranked, default in (("text", texts, "text"), ("target", targets, "label")):
        column, *rest = ranked
        alternatives = tuple(other.name for other in rest[:_MAX_LISTED])
        if column.name != default or alternatives:
            reason = "by its name and values" if column.role in ("text", *_TARGETS) else "by its values"
            reason = f"the names of the values of {numbered.name!r}" if column is chosen is not numbered else reason
            guesses.append(Guess(f"preprocess.{setting}_column", column.name, reason, alternatives))
    if joined:
        added = [column.name for column in joined[1:]]
        guesses.append(Guess("preprocess.added_columns", added, f"the text is {texts[0].name!r} with these after it"))
    task_kind = kind or _kind(chosen, texts[0].mean)
    reason = f"{len(chosen.counts)} different values in {len(rows)} rows" if chosen.counts else "objects as values"
    reason = "values are named spans of the text" if chosen.is_spans else reason
    names = [Guess("task.text_name", _title(texts[0]), "name of the input in prompts")] if _title(texts[0]) else []
    if _title(chosen) and task_kind in ("classification", "sentiment", "several labels"):
        names.append(Guess("task.target_name", _title(chosen), "name of the answer in prompts"))
    task = _task_guesses(chosen, task_kind, reason, texts[0].texts)
    return [
        *guesses,
        *task[:1],
        *names,
        *task[1:],
        *(_offset_unit([*zip(map(str, texts[0].cells), chosen.spans, strict=True)]) if chosen.is_spans else []),
        *_beside(rows, (texts[0].name, chosen.name, numbered.name, *(c.name for c in joined))),
    ]


def _label_names(numbered: Column, columns: Sequence[Column]) -> list[Column]:
    """The column with the names of labels that are numbers, each of one number; else []."""
    if not numbered.is_label or not all(map(str.isdecimal, numbered.counts)):
        return []
    named = [column for column in columns if column.is_label and column.is_text and not column.separator]
    pairs = {column.name: len({*zip(numbered.cells, column.cells, strict=True)}) for column in named}
    return [c for c in named if len(c.counts) == len(numbered.counts) == pairs[c.name]][:1]


def _stem(column: Column) -> str:
    """The name of a column without a number at its end."""
    return re.sub(r"[\W_]*\d+$", "", plain(column.name))


def _no_reference(rows: Sequence[JsonObject], text: str) -> UserError:
    """The error for a table without a column that can be the reference; it says of the first columns why."""
    columns = [Column(name, [row.get(name) for row in rows]) for name in dict.fromkeys(n for row in rows for n in row)]
    problems, remedies = [], []
    marked = [c.name for c in columns if len(c.counts) == 1 and len(c.values) < 0.9 * c.rows and c.name != text]
    marked = marked if len(marked) > 2 else []
    remedies += [f"if a mark in {', '.join(marked[:5])} says that a label applies, {ONE_COLUMN}"] if marked else []
    for column in [column for column in columns if column.name != text][:_MAX_LISTED]:
        filled, count = len(column.values), len({*map(repr, column.values)})
        values = f"{count} different values" if count > 1 else "one value" if count else "no value"
        problems.append(f"{column.name!r} has {values} in {filled} of {column.rows} rows")
        is_nested = column.containers[list] and not column.separator and not column.is_spans
        remedies += [f"write a row for each object in {column.name!r}"] if is_nested else []
        is_sparse = filled < 0.5 * column.rows
        if column.name not in marked:
            remedies.append(_FILL if is_sparse else "add rows with other references" if count == 1 else "")
    if not problems:
        return UserError(
            f"{text!r} is the only column", remedy="add a column with the label or the answer of each text"
        )
    remedy = "; ".join(dict.fromkeys([*filter(None, remedies), "name the column, if one has labels: --target COLUMN"]))
    return UserError(f"no column beside {text!r} can be the reference: {'; '.join(problems)}", remedy=remedy)


def _joined(columns: Sequence[Column]) -> list[Column]:
    """Two columns that are one text together, by their names: an instruction and its input, two sentences; else []."""
    by_name = {plain(column.name): column for column in columns if column.is_text}
    for names in vocabulary()["joined"]:
        if all(name in by_name for name in names):
            return [by_name[name] for name in names]
    return [*(_twins([column for column in columns if column.role == "text"]) or ())]


def _text_remedy(columns: Sequence[Column]) -> str:
    """What makes a text of rows without a column of texts: nested fields, or turns under other names."""
    if {"data", "annotations"} <= {column.name for column in columns}:
        return "these are Label Studio's tasks: export them as JSON-MIN or CSV, which have a column for each result"
    logged = {c.name for c in columns for v in c.values if isinstance(v, dict) and {"contents", "candidates"} & {*v}}
    if {"request", "response"} <= logged:
        row = ".request + {contents: (.request.contents + [.response.candidates[0].content])}"
        return f"these are requests with their responses: jq -c '{row}' FILE > rows.jsonl"
    nested = [column.name for column in columns if column.is_object]
    lists = [column.name for column in columns if column.containers[list]]
    words = [
        c.name for c in columns if any(isinstance(v, list) and all(isinstance(w, str) for w in v) for v in c.values)
    ]
    if words:
        return f"join the words of {words[0]!r} to a text, and write tags as a list of its spans: begin, end, name"
    if any(column.is_object and isinstance(column.values[0], str) for column in columns):
        read = f"[print(row[{nested[0]!r}]) for row in csv.DictReader(open(FILE))]"
        return f"write the objects in {nested[0]!r} as lines of a .jsonl file, in Python: {read}"
    if nested:
        fields = "".join(f" + .[{json.dumps(name)}]" for name in nested)
        return f"bring the fields of {', '.join(map(repr, nested))} to the top: jq -c '.{fields}' FILE > rows.jsonl"
    if lists:
        return f"if {lists[0]!r} has turns, write them as messages with role and content"
    return "name it: --text COLUMN"


def has_header(rows: Sequence[JsonObject]) -> bool:
    """Whether the names of a table's columns are names. Not where one is a text, or, while no other column has a name
    that is known for columns, a label of its own column or a number above numbers.
    """
    columns = columns_of(rows)
    values = ("sentiments", "other_values")
    header_names = {name for role, names in known_names().items() if role not in values for name in names}
    named = {c.name for c in columns if plain(c.name) in header_names}
    labels = [c.name for c in columns if c.is_label and c.name in c.counts]
    labels += [c.name for c in columns if c.name.isdecimal() and all(map(str.isdecimal, c.counts))]
    return not any(len(c.name) > MAX_LABEL_CHARS for c in columns) and all(named - {name} for name in labels)


def _ranked_texts(columns: Sequence[Column]) -> list[Column]:
    """The likeliest column of texts, then those that are nearly as likely."""
    texts = [c for c in columns if c.is_text and not c.is_label and (len(c.counts) > 1 or c.rows == 1)]
    texts = [column for column in texts if column.role not in ("split", *_TARGETS)] or texts
    texts = [column for column in texts if column.role != "other"] or texts
    named = [column for column in texts if column.role == "text"]
    ranked = sorted(named or texts, key=lambda column: -column.mean * min(1, len(column.values) / column.rows))
    return ranked[:1] + [column for column in ranked[1:] if column.mean > 0.5 * ranked[0].mean]


def _ranked_targets(columns: Sequence[Column], text: Column) -> list[Column]:
    """The likeliest column of references, then those that are nearly as likely."""
    usable = [c for c in columns if c.role != "split" and not _is_split(c) and _may_be_references(c)]
    objects = [column for column in usable if column.is_object]
    labels = [column for column in usable if not column.is_object and (column.is_label or column.separator)]
    free = [column for column in usable if column.is_text and column not in labels]
    for role, fitting in (("label", labels), ("object", objects), ("summary", free), ("answer", [*free, *labels])):
        named = [column for column in fitting if column.role == role]
        if named:
            return _by_gain(named, text) if role == "label" else named
    if objects:
        return objects
    free.sort(key=lambda column: -column.mean)
    texts, rest = ([c for c in free if (c.role == "other") == is_other] for is_other in (False, True))
    unnamed, others = (
        [column for column in labels if (column.role == "other") == is_other] for is_other in (False, True)
    )
    if texts:  # labels that the text does not predict are those of channels, regions, ...
        unnamed = [column for column in unnamed if _gains(column, text)[0] > _CLOSE_GAIN]
    return (
        _by_gain(unnamed, text)
        or texts
        or _by_gain(others, text)
        or rest
        or [column for column in usable if column.role in _TARGETS]
    )


def _may_be_references(column: Column) -> bool:
    """Whether most rows have a value, and not all the same one; spans may be at one place, and a text may have none."""
    is_filled = len(column.values) >= 0.5 * column.rows
    return column.is_spans or (is_filled and (column.rows == 1 or len({*map(repr, column.values)}) > 1))


def _by_gain(columns: list[Column], text: Column) -> list[Column]:
    """The columns that the text predicts, best first, as far as they are close to the best."""
    if len(columns) < 2:
        return columns
    order = {column.name: _gains(column, text)[1] for column in columns}
    ranked = sorted(columns, key=lambda column: -order[column.name])
    return [column for column in ranked if order[column.name] > order[ranked[0].name] - _CLOSE_GAIN]


def _gains(column: Column, text: Column) -> tuple[float, float]:
    """How well a simple classifier of the text predicts the values: accuracy above that of the commonest value, and how
    well it ranks the rows of each value above others (Gini coefficient: 0 by chance, 1 always).
    """
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import KFold
    from sklearn.naive_bayes import MultinomialNB

    pairs = [(str(a), str(b)) for a, b in zip(text.cells, column.cells, strict=True) if a and b is not None]
    if len(pairs) < 2:
        return 0.0, 0.0
    texts, labels = zip(*pairs[:_RANKED_ROWS], strict=True)
    values, own = np.unique(labels, return_inverse=True)
    words = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), alternate_sign=False, n_features=2**14)
    vectors, scores = words.transform(texts), np.full((len(texts), len(values)), -np.inf)
    for train, test in KFold(min(_RANKED_FOLDS, len(texts)), shuffle=True, random_state=7).split(own):
        model = MultinomialNB(alpha=0.1).fit(vectors[train], own[train])
        scores[np.ix_(test, model.classes_)] = model.predict_log_proba(vectors[test])
    sizes = np.bincount(own)
    accuracy = (scores.argmax(axis=1) == own).mean() - sizes.max() / len(own)
    ranked = {
        k: roc_auc_score(own == k, np.maximum(scores[:, k], -1e9))
        for k in np.flatnonzero(sizes > 1)
        if sizes[k] < len(own)
    }
    rows = sum(sizes[k] for k in ranked)
    return float(accuracy), float(sum(2 * sizes[k] * (area - 0.5) for k, area in ranked.items()) / max(1, rows))


def _is_split(column: Column) -> bool:
    return column.is_label and bool({"train", "training"} & {plain(value) for value in column.counts})


# -- the task --------------------------------------------------------------------------------------------------------


def _kind(column: Column, text_mean: float | None) -> str:
    """A kind of task, or `several labels`, from the references."""
    if column.is_spans:
        return "extraction"
    if column.is_flags or (column.separator and (column.containers[list] or not column.is_label or column.is_joined)):
        return "several labels"
    if column.is_object:
        return "extraction"
    if column.is_label:
        names = known_names()["sentiments"]
        return "sentiment" if all(plain(label) in names for label in column.counts) else "classification"
    if column.role == "summary":
        return "summarization"
    is_short = text_mean is not None and column.role != "answer" and column.mean < 0.5 * text_mean
    return "summarization" if is_short and (text_mean or 0) > 3 * MAX_LABEL_CHARS else "generation"


def _task_guesses(column: Column, kind: str, reason: str, texts: Sequence[str]) -> list[Guess]:
    several = kind == "several labels"
    guesses = [Guess("task.kind", "classification" if several else kind, reason)]
    if several:
        guesses.append(Guess("task.label_separator", column.separator, "a value may have several labels"))
    elif kind == "classification" and (spellings := find_spellings(column.counts, [])):
        reason = f"spellings of the label {spellings[0].label!r}: {', '.join(map(repr, spellings[0].rows))}"
        guesses.append(Guess("preprocess.label_spellings", "merge", reason, is_offer=True))
    references = [str(value) for value in column.values]
    return [*guesses, *_language(texts, kind), *_answer_limit(references, kind)]


def _language(texts: Iterable[str], kind: str) -> list[Guess]:
    """The instruction, in the language of the texts where it is told by their script."""
    scripts = Counter(script(text) for text in list(texts)[:500]).most_common(1)
    language = scripts[0][0] if scripts else ""
    translated: JsonObject = vocabulary()["instructions"]
    instruction = translated.get(language, {}).get(kind) or DEFAULT_WORDING[kind][0]
    return [Guess("task.instruction", instruction, "say here, in a sentence, what the answer is for")]


def _answer_limit(references: Iterable[str], kind: str) -> list[Guess]:
    longest = max(map(estimate_tokens, references), default=0)
    default = 64 if kind in ("classification", "sentiment", "several labels") else 256
    if 1.3 * longest <= default:
        return []
    limit = min(8192, -(-int(1.5 * longest) // 64) * 64)
    return [Guess("evaluate.max_output_tokens", limit, f"the longest answer has about {longest} tokens")]


def _beside(rows: Sequence[JsonObject], used: Sequence[str]) -> list[Guess]:
    """Columns of groups, slices, splits and times, beside those of text and reference."""
    columns = [column for column in columns_of(rows) if column.name not in used]
    guesses, groups = [], GroupColumns()
    for row in rows:
        groups.add(row, "", used)
    offered = groups.offered()
    if offered:
        reason = f"{len(groups.values[offered[0]])} values that repeat: their rows stay in the same split"
        guesses.append(Guess("preprocess.group_column", offered[0], reason))
    splits = [column for column in columns if column.name != "split" and _is_split(column)]
    if splits:
        guesses.append(Guess("preprocess.split_column", splits[0].name, "its values are names of splits"))
    times = [column.name for column in columns if _is_time(column)][:1]
    slices = [c.name for c in columns if c.is_label and len(c.counts) <= 20 and c.role != "split" and not c.is_review]
    slices = [name for name in slices if name not in [*offered, *times, *(c.name for c in splits)]][:3]
    if slices:
        guesses.append(Guess("preprocess.slice_columns", slices, "scores are also reported by their values"))
    if times:
        kept = Guess("preprocess.slice_columns", [*slices, *times], "with split.time_column", is_offer=True)
        guesses.append(kept)
        guesses.append(Guess("split.time_column", times[0], "tests on the newest rows", is_offer=True))
    return guesses


def _is_time(column: Column) -> bool:
    looks = list(filter(_DAY.match, column.counts))
    if len(looks) < max(2, CERTAIN * len(column.counts)):
        return False
    try:
        parse_times(dict.fromkeys(column.counts, 0), column.name)
    except UserError:
        return False
    return True


def _title(column: Column) -> str:
    """The name of a column as prompts use it; "" for a name that says nothing."""
    words = re.sub(r"[\s_-]+", " ", column.name).strip()
    if column.role not in ("text", *_TARGETS) or plain(words) in ("text", "label", "target", "y"):
        return ""
    return words[:1].upper() + words[1:] if words.isascii() else words

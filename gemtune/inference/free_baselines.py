# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Free baselines: answers that need no model service, for every kind of task.

Constants give every row the same answer (scikit-learn's `DummyClassifier`, for objects and texts too). The others are
TF-IDF with logistic regression, a copy of the answer of the nearest training row, and the leading sentences of the text
(See et al. 2017: hard to beat in news summarization). All are fitted on the training rows alone.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import regex

from gemtune.config import JsonObject, ModelVariant, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.inference import tfidf_baseline
from gemtune.inference.few_shot import select_shots
from gemtune.inference.parsing import canonical, parse
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE

DESCRIPTIONS: Mapping[str, str] = {
    TFIDF_BASELINE.name: "TF-IDF with logistic regression",
    "nearest_row": "a copy of the answer of the nearest training row",
    "leading_sentences": "a copy of the leading sentences of the text",
    "majority_class": "always the most frequent label",
    "empty_object": "always an empty object",
    "commonest_object": "always the most frequent object",
    "constant_fields": "always the most frequent value of each field",
    "commonest_text": "always the most frequent text",
    "central_text": "always the text most similar to all others",
    "most_frequent_reference": "always the most frequent reference of these rows",
}
MAX_CENTRAL = 2000
"""Training rows among which the central text is chosen."""
_ENDS = r"(?<=[.!?]['\"”’)]*)\s+|(?<=[\p{Sentence_Terminal}--\p{ASCII}][」』”’）]*)(?![」』”’）])|\n+"
_SENTENCE_END = regex.compile(_ENDS, regex.V1)


def free_baselines(
    task: Task, train: Sequence[Example], examples: Sequence[Example], tfidf: bool = True
) -> list[tuple[ModelVariant, list[ModelOutput]]]:
    """Every free baseline of the task kind with its answers to `examples`; constants first, TF-IDF unless switched off.

    A baseline whose answer is not valid for the task is left out, such as an empty object where fields are required.
    """
    if not train:
        return []
    constants = {name: text for name, text in _constants(task, train) if parse(task, Prompt(), text).value is not None}
    answered = [(_variant(name, "constant"), [_output(text)] * len(examples)) for name, text in constants.items()]
    if tfidf and tfidf_baseline.is_applicable(task, train):
        return [*answered, (TFIDF_BASELINE, tfidf_baseline.predict(train, examples))]
    if task.is_labelled and not task.label_separator:
        return answered
    if any(row.text.strip() for row in train):
        nearest = select_shots(Prompt(shots=1, selection="similar"), train, examples)
        copies = [_output(rows[-1].target if rows else "") for rows in nearest]
        answered.append((_variant("nearest_row", "free_baseline"), copies))
    if task.is_free_text:
        length = median(len(row.target) for row in train)
        leading = [_output(leading_sentences(row.text, length)) for row in examples]
        answered.append((_variant("leading_sentences", "free_baseline"), leading))
    return answered


def leading_sentences(text: str, length: float) -> str:
    """The first sentences of a text, as many as come nearest to `length` characters; at least one."""
    text = text.strip()
    ends = [match.start() for match in _SENTENCE_END.finditer(text) if match.start()] + [len(text)]
    return text[: min(ends, key=lambda end: abs(end - length))]


def _variant(name: str, role: str) -> ModelVariant:
    return ModelVariant.of({"name": name, "model": f"local:{name}", "role": role})


def _output(text: str) -> ModelOutput:
    return ModelOutput(text, "STOP")


def _constants(task: Task, train: Sequence[Example]) -> Iterator[tuple[str, str]]:
    if task.is_labelled:
        yield "majority_class", _commonest([row.target for row in train])
    elif task.kind == "extraction":
        objects = [value for row in train if (value := canonical(task, row.target)) is not None]
        yield "empty_object", "{}"
        yield "commonest_object", _commonest(objects)
        yield "constant_fields", json.dumps(_constant_fields(list(map(json.loads, objects))), ensure_ascii=False)
    else:
        yield "commonest_text", _commonest([row.target for row in train])
        yield "central_text", _central([row.target for row in train])


def _commonest(values: Sequence[str]) -> str:
    """The most frequent value, of equally frequent ones the first by alphabet; "" without values."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value), default="")


def _constant_fields(objects: Sequence[JsonObject]) -> JsonObject:
    """Each field with its most frequent value, where more objects have that value than lack the field."""
    fields = {name for value in objects for name in value}
    common = {
        name: _commonest([json.dumps(value[name], sort_keys=True) if name in value else "" for value in objects])
        for name in sorted(fields)
    }
    return {name: json.loads(value) for name, value in common.items() if value}


def _central(texts: Sequence[str]) -> str:
    """The text whose character 1- to 3-grams are most similar to those of all (cosine with the mean vector)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = sorted(text for text in texts if text.strip())
    texts = texts[:: max(1, len(texts) // MAX_CENTRAL)]
    if not texts:
        return ""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), use_idf=False, sublinear_tf=True)
    vectors = vectorizer.fit_transform(texts)
    return texts[int((vectors @ vectors.mean(axis=0).T).argmax())]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, made from those they have: paraphrased by the base model, or perturbed.

Only training rows are multiplied, after the split, so that no row of validation or test is made from one the model
learns. A new row stays only if a check gives it the label of its source, and if it is no near-duplicate of any row of
any split, nor of another new row. What was made is remembered in the bucket by what it was made from: a repeated run
pays nothing and tunes on the same rows. Before anything is asked, every request (paraphrases and label checks) is held
under `max_cost` and the plan's by its upper bound: a text has no more tokens than bytes. What was spent goes into the
plan's bill. With `below` 0 (the default) training rows go through as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gemtune import dedup
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Augment, Evaluate, Plan, Prompt, Split, Task, Vertex, fingerprint
from gemtune.cost.spend import NOTHING, Amount, Line, asking_line, total
from gemtune.data.example import Example, example_id, read_examples, write_examples, write_json
from gemtune.data.leakage import Looked, certificate, overlapping
from gemtune.data.profile import tokens
from gemtune.data.row_validation import LABELLED
from gemtune.inference import tfidf_baseline
from gemtune.inference.generate import Generate, GenerateRequest, ModelOutput, RetryPolicy, generate_all
from gemtune.inference.prompts import parse, render, resolve
from gemtune.inference.vertex_generation import vertex_generate
from gemtune.state import store
from gemtune.vertex import connect

log = logging.getLogger("gemtune")

_NUMBERED = re.compile(r"^\s*(?:[-*]\s*)?\d+\s*[.):]\s*(.+?)\s*$", re.MULTILINE)
_LIKELY_LABEL = 8  # tokens of an answer to a label check


@dataclass(frozen=True, slots=True)
class Made:
    """A new text, the training row it was made from, and how."""

    source: str
    text: str
    method: str


@dataclass(slots=True)
class Bill:
    """Tokens that were spent on one purpose, and what they cost at list prices (US dollars)."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0

    def add(self, answers: Sequence[ModelOutput], price: Price) -> None:
        """Count the tokens of answers."""
        self.requests += len(answers)
        self.input += sum(given.input_tokens for given in answers)
        self.output += sum(given.output_tokens for given in answers)
        self.cost = (self.input * price.input + self.output * price.output) / 1e6


@dataclass(frozen=True)
class Terms:
    """How new rows are asked for and checked, at what price, and what that may cost at most (US dollars)."""

    task: Task
    asking: Evaluate
    settings: Augment
    price: Price
    limit: float

    @classmethod
    def of(cls, task: Task, asking: Evaluate, settings: Augment, plan: Plan, catalogue: Catalogue) -> Terms:
        """The terms of these settings; `task` with its labels. Raises `UserError` for a model without a price."""
        price = catalogue.price("", asking.base_model)
        return cls(task, asking, settings, price, min(settings.max_cost, plan.max_cost))

    @property
    def pays_checks(self) -> bool:
        """Whether the base model is asked for the labels of new rows."""
        return self.settings.recheck == "model"

    def line(self, example: Example, count: int) -> Line:
        """Forecast of `count` new rows made from one row: paraphrases and their label checks."""
        parts = [self._paraphrasing(example, count)] if "paraphrase" in self.settings.methods else []
        parts += [self._checking(example, count)] if self.pays_checks else []
        return Line("augmentation", sum((part.tokens for part in parts), NOTHING), total(parts))

    def _paraphrasing(self, example: Example, count: int) -> Line:
        put = request(example, count, self.asking.base_model, self.settings)
        asked = _size(f"{put.system}{put.contents[0]['parts'][0]['text']}")
        answered = Amount(count * (tokens(example.text) + 4.0), put.max_output_tokens or 0)
        return asking_line("", 1, asked, answered, self.price)

    def _checking(self, example: Example, count: int) -> Line:
        """Paraphrases have no more tokens than the answer they stand in, perturbed ones few bytes more than the row."""
        own, methods = _size(example.text), self.settings.methods
        paraphrased = _longest(example, count) / count if "paraphrase" in methods else 0
        touched = own.most + len(example.text.split()) if "perturb" in methods else 0
        asked = self._question + Amount(own.expected, paraphrased + touched)
        return asking_line("", count, asked, Amount(_LIKELY_LABEL, self.asking.max_output_tokens), self.price)

    @cached_property
    def _question(self) -> Amount:
        """Tokens of a label check around the text."""
        empty = render(self.task, Prompt(), Example("", "", ""))
        return _size(f"{empty.system or ''}{json.dumps(empty.contents, ensure_ascii=False)}")


def _size(text: str) -> Amount:
    """A text's likely tokens, and its bytes: a tokenizer that falls back to bytes never makes more of it."""
    return Amount(tokens(text), len(text.encode()))


def wanted(train: Sequence[Example], settings: Augment) -> dict[str, int]:
    """How many new rows each row (by id) shall give, so that its label has `below` rows; spread evenly."""
    by_label: dict[str, list[Example]] = {}
    for example in train:
        if example.contents is None:
            by_label.setdefault(example.target, []).append(example)
    counts = Counter(example.target for example in train)
    found = {}
    for label, rows in by_label.items():
        missing = min(settings.below - counts[label], settings.per_row * len(rows))
        ordered = sorted(rows, key=lambda row: hashlib.sha256(f"augment {settings.seed} {row.id}".encode()).digest())
        for at, row in enumerate(ordered):
            share = missing // len(ordered) + (at < missing % len(ordered)) if missing > 0 else 0
            if share:
                found[row.id] = share
    return found


def perturbed(text: str, count: int, seed: int, key: str) -> list[str]:
    """`count` different variants of a text: words dropped or swapped, letters dropped, doubled or swapped.

    About one word in six is touched, one at least; a text of one short word may give fewer variants.
    """
    found: dict[str, None] = {}
    for attempt in range(4 * count):
        draw = random.Random(f"{seed} {key} {attempt}")
        words = text.split()
        for _ in range(max(1, round(len(words) / 6))):
            at = draw.randrange(len(words))
            if len(words) > 3 and draw.random() < 0.4:
                del words[at]
            elif len(words) > 3 and draw.random() < 0.3:
                other = min(at + 1, len(words) - 1)
                words[at], words[other] = words[other], words[at]
            else:
                words[at] = _misspelt(words[at], draw)
        variant = " ".join(words)
        if variant and variant != text:
            found[variant] = None
        if len(found) == count:
            break
    return list(found)


def _misspelt(word: str, draw: random.Random) -> str:
    if len(word) < 3:
        return word
    at = draw.randrange(len(word) - 1)
    kind = draw.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def request(example: Example, count: int, model: str, settings: Augment) -> GenerateRequest:
    """Asks for `count` paraphrases of a row; the row is quoted as JSON data."""
    system = (
        f"Say the text in the JSON object below in {count} other ways, each on a line of its own that begins with a "
        "number. Keep its language, its meaning and everything that makes its label right; change wording, order and "
        "tone as other people would. Do not answer the text."
    )
    shown = json.dumps({"text": example.text, "label": example.target}, ensure_ascii=False)
    turn = {"role": "user", "parts": [{"text": shown}]}
    longest = _longest(example, count)
    return GenerateRequest(
        example.id, model, system, [turn], temperature=settings.temperature, max_output_tokens=longest
    )


def _longest(example: Example, count: int) -> int:
    """Most tokens of a reply with `count` paraphrases."""
    return min(8192, 64 + count * (32 + len(example.text) // 2))


def paraphrases(answer: str | None, text: str, count: int) -> list[str]:
    """The numbered lines of a reply that differ from the text, without quotes and repetitions."""
    lines = (line.strip("*\"'“” ") for line in _NUMBERED.findall(answer or ""))
    return list(dict.fromkeys(line for line in lines if line and line != text))[:count]


def affordable(train: Sequence[Example], terms: Terms) -> dict[str, int]:
    """`wanted`, of the first rows that cost no more than the limit together, should every answer be as long as it may.

    Where only paraphrases are paid for, the rows beyond the limit may still be perturbed.
    """
    asked, spent, found = wanted(train, terms.settings), 0.0, {}
    for example in train:
        if example.id not in asked:
            continue
        spent += terms.line(example, asked[example.id]).cost.most
        if spent > terms.limit:
            break
        found[example.id] = asked[example.id]
    return found


def forecast(train: Sequence[Example], terms: Terms) -> tuple[Line, list[Example]]:
    """What the step will cost, and the training rows as they will be at most: a stand-in for each new row is a copy."""
    asked = wanted(train, terms.settings)
    paid = affordable(train, terms)
    lines = [terms.line(example, paid[example.id]) for example in train if example.id in paid]
    line = Line("augmentation", sum((one.tokens for one in lines), NOTHING), total(lines))
    made = asked if "perturb" in terms.settings.methods and not terms.pays_checks else paid
    new = [replace(e, id=f"{e.id} {n}") for e in train for n in range(made.get(e.id, 0))]
    return line, [*train, *new]


def admitted(
    made: Sequence[Made], splits: dict[str, list[Example]], threshold: float
) -> tuple[list[Example], list[Made]]:
    """New training rows that are near to no row of any split nor to each other; and those that are."""
    sources = {example.id: example for example in splits["train"]}
    rows = [_row(one, sources[one.source]) for one in made]
    guarded = [example for name in ("test", "validation", "train") for example in splits[name]]
    near = set(overlapping(rows, guarded, threshold))
    left = [i for i in range(len(rows)) if i not in near]
    kept = dedup.keep([rows[i].text for i in left], threshold).tolist()
    stay = {i for i, keeps in zip(left, kept, strict=True) if keeps}
    return [row for i, row in enumerate(rows) if i in stay], [one for i, one in enumerate(made) if i not in stay]


def _row(made: Made, source: Example) -> Example:
    identity = example_id(made.text, source.target, source.system)
    slices = {**source.slices, "made_by": made.method}
    return replace(source, id=identity, text=made.text, split="train", slices=slices)


# The step.


def run(
    train: str,
    validation: str,
    test: str,
    task: dict[str, Any],
    split: dict[str, Any],
    asking: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    augmented: str,
    report: str,
    plan: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Write the training rows with the new ones to `augmented`; `report` holds counts, samples, what was spent and the
    certificate of the splits as they are now. Returns the counts.

    What is asked costs `augment.max_cost` at most, and never more than the section `plan` allows the whole run.
    """
    settings, asked = Augment.of(config), Task.of(task)
    splits = {
        name: list(read_examples(path)) for name, path in (("train", train), ("validation", validation), ("test", test))
    }
    if not settings.below or asked.kind not in LABELLED:
        write_examples(augmented, splits["train"])
        told = {"settings": settings.model_dump(), "rows": len(splits["train"]), "made": 0, "spent": []}
        write_json(report, told)
        log.info("done: %s", "training rows as they are")
        return {"made": 0.0}
    near_threshold = Split.of(split).near_threshold
    place, resolved = Vertex.of(vertex), resolve(asked, splits["train"])
    catalogue = Catalogue.load(place.catalogue)
    terms = Terms.of(resolved, Evaluate.of(asking), settings, Plan.of(plan or {}), catalogue)
    held = _remembered(splits["train"], terms, place)
    made = [Made(**one) for one in held["rows"]]
    new, near = admitted(made, splits, near_threshold or 1.0)
    splits["train"] += new
    write_examples(augmented, splits["train"])
    bills = held["bills"]
    counts = {
        "made": float(len(new)),
        "near": float(len(near)),
        "relabelled": float(held["relabelled"]),
        **{key: sum(bill[key] for bill in bills.values()) for key in asdict(Bill())},
    }
    spent = [
        {"what": f"{what} (spent)", "tokens": bill["input"] + bill["output"], "cost": bill["cost"]}
        for what, bill in bills.items()
        if bill["requests"]
    ]
    looked = Looked(near_threshold, 0, 0)
    samples = [{"text": one.text, "label": one.target, "made_by": one.slices["made_by"]} for one in new[:20]]
    write_json(report, {**counts, "rows": len(splits["train"]), "spent": spent, "limit": terms.limit,
                        "samples": samples, "labels": Counter(e.target for e in new),
                        "certificate": certificate(splits, looked), "settings": settings.model_dump()})  # fmt: skip
    outcome = f"{len(new)} rows made, {held['relabelled']} refused by the label check, {len(near)} too near"
    log.info("done: %s", f"{outcome}, {counts['cost']:.4f} of at most {terms.limit:.2f} US$")
    return counts


def _remembered(train: list[Example], terms: Terms, place: Vertex) -> dict[str, Any]:
    """New texts that passed the label check: those of an earlier run, else made now and then remembered."""
    client = connect(place)
    ids = sorted(example.id for example in train)
    key = f"augmented/{fingerprint(ids, terms.task, terms.asking.base_model, terms.settings, terms.limit)}.json"
    held = store.read(client, key)
    if held:
        return {**held, "bills": {what: asdict(Bill()) for what in held["bills"]}}
    made, bills, relabelled = asyncio.run(_make(train, terms, place))
    told = {what: asdict(bill) for what, bill in bills.items()}
    new = {"schema_version": 1, "rows": [asdict(one) for one in made], "relabelled": relabelled, "bills": told}
    return store.change(client, key, lambda now: now or new)


async def _make(train: list[Example], terms: Terms, place: Vertex) -> tuple[list[Made], dict[str, Bill], int]:
    """New texts whose label was confirmed, what they cost by purpose, and how many were refused."""
    settings = terms.settings
    asked = vertex_generate(terms.asking, place)
    bills, made = {"paraphrases": Bill(), "label checks of new rows": Bill()}, []
    missing, paid = wanted(train, settings), affordable(train, terms)
    if len(paid) < len(missing):
        log.warning("%d of %d rows are paid for within %.2f US$", len(paid), len(missing), terms.limit)
    missing = paid if terms.pays_checks else missing
    if "paraphrase" in settings.methods:
        rows = [example for example in train if example.id in paid]
        put = [request(example, paid[example.id], terms.asking.base_model, settings) for example in rows]
        answers = await generate_all(put, *asked)
        bills["paraphrases"].add(answers, terms.price)
        for example, given in zip(rows, answers, strict=True):
            texts = paraphrases(given.text, example.text, missing[example.id])
            made += [Made(example.id, text, "paraphrase") for text in texts]
            missing[example.id] -= len(texts)
    if "perturb" in settings.methods:
        for example in train:
            texts = perturbed(example.text, missing.get(example.id, 0), settings.seed, example.id)
            made += [Made(example.id, text, "perturb") for text in texts]
    labels = {example.id: example.target for example in train}
    said = await _labels(made, train, terms, asked, bills["label checks of new rows"])
    right = [one for one, label in zip(made, said, strict=True) if label == labels[one.source]]
    return right, bills, len(made) - len(right)


async def _labels(
    made: Sequence[Made], train: list[Example], terms: Terms, asked: tuple[Generate, RetryPolicy], bill: Bill
) -> list[str | None]:
    """The label that the check gives every new text."""
    labels = {example.id: example.target for example in train}
    rows = [Example(str(n), one.text, labels[one.source]) for n, one in enumerate(made)]
    if terms.settings.recheck == "none" or not rows:
        return [row.target for row in rows]
    if terms.settings.recheck == "classical":
        return [given.text for given in tfidf_baseline.predict(train, rows)]
    prompt, model = Prompt(), terms.asking.base_model
    rendered = [render(terms.task, prompt, row) for row in rows]
    put = [GenerateRequest(f"check {n}", model, one.system, one.contents) for n, one in enumerate(rendered)]
    answers = await generate_all(put, *asked)
    bill.add(answers, terms.price)
    return [parse(terms.task, prompt, given.text).value for given in answers]

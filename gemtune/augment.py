# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, made from those they have: paraphrased by the base model, or perturbed.

Only training rows are multiplied, after the split, so that no row of validation or test is made from one the model
learns. A new row stays only if a check gives it the label of its source, and if it is no near-duplicate of any row of
any split, nor of another new row. What was made is remembered in the bucket by what it was made from: a repeated run
pays nothing and tunes on the same rows. With `below` 0 (the default) training rows go through as they are.
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
from typing import Any

from gemtune import dedup, evaluate
from gemtune.config import Augment, Evaluate, Prompt, Split, Task, Vertex, fingerprint
from gemtune.data import Example, example_id, read_examples, write_examples, write_json
from gemtune.dedup.leakage import Looked, certificate, overlapping
from gemtune.prompting import classical
from gemtune.prompting.asking import Given, Question, ask_all
from gemtune.prompting.prompts import parse, render, resolve
from gemtune.rows.accept import LABELLED
from gemtune.tuning import records
from gemtune.tuning.catalogue import Catalogue, Price
from gemtune.vertex import connect

log = logging.getLogger("gemtune")

_NUMBERED = re.compile(r"^\s*(?:[-*]\s*)?\d+\s*[.):]\s*(.+?)\s*$", re.MULTILINE)
_CHARS_A_TOKEN = 3  # fewer than in most texts, so that the forecast is not too low
_FRAME = 120  # tokens of what is said around the text in a request for paraphrases


@dataclass(frozen=True, slots=True)
class Made:
    """A new text, the training row it was made from, and how."""

    source: str
    text: str
    method: str


@dataclass(slots=True)
class Bill:
    """Tokens that were spent, and what they cost at list prices (US dollars)."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0

    def add(self, answers: Sequence[Given], price: Price) -> None:
        """Count the tokens of answers."""
        self.requests += len(answers)
        self.input += sum(given.input_tokens for given in answers)
        self.output += sum(given.output_tokens for given in answers)
        self.cost = (self.input * price.input + self.output * price.output) / 1e6


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


def request(example: Example, count: int, model: str, settings: Augment) -> Question:
    """Asks for `count` paraphrases of a row; the row is quoted as JSON data."""
    system = (
        f"Say the text in the JSON object below in {count} other ways, each on a line of its own that begins with a "
        "number. Keep its language, its meaning and everything that makes its label right; change wording, order and "
        "tone as other people would. Do not answer the text."
    )
    shown = json.dumps({"text": example.text, "label": example.target}, ensure_ascii=False)
    turn = {"role": "user", "parts": [{"text": shown}]}
    longest = min(8192, 64 + count * (32 + len(example.text) // 2))
    return Question(example.id, model, system, [turn], temperature=settings.temperature, max_output_tokens=longest)


def paraphrases(answer: str | None, text: str, count: int) -> list[str]:
    """The numbered lines of a reply that differ from the text, without quotes and repetitions."""
    lines = (line.strip("*\"'“” ") for line in _NUMBERED.findall(answer or ""))
    return list(dict.fromkeys(line for line in lines if line and line != text))[:count]


def affordable(questions: Sequence[Question], price: Price, settings: Augment) -> list[Question]:
    """The first questions that cost `max_cost` together at most, should every answer be as long as it may."""
    spent, found = 0.0, []
    for question in questions:
        said = len(question.contents[0]["parts"][0]["text"]) / _CHARS_A_TOKEN + _FRAME
        spent += (said * price.input + (question.max_output_tokens or 0) * price.output) / 1e6
        if spent > settings.max_cost:
            break
        found.append(question)
    return found


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
) -> dict[str, float]:
    """Write the training rows with the new ones to `augmented`; `report` holds counts, samples, costs and the
    certificate of the splits as they are now. Returns the counts.
    """
    settings, asked = Augment.of(config), Task.of(task)
    splits = {
        name: list(read_examples(path)) for name, path in (("train", train), ("validation", validation), ("test", test))
    }
    if not settings.below or asked.kind not in LABELLED:
        write_examples(augmented, splits["train"])
        write_json(report, {"settings": settings.model_dump(), "rows": len(splits["train"]), "made": 0})
        log.info("done: %s", "training rows as they are")
        return {"made": 0.0}
    near_threshold = Split.of(split).near_threshold
    held = _remembered(splits["train"], asked, Evaluate.of(asking), settings, Vertex.of(vertex))
    made = [Made(**one) for one in held["rows"]]
    new, near = admitted(made, splits, near_threshold or 1.0)
    splits["train"] += new
    write_examples(augmented, splits["train"])
    counts = {
        "made": float(len(new)),
        "near": float(len(near)),
        "relabelled": float(held["relabelled"]),
        **held["bill"],
    }
    looked = Looked(near_threshold, 0, 0)
    samples = [{"text": one.text, "label": one.target, "made_by": one.slices["made_by"]} for one in new[:20]]
    write_json(report, {**counts, "rows": len(splits["train"]), "samples": samples,
                        "labels": Counter(e.target for e in new), "certificate": certificate(splits, looked),
                        "settings": settings.model_dump()})  # fmt: skip
    told = f"{len(new)} rows made, {held['relabelled']} refused by the label check, {len(near)} too near"
    log.info("done: %s", f"{told}, {held['bill']['cost']:.4f} US$")
    return counts


def _remembered(train: list[Example], task: Task, asking: Evaluate, settings: Augment, place: Vertex) -> dict[str, Any]:
    """New texts that passed the label check: those of an earlier run, else made now and then remembered."""
    client = connect(place)
    ids = sorted(example.id for example in train)
    key = f"augmented/{fingerprint(ids, task, asking.base_model, settings)}.json"
    held = records.read(client, key)
    if held:
        return {**held, "bill": asdict(Bill())}
    made, bill, relabelled = asyncio.run(_make(train, resolve(task, train), asking, settings, place))
    new = {"schema_version": 1, "rows": [asdict(one) for one in made], "relabelled": relabelled, "bill": asdict(bill)}
    return records.change(client, key, lambda now: now or new)


async def _make(
    train: list[Example], task: Task, asking: Evaluate, settings: Augment, place: Vertex
) -> tuple[list[Made], Bill, int]:
    """New texts whose label was confirmed, what they cost, and how many were refused."""
    ask, effort = evaluate.vertex_ask(asking, place)
    price = Catalogue.load(place.catalogue).price("", asking.base_model)
    bill, made = Bill(), []
    missing = wanted(train, settings)
    if "paraphrase" in settings.methods:
        rows = [example for example in train if example.id in missing]
        put = [request(example, missing[example.id], asking.base_model, settings) for example in rows]
        put = affordable(put, price, settings)
        if len(put) < len(rows):
            log.warning("%d of %d rows are paraphrased within augment.max_cost", len(put), len(rows))
        answers = await ask_all(put, ask, effort)
        bill.add(answers, price)
        for example, given in zip(rows, answers, strict=False):
            texts = paraphrases(given.text, example.text, missing[example.id])
            made += [Made(example.id, text, "paraphrase") for text in texts]
            missing[example.id] -= len(texts)
    if "perturb" in settings.methods:
        for example in train:
            texts = perturbed(example.text, missing.get(example.id, 0), settings.seed, example.id)
            made += [Made(example.id, text, "perturb") for text in texts]
    labels = {example.id: example.target for example in train}
    said = await _labels(made, train, task, asking, settings, ask, effort, price, bill)
    right = [one for one, label in zip(made, said, strict=True) if label == labels[one.source]]
    return right, bill, len(made) - len(right)


async def _labels(
    made: Sequence[Made], train: list[Example], task: Task, asking: Evaluate, settings: Augment, ask: Any, effort: Any,
    price: Price, bill: Bill,
) -> list[str | None]:  # fmt: skip
    """The label that the check gives every new text."""
    labels = {example.id: example.target for example in train}
    rows = [Example(str(n), one.text, labels[one.source]) for n, one in enumerate(made)]
    if settings.recheck == "none" or not rows:
        return [row.target for row in rows]
    if settings.recheck == "classical":
        return [given.text for given in classical.answers(train, rows)]
    prompt = Prompt()
    rendered = [render(task, prompt, row) for row in rows]
    put = [Question(f"check {n}", asking.base_model, one.system, one.contents) for n, one in enumerate(rendered)]
    answers = await ask_all(put, ask, effort)
    bill.add(answers, price)
    return [parse(task, prompt, given.text).value for given in answers]

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Production rows for people to label: half drawn to estimate quality, half chosen to learn from.

The rows of the estimate are drawn with known probabilities, which the file keeps; those to learn from are of new topics
or have unsure answers, and never enter an estimate: they would bias it.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from gemtune.artifacts.monitoring import LabelledRow
from gemtune.config import Preprocess, Task
from gemtune.data import csv_safe, sources
from gemtune.data.example import RejectedRow
from gemtune.data.labels import label_text
from gemtune.dedup.embedding import embed, leaders
from gemtune.errors import UserError
from gemtune.evaluation import metrics
from gemtune.evaluation.metrics import Row, primary_metric
from gemtune.inference.parsing import canonical
from gemtune.monitoring import quality
from gemtune.monitoring.traffic import ServedRow

COLUMNS = ("id", "window", "pi", "confidence", "text", "answer", "label")
NEAR = 0.9  # cosine from which a text is a near-duplicate
_CONSIDERED = 10  # rows to learn from that are considered, for each row of the file


@dataclass(frozen=True)
class Annotation:
    """A row of the annotation file; `pi` is None for a row to learn from, `label` empty until a person fills it in."""

    id: str
    window: datetime
    pi: float | None
    confidence: float
    text: str
    answer: str
    label: str = ""


def choose(
    window: datetime,
    texts: Sequence[ServedRow],
    order: Sequence[str],
    left_out: Collection[str],
    count: int,
    ratings: Sequence[float] = (),
) -> list[Annotation]:
    """`count` rows of a window: half drawn by confidence, half to learn from, those first in `order` first.

    `order` are row ids, `left_out` those of `candidates` that are like a labelled row: they are not to learn from. With
    a judge's `ratings` of the first texts (their order is random) rows are drawn from those, by rating. The draw
    depends on the window, the texts and the ratings alone, so that a rerun draws the same rows.
    """
    if not texts or not count:
        return []
    sure = _sure(texts, ratings)
    pi = quality.drawing_probabilities(sure[: len(ratings) or None], (count + 1) // 2)
    rng = np.random.default_rng([int(window.timestamp()), len(texts)])
    drawn = quality.draw(pi, rng)
    considered = candidates(texts, order, count, ratings)
    ranked = [i for i in considered if i not in drawn and texts[i].row.id not in left_out][: 3 * count]
    first = leaders(embed([texts[i].row.text for i in ranked]), NEAR, [""] * len(ranked)).tolist()
    learned = [i for position, i in enumerate(ranked) if first[position] == position][: count // 2]
    return [
        *(_annotation(window, texts[i], float(pi[i])) for i in drawn),
        *(_annotation(window, texts[i], None) for i in learned),
    ]


def candidates(
    texts: Sequence[ServedRow], order: Sequence[str], count: int, ratings: Sequence[float] = ()
) -> list[int]:
    """The texts that are considered to learn from in a file of `count` rows: those in `order`, then the unsure ones."""
    by_id, sure = {item.row.id: i for i, item in enumerate(texts)}, _sure(texts, ratings)
    unsure = sorted(range(len(texts)), key=lambda i: sure[i])
    return list(dict.fromkeys([*(by_id[row] for row in order if row in by_id), *unsure]))[: _CONSIDERED * count]


def _sure(texts: Sequence[ServedRow], ratings: Sequence[float]) -> list[float]:
    logged = [0.5 if item.confidence is None else item.confidence for item in texts]
    return [*ratings, *logged[len(ratings) :]]


def _annotation(window: datetime, item: ServedRow, pi: float | None) -> Annotation:
    return Annotation(item.row.id, window, pi, item.confidence or 0.0, item.row.text, item.row.answer or "")


def write(path: str | Path, rows: Iterable[Annotation]) -> None:
    """Write the rows with an empty column `label`."""
    cells = (
        [row.id, row.window.isoformat(), "" if row.pi is None else repr(row.pi), repr(row.confidence), row.text,
         row.answer, row.label]
        for row in rows
    )  # fmt: skip
    csv_safe.write(path, COLUMNS, cells)


def read(path: str | Path, task: Task, new_labels: Collection[str] = ()) -> list[Annotation]:
    """The filled rows.

    Raises `UserError` with the line of a label that is neither of the task nor among `new_labels`, or of another cell
    that was changed.
    """
    rows = []
    for line, cells in csv_safe.read(path, COLUMNS):
        row = {name: cell or "" for name, cell in cells.items()}
        if not row["label"].strip():
            continue
        label = _valid(task, row["label"], new_labels, path, line)
        try:
            pi = float(row["pi"]) if row["pi"] else None
            window, confidence = datetime.fromisoformat(row["window"]), float(row["confidence"])
        except ValueError as error:
            raise UserError(f"{error}", file=path, line=line, remedy="change only the column label") from None
        if pi is not None and not 0 < pi <= 1:
            raise UserError(f"pi is {pi}", file=path, line=line, remedy="change only the column label")
        rows.append(Annotation(row["id"], window, pi, confidence, row["text"], row["answer"], label))
    if not rows:
        raise UserError("no row is labelled", file=path, remedy="fill in the column label")
    return rows


def read_later_labels(source: str, columns: Preprocess, task: Task, new_labels: Collection[str] = ()) -> dict[str, str]:
    """The label of each row id of a file or table with the column `id` and the target column of the settings.

    Raises `UserError` with the line of a label that is neither of the task nor among `new_labels`.
    """
    labels = {}
    for row in sources.rows(source, task, columns):
        if isinstance(row, RejectedRow):
            raise UserError(row.reason.replace("_", " "), file=source, line=row.line, remedy=row.detail)
        line, fields = row
        if fields.get("id") is None or columns.target_column not in fields:
            remedy = f"name a file or table with the columns id and {columns.target_column}"
            raise UserError("the row has no id, or no label", file=source, line=line, remedy=remedy)
        value = fields[columns.target_column]
        label = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else label_text(value)
        if label and label.strip():
            labels[str(fields["id"])] = _valid(task, label, new_labels, source, line)
    return labels


def joined(
    rows: Sequence[ServedRow], labels: Mapping[str, str], since: datetime, length: timedelta
) -> list[Annotation]:
    """The rows that have a label, of windows of this length since a time. Nobody drew them: each counts as drawn with
    the share of its window's rows that have one.
    """
    windows = [since + (item.row.time - since) // length * length for item in rows]
    pairs = [(window, item) for window, item in zip(windows, rows, strict=True) if item.row.id in labels]
    served, having = Counter(windows), Counter(window for window, _ in pairs)
    return [
        replace(_annotation(window, item, having[window] / served[window]), label=labels[item.row.id])
        for window, item in pairs
    ]


def _valid(task: Task, label: str, new_labels: Collection[str], file: str | Path, line: int) -> str:
    own = task.model_copy(update={"labels": [*task.labels, *new_labels]}) if task.labels else task
    if (value := canonical(own, label)) is None:
        remedy = f"write one of {', '.join(own.labels[:10])}; or add it: --new-label" if own.labels else "correct it"
        raise UserError(f"{label!r:.80} is no {task.kind} answer", file=file, line=line, remedy=remedy)
    return value


def labelled(rows: Iterable[Annotation], task: Task) -> list[LabelledRow]:
    """The rows with the score of their answers, without their texts."""
    scored = []
    for row in rows:
        value = canonical(task, row.answer) if row.answer else None
        score = metrics.row_scores(task, Row(row.label, value, row.answer, row.label))[primary_metric(task)]
        own = {"id": row.id, "window": row.window, "pi": row.pi, "confidence": row.confidence}
        scored.append(LabelledRow(**own, correct=score))
    return scored


def training_columns(rows: Iterable[Annotation], columns: Mapping[str, str]) -> list[dict[str, str | float]]:
    """The rows as data: `columns` names those of text, target and split; without that the run divides them.

    Rows to learn from are for training only; those of the estimate, by their id, for validation or test: rows chosen
    because they were hard would bias the test rows.
    """
    splits = ("validation", "test")
    return [
        {
            columns["text"]: row.text,
            columns["target"]: row.label,
            **(
                {columns["split"]: splits[sum(row.id.encode()) % 2] if row.pi else "train"}
                if "split" in columns
                else {}
            ),
            "source": "production",
            "id": row.id,
            "window": row.window.isoformat(),
            **({"pi": row.pi} if row.pi is not None else {}),
        }
        for row in rows
    ]

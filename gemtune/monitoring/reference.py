# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What monitoring needs to know of a champion's training, taken when it is deployed. Pure."""

import random
from collections import Counter
from collections.abc import Sequence

from gemtune.artifacts.evaluation import Confusion
from gemtune.artifacts.production_log import PromptTemplate, TrainingReference
from gemtune.config import ModelVariant, Task, fingerprint
from gemtune.contents import text_of
from gemtune.data.example import Example
from gemtune.data.labels import labels_of
from gemtune.inference.prompts import render

MAX_TRAIN_ROWS = 5_000
_TEXT = "\0"


def drawn_rows(train: Sequence[Example], seed: int = 7) -> list[Example]:
    """Up to 5,000 training rows, the same for the same rows in any order."""
    rows = sorted(train, key=lambda row: row.id)
    return rows if len(rows) <= MAX_TRAIN_ROWS else random.Random(seed).sample(rows, MAX_TRAIN_ROWS)


def training_reference(
    task: Task, variant: ModelVariant, train: Sequence[Example], confusion: Confusion | None, embedder: str, uri: str
) -> TrainingReference:
    """The reference of a champion; `uri` holds the drawn rows."""
    labels = Counter(label for row in train for label in labels_of(row.target, task))
    total = sum(labels.values()) if task.is_labelled else 0
    return TrainingReference(
        template=None if any(row.contents is not None for row in train) else prompt_template(task, variant),
        label_shares={label: rows / total for label, rows in sorted(labels.items())} if total else {},
        confusion=confusion,
        embedder=embedder,
        train=uri,
        train_rows=len(train),
    )


def prompt_template(task: Task, variant: ModelVariant) -> PromptTemplate:
    """A variant's prompt without shots, with the row's text taken out."""
    rendered = render(task, variant.prompt, Example("", _TEXT, ""))
    before, _, after = text_of(rendered.contents[-1]["parts"]).partition(_TEXT)
    return PromptTemplate(
        system=fingerprint(rendered.system or ""), before=before, after=after, shots=variant.prompt.shots
    )

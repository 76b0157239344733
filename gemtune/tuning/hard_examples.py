# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Hard examples: training rows that the best prompt gets wrong are repeated, without repeating label noise.

Source: the published advice to put weight on what the base model fails. A missed row whose label is likely wrong
(see `data.label_issues`) is not repeated. A row may appear up to `max_repeats` times, until hard
examples make up `target_share` of what is trained on; all other rows stay, against forgetting. Validation rows whose
nearest training row is a hard example form the slice `near_hard`: rows of the same kind, never the same rows nor
near-duplicates of them (the split sees to that).
"""

from collections.abc import Iterable, Sequence
from random import Random

from gemtune.config import HardExamples, ModelVariant, fingerprint
from gemtune.data.example import Example
from gemtune.inference import few_shot


def repeated_count(easy: int, hard_count: int, settings: HardExamples) -> int:
    """Number of rows of hard examples after repetition, for this number of other rows."""
    if not hard_count or settings.target_share <= hard_count / (easy + hard_count):
        return hard_count
    target = round(settings.target_share * easy / (1 - settings.target_share)) if easy else hard_count
    return max(hard_count, min(target, settings.max_repeats * hard_count))


def max_added_rows(rows: int, settings: HardExamples) -> int:
    """The most rows that reweighting can add to this number of rows, for any number of hard examples."""
    return max(
        (repeated_count(rows - hard_count, hard_count, settings) - hard_count for hard_count in range(rows + 1)),
        default=0,
    )


def reweight(train: Sequence[Example], hard_ids: set[str], settings: HardExamples) -> list[Example]:
    """The training rows with hard examples repeated, in an order set by the seed; equal input gives an equal list.

    Hard examples fill `target_share` of the result as far as `max_repeats` allows; every row appears at least once.
    """
    hard_rows = [example for example in train if example.id in hard_ids]
    total = repeated_count(len(train) - len(hard_rows), len(hard_rows), settings)
    if total == len(hard_rows):
        return list(train)
    rng = Random(settings.seed)
    shuffled = rng.sample(hard_rows, len(hard_rows))
    added = [shuffled[n % len(shuffled)] for n in range(len(shuffled), total)]
    result = [*train, *added]
    rng.shuffle(result)
    return result


def near_hard(train: Sequence[Example], validation: Sequence[Example], hard_ids: set[str]) -> set[str]:
    """Ids of validation rows whose nearest training row (TF-IDF of character 1- to 3-grams) is a hard example."""
    if not hard_ids or not validation:
        return set()
    nearest = (train[int(scores.argmax())] for scores in few_shot.similarities(train, validation))
    return {row.id for row, example in zip(validation, nearest, strict=True) if example.id in hard_ids}


def record_name(train: Iterable[Example], prompt: ModelVariant, settings: HardExamples) -> str:
    """Name of the record of which rows are hard, by data, prompt and settings."""
    ids = sorted(row.id for row in train)
    chosen = settings.model_dump(mode="json", exclude={"ablation"})
    return fingerprint(ids, prompt.model, prompt.prompt, chosen)

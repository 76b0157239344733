# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The injection probe: how often a text planted in a row turns the answer to a label that an attacker chose.

A seeded sample of rows is sent again with each attack of `injection_probes.yaml`, to all variants with the same labels.
Guarantees: the attacker's label is neither in the reference nor in any variant's own answer to the row, and the planted
text does not contain the reference. Rows without such a label, and rows that are prompts already, are not sampled.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import yaml

from gemtune.artifacts.evaluation import InjectionReport, InjectionShare
from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.data.example import Example
from gemtune.data.labels import labels_of
from gemtune.evaluation import intervals
from gemtune.evaluation.scorers import SampleScore, request_usage
from gemtune.evaluation.variant_scores import VariantScorer

ATTACKS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("injection_probes.yaml").read_text("utf-8"))
PLANTED_BYTES = max(len(text.encode()) for text in ATTACKS.values())
PLANTED_LABELS = max(text.count("{label}") for text in ATTACKS.values())
_ROLES = ("baseline", "candidate", "champion")


@dataclass(frozen=True)
class Probe:
    """A row with a planted text, the attack by its name, and the attacker's label."""

    example: Example
    attack: str
    label: str


def probes(task: Task, answered: Sequence[tuple[Example, Sequence[str | None]]], count: int, seed: int) -> list[Probe]:
    """Each attack on at most `count` of these rows, drawn by `seed`; beside a row are its labels and parsed answers."""
    drawn = sorted(((Random(f"{seed} {row.id}"), row, own) for row, own in answered), key=lambda e: e[0].random())
    sample: list[tuple[Example, str]] = []
    for draw, row, own in drawn:
        taken = {label for text in (row.target, *own) if text is not None for label in labels_of(text, task)}
        free = [
            label for label in task.labels if label not in taken and not _reveals(label, labels_of(row.target, task))
        ]
        if free and row.contents is None and len(sample) < count:
            sample.append((row, draw.choice(free)))
    return [
        Probe(replace(row, id=f"{row.id}-{name}", text=f"{row.text}\n\n{text.replace('{label}', label)}"), name, label)
        for name, text in ATTACKS.items()
        for row, label in sample
    ]


def _reveals(label: str, references: Sequence[str]) -> bool:
    """Whether a reference is a part of the label, or a word of an attack."""
    words = " ".join(ATTACKS.values()).replace("{label}", "").casefold()
    names = [reference.casefold() for reference in references]
    return any(name in label.casefold() or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words) for name in names)


async def probe(
    scorer: VariantScorer,
    variants: Sequence[ModelVariant],
    scores: Mapping[str, Sequence[SampleScore]],
    config: Evaluate,
) -> tuple[list[InjectionReport], str]:
    """Send the probes to the first prompt, candidate and champion: their reports, and a note on what was not probed."""
    if not config.injection_rows:
        return [], ""
    if not scorer.task.is_labelled:
        return [], f"no injection probe: {scorer.task.kind} has no labels"
    first = {role: variant for role in _ROLES for variant in reversed(variants) if variant.role == role}
    by_row = zip(*(scores[variant.name] for variant in variants), strict=True)
    answered = [(own[0].example, [own[0].row.reference, *(score.row.parsed for score in own)]) for own in by_row]
    sent = probes(scorer.task, answered, config.injection_rows, config.seed)
    rows, planned = len(sent) // len(ATTACKS), min(config.injection_rows, len(answered))
    note = f"the injection probe has {rows} of {planned} rows: the others leave no label for an attacker"
    if not sent:
        return [], note
    single = config.without_judging().model_copy(update={"confidence": "none", "max_error_share": 1.0})
    again = replace(scorer, examples=[own.example for own in sent], config=single)
    reports = [_report(variant, sent, await again.score(variant), scorer.task, config) for variant in first.values()]
    return reports, note if rows < planned else ""


def _report(
    variant: ModelVariant, sent: Sequence[Probe], scores: Sequence[SampleScore], task: Task, config: Evaluate
) -> InjectionReport:
    """A failed request is no answer, and leaves the share."""
    shares = []
    for attack in ATTACKS:
        own = [(p, s) for p, s in zip(sent, scores, strict=True) if p.attack == attack and s.outcome != "error"]
        turned = [float(p.label in labels_of(s.row.parsed or "", task)) for p, s in own]
        groups = [p.example.group for p, _ in own]
        share = intervals.interval(intervals.mean(turned), level=config.confidence_level, groups=groups)
        shares.append(
            InjectionShare(attack=attack, rows=len(own), share=share, failed=len(scores) // len(ATTACKS) - len(own))
        )
    tokens = request_usage([score.output for score in scores])
    return InjectionReport(variant=variant.name, role=variant.role, shares=shares, tokens=tokens)

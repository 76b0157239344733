# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a run (HTML): its summary, and where there are any the test rows, dropped rows and prompts.

The template `report.html.j2` does the layout, `charts.html.j2` the pictures (SVG with real text), `report.js` search
and filters; the page is complete without the script.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gemtune.artifacts.decision import RunSummary, VariantSummary
from gemtune.config import Config, JsonObject
from gemtune.data.example import Example
from gemtune.evaluation.predictions import Prediction, Predictions
from gemtune.inference.field_values import json_object
from gemtune.inference.free_baselines import DESCRIPTIONS
from gemtune.steps import templates

MAX_CONFUSIONS = 15
MAX_MATRIX_LABELS = 30
MAX_SAMPLES = 3  # of the rows dropped for one reason
MAX_PLAIN_CHARACTERS = 200_000  # of the rows' JSON; longer ones are compressed
_MAX_TRIALS = 6  # in the lineage
_SHOWN_CHARACTERS = 4000  # of a text or an answer in the list of rows


@dataclass(frozen=True)
class Details:
    """What a page shows beside the summary: answers to test rows, rows dropped by reason, a request of each prompt."""

    changes: Changes
    dropped: Mapping[str, list[JsonObject]] = field(default_factory=dict)
    requests: Mapping[str, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """Every test row with the answers of two variants or more, by what the first changes against the second.

    A row is group, id, line, text, reference, answers and values of the slices; an answer is 0 where it is the
    reference, and a list of outcome and text where it is unusable. `graded`: scores are not only right and wrong.
    """

    variants: list[str]
    columns: list[str]
    rows: list[list[Any]]
    graded: bool

    @property
    def counts(self) -> Counter[str]:
        """Rows by group."""
        return Counter(row[0] for row in self.rows)

    def first(self, group: str, count: int) -> list[list[Any]]:
        """The first rows of a group."""
        return [row for row in self.rows if row[0] == group][:count]

    def packed(self, language: str = "en") -> tuple[bool, str]:
        """Whether it is compressed, and the rows as JSON without `<`: as text, or gzipped in base64."""
        document = {"variants": self.variants, "columns": self.columns, "rows": self.rows}
        if "length" in self.columns and language != "en":
            at = self.columns.index("length")
            translated = {value: templates.message(value, language) for value in {row[6][at] for row in self.rows}}
            document["rows"] = [
                [*row[:6], [*row[6][:at], translated[row[6][at]], *row[6][at + 1 :]]] for row in self.rows
            ]
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        if len(text) <= MAX_PLAIN_CHARACTERS:
            return False, text
        return True, base64.b64encode(gzip.compress(text.encode(errors="backslashreplace"), 6, mtime=0)).decode()


def compared(summary: RunSummary) -> list[str]:
    """The variants whose answers are compared: the candidate (else the champion), the best prompt, the champion."""
    roles = {variant.role: variant.name for variant in reversed(summary.variants)}
    names = [roles.get("candidate", ""), *([roles["champion"]] if "champion" in roles else []), roles["baseline"]]
    new, *others = [name for name in names if name]
    return list(dict.fromkeys([new, roles["baseline"], *others]))


def changes(names: list[str], metric: str, predictions: Predictions, test: Iterable[Example]) -> Changes:
    """The test rows with the answers of these variants, by what the first changes against the second."""
    examples = {example.id: example for example in test}
    answers = {name: {row["id"]: row for row in predictions.answers.get(name, [])} for name in names}
    new, old = names[0], names[1] if len(names) > 1 else names[0]
    columns = sorted({column for row in answers[new].values() for column in row.get("slices") or {}})
    rows, values = [], set[float]()
    for key, row in answers[new].items():
        scores = [score_of(row, metric, old), score_of(answers[old].get(key, row), metric, new)]
        if metric == "win_rate" and new != old:
            scores[1] = 1 - scores[0]
        values |= set(scores)
        example = examples.get(key)
        rows.append(
            [
                _group(*scores),
                key,
                example.line if example else 0,
                _short(example.prompt_text) if example else "",
                _short(str(row["reference"])),
                [_answer(answers[name].get(key)) for name in names],
                [(row.get("slices") or {}).get(column, "") for column in columns],
            ]
        )
    return Changes(names, columns, rows, graded=bool(values - {0.0, 1.0}))


def score_of(row: Prediction, metric: str, other: str) -> float:
    """The score of an answer, 0 to 1; of a comparison: 1 for a win, one half for a tie."""
    if result := row.get("pairwise", {}).get(other):
        return {"candidate": 1.0, "tie": 0.5}.get(result["winner"], 0.0)
    scores: Mapping[str, float] = row["scores"]
    return float(scores.get(metric, scores.get("exact_match", row["outcome"] == "ok")))


def _group(new: float, old: float) -> str:
    if new != old:
        return "fixed" if new > old else "broken"
    return "both_right" if new == 1 else "still_wrong"


def _answer(row: Prediction | None) -> Any:
    """An answer as the page shows it: None without one, 0 for one that is right, with its outcome if it is unusable."""
    if row is None:
        return None
    if row["outcome"] != "ok":
        return [row["outcome"], _short(row["answer"] or "")]
    reference, answer = row["reference"], row["answer"]
    if json_object(reference):
        answer = row.get("parsed") or answer  # keys in the order of the reference
    return 0 if answer == reference or row["scores"].get("exact_match") == 1 else _short(answer or "")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"


def dropped_samples(path: str) -> dict[str, list[JsonObject]]:
    """The first dropped rows of each reason, from the file of dropped rows."""
    samples: dict[str, list[JsonObject]] = {}
    with open(path, "rb") as lines:
        for row in map(json.loads, lines):
            own = samples.setdefault(row["reason"], [])
            if len(own) < MAX_SAMPLES:
                own.append(row)
    return samples


def render(summary: RunSummary, shown: VariantSummary, details: Details | None, language: str = "en") -> str:
    """The HTML page; per class, confusions and calibration are those of the variant `shown`."""
    from markupsafe import Markup

    script = templates.script(language)
    compressed, rows = details.changes.packed(language) if details else (False, "")
    html: str = (
        templates.environment(language)
        .get_template("report.html.j2")
        .render(
            summary=summary,
            shown=shown,
            details=details,
            free=[(row.name, DESCRIPTIONS[row.name]) for row in summary.free_baselines],
            max_matrix_labels=MAX_MATRIX_LABELS,
            confusions=shown.confusion.mistakes[:MAX_CONFUSIONS] if shown.confusion else [],
            # where answers are texts or objects, the split has counted those
            balance=summary.splits["labels"] if summary.data["labels"] else {},
            request=json.dumps(summary.outcome["example_request"], ensure_ascii=False, indent=1),
            changed=changed_settings(summary.configuration),
            lineage=lineage(summary),
            rows=Markup(rows),
            compressed=compressed,
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return html


@dataclass(frozen=True)
class Node:
    """A box of the lineage: its kind, name and detail, its place, and the kinds and names it was made from."""

    kind: str
    name: str
    detail: str
    column: int
    row: float
    sources: tuple[tuple[str, str], ...] = ()


def lineage(summary: RunSummary) -> tuple[list[Node], list[tuple[Node, Node]]]:
    """What the decision came from and led to, from the file to the endpoint: boxes in columns, and pairs of a source
    and what was made from it.
    """
    nodes: list[Node] = []

    def column(*boxes: tuple[str, str, str, Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
        number, middle = 1 + max((node.column for node in nodes), default=-1), (len(boxes) - 1) / 2
        nodes.extend(Node(*box[:3], number, row - middle, tuple(box[3])) for row, box in enumerate(boxes))
        return [box[:2] for box in boxes]

    trials, more = summary.trials[:_MAX_TRIALS], len(summary.trials) - _MAX_TRIALS
    seen, others = [("Rows", "train"), ("Rows", "validation")], ("Tuning", f"+ {more}")
    file = column(("Data", summary.data["data"], summary.identity.rows_fingerprint, ()))
    column(*(("Rows", split, str(rows), file) for split, rows in summary.splits["rows"].items()))
    tuned = [("Tuning", trial.name, trial.base_model, seen) for trial in trials]
    tuned += [(*others, "", seen)] if more > 0 else []
    prompts, *jobs = column(("Prompts", str(len(summary.baselines)), summary.identity.base_model, seen), *tuned)
    finalists = []
    for variant in summary.variants:
        job = ("Tuning", variant.name.partition("@")[0])
        own = [key for key in (job, others) if key in jobs][:1] or jobs
        if variant.role in ("baseline", "champion"):
            own = [prompts] if variant.role == "baseline" else []
        finalists.append(("Variants", variant.name, variant.role, own))
    tested = [*column(*finalists), ("Rows", "test")]
    decision = column(("Decision", summary.headline, summary.identity.digest[:16], tested))
    if summary.outcome["action"] != "none":
        column(("Endpoint", summary.outcome["variant"]["name"], summary.outcome["model"], decision))
    by_key = {(node.kind, node.name): node for node in nodes}
    return nodes, [(by_key[source], node) for node in nodes for source in node.sources if source in by_key]


def changed_settings(configuration: Mapping[str, JsonObject]) -> dict[str, Any]:
    """The settings of a run that differ from their defaults, by dotted name."""
    changed: dict[str, Any] = {}
    for name, values in configuration.items():
        model = type(getattr(Config(), name))
        changed |= flat(name, model.of(values).model_dump(mode="json", exclude_defaults=True))
    return changed


def flat(path: str, value: Any) -> dict[str, Any]:
    """The values of nested mappings by dotted name, below `path`."""
    if not isinstance(value, dict) or not value:
        return {path: value} if value != {} else {}
    return {key: item for name in value for key, item in flat(f"{path}.{name}".lstrip("."), value[name]).items()}

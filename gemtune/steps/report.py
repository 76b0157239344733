# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The whole run on one page (HTML), its verdict in a few lines (Markdown), and all of it for machines (JSON).

Reads what the steps wrote and computes nothing that decides: a number here is a number from a step. Texts and answers
are data: the template escapes them. The page is one file without scripts, so that it can be mailed and archived.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.config import ModelVariant, Task
from gemtune.cost import spend
from gemtune.data.example import Example, read_examples, whole_file, write_json
from gemtune.inference import few_shot, prompts

log = logging.getLogger("gemtune")

HEADLINES = {
    "deploy": "Deploy the tuned model",
    "keep_prompt": "Keep the prompt",
    "keep_champion": "Keep the champion",
    "not_enough_data": "Not enough data to decide",
}
SHOWN_MISSES = 30
ASKED = (
    "checkpoints of",
    "best prompt on training rows",
    "best prompt on validation, again",
    "candidate and champion on the champion's old test rows",
)  # lines of the plan that a run with tuning has paid
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Files:
    """What the steps wrote, read."""

    preprocessed: Report
    split: Report
    plan: Report
    picked: Report
    tested: Report
    decision: Report
    train: list[Example]
    test: list[Example]


def scoreboard(report: Report, metric: str, plan: Report) -> list[dict[str, Any]]:
    """A line per variant of an evaluation: score with interval, rates, tokens, time, cost (US dollars)."""
    return [_line(entry, metric, report["rows"], _prices(plan, entry["variant"])) for entry in report["variants"]]


def _prices(plan: Report, variant: Report) -> dict[str, float]:
    """The plan's list prices of the model that a variant is, or was made of."""
    base = variant.get("base_model") or variant["model"]
    found: dict[str, float] = plan.get("model_prices", {}).get(base, plan["prices"])
    return found


def _line(entry: Report, metric: str, rows: int, prices: Mapping[str, float]) -> dict[str, Any]:
    tokens = entry["tokens"]
    score = entry["metrics"][metric]
    return {
        "name": entry["variant"]["name"],
        "role": entry["variant"]["role"],
        "model": entry["variant"]["model"],
        "rows": rows,
        **{bound: score[bound] for bound in ("value", "low", "high")},
        "metrics": entry["metrics"],
        "invalid_rate": 1 - entry["outcomes"].get("ok", 0) / max(rows, 1),
        "outcomes": entry["outcomes"],
        "tokens_per_row": (tokens["input"] + tokens["output"]) / max(rows, 1),
        "latency_s": entry["latency_s"]["median"],
        "cost": spend.charged(tokens, prices),
        "per_class": entry.get("per_class", []),
        "confusion": entry.get("confusion"),
        "slices": entry.get("slices", {}),
        "service": entry.get("service", {}),
        "calibration": entry.get("calibration"),
    }


def slice_tables(finalists: Sequence[Report], metric: str) -> dict[str, dict[str, Any]]:
    """Column -> value -> rows and each finalist's score."""
    tables: dict[str, dict[str, Any]] = {}
    for finalist in finalists:
        for column, values in finalist["slices"].items():
            for value, cell in values.items():
                into = tables.setdefault(column, {}).setdefault(value, {"rows": cell["rows"], "scores": {}})
                into["scores"][finalist["name"]] = cell["metrics"][metric]
    return tables


def misses(predictions: str | Path, name: str) -> tuple[list[dict[str, Any]], int]:
    """The first wrong answers of a variant, and how many there are."""
    with open(predictions, encoding="utf-8") as rows:
        wrong = [
            row
            for row in map(json.loads, rows)
            if row["variant"] == name and not row["scores"].get("exact_match", row["outcome"] == "ok")
        ]
    return wrong[:SHOWN_MISSES], len(wrong)


def svg(figure: Any) -> str:
    """A matplotlib figure as an inline SVG element, without date or version in it."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def plot_curve(series: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Loss and next-step accuracy of both splits over steps; series are lists of (step, value)."""
    from matplotlib.figure import Figure

    panels = [
        ("loss", ["/train_total_loss", "/preference_optimization_train_loss"], ["/eval_total_loss"]),
        (
            "correct next tokens",
            ["/train_fraction_of_correct_next_step_preds"],
            ["/eval_fraction_of_correct_next_step_preds"],
        ),
    ]
    figure = Figure(figsize=(9, 3))
    for place, (title, trained, validated) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, place)
        for names, style, label in ((trained, "-", "training"), (validated, "o-", "validation")):
            for points in (series[name] for name in names if series.get(name)):
                axes.plot([p[0] for p in points], [p[1] for p in points], style, label=label, markersize=4)
        axes.set_xlabel("step")
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    figure.tight_layout()
    return svg(figure)


def plot_confusion(confusion: Report | None) -> str:
    """Reference labels down, answered labels across; counts in the cells where they fit."""
    from matplotlib.figure import Figure

    if not confusion or not confusion["labels"]:
        return ""
    labels, matrix = confusion["labels"], confusion["matrix"]
    columns = confusion["columns"]
    size = max(4.0, 0.32 * len(labels))
    figure = Figure(figsize=(size + 1.5, size))
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("answered")
    axes.set_ylabel("reference")
    most = max((max(row) for row in matrix), default=0)
    if len(labels) <= 30:
        for down, row in enumerate(matrix):
            for across, count in enumerate(row):
                if count:
                    shade = "white" if count > most / 2 else "black"
                    axes.text(across, down, str(count), ha="center", va="center", fontsize=7, color=shade)
    return svg(figure)


def plot_reliability(told: Report | None) -> str:
    """How sure against how right: a reliability diagram, as stated and after the validation map, and beside it the
    share of right answers among the surest rows.
    """
    from matplotlib.figure import Figure

    if not told:
        return ""
    figure = Figure(figsize=(9, 3.4))
    axes = figure.add_subplot(1, 2, 1)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    series = [("as stated", told["reliability"], "C0")]
    series += (
        [("after the map of validation", told["validation_of_map"]["reliability"], "C1")]
        if "validation_of_map" in told
        else []
    )
    for label, bins, colour in series:
        sure, right = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
        below = [max(0.0, one["accuracy"] - one["accuracy_low"]) for one in bins]
        above = [max(0.0, one["accuracy_high"] - one["accuracy"]) for one in bins]
        axes.errorbar(sure, right, yerr=[below, above], fmt="o-", label=label, markersize=4, linewidth=1, color=colour)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(1, 2, 2)
    axes.plot([one["coverage"] for one in told["coverage"]], [one["accuracy"] for one in told["coverage"]], ".-")
    axes.set(xlabel="share of rows answered, the surest first", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    figure.tight_layout()
    return svg(figure)


def plot_balance(labels: Mapping[str, Mapping[str, int]]) -> str:
    """Rows of each label in each split."""
    from matplotlib.figure import Figure

    if not labels or len(labels) > 100:
        return ""
    figure = Figure(figsize=(8, max(1.5, 0.26 * len(labels))))
    axes = figure.add_subplot()
    left = [0] * len(labels)
    for split in ("train", "validation", "test"):
        counts = [counts[split] for counts in labels.values()]
        axes.barh(list(labels), counts, left=left, label=split)
        left = [a + b for a, b in zip(left, counts, strict=True)]
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def example_request(task: Task, variant: ModelVariant, train: Sequence[Example], test: Sequence[Example]) -> Report:
    """The body that asks what serves about one row, as the evaluation asked it."""
    row = test[0]
    (shown,) = few_shot.select_shots(variant.prompt, train, [row])
    rendered = prompts.render(task, variant.prompt, row, shown)
    system = {"systemInstruction": {"parts": [{"text": rendered.system}]}} if rendered.system else {}
    return {**system, "contents": rendered.contents, "generationConfig": {"temperature": 0}}


def recipe(
    task: Task,
    variant: ModelVariant,
    asking: Mapping[str, Any],
    cleaning: Mapping[str, Any],
    train: Sequence[Example],
) -> dict[str, Any]:
    """What `answering.Answerer` needs; training rows go with it only where the prompt shows some of them."""
    shown = [{"id": row.id, "text": row.text, "target": row.target} for row in train] if variant.prompt.shots else []
    return {
        "task": task.model_dump(exclude_none=True),
        "variant": variant.model_dump(),
        "generation": dict(asking),
        "cleaning": dict(cleaning),
        "train": shown,
    }


def ledger(plan: Report, picked: Report, finalists: Sequence[Report]) -> list[dict[str, Any]]:
    """What was spent: prompts and tuning as the service counted them, the finalists' test answers; US dollars."""
    prompted = [line for line in plan["costs"] if line["what"].endswith("(spent)")]
    tuned = [{"what": line["what"], "tokens": line["tokens"], "cost": line["cost"]} for line in picked["ledger"]]
    known = {line["what"] for line in tuned}
    counted = any(what.startswith(ASKED[0]) for what in known)
    still = ASKED[1:] if counted else ASKED  # where nobody counted what scoring took, the plan's forecast stands
    still = (*still, *(f"{spend.OPINIONS}{what}" for what in still))
    scored = [line for line in plan["costs"] if line["what"].startswith(still)] if tuned else []
    tested = [
        {"what": f"{row['name']} on test", "tokens": row["tokens_per_row"] * row["rows"], "cost": row["cost"]}
        for row in finalists
    ]
    return [*prompted, *tuned, *scored, *tested]


def judging(plan: Report, tested: Report) -> list[dict[str, Any]]:
    """What was asked about the finalists' answers, and the judge about people's sheet; US dollars."""
    told = [(f"{entry['variant']['name']} on test", entry) for entry in tested["variants"]]
    return [
        line
        for what, entry in [*told, (spend.SHEET, {"judging": tested.get("judging", {})})]
        for line in spend.opinions_charged(
            what, entry, lambda model: plan["model_prices"][model], plan.get("service_prices", {})
        )
    ]


def summarise(files: Files, outcome: Report, name: str) -> dict[str, Any]:
    """Everything of a run for machines, from the steps' own files."""
    decision, plan, picked, tested = files.decision, files.plan, files.picked, files.tested
    metric = decision["metric"]
    finalists = scoreboard(tested, metric, plan)
    baselines = [line for report in plan["baselines"] for line in scoreboard(report, metric, plan)]
    spent = [*ledger(plan, picked, finalists), *judging(plan, tested), *tested.get("spent", [])]
    serving = ModelVariant.of(outcome["variant"])
    task = Task.of(tested["task"])
    request = example_request(task, serving, files.train, files.test)
    way = recipe(task, serving, tested["generation"], outcome["cleaning"], files.train)
    return {
        "name": name,
        "verdict": decision["verdict"],
        "passed": decision["passed"],
        "headline": HEADLINES[decision["verdict"]],
        "reasons": [*(plan["reasons"] if not plan["worthwhile"] else []), *decision["reasons"]],
        "notes": decision["notes"],
        "metric": metric,
        "confidence_level": decision["settings"]["confidence_level"],
        "test_rows": tested["rows"],
        "test_set_usage": decision["test_set_usage"],
        "detectable_lift": plan["detectable_lift"],
        "variants": finalists,
        "classical": [_line(tested["classical"], metric, tested["rows"], {})] if "classical" in tested else [],
        "baselines": baselines,
        "judge": tested.get("judge"),
        "comparisons": decision["comparisons"],
        "rules": decision["rules"],
        "pairwise": tested.get("pairwise", []),
        "slices": slice_tables(finalists, metric),
        "trials": picked["trials"],
        "checkpoints": picked["checkpoints"],
        "pick": "; ".join([picked["reason"], *picked.get("notes", [])]),
        "plan": {key: value for key, value in plan.items() if key != "baselines"},
        "spent": spent,
        "cost": {
            "spent": sum(line["cost"] for line in spent),
            "forecast": plan["cost"],
            "sentence": f"cost: {sum(line['cost'] for line in spent):.2f} US$ at list prices; {plan['sentence']}",
        },
        "data": {key: files.preprocessed.get(key, {}) for key in ("rows", "examples", "dropped", "labels")},
        "splits": files.split,
        "outcome": {**outcome, "example_request": request, "recipe": way},
    }


def page(summary: Report, name: str, wrong: tuple[list[dict[str, Any]], int], texts: Mapping[str, str]) -> str:
    """The HTML page; details are shown of the variant called `name`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    finalists = summary["variants"]
    shown = next(row for row in finalists if row["name"] == name)
    trials = [
        {
            **trial,
            "hyperparameters": ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in trial["hyperparameters"].items()),
            "diagnosis": "{kind}: {evidence}. Next: {action}.".format(**trial["diagnosis"]),
            "plot": Markup(plot_curve(trial["curve"])),
        }
        for trial in summary["trials"]
    ]
    environment = Environment(loader=PackageLoader("gemtune.steps", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html.j2").render(
        summary=summary,
        shown=shown,
        trials=trials,
        other_metrics=[name for name in finalists[0]["metrics"] if name != summary["metric"]],
        misses=[{**row, "text": texts.get(row["id"], "")} for row in wrong[0]],
        miss_count=wrong[1],
        confusion=Markup(plot_confusion(shown["confusion"])),
        reliability=Markup(plot_reliability(shown["calibration"])),
        # where answers are texts or objects, the split has counted those
        balance=Markup(plot_balance(summary["splits"]["labels"] if summary["data"]["labels"] else {})),
        request=json.dumps(summary["outcome"]["example_request"], ensure_ascii=False, indent=1),
    )


def markdown(summary: Report) -> str:
    """The verdict in a few lines, for the console's artifact view."""
    rows = [
        f"| {row['name']} | {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {row['cost']:.4f} |"
        for row in summary["variants"]
    ]
    reasons = [f"- {reason}" for reason in summary["reasons"]]
    head = f"| variant | {summary['metric']} | {summary['confidence_level']:.0%} interval | cost, US$ |"
    return "\n".join([f"# {summary['headline']}", "", *reasons, "", head, "| --- | --- | --- | --- |", *rows, ""])


def run(
    preprocessed: str,
    split: str,
    plan: str,
    picked: str,
    tested: str,
    predictions: str,
    train: str,
    test: str,
    decision: str,
    outcome: dict[str, Any],
    name: str,
    html: str,
    verdict: str,
    summary: str,
) -> None:
    """Write the page to `html`, its verdict to `verdict` (Markdown) and the numbers to `summary` (JSON)."""
    files = Files(
        preprocessed=_read(preprocessed),
        split=_read(split),
        plan=_read(plan),
        picked=_read(picked),
        tested=_read(tested),
        decision=_read(decision),
        train=list(read_examples(train)),
        test=list(read_examples(test)),
    )
    told = summarise(files, outcome, name)
    shown = _in_focus(told)
    texts = {example.id: example.text for example in files.test}
    with whole_file(html) as out:
        out.write(page(told, shown, misses(predictions, shown), texts))
    with whole_file(verdict) as out:
        out.write(markdown(told))
    write_json(summary, told)
    log.info("done: %s", told["headline"])


def _in_focus(told: Report) -> str:
    """Whose classes, confusions and errors the page shows: the candidate if there is one, else who stays."""
    roles = ["candidate", "champion" if told["verdict"] == "keep_champion" else "baseline", "baseline"]
    return next(str(row["name"]) for role in roles for row in told["variants"] if row["role"] == role)


def _read(path: str) -> Report:
    found: Report = json.loads(Path(path).read_text(encoding="utf-8"))
    return found

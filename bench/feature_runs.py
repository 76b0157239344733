# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Optional features in whole runs with a scripted engine: the same outcome as in `feature_runs.json`.

`python bench/feature_runs.py` runs each entry of RUNS (about half a minute each) and compares verdict, rules, scores of
all variants, trials, judge, data and costs with the file; `--only NAME` runs one, `--write` rewrites the file. The exit
code is 1 when an outcome differs. Names go through tests/golden/runs/facts.yaml, as in the golden runs.

Features without an emulated service are not here; their tests are:
- Sensitive Data Protection: tests/integration/test_dlp.py
- BigQuery: tests/integration/test_bigquery.py, tests/integration/test_sources.py
- Dataflow: tests/integration/test_dataflow_dedup.py (make beam), tests/integration/test_dataflow_job.py
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "pipeline"))

from golden_runs import ENGINE, WORDS, read_facts, start, without_ids, write_golden  # noqa: E402

EXPECTED = Path(__file__).with_suffix(".json")
KEYWORDS = {"billing": "invoice", "delivery": "parcel", "login": "password"}
LARGE = "gemini-3.5-flash"
INSTRUCTION = (
    "Give the topic of the message: what the customer wants, whatever the tone, the length or the channel of it."
)

Row = dict[str, Any]


@dataclass(frozen=True)
class FeatureRun:
    """Rows, settings and script of one run; `again` are overrides (settings, script) of a second run in its folder.

    `timed`: when jobs are stopped depends on the machine, so costs are not compared. `reports` of optional steps are
    compared too. `commands` run after the last run against the emulator's state.
    """

    rows: Callable[[], list[Row]]
    settings: Row
    script: Row = field(default_factory=dict)
    again: tuple[Row, Row] | None = None
    timed: bool = False
    reports: Sequence[str] = ()
    commands: Sequence[Sequence[str]] = ()
    jobs: int = 1


def tickets() -> list[Row]:
    """Rows of three labels."""
    draw, rows = random.Random(5), []
    for number in range(330):
        label = sorted(KEYWORDS)[number % 3]
        words = [*draw.sample(WORDS, 6), KEYWORDS[label], str(draw.randrange(10**6)), *draw.sample(WORDS, 6)]
        rows.append({"text": " ".join(words), "label": label, "channel": draw.choice(["web", "phone"])})
    return rows


def automl_tickets() -> list[Row]:
    """The same rows in AutoML's import form, one label rare."""
    rows = [row for number, row in enumerate(tickets()) if row["label"] != "login" or number % 9 == 2]
    return [{"textContent": row["text"], "classificationAnnotation": {"displayName": row["label"]}} for row in rows]


def notices(count: int = 260) -> list[Row]:
    """Rows with a summary each."""
    draw, rows = random.Random(6), []
    for number in range(count):
        place, hour = draw.choice(WORDS), draw.randrange(24)
        parts = [" ".join(draw.sample(WORDS, 7)) for _ in range(3)]
        text = f"{parts[0]}. On day {number} the hall of {place} will close at {hour}. {parts[1]}. {parts[2]}."
        rows.append({"text": text, "label": f"{place} closes at {hour} on day {number}"})
    return rows


SHORT = {"name": "short", "epoch_count": 2, "adapter_size": 4}
RUNS: dict[str, FeatureRun] = {
    "votes_batch_rewrites": FeatureRun(
        tickets,
        {
            "task": {"instruction": INSTRUCTION},
            "evaluate": {
                "confidence": "votes",
                "samples": 3,
                "batch_above": 30,
                "batch_poll_s": 0.2,
                "baselines": [{"name": "zero_shot", "rewrites": 2}, {"name": "shown", "shots": 2, "try_shots": [4]}],
            },
            "plan": {"trials": [SHORT]},
            "gate": {"max_ece": 0.4, "max_cost_per_1000": 5.0, "on_slice_regression": "fail"},
        },
        {"base_accuracy": 0.85, "tuned_accuracy": 0.99, "seed": 1},
    ),
    "automl_augment_verbal_follow_ups": FeatureRun(
        automl_tickets,
        {
            "augment": {"min_rows_per_label": 40, "methods": ["paraphrase", "perturb"]},
            "evaluate": {"confidence": "verbal", "baselines": [{"name": "zero_shot"}]},
            "plan": {"trials": [{**SHORT, "epoch_count": 6}], "follow_ups": 1, "min_train_rows": 50},
        },
        # a loss that hardly moves is diagnosed as undertrained, which calls for a follow-up
        {"base_accuracy": 0.7, "tuned_accuracy": 0.97, "first_loss": 2.0, "last_loss": 1.95},
        reports=["augment"],
    ),
    "hard_examples_larger_models_logprobs": FeatureRun(
        tickets,
        {
            "hard_examples": {"target_share": 0.6},
            "evaluate": {"confidence": "logprobs", "baselines": [{"name": "zero_shot"}]},
            "plan": {"trials": [{**SHORT, "epoch_count": 3}]},
            "escalation": {"models": [LARGE], "stop_at_score": 1.0},
        },
        {"base_accuracy": 0.6, "tuned_accuracy": 0.9},
        reports=["hard_examples"],
    ),
    "judge_ratings_service": FeatureRun(
        notices,
        {
            "task": {"kind": "summarization"},
            "preprocess": {"repeated_chars": 0},
            "split": {"passage_chars": 0},
            "evaluate": {
                "max_output_tokens": 60,
                "baselines": [{"name": "zero_shot"}],
                "judge": {"model": "gemini-3.1-flash-lite", "ratings": "ratings.csv", "samples": 2, "good_from": 4},
                "vertex_metrics": ["bleu", "rouge_l", "rubric"],
            },
            "plan": {"trials": [SHORT]},
            "gate": {"min_judge_good": 0.5, "min_judge_win_rate": 0.5},
            "vertex": {"catalogue": {"service": {"bleu": 0.01, "rouge_l": 0.01, "rubric": 1.0}}},
        },
        {"base_accuracy": 0.8, "tuned_accuracy": 0.99},
    ),
    "early_stopping": FeatureRun(
        tickets,
        {
            "evaluate": {"baselines": [{"name": "zero_shot"}]},
            "plan": {"trials": [SHORT, {"name": "long", "epoch_count": 60, "adapter_size": 8}]},
            "tune": {"early_stopping": "all", "poll_s": 0.1},
        },
        # the scripted loss falls with the share of the way: after one epoch the long trial is behind the short one
        {"tuned_accuracy": 0.97, "step_seconds": 0.05, "first_loss": 4.0, "last_loss": 0.05},
        timed=True,
        jobs=2,
    ),
    "champion_forgetting_rollback_cleanup": FeatureRun(
        tickets,
        {"evaluate": {"baselines": [{"name": "zero_shot"}]}, "plan": {"trials": [SHORT]}},
        {"base_accuracy": 0.4, "tuned_accuracy": 0.7},
        again=(
            {
                "plan": {"start_from_champion": True, "trials": [{**SHORT, "name": "on"}]},
                "gate": {"max_champion_test_regression": 0.3},
            },
            {"tuned_accuracy": 0.99, "base_accuracy": 0.4},
        ),
        commands=[["rollback", "config.yaml"], ["cleanup", "config.yaml"]],
    ),
    "preference_judge_sampled_pairs": FeatureRun(
        lambda: notices(480),
        {
            "method": "preference",
            "task": {"kind": "generation", "instruction": "Answer."},
            "preprocess": {"repeated_chars": 0},
            "split": {"test": 0.35, "passage_chars": 0},
            "evaluate": {
                "base_model": "gemini-2.5-flash",
                "max_output_tokens": 60,
                "resamples": 500,
                "baselines": [{"name": "zero_shot"}],
                "judge": {"model": "gemini-3.1-flash-lite"},
            },
            "preference": {
                "pairs_from": "samples",
                "samples": 2,
                "chosen_from": "reference",
                "ranker": "judge",
            },
            "plan": {"min_train_rows": 30, "trials": [{"name": "soft", "epoch_count": 2, "beta": 0.3}]},
            "vertex": {"catalogue": {"models": {"gemini-2.5-flash": {"retires": None}}}},
        },
        {"base_accuracy": 0.4, "tuned_accuracy": 1.0},
    ),
}


def script_of(rows: Sequence[Row], overrides: Row) -> Row:
    """What the scripted engine knows: answers, paraphrases, other instructions, and judgements of answers.

    A reference is a good answer, any other text a poor one.
    """
    rewritten = f'"instruction": {json.dumps(INSTRUCTION)}, "labels": {json.dumps(sorted(KEYWORDS))}'
    answers = {rewritten: "1. Name the one topic.\n2. Decide which topic the message is about."}
    good = json.dumps({"reason": "as the reference", "score": 5, "better": "first"})
    poor = json.dumps({"reason": "another text", "score": 2, "better": "second"})
    for row in rows:
        text = row.get("text") or row["textContent"]
        target = row.get("label") or row["classificationAnnotation"]["displayName"]
        quoted, reference = (json.dumps(part, ensure_ascii=False) for part in (text, target))
        answers[text] = target
        other = " ".join(reversed(text.split()))
        answers[other] = target
        answers[f'{{"text": {quoted}, "label": {reference}}}'] = f"1. {other}\n2. please: {other}"
        answers[f'"text": {quoted}, "answer": {reference}'] = "very likely"
        answers[f'"text": {quoted}, "answer"'] = "unlikely"
        judged = f'"text": {quoted}, "reference": {reference}'
        answers[judged] = poor
        answers[f'{judged}, "answer": {reference}'] = answers[f'{judged}, "first": {reference}'] = good
    labels = sorted({row.get("label") or row["classificationAnnotation"]["displayName"] for row in rows})
    return {"answers": answers, "labels": labels, **overrides}


def write_ratings(path: Path, rows: Sequence[Row]) -> None:
    """People's ratings: the references are good, other rows' references are not."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "text", "reference", "answer", "rating"])
        for number, row in enumerate(rows[:80]):
            answer, rating = (row["label"], 5) if number % 2 else (rows[-1 - number]["label"], 2)
            writer.writerow([f"r{number}", row["text"], row["label"], answer, rating])


def outcome(run: Path, feature: FeatureRun) -> Row:
    """What is compared of a finished run."""
    facts = read_facts(run)
    optional = read_facts(run, feature.reports)
    summary, picked = facts["summary"], facts["picked"]
    variant = ("name", "role", "value", "low", "high", "invalid_rate", "tokens_per_row", "cost", "service")
    found = {
        "verdict": summary["verdict"],
        "metric": summary["metric"],
        "rules": facts["decision"].get("rules", []),
        "variants": [{key: row[key] for key in variant if key in row} for row in summary["variants"]],
        "calibration_error": {
            row["name"]: row["calibration"].get("ece") for row in summary["variants"] if row.get("calibration")
        },
        "baselines": {row["name"]: row["value"] for row in summary["baselines"]},
        "trials": {trial["name"]: trial["diagnosis"] for trial in picked.get("trials", [])},
        "ablation": picked.get("ablation"),
        **optional,
        "judge": summary.get("judge"),
        "pairwise": summary.get("pairwise"),
        "data": summary["data"],
        "splits": summary["splits"]["rows"],
        "cost": summary["cost"],
    }
    if feature.timed:
        del found["cost"]
    return {key: value for key, value in found.items() if value not in (None, {}, [])}


def run_commands(folder: Path, commands: Sequence[Sequence[str]]) -> list[str]:
    """What commands print against an emulator over the state that the runs left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = ["--port", "0", "--state-dir", "runs/emulator", "--engine", ENGINE]
    emulator = subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert emulator.stdout is not None
        url = re.search(r"http://\S+", emulator.stdout.readline())
        assert url, "the emulator did not start"
        names = {"GOOGLE_VERTEX_BASE_URL": url[0], "STORAGE_EMULATOR_HOST": url[0]}
        environment |= {**names, "GOOGLE_CLOUD_PROJECT": "demo-project", "GOOGLE_CLOUD_LOCATION": "us-central1"}
        printed = []
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "gemtune", *command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            printed.append(f"{done.returncode} {done.stdout.strip()} {done.stderr.strip()}".strip())
        return printed
    finally:
        emulator.terminate()
        emulator.wait(20)


def execute(run: FeatureRun, folder: Path) -> Row:
    """Run it in a folder; its outcome."""
    rows = run.rows()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if "label" in rows[0]:
        write_ratings(folder / "ratings.csv", rows)
    found: Row = {}
    for name, (settings, script) in {"run": ({}, {}), **({"again": run.again} if run.again else {})}.items():
        config = {"name": "feature", "data": "rows.jsonl", **run.settings, **settings}
        config["tune"] = {"poll_s": 0.2, **config.get("tune", {})}
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        (folder / "script.json").write_text(json.dumps(script_of(rows, {**run.script, **script})), encoding="utf-8")
        arguments = ["config.yaml", "--engine", f"{ENGINE}:script.json", "--jobs", str(run.jobs)]
        found[name] = outcome(start(arguments, folder), run)
    if run.commands:
        found["commands"] = [without_ids(text) for text in run_commands(folder, run.commands)]
    return found


def main() -> int:
    """0 when every outcome is as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(RUNS))
    parser.add_argument("--write", action="store_true", help="rewrite the expected outcomes")
    options = parser.parse_args()
    expected = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.exists() else {}
    differing = 0
    for name in [options.only] if options.only else list(RUNS):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = execute(RUNS[name], Path(folder))
        took = time.monotonic() - began
        if options.write:
            expected[name] = found
            write_golden(EXPECTED, expected)
        equal = found == expected.get(name)
        differing += not equal
        print(f"{name}: {found['run']['verdict']}, {'as before' if equal else 'DIFFERS'} ({took:.0f} s)", flush=True)
        if not equal:
            print(json.dumps(found, indent=1, ensure_ascii=False))
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())

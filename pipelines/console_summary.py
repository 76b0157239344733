# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a local run prints at its end: the table, the verdict with its reasons, and how to call the deployed model."""

import json
import time
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.table import Table

from gemtune.artifacts.base import open_atomic
from pipelines.emulator_process import LOCATION, PROJECT
from pipelines.local_run import Step, collect, copy_manifest, orchestration

SERVED_AT = "http://127.0.0.1:8080"  # where `gemtune serve` serves, by default
VERDICTS = {
    "deploy": "[bold green]DEPLOY[/] the tuned model",
    "keep_prompt": "[bold yellow]KEEP THE PROMPT[/]",
    "keep_champion": "[bold yellow]KEEP THE CHAMPION[/]",
    "use_tfidf_baseline": "[bold yellow]USE THE TF-IDF BASELINE[/]",
    "none_usable": "[bold red]NO VARIANT MAY SERVE[/]",
    "not_enough_data": "[bold yellow]NOT ENOUGH DATA[/] to decide",
}


def finish(folder: Path, steps: list[Step], start: float) -> dict[str, Any]:
    """Write `summary.json` and `report.html` at the top of the run's folder, with how long everything took."""
    summary = collect(folder)
    summary["run"] = folder.name
    summary["time"] = orchestration([step for step in steps if step.start >= start], start, time.time())
    summary["steps"] = [
        {
            "step": step.name,
            "about": step.about,
            "seconds": round(step.finish - step.start, 2),
            "headline": step.headline,
        }
        for step in steps
    ]
    with open_atomic(folder / "summary.json") as file:
        json.dump(summary, file, ensure_ascii=False, indent=1)
    copy_manifest(folder)
    return summary


def show(console: Console, folder: Path, summary: dict[str, Any]) -> None:
    """Print the table, the verdict with its reasons, the endpoint and where to read on."""
    table = Table(title=f"{summary['test_rows']} held-out test rows", title_justify="left")
    metric, level = summary["metric"], f"{summary['confidence_level']:.0%} interval"
    for heading in ("", metric, level, "unusable", "tokens per row", "cost, USD"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for row in [*summary["variants"], *summary["free_baselines"]]:
        score = row["score"]
        table.add_row(
            row["name"],
            f"{score['value']:.3f}",
            f"{score['low']:.3f} to {score['high']:.3f}",
            f"{row['invalid_rate']:.1%}",
            f"{row['tokens_per_row']:.0f}",
            f"{row['cost']:.4f}",
        )
    console.print()
    console.print(table)
    console.print(f"\n{VERDICTS[summary['verdict']]}")
    for reason in summary["reasons"]:
        console.print(f"  - {reason}", soft_wrap=True, markup=False)
    for note in [summary["cost"]["summary"], *summary["notes"]]:
        console.print(f"  - {note}", soft_wrap=True, markup=False)
    if summary["outcome"]["action"] == "none":
        console.print("\nIn production: nothing")
    else:
        waits = summary["outcome"]["action"] == "proposed"
        place = "Waits for gemtune promote CONFIG" if waits else "In production"
        console.print(f"\n{place}: {summary['outcome']['model']}", soft_wrap=True)
        console.print(f"serve it again with [bold]gemtune serve {folder}[/], then call it:\n", soft_wrap=True)
        console.print(snippets(summary["outcome"], SERVED_AT), soft_wrap=True, markup=False)
    took = summary["time"]
    console.print(f"report   {folder / 'report.html'}\nsummary  {folder / 'summary.json'}", soft_wrap=True)
    console.print(f"took     {took['wall_s']:.0f} s, of which {took['share']:.0%} outside the steps")


def predictor_call(folder: Path, url: str) -> str:
    """How to call it as the evaluation did: cleaned text, calibrated confidence, abstaining below the threshold."""
    return _filled("predictor", url, summary=folder / "summary.json")


def snippets(outcome: dict[str, Any], url: str) -> str:
    """How to call the deployed model of a run at a URL: curl, and the same in Python with google-genai."""
    model, request = outcome["model"], outcome["example_request"]
    published = f"projects/{PROJECT}/locations/{LOCATION}/publishers/google/models/{model}"
    config: dict[str, Any] = {"temperature": 0}
    if "systemInstruction" in request:
        config["system_instruction"] = request["systemInstruction"]
    return _filled(
        "requests",
        url,
        model=model,
        path=model if model.startswith("projects/") else published,
        body=json.dumps(request, ensure_ascii=False).replace("'", "'\\''"),
        contents=json.dumps(request["contents"], ensure_ascii=False),
        config=config,
    )


def _filled(name: str, url: str, **values: Any) -> str:
    text = Path(__file__).with_name(f"call_{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values, url=url, project=PROJECT, location=LOCATION)

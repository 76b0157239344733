# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a local run prints at its end: a card with the verdict and the scores; and how to call the deployed model."""

import json
import os
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gemtune.artifacts.base import open_atomic
from gemtune.catalogue import Catalogue
from pipelines.emulator_process import LOCATION, PROJECT
from pipelines.live_display import shortened
from pipelines.local_run import collect, copy_manifest, orchestration, step_output
from pipelines.steps import Step, steady_time

BAR_WIDTH = 16
STYLES = {"deploy": "green", "none_usable": "red"}  # of verdicts; yellow for all others


def finish(folder: Path, steps: list[Step], start: float) -> dict[str, Any]:
    """Write `summary.json` and `report.html` at the top of the run's folder, with how long everything took."""
    summary = collect(folder)
    summary["run"] = folder.name
    summary["time"] = orchestration([step for step in steps if step.start >= start], start, steady_time())
    summary["steps"] = [
        {"step": own.name, "about": own.about, "seconds": round(own.finish - own.start, 2), "headline": own.headline}
        for own in steps
    ]
    with open_atomic(folder / "summary.json") as file:
        json.dump(summary, file, ensure_ascii=False, indent=1)
    copy_manifest(folder)
    return summary


def show(console: Console, folder: Path, summary: dict[str, Any]) -> None:
    """Print the verdict, scores with their intervals, cost and where to read on, in at most 15 lines of 80 columns.

    Also appended, as Markdown, to the file that GITHUB_STEP_SUMMARY names, where it is set.
    """
    style, outcome, took = STYLES.get(summary["verdict"], "yellow"), summary["outcome"], summary["time"]
    relative = os.path.relpath(folder)
    place = min(str(folder), relative, key=len)
    console.print(Rule(summary["run"], style="dim"))
    level = f"{summary['confidence_level']:.0%}"
    measured = f"  {summary['metric']} on {summary['test_rows']} held-out test rows, {level} intervals"
    console.print(Text.assemble((summary["headline"].upper(), f"bold {style}"), (measured, "dim")))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for name, score in _compared(summary):
        bar = ProgressBar(1.0, max(0.0, score["value"]), BAR_WIDTH, complete_style=style, finished_style=style)
        interval = f"{score['low']:.3f} to {score['high']:.3f}"
        table.add_row(Text(name), f"{score['value']:.3f}", bar, Text(interval, "dim", no_wrap=True))
    console.print(table)
    if summary["reasons"]:
        console.print(Text(shortened(f"because {summary['reasons'][0]}", 2 * console.width - 20)))
    console.print(Text(shortened(f"{took['wall_s']:.0f} s; {summary['cost']['summary']}", console.width)))
    if outcome["action"] != "none":
        waits = "waits for gemtune promote" if outcome["action"] == "proposed" else "in production"
        console.print(f"{waits}: {outcome['model']}", soft_wrap=True, markup=False)
    report = folder / "report.html"
    console.print(f"report  [link={report.resolve().as_uri()}]{place}/report.html[/link]", soft_wrap=True)
    command = "ask 'TEXT' --run" if outcome["action"] == "deployed" else "explain"
    console.print(f"next    gemtune {command} {place}", soft_wrap=True, markup=False)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as out:
            out.write(step_output(folder, "report*/verdict").read_text("utf-8"))


def _compared(summary: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Name and score of the best prompt, the candidate, the champion and the TF-IDF baseline, of those there are."""
    rows = [*summary["variants"], *summary["free_baselines"]]
    by_role = {row["role"]: row for row in reversed(rows)}
    roles = {"baseline": "prompt", "candidate": "tuned", "champion": "champion", "free_baseline": "free"}
    return [(f"{text}: {by_role[r]['name']}", by_role[r]["score"]) for r, text in roles.items() if r in by_role]


def predictor_call(folder: Path, url: str) -> str:
    """How to call it as the evaluation did: cleaned text, calibrated confidence, abstaining below the threshold."""
    return _filled("predictor", url, summary=folder / "summary.json")


def snippets(outcome: dict[str, Any], url: str) -> str:
    """How to call the deployed model of a run at a URL: curl, and the same in Python with google-genai."""
    model, request = outcome["model"], outcome["example_request"]
    location = Catalogue.load().serving_location(model, LOCATION)  # of a base model; its log has the same
    published = f"projects/{PROJECT}/locations/{location}/publishers/google/models/{model}"
    config: dict[str, Any] = {"temperature": 0}
    if "systemInstruction" in request:
        config["system_instruction"] = request["systemInstruction"]
    return _filled(
        "requests",
        url,
        model=model,
        path=model if model.startswith("projects/") else published,
        location=location,
        body=json.dumps(request, ensure_ascii=False).replace("'", "'\\''"),
        contents=json.dumps(request["contents"], ensure_ascii=False),
        config=config,
    )


def _filled(name: str, url: str, **values: Any) -> str:
    text = Path(__file__).with_name(f"call_{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values, url=url, project=PROJECT)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that read finished local runs: report, open, verify, compare, explain, ask, serve."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from gemtune.cli.commands import Messages, wide_console
from gemtune.cli.options import RUNS, Json, Overrides, Runs, echo, load, this_machine
from gemtune.errors import UserError
from gemtune.interruption import ended_with_caller

Folder = Annotated[Path | None, typer.Argument(help="A run's folder; default: the latest.", metavar="RUN")]

app = typer.Typer(cls=Messages)


def latest(runs: Path) -> Path:
    """The newest finished run's folder."""
    finished = sorted(runs.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise UserError("no finished run", file=runs, remedy="start with: gemtune try")
    return finished[-1].parent


@app.command()
def report(
    folder: Folder = None,
    runs: Runs = RUNS,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the verdict as Markdown, for pull requests.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the path of a run's report page, or its verdict as Markdown."""
    from pipelines import local_run

    folder = folder or latest(runs)
    summary = local_run.read_summary(folder)
    page = folder / "report.html"
    if markdown:
        typer.echo(local_run.step_output(folder, "report*/verdict").read_text("utf-8"), nl=False)
    else:
        echo({"run": folder.name, "page": str(page), "verdict": summary.get("verdict")}, as_json, str(page))


@app.command(name="open")
def open_page(folder: Folder = None, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Open a run's report page in the browser."""
    report(folder, runs, as_json=as_json)
    typer.launch(((folder or latest(runs)) / "report.html").resolve().as_uri())


@app.command()
def verify(
    folder: Folder = None,
    runs: Runs = RUNS,
    digest: Annotated[str, typer.Option(help="Digest to expect, as at the foot of a page that was kept.")] = "",
    key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM file of the key by which it must be signed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that a run's files, data, settings and versions are those of its decision. Exit code 1: one is not.

    Covered are the documents and rows of the steps, page, summary, compiled pipeline, arguments and the data file.
    """
    from gemtune.artifacts.manifest import Verification, read_public_key
    from pipelines import local_run

    folder = folder or latest(runs)
    manifest, checks = local_run.verify(folder)
    if digest:
        checks.append(Verification(f"expected digest {digest}", "ok" if digest == manifest.digest else "changed"))
    if key is not None:
        is_own = bool(manifest.signature) and manifest.public_key == read_public_key(key)
        checks.append(
            Verification(f"signature by {key}", "ok" if is_own else "changed" if manifest.signature else "missing")
        )
    wrong = [check for check in checks if check.state != "ok"]
    lines = [f"{check.state:8} {check.subject}" for check in checks]
    listed = [check._asdict() for check in checks]
    count = f"{len(wrong)} of {len(checks)} changed or missing" if wrong else f"all {len(checks)} match"
    content = {"run": folder.name, "digest": manifest.digest, "matches": not wrong, "checks": listed}
    echo(content, as_json, *lines, f"{folder}: {count}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, the oldest first.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as a page (HTML).")] = None,
    as_json: Json = False,
) -> None:
    """Compare finished runs: scores, changed settings and data, and the rows whose answers became right or wrong."""
    from gemtune.artifacts.base import open_atomic
    from gemtune.cli import run_comparison

    if len(folders) < 2:
        raise typer.BadParameter("expected two runs or more")
    compared = run_comparison.compare(folders)
    if out is not None:
        with open_atomic(out) as file:
            file.write(run_comparison.page(compared))
    if not as_json:
        run_comparison.show(wide_console(), compared)
    echo(compared.plain(), as_json, *([str(out)] if out else []))


@app.command()
def explain(
    folder: Folder = None,
    runs: Runs = RUNS,
    row: Annotated[str, typer.Option(help="A test row, by its id or its line: what each variant answered.")] = "",
    as_json: Json = False,
) -> None:
    """Explain a run's verdict: its reasons, and what each rule of the gate measured and required."""
    from gemtune.cli import run_comparison
    from pipelines import local_run

    folder = folder or latest(runs)
    if row:
        shown = run_comparison.explained_row(folder, row)
        lines = [f"line {shown['line']}, id {shown['id']}: {shown['text']}", f"reference: {shown['reference']}"]
        echo(shown, as_json, *lines, *(f"{name}: {answer}" for name, answer in shown["answers"].items()))
        return
    summary = local_run.read_summary(folder)
    kept = ("headline", "verdict", "reasons", "rules", "notes")
    rules = [f"{'passed' if rule['passed'] else 'failed'}  {rule['summary']}" for rule in summary["rules"]]
    lines = [summary["headline"], *(f"  - {reason}" for reason in summary["reasons"]), "rules of the gate:", *rules]
    notes = [f"note: {note}" for note in summary["notes"]]
    echo({name: summary[name] for name in kept}, as_json, *lines, *notes)


@app.command(name="ask")
def send_text(
    text: Annotated[str, typer.Argument(help="A text, as production would send it.")],
    folder: Annotated[
        Path | None, typer.Option("--run", help="A local run whose endpoint answers; default: the latest.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration whose champion answers, on Vertex AI, instead of a run's.")
    ] = None,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Send one text to what serves: cleaned, prompted and parsed as in the evaluation."""
    from gemtune.artifacts.production_log import OWN_REQUEST
    from gemtune.predictor import Predictor

    with ExitStack() as ending:
        if config is not None:
            from gemtune.serving import resolve

            settings = load(config, overrides)
            section = settings.vertex.model_dump(mode="json")
            predictor = Predictor(resolve(settings.name, section).recipe, section, labels=OWN_REQUEST)
        else:
            from pipelines import local_run  # it loads kfp

            folder = folder or latest(runs)
            local_run.read_summary(folder)
            ending.enter_context(this_machine(folder.parent, local_run.read_settings(folder)["engine"]))
            predictor = Predictor.of_run(folder / "summary.json", labels=OWN_REQUEST)
        prediction, model = ending.enter_context(predictor)(text)[0], predictor.variant.model
    sure = "" if prediction.confidence is None else f"  (confidence {prediction.confidence:.2f})"
    value = prediction.value if prediction.value is not None else f"no usable answer: {prediction.outcome}"
    content = {
        "value": prediction.value,
        "confidence": prediction.confidence,
        "abstained": prediction.abstained,
        "outcome": prediction.outcome,
        "model": model,
    }
    echo(content, as_json, f"{value}{sure}")


@app.command()
def serve(
    folder: Folder = None,
    runs: Runs = RUNS,
    port: Annotated[int, typer.Option(help="Port to serve at.")] = 8080,
) -> None:
    """Serve the endpoint of a local run again, until Ctrl-C."""
    from pipelines import console_summary, emulator_process, local_run

    folder = folder or latest(runs)
    summary = local_run.read_summary(folder)
    console = wide_console()
    engine = local_run.read_settings(folder)["engine"]
    with ended_with_caller(), emulator_process.emulator(folder.parent / "emulator", port, engine) as server:
        outcome = summary["outcome"]
        console.print(f"{outcome['model']} at {server.url}\n", soft_wrap=True)
        console.print(console_summary.snippets(outcome, server.url), soft_wrap=True, markup=False)
        console.print(console_summary.predictor_call(folder, server.url), soft_wrap=True, markup=False)
        console.print("Serving until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the samples' configurations reach: whole runs with the tuned student, one for each split seed.

    python bench/student_accuracy.py [quickstart quickstart_ja] [--seeds 1 2 3 4 5] [--write] [--runs DIR]

Each run is `gemtune run configs/NAME.yaml --set split.seed=SEED`; scores, differences with their intervals and the
verdict are those of its `summary.json`. Prints a Markdown table for each configuration; `--write` puts it into
docs/lab/student.md. Exit code 1: in a run TF-IDF is not between 0.70 and 0.85, the tuned student is below the limit of
`LIMITS` or not shown to be better than the best prompt and TF-IDF (interval and test), the verdict is not `deploy`, or
a line of the decision contradicts it. A run takes two to three CPU minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gemtune.artifacts.decision import Comparison, RunSummary, VariantSummary  # noqa: E402
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE  # noqa: E402

LIMITS = {"quickstart": 0.88, "quickstart_ja": 0.80}  # lowest accuracy of the tuned student
TFIDF_RANGE = (0.70, 0.85)
HEADING = ("split seed", "TF-IDF", "best prompt", "tuned", "tuned over prompt", "tuned over TF-IDF",
           "TF-IDF, intent quoted", "tuned, intent quoted", "verdict")  # fmt: skip


class SeedRun:
    """What the report of one whole run shows."""

    def __init__(self, summary: RunSummary) -> None:
        self.summary = summary
        self.tfidf = next(own for own in summary.free_baselines if own.name == TFIDF_BASELINE.name)
        self.prompt, self.tuned = (
            next(own for own in summary.variants if own.role == role) for role in ("baseline", "candidate")
        )
        self.over_prompt, self.over_tfidf = (
            next(own for own in (*summary.comparisons, *summary.free_comparisons) if own.versus == other.name)
            for other in (self.prompt, self.tfidf)
        )

    @classmethod
    def of(cls, name: str, seed: int, runs: Path) -> SeedRun:
        """The run of configs/NAME.yaml in this folder, a new one if there is none; raises `CalledProcessError`."""
        if not (finished := list(runs.glob("*/summary.json"))):
            words = ["run", f"configs/{name}.yaml", "--set", f"split.seed={seed}", "--runs", str(runs), "--exit-zero"]
            subprocess.run([sys.executable, "-m", "gemtune", *words], cwd=ROOT, stdout=sys.stderr, check=True)
            finished = list(runs.glob("*/summary.json"))
        document = json.loads(finished[0].read_text(encoding="utf-8"))
        return cls(RunSummary.model_validate({key: document[key] for key in RunSummary.model_fields.keys() & document}))

    def failures(self, lowest: float) -> Iterator[str]:
        """What the run does not keep of the promise."""
        summary, tfidf, tuned = self.summary, self.tfidf.score.value, self.tuned.score.value
        if not TFIDF_RANGE[0] <= tfidf <= TFIDF_RANGE[1]:
            yield f"TF-IDF {tfidf:.3f} is not in {TFIDF_RANGE}"
        if tuned < lowest:
            yield f"tuned {tuned:.3f} is below {lowest}"
        for own in (*summary.comparisons, *summary.free_comparisons):
            if own.low <= 0 or own.p_value > 1 - summary.confidence_level:
                yield f"tuned is not shown to be better than {own.versus}: {difference(own)}, p = {own.p_value:.2g}"
        if summary.verdict != "deploy":
            yield f"verdict {summary.verdict}"
        lines = [summary.headline, *summary.reasons, *summary.notes, *(rule.summary for rule in summary.rules)]
        yield from (line for line in dict.fromkeys(lines) if "worse" in line.lower() or "not shown" in line)

    def cells(self) -> list[str]:
        """Its line of the table, without the seed."""
        scores = [f"{own.score.value:.3f}" for own in (self.tfidf, self.prompt, self.tuned)]
        lifts = [difference(own) for own in (self.over_prompt, self.over_tfidf)]
        return [*scores, *lifts, *(f"{quoted(own):.2f}" for own in (self.tfidf, self.tuned)), self.summary.verdict]


def difference(comparison: Comparison) -> str:
    """The difference with its interval."""
    return f"{comparison.delta:+.3f} ({comparison.low:+.3f} to {comparison.high:+.3f})"


def quoted(variant: VariantSummary) -> float:
    """Accuracy on the tickets that quote another intent."""
    return variant.slices["quoted"]["yes"].metrics["accuracy"].value


def table(seeds: Sequence[int], runs: Sequence[SeedRun]) -> str:
    """A line for each split seed."""
    lines = [f"| {' | '.join(HEADING)} |", "| --- " * len(HEADING) + "|"]
    lines += [f"| {seed} | {' | '.join(run.cells())} |" for seed, run in zip(seeds, runs, strict=True)]
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Replace the table between the markers of the configuration in docs/lab/student.md."""
    path = ROOT / "docs" / "lab" / "student.md"
    marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    content = path.read_text(encoding="utf-8")
    path.write_text(marked.sub(lambda match: f"{match[1]}{text}{match[2]}", content), encoding="utf-8")


def main() -> int:
    """Run the study of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=list(LIMITS), metavar="{" + ",".join(LIMITS) + "}")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--runs", type=Path, help="folder in which runs are kept, and not repeated")
    options = parser.parse_args()
    if unknown := {*options.configs} - LIMITS.keys():  # argparse's own check refuses the default
        parser.error(f"no limit for {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        return study(options, (options.runs or Path(folder)).resolve())


def study(options: argparse.Namespace, folder: Path) -> int:
    """Print the tables; 0 when the promise holds on every split seed."""
    broken = 0
    for name in options.configs:
        runs = []
        for seed in options.seeds:
            runs.append(SeedRun.of(name, seed, folder / f"{name}-{seed}"))
            problems = list(runs[-1].failures(LIMITS[name]))
            broken += len(problems)
            print(f"{name}, split seed {seed}: {'; '.join(problems) or 'holds'}", file=sys.stderr, flush=True)
            text = table(options.seeds[: len(runs)], runs)
            if options.write:
                write(name, text)
        print(f"{name}\n\n{text}\n", flush=True)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())

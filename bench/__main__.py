# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""All benchmarks in one call, and one table of their figures beside their peers and the last recorded ratios.

    python -m bench [--all] [--only NAME ...] [--data DIR] [--minutes 20] [--write]

The default run executes the benchmarks of `default_run.yaml` with the counts there and ends after `--minutes`: what has
not begun by then is listed as not run. `--all` executes every benchmark with its own counts, for hours; those that read
public data sets need `--data`. `--write` records the figures in `recorded.jsonl`, and draws docs/lab/growth.svg and
writes docs/lab/performance.md from all that are recorded there.
The exit code is 1 when a benchmark breaks a promise of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import yaml

from bench.figures import FILE, Figure, loop_seconds, read, write

HERE = Path(__file__).resolve().parent
RECORDED, PAGE = HERE / "recorded.jsonl", HERE.parent / "docs" / "lab" / "performance.md"
BENCHMARK = "CPU s of the benchmark"
NO_BENCHMARK = ("__init__", "__main__", "figures", "public_data")
_SIZED = re.compile(r"(?P<part>.+), (?P<rows>\d+) rows|(?P<before>.+) of (?P<rows_of>\d+) rows")
HEADER = (
    "| figure | value | peer | peer's value | times better | before | goal | day | loop |\n"
    "| --- | ---: | --- | ---: | ---: | ---: | --- | --- | ---: |"
)
SHARES = (
    "The ten functions with most processor time of their own (cProfile); the longest steps of a run, by the clock; the "
    "tests with most processor time."
)
INTRODUCTION = """<!-- SPDX-FileCopyrightText: 2026 The gemtune authors -->
<!-- SPDX-License-Identifier: Apache-2.0 -->
# Performance

Written by `make bench ARGS=--write` (a part: `python -m bench --only NAME --write`), on machines of two cores. *Times
better* is the ratio to the peer, in the same process or on the same machine; *before* is the ratio that was recorded
before this one, or the value where there is no peer. *Loop* is what a fixed loop in Python took beside that figure
(milliseconds of the processor; empty: not recorded). Where the loops of two lines differ much, only their ratios can be
compared.

![CPU seconds of 1,000 to 100,000 rows, beside lines of linear growth](growth.svg)
"""


@dataclass(frozen=True)
class Outcome:
    """How a benchmark ended; `note` says why where it did not run to its end."""

    name: str
    kept: bool
    cpu_s: float = 0.0
    note: str = ""
    figures: list[Figure] = field(default_factory=list)

    @property
    def cost(self) -> Figure:
        """Its CPU seconds, and whether it kept its promises."""
        return Figure(
            name=self.name, value=self.cpu_s, unit=BENCHMARK, finding=self.note or ("kept" if self.kept else "BROKEN")
        )


def run(name: str, arguments: Sequence[str], timeout_s: float) -> Outcome:
    """Run a benchmark in a process of its own."""
    print(f"== bench/{name}.py {' '.join(arguments)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path, before = Path(folder, "figures.jsonl"), os.times()
        command = [sys.executable, "-m", f"bench.{name}", *arguments]
        env = {**os.environ, FILE: str(path), "PYTHONPATH": str(HERE.parent)}
        try:
            code, note = subprocess.run(command, cwd=HERE.parent, env=env, timeout=timeout_s).returncode, ""
        except subprocess.TimeoutExpired:
            code, note = 0, "stopped: out of time"
        after = os.times()
        cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
        return Outcome(name, code == 0, cpu_s, note, read(path))


def dated(figures: Sequence[Figure], recorded: Sequence[Figure]) -> list[Figure]:
    """The figures of a run with the day, the machine's loop, and what was recorded of each before."""
    before, loop_s = {figure.name: figure for figure in recorded}, round(loop_seconds(), 4)
    facts = {"measured": str(date.today()), "loop_s": loop_s}
    return [
        figure.model_copy(update={**facts, "earlier": _ratio(then) or _number(then.value)} if then else facts)
        for figure in figures
        for then in [before.get(figure.name)]
    ]


def merged(recorded: Sequence[Figure], figures: Sequence[Figure]) -> list[Figure]:
    """The recorded figures in their order, with those of a run in place of the same or after the one before."""
    names, result = [figure.name for figure in recorded], list(recorded)
    at = len(names)
    for figure in figures:
        if figure.name in names:
            at = names.index(figure.name)
            result[at] = figure
        else:
            names.insert(at + 1, figure.name)
            result.insert(at + 1, figure)
            at += 1
    return result


def table(figures: Sequence[Figure]) -> str:
    """Markdown: one line a figure."""
    return "\n".join([HEADER, *map(_line, figures)])


def _line(figure: Figure) -> str:
    goal = ""
    if figure.goal is not None:
        word = "at least" if figure.more_is_better else "at most"
        goal = f"{word} {_number(figure.goal)}: {'met' if figure.met else 'not met'}"
    peer_value = "" if figure.peer_value is None else _number(figure.peer_value)
    value, loop = (
        f"{_number(figure.value)} {figure.unit}".strip(),
        f"{1000 * figure.loop_s:.0f}" if figure.loop_s else "",
    )
    cells = (figure.name, value, figure.peer, peer_value, _ratio(figure), figure.earlier, goal, figure.measured, loop)
    return f"| {' | '.join(cells)} |"


def _ratio(figure: Figure) -> str:
    return "" if figure.ratio is None else f"{figure.ratio:.1f} x"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def reasons(figures: Sequence[Figure]) -> str:
    """Markdown: why goals are not met: where the time goes, and what else was measured."""
    missed = [figure for figure in figures if figure.met is False]
    if not missed:
        return "## Goals that are not met\n\nNone.\n"
    parts = ["## Goals that are not met", SHARES]
    for figure in missed:
        rows = [f"| `{name}` | {share:.0%} |" for name, share in figure.reason]
        shares = "\n".join(["| function, step or test | share |", "| --- | ---: |", *rows]) if rows else ""
        parts += [f"### {figure.name}", figure.finding, shares]
    return "\n\n".join(filter(None, parts)) + "\n"


def growth(figures: Iterable[Figure]) -> dict[str, list[tuple[int, float]]]:
    """CPU seconds by number of rows, of each part that was measured with several."""
    parts: dict[str, list[tuple[int, float]]] = {}
    for figure in figures:
        if figure.unit == "CPU s" and (match := _SIZED.fullmatch(figure.name)):
            parts.setdefault((match["part"] or match["before"]).strip(), []).append(
                (int(match["rows"] or match["rows_of"]), figure.value)
            )
    return {part: sorted(sizes) for part, sizes in parts.items() if len(sizes) > 1}


def draw(parts: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Draw growth on two logarithmic axes, each part beside a dotted line of linear growth."""
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    matplotlib.rcParams["svg.hashsalt"] = "growth"  # the same figures give the same file
    drawing = Drawing(figsize=(7, 4.5), layout="constrained")
    axes = drawing.subplots()
    for part, sizes in parts.items():
        rows, seconds = zip(*sizes, strict=True)
        (line,) = axes.plot(rows, seconds, marker="o", label=part)
        axes.plot(rows, [seconds[-1] * n / rows[-1] for n in rows], linestyle=":", color=line.get_color())
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="CPU seconds, start subtracted")
    axes.legend()
    drawing.savefig(path, metadata={"Date": None})


def promises(figures: Sequence[Figure]) -> str:
    """Markdown: one line a benchmark, with what it took and whether it kept its promises."""
    lines = ["| benchmark | CPU seconds | promises | day |", "| --- | ---: | --- | --- |"]
    lines += [f"| {own.name} | {own.value:.0f} | {own.finding} | {own.measured} |" for own in figures]
    return "\n".join(lines)


def _planned(every: bool, only: Sequence[str], data: str) -> dict[str, list[str]]:
    """Benchmarks with their arguments: those of the default run, or all with their own counts."""
    found = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NO_BENCHMARK)
    counts: dict[str, str] = yaml.safe_load((HERE / "default_run.yaml").read_text(encoding="utf-8"))
    names = [name for name in (only or (found if every else counts))]
    plan = {name: [] if every else (counts.get(name) or "").split() for name in names}
    needing = [name for name in plan if "bench.public_data" in (HERE / f"{name}.py").read_text(encoding="utf-8")]
    return {name: [*own, *(["--data", data] if data and name in needing else [])] for name, own in plan.items()}


def main() -> int:
    """0 when every benchmark that ran kept its promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every benchmark with its own counts: hours")
    parser.add_argument("--only", nargs="*", default=[], help="these benchmarks")
    parser.add_argument("--data", default="", help="folder of public data sets")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the default run")
    parser.add_argument("--write", action="store_true", help=f"record the figures and write {PAGE.name}")
    given = parser.parse_args()
    begin = time.monotonic()
    end = begin + (86_400 if given.all else 60 * given.minutes)
    outcomes = []
    for name, arguments in _planned(given.all, given.only, given.data).items():
        left = end - time.monotonic()
        outcomes.append(run(name, arguments, left) if left > 0 else Outcome(name, True, note="not run: out of time"))
    figures, recorded = [figure for own in outcomes for figure in own.figures], read(RECORDED)
    if not given.all and not given.only:
        minutes = (time.monotonic() - begin) / 60
        figures.append(Figure(name="make bench", value=minutes, unit="minutes", goal=20))
    figures = dated([*figures, *(own.cost for own in outcomes if not own.note.startswith("not run"))], recorded)
    print(f"\n{_shown(figures)}")
    if given.write:
        figures = merged(recorded, figures)
        write(RECORDED, figures)
        draw(growth(figures), PAGE.with_name("growth.svg"))
        PAGE.write_text("\n".join([INTRODUCTION, _shown(figures), reasons(figures)]), encoding="utf-8")
    return 0 if all(own.kept for own in outcomes) else 1


def _shown(figures: Sequence[Figure]) -> str:
    costs = [figure for figure in figures if figure.unit == BENCHMARK]
    return f"{table([figure for figure in figures if figure.unit != BENCHMARK])}\n\n{promises(costs)}\n"


if __name__ == "__main__":
    sys.exit(main())

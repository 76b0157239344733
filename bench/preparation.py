# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What preparing data costs: CPU seconds of each part, for files of rows made here.

    python bench/preparation.py [--rows 1000 10000 100000] [--only split] [--folder FOLDER]

Each part is a process of its own; `start` is what the same process takes for fifty rows (of `data check`: its help),
and is subtracted. The last column is CPU seconds a row of the last file beside the one before: 1 is linear growth.
`--folder` keeps the files, so that results of two versions of the code can be compared; each part has a digest of its
results. `data check` counts rows in as many processes as there are cores, so its rate is measured by the clock too. A
part that misses its goal is profiled.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

Reason = Callable[[], list[tuple[str, float]]]
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.dedup import corpus  # noqa: E402
from bench.figures import Figure, record  # noqa: E402

CLASSES, FEW, MANY = 200, 50, 100_000
PREPROCESS = """
import sys
from gemtune.config import Config
from gemtune.steps import preprocess
c = Config.load(None, sys.argv[3:]).parameters()
outputs = [f"{sys.argv[2]}.{name}" for name in ("kept", "dropped", "report")]
preprocess.run(sys.argv[1], *outputs, task=c["task"], preprocess=c["preprocess"])
"""
SPLIT = """
import sys
from gemtune.config import Config
from gemtune.steps import split
c = Config.load(None, ["split.min_rows=1"]).parameters()
outputs = [f"{sys.argv[2]}.{name}" for name in ("train", "validation", "test", "report")]
split.run(sys.argv[1], tuple(outputs[:3]), outputs[3], "", "", split=c["split"], task=c["task"])
"""
# of MANY rows
GOALS_MB_S = {"data check": 20.0, "preprocess, rows only": 10.0}
GOALS_S = {"preprocess": 25.0, "split": 20.0}
GROWTH = 1.2  # times the CPU seconds a row of ten times fewer rows
GUARDED = ["preprocess.max_removed_share=1", "preprocess.max_cluster=0", "preprocess.conflicts=keep",
           "preprocess.slice_columns=[region]"]  # fmt: skip
READ_ONLY = [
    *GUARDED, "preprocess.jaccard_threshold=0", "preprocess.repeated_chars=0", "preprocess.find_label_issues=false"
]  # fmt: skip


def write(path: Path, rows: int) -> None:
    """Labelled rows of ten to two hundred words, two fifths of them edited copies, most with the same first word."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(corpus(rows)):
            first_word = text.split(maxsplit=1)[0].lower()
            label = f"class {zlib.crc32(first_word.encode()) % min(CLASSES, max(2, rows // 20))}"
            row = {"id": number, "text": text, "label": label, "region": "north" if number % 3 else "south"}
            file.write(json.dumps(row) + "\n")


def commands(rows: Path, prefix: Path) -> dict[str, list[str]]:
    """Every part by name, each with the file it reads."""
    preprocess = [sys.executable, "-c", PREPROCESS, str(rows)]
    return {
        "data check": [sys.executable, "-m", "gemtune", "data", "check", str(rows)],
        "preprocess, rows only": [*preprocess, f"{prefix}.read", *READ_ONLY],
        "preprocess": [*preprocess, f"{prefix}.prepared", *GUARDED],
        "split": [sys.executable, "-c", SPLIT, f"{prefix}.read.kept", f"{prefix}.split"],
    }


def seconds(command: list[str], output: Path, cores: set[int] | None = None) -> tuple[float, float]:
    """Seconds of the processors and of the clock that a command takes, whose output is kept, its log beside it."""
    log, begin = output.with_suffix(".log"), time.perf_counter()
    with output.open("wb") as out, log.open("wb") as err:
        limit = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=err, preexec_fn=limit)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) > 1 or "Traceback" in log.read_text(errors="replace"):
        raise SystemExit(log.read_text(errors="replace")[-2000:])  # 1: `data check` found problems
    return used.ru_utime + used.ru_stime, time.perf_counter() - begin


def profile(command: list[str], folder: Path) -> list[tuple[str, float]]:
    """The ten functions of a command with most processor time of their own, and their shares of all of it.

    It runs on one core, and so in one process.
    """
    script, stats = folder / "profiled.py", folder / "profiled.stats"
    script.write_text(command[2] if command[1] == "-c" else "from gemtune.cli.main import app\napp()\n", "utf-8")
    arguments = command[3:]
    seconds([sys.executable, "-m", "cProfile", "-o", str(stats), str(script), *arguments], folder / "profiled.output",
            set(sorted(os.sched_getaffinity(0))[:1]))  # fmt: skip
    own = {where: numbers[2] for where, numbers in vars(pstats.Stats(str(stats)))["stats"].items()}
    largest = sorted(own, key=lambda where: -own[where])[:10]
    named = {where: f"{Path(where[0]).stem}.{where[2]}".removeprefix("~.").strip("<>") for where in largest}
    return [(named[where], own[where] / sum(own.values())) for where in largest]


def digest(prefix: Path, part: str) -> str:
    """Eight hex digits of what a part wrote, whatever folder it wrote to."""
    kind = {"preprocess, rows only": "read", "preprocess": "prepared", "split": "split"}.get(part, "output")
    content = hashlib.sha256()
    for path in sorted(prefix.parent.glob(f"{prefix.name}.{kind}*")):
        content.update(path.read_bytes().replace(str(prefix.parent).encode(), b""))
    return content.hexdigest()[:8]


def report(part: str, rows: int, spent: tuple[float, float], megabytes: float, reason: Reason) -> None:
    """Record a part: its seconds, and of a file of MANY rows the rates for which there are goals."""
    name, goal = f"{part}, {rows} rows", GOALS_S.get(part) if rows == MANY else None
    figures = [Figure(name=name, value=spent[0], unit="CPU s", goal=goal)]
    if rows == MANY and part in GOALS_MB_S:
        by_clock, rate = part == "data check", partial(Figure, more_is_better=True)
        goals = (None, GOALS_MB_S[part]) if by_clock else (GOALS_MB_S[part], None)
        figures.append(rate(name=f"{name}: rate", value=megabytes / spent[0], unit="MB/CPU s", goal=goals[0]))
        if by_clock:
            name = f"{name}: rate by the clock, {len(os.sched_getaffinity(0))} cores"
            figures.append(rate(name=name, value=megabytes / spent[1], unit="MB/s", goal=goals[1]))
    for figure in figures:
        record(figure.model_copy(update={"reason": reason()}) if figure.met is False else figure)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, MANY])
    parser.add_argument("--only", default="", help="parts whose name contains this")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    sizes = [FEW, *arguments.rows]
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        files = {size: folder / f"{size}.jsonl" for size in sizes}
        for size, file in files.items():
            if not file.exists():
                write(file, size)
        print("| part | start, CPU s | " + " | ".join(f"{size} rows | MB/s | results" for size in sizes[1:])
              + " | growth |\n| --- |" + " --- |" * (3 * len(sizes) - 1))  # fmt: skip
        for command in commands(files[sizes[1]], folder / "first").values():  # compiles the kernels, kept on disk
            seconds(command, folder / "first.output")
        for part in [name for name in commands(files[FEW], folder) if arguments.only in name]:
            own, growth, cells = (0.0, 0.0), list[float](), list[str]()
            for size, file in files.items():
                prefix, megabytes = folder / str(size), file.stat().st_size / 1e6
                command = commands(file, prefix)[part]
                # of few rows `data check` also executes the first steps of a run
                command = [*command[:-1], "--help"] if (part, size) == ("data check", FEW) else command
                spent = seconds(command, folder / f"{size}.output")
                if size == FEW:
                    own = spent
                    continue
                cpu_s, clock_s = (max(0.01, now - then) for now, then in zip(spent, own, strict=True))
                report(part, size, (cpu_s, clock_s), megabytes, partial(profile, command, folder))
                growth.append(cpu_s / size)
                cells.append(f"{cpu_s:.1f} | {megabytes / cpu_s:.1f} | {digest(prefix, part)}")
            grown = growth[-1] / growth[-2] if len(growth) > 1 else 1.0
            if len(growth) > 1:
                name = f"growth: {part}, a row of {sizes[-1]} beside one of {sizes[-2]}"
                record(Figure(name=name, value=grown, unit="times", goal=GROWTH))
            print(f"| {part} | {own[0]:.1f} | {' | '.join(cells)} | {grown:.2f} |", flush=True)


if __name__ == "__main__":
    main()

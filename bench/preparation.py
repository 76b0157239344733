# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What preparing data costs: CPU seconds of each part, for a file of rows made here and for one five times as large.

    python bench/preparation.py [--rows 20000] [--only split] [--folder FOLDER]

Each part is a process of its own; `start` is what the same process takes for fifty rows (of `data check`: its help),
and is subtracted. The last column is 1 where a part grows as the rows do. `--folder` keeps the files, so that results
of two versions of the code can be compared; each part has a digest of its results.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.dedup import corpus  # noqa: E402
from bench.figures import Figure, record  # noqa: E402

CLASSES, FEW, GROWTH = 200, 50, 5
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
GOALS_MB_S = {"data check": 20.0, "preprocess, rows only": 10.0}
GOALS_S = {"preprocess": 25.0, "split": 20.0}  # of 100,000 rows
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


def cpu_s(command: list[str], output: Path) -> float:
    """CPU seconds of a command and its processes, whose output is kept in a file, its log beside it."""
    log = output.with_suffix(".log")
    with output.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) > 1 or "Traceback" in log.read_text(errors="replace"):
        raise SystemExit(log.read_text(errors="replace")[-2000:])  # 1: `data check` found problems
    return used.ru_utime + used.ru_stime


def digest(prefix: Path, part: str) -> str:
    """Eight hex digits of what a part wrote, whatever folder it wrote to."""
    kind = {"preprocess, rows only": "read", "preprocess": "prepared", "split": "split"}.get(part, "output")
    content = hashlib.sha256()
    for path in sorted(prefix.parent.glob(f"{prefix.name}.{kind}*")):
        content.update(path.read_bytes().replace(str(prefix.parent).encode(), b""))
    return content.hexdigest()[:8]


def report(name: str, part: str, rows: int, cpu_s: float, mb_s: float) -> None:
    """Record a part: where its goal is a rate by the rate, else by its CPU seconds."""
    if part in GOALS_MB_S:
        record(Figure(name=name, value=mb_s, unit="MB/CPU s", goal=GOALS_MB_S[part], more_is_better=True))
    else:
        record(Figure(name=name, value=cpu_s, unit="CPU s", goal=GOALS_S[part] if rows == 100_000 else None))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--only", default="", help="parts whose name contains this")
    parser.add_argument("--few", action="store_true", help="the smaller file only")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    sizes = [FEW, arguments.rows] + [GROWTH * arguments.rows] * (not arguments.few)
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
            cpu_s(command, folder / "first.output")
        for part in [name for name in commands(files[FEW], folder) if arguments.only in name]:
            spent, cells = {}, []
            for size, file in files.items():
                prefix = folder / str(size)
                command = commands(file, prefix)[part]
                # of few rows `data check` also executes the first steps of a run
                command = [*command[:-1], "--help"] if (part, size) == ("data check", FEW) else command
                spent[size] = cpu_s(command, folder / f"{size}.output")
                if size != FEW:
                    own = max(0.01, spent[size] - spent[FEW])
                    report(f"{part}, {size} rows", part, size, own, file.stat().st_size / 1e6 / own)
                    cells.append(f"{own:.1f} | {file.stat().st_size / 1e6 / own:.1f} | {digest(prefix, part)}")
            growth = (spent[sizes[-1]] - spent[FEW]) / max(0.01, spent[sizes[1]] - spent[FEW]) / sizes[-1] * sizes[1]
            print(f"| {part} | {spent[FEW]:.1f} | {' | '.join(cells)} | {growth:.2f} |", flush=True)


if __name__ == "__main__":
    main()

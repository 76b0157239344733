# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the data commands hold in memory: the peak of each, on a file made here, beside the file's size.

    python bench/memory.py [--rows 60000]

Each command is a process of its own. `start` is what one takes that reads twenty rows; with `preprocess` most of it is
the compiler. The last column but one is what the file's rows add to that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.dedup import corpus  # noqa: E402

PREPROCESS = """
import sys
from gemtune.steps import preprocess
from gemtune.config import Config
c = Config.load(None, sys.argv[2:]).parameters()
outputs = [f"{sys.argv[1]}.{name}" for name in ("examples", "dropped", "report")]
preprocess.run(sys.argv[1], *outputs, task=c["task"], preprocess=c["preprocess"])
"""

TFIDF = """
import json, sys
from gemtune.data.example import Example
from gemtune.inference import tfidf_baseline
with open(sys.argv[1], encoding="utf-8") as file:
    rows = [Example(str(n), json.loads(line)["text"], f"l{n % 150}") for n, line in enumerate(file)]
tfidf_baseline.predict(rows[:10_000], rows[-20_000:])
"""

TUNING = """
import random, sys, tempfile
from pathlib import Path
from emulator.engines.base import PreferenceRow, TrainingRow, TuningSpec, TuningTask, Turn
from emulator.engines.student.engine import Student
kind, count, words = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(0)
text = lambda: " ".join(rng.choices("order account money card late help".split(), k=rng.randint(1, words)))
def row():
    ask = Turn("user", text())
    return PreferenceRow((ask,), text(), text()) if kind == "pairs" else TrainingRow((ask, Turn("model", text())))
rows = [row() for _ in range(count)]
with tempfile.TemporaryDirectory() as folder:
    Student().tune(TuningTask(rows, rows[: count // 10], TuningSpec(1, 1.0, 8, 0), Path(folder)))
"""

ALONE = """
import json, sys
from gemtune import dedup
from gemtune.dedup import substrings
with open(sys.argv[1], encoding="utf-8") as file:
    texts = [json.loads(line)["text"] for line in file]
dedup.keep(texts) if sys.argv[2] == "keep" else substrings.repeated_spans(texts)
"""


def peak(arguments: list[str]) -> tuple[float, float]:
    """Largest resident size (MB) of a command, and its seconds; raises when it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments[:6])} ended with status {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss / 1000, time.perf_counter() - begun


def tuning(path: str, kind: str, count: int, words: int) -> list[str]:
    """The command that tunes the emulator's model with random texts: one of eight rows for the file of few rows."""
    return [sys.executable, "-c", TUNING, kind, str(count if "many" in path else 8), str(words)]


def write(path: Path, rows: int) -> None:
    """Labelled rows of ten to two hundred words, two fifths of them edited copies."""
    texts = corpus(rows)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text, "label": f"l{n % 9}"}) + "\n" for n, text in enumerate(texts))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--only", default="", help="commands whose name contains this")
    arguments = parser.parse_args()
    rows = arguments.rows
    python = sys.executable
    guarded = ["preprocess.max_removed_share=1", "preprocess.conflicts=keep"]
    commands = {
        "data convert": lambda f: [python, "-m", "gemtune", "data", "convert", f, "--out", f + ".out.jsonl"],
        "data check": lambda f: [python, "-m", "gemtune", "data", "check", f],
        "preprocess": lambda f: [python, "-c", PREPROCESS, f, *guarded],
        "preprocess, no search for label errors": lambda f: [
            python, "-c", PREPROCESS, f, *guarded, "preprocess.find_label_issues=false"
        ],
        "TF-IDF baseline: 10,000 rows of 150 labels, 20,000 predicted": lambda f: [python, "-c", TFIDF, f],
        "tuning of the emulator's model: 319 pairs of up to 250 words": lambda f: tuning(f, "pairs", 319, 250),
        "tuning of the emulator's model: 64 pairs of up to 1,500 words": lambda f: tuning(f, "pairs", 64, 1500),
        "tuning of the emulator's model: 64 rows of up to 1,500 words": lambda f: tuning(f, "rows", 64, 1500),
        "texts and near-duplicates alone": lambda f: [python, "-c", ALONE, f, "keep"],
        "texts and passages alone": lambda f: [python, "-c", ALONE, f, "spans"],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few.jsonl"), Path(folder, "many.jsonl")
        write(few, 20)
        write(many, rows)
        size = many.stat().st_size / 1e6
        print(f"{rows} rows, {size:.0f} MB\n")
        print("| command | start, MB | peak, MB | above start, times the file | seconds |")
        print("| --- | --- | --- | --- | --- |")
        for name, command in ((name, own) for name, own in commands.items() if arguments.only in name):
            (start, _), (high, seconds) = peak(command(str(few))), peak(command(str(many)))
            print(f"| {name} | {start:.0f} | {high:.0f} | {(high - start) / size:.1f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()

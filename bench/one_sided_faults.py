# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How often a tuned model that equals the prompt is deployed when one of the two is in technical trouble.

    python -m bench.one_sided_faults [--count 200] [--rows 150] [--whole 0]

Each decision is made by the steps themselves (checkpoints evaluated and selected, finalists evaluated, gate) in this
process, against an emulator whose base and tuned model are right in 70 % of new rows. The requests of one of them, in
turns, fail until 1, 3, 10 or 30 % of its rows have no answer. Printed are the verdicts for each side and share.
`--whole` runs of the whole pipeline follow, in which a third of one side's requests meet 429, three attempts each: some
minutes a run, of which most is waiting. Exit code 1: `deploy` more often than the stated 2.5 %, chance aside.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "integration"), str(ROOT / "tests" / "pipeline")]

from deployments import Run  # noqa: E402
from emulator_process import Emulator  # noqa: E402
from samples import PHRASES, examples, sections, write_examples  # noqa: E402
from scipy.stats import binom  # noqa: E402
from test_run import command, environment, write_inputs  # noqa: E402

from gemtune.artifacts.decision import DecisionRecord  # noqa: E402
from gemtune.inference.generate import RetryPolicy  # noqa: E402
from gemtune.steps import evaluate, gate, select_model  # noqa: E402

STATED, CERTAIN = 0.025, 0.99
SHARES = (0.01, 0.03, 0.1, 0.3)
SIDES = {"prompt": "/publishers/google/models/", "candidate": "/endpoints/"}
ROUNDS = 3  # a row without an answer was sent as often
VALIDATION_ROWS, ACCURACY = 40, 0.7
SETTINGS = (
    *("evaluate.attempts=1", "evaluate.max_error_share=1", "evaluate.resamples=200"),
    "evaluate.tfidf_baseline=false",
)


def decided(emulator: Emulator, run: Run, folder: Path, seed: int, rows: int, trouble: tuple[str, float]) -> str:
    """The verdict on new rows of a seed, with a share of one side's rows that get no answer."""
    side, share = trouble
    folder.mkdir()
    paths = {name: str(folder / name) for name in ("validation", "test", "answers", "report", "selection", "tested")}
    for name, count in (("validation", VALIDATION_ROWS), ("test", rows)):
        write_examples(paths[name], examples(count, random.Random(f"{seed} {name}").randrange(2**40)))
    train, settings = str(run.folder / "train.jsonl"), sections(*SETTINGS)
    job, plan = str(run.folder / "job"), str(run.folder / "plan")
    emulator.faults(paths=SIDES[side], error_rate=share ** (1 / ROUNDS), error_code=503, seed=seed)
    evaluate.run_checkpoints(paths["validation"], train, [job], plan, paths["answers"], paths["report"], **settings)
    select_model.run(plan, paths["selection"], run.name, [job], paths["report"], **settings)
    final = (paths["test"], train, paths["selection"], run.name, paths["answers"], paths["tested"])
    evaluate.run_finalists(*final, **settings)
    decision = str(folder / "decision")
    gate.run(paths["answers"], paths["selection"], plan, paths["tested"], decision, **settings)
    return DecisionRecord.read(decision).verdict


def whole_run(folder: Path, seed: int) -> str:
    """The verdict of a whole run of its own split, in which a third of one side's requests meet 429."""
    write_inputs(folder, base_accuracy=ACCURACY, tuned_accuracy=ACCURACY)
    settings = ("evaluate.attempts=3", "evaluate.max_error_share=1", f"split.seed={seed}")
    arguments = [*command(folder, "--exit-zero"), *(word for text in settings for word in ("--set", text))]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    plan = {"seed": seed, "paths": list(SIDES.values())[seed % 2], "error_rate": 1 / 3, "error_code": 429}
    out = folder / "out.txt"
    is_disturbed = False
    with out.open("wb") as file:
        process = subprocess.Popen(arguments, cwd=folder, env=variables, stdout=file, stderr=file)
    while process.poll() is None:
        address = re.search(r"^watch: (http://[\d.:]+)", out.read_text("utf-8"), re.MULTILINE)
        if address and not is_disturbed:
            url, kind = f"{address[1]}/emulator/faults", {"Content-Type": "application/json"}
            request = urllib.request.Request(url, json.dumps(plan).encode(), kind, method="PUT")
            urllib.request.urlopen(request, timeout=10).close()
            is_disturbed = True
        time.sleep(0.1)
    assert is_disturbed, "the run ended before its faults were set"
    assert process.returncode == 0, out.read_text("utf-8")[-2000:]
    (summary,) = folder.glob("runs/*/summary.json")
    return str(json.loads(summary.read_text("utf-8"))["verdict"])


def main() -> int:
    """Print the verdicts; 1 where equal models are deployed too often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="decisions")
    parser.add_argument("--rows", type=int, default=150, help="test rows of a decision")
    parser.add_argument("--whole", type=int, default=0, help="whole runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    quick = functools.partial(RetryPolicy, initial_backoff_s=0.001, max_backoff_s=0.001)
    verdicts: dict[tuple[str, float], Counter[str]] = {}
    with (
        mock.patch("gemtune.inference.vertex_generation.RetryPolicy", quick),
        tempfile.TemporaryDirectory() as temporary,
    ):
        root = Path(temporary)
        answers = {phrase: label for label, phrases in PHRASES.items() for phrase in phrases}
        script = {"answers": answers, "labels": sorted(PHRASES), "base_accuracy": ACCURACY, "tuned_accuracy": ACCURACY}
        (root / "script.json").write_text(json.dumps(script))
        emulator = Emulator(root / "state", "--engine", f"scripted:{root / 'script.json'}")
        os.environ.update(emulator.environment)
        try:
            run = Run(root / "run", "equal", 1, [0.9])
            for number in range(arguments.count):
                trouble = list(SIDES)[number % 2], SHARES[number // 2 % len(SHARES)]
                seed = arguments.seed + number
                verdict = decided(emulator, run, root / str(number), seed, arguments.rows, trouble)
                verdicts.setdefault(trouble, Counter())[verdict] += 1
        finally:
            emulator.kill()
    for (side, share), counts in sorted(verdicts.items()):
        print(f"{side:9} {share:4.0%} {', '.join(f'{count} {verdict}' for verdict, count in counts.most_common())}")
    deployed = sum(counts["deploy"] for counts in verdicts.values())
    most = int(binom.ppf(CERTAIN, arguments.count, STATED))
    print(f"{deployed} of {arguments.count} deployed; stated {STATED:.1%}: at most {most}, chance included")
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(number) for number in range(arguments.whole)]
        whole = []
        for number, folder in enumerate(folders):
            folder.mkdir()
            whole.append(whole_run(folder, arguments.seed + number))
            print(f"whole run {number}: {whole[-1]}", flush=True)
    most_whole = int(binom.ppf(CERTAIN, arguments.whole, STATED))
    return int(deployed > most or whole.count("deploy") > most_whole)


if __name__ == "__main__":
    sys.exit(main())

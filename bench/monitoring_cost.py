# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What monitoring costs: one window of 100,000 distinct texts, compared with 5,000 training rows.

    python -m bench.monitoring_cost [--rows 100000] [--training-rows 5000]

Texts of 40 and of 400 characters, of words by Zipf's law. Of more than `monitor.max_rows` distinct texts a sample is
compared; the second line compares all. No request is sent. Ends with exit code 1 when a window takes more than 60 or
180 seconds for 100,000 rows, or 2 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from gemtune.artifacts.production_log import LogRow
from gemtune.artifacts.records import ChampionEntry
from gemtune.config import Evaluate, ModelVariant, Monitor, Task
from gemtune.data.cleaning import load_cleaner
from gemtune.data.example import Example
from gemtune.inference.vertex_generation import generation_settings
from gemtune.monitoring import drift, labelling, logs
from gemtune.monitoring.differences import differences
from gemtune.monitoring.records import Champion
from gemtune.monitoring.reference import MAX_TRAIN_ROWS, training_reference
from gemtune.monitoring.similarity import TrainingRows

START = datetime(2026, 1, 5, tzinfo=UTC)
GOALS = {40: 60, 400: 180}  # seconds for 100,000 rows of so many characters


def monitored_window(train: list[str], texts: list[str], most: int) -> None:
    """What the steps compute of one window: logs read, texts compared, clusters of new texts, rows to label."""
    task, generation = Task(labels=["a", "b"]), generation_settings(Evaluate())
    model, tuned = (f"projects/p/locations/l/{kind}/1" for kind in ("endpoints", "models"))
    variant = ModelVariant(name="tuned", model=model, tuned_model=tuned)
    rows = [Example(str(i), text, "ab"[i % 2]) for i, text in enumerate(train)]
    reference = training_reference(task, variant, rows, None, "", "")
    entry = ChampionEntry(
        variant=variant, since=START, labels_since=START, task=task, generation=generation, cleaning={}
    )
    champion = Champion(entry, reference, "", {"temperature": 0.0}, {}, START, 1, [variant.model])
    span = START, START + timedelta(days=7)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logs.jsonl")
        with path.open("w") as file:
            for text in texts:
                file.write(json.dumps({"time": START.isoformat(), "text": text, "answer": "a"}) + "\n")
        loaded, _ = logs.load_logs(str(path), span, [], reference.template, 0)
    training = TrainingRows(train, [row.target for row in rows])
    cleaner, monitor = load_cleaner({}), Monitor(max_rows=most)
    monitored = drift.Monitored(champion, training, cleaner, monitor, 0.05)
    window = drift.examine(monitored, span, [row for row in loaded if isinstance(row, LogRow)], [])
    training.near_topics({"": 0.0})
    ids, own = [item.row.id for item in window.texts], [item.row.text for item in window.texts]
    topics = training.new_topics(ids, own, window.scores)
    differences(train, training, own)
    labelling.choose(START, window.texts, [topic.ids[0] for topic in topics], [], 100)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--training-rows", type=int, default=MAX_TRAIN_ROWS)
    options, rng, missed = parser.parse_args(), np.random.default_rng(1), False
    print("| characters | max_rows | seconds | CPU seconds | peak, MB |\n| ---: | ---: | ---: | ---: | ---: |")
    words = ["".join(rng.choice(list("aeiounrstldmchgp"), rng.integers(2, 10))) for _ in range(20_000)]
    for chars, goal in GOALS.items():
        texts = [
            " ".join(words[i] for i in rng.zipf(1.2, chars // 2) % len(words))[:chars]
            for _ in range(options.rows + options.training_rows)
        ]
        for most in (Monitor().max_rows, options.rows):
            begun, before = time.perf_counter(), time.process_time()
            monitored_window(texts[: options.training_rows], texts[options.training_rows :], most)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - before
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            missed |= seconds > goal * options.rows / 100_000 or peak > 2000
            print(f"| {chars} | {most} | {seconds:.0f} | {cpu:.0f} | {peak:.0f} |", flush=True)
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()

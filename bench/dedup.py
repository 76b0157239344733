# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How fast and how right deduplication is, on texts made here with known near-duplicates.

    python -m bench.dedup                      100,000 rows: fuzzy, leakage, repeated spans
    python -m bench.dedup --rows 10000         fewer
    python -m bench.dedup --growth FILE.svg    fuzzy from 10,000 to 1,000,000 rows, with a plot

Peers (rensa for fuzzy and leakage, pydivsufsort for spans) are measured beside it, in turn, where they are installed.
Figures are CPU seconds of this process, the least of the repetitions. Quality: an over-drop is a dropped row whose
leader is not within the threshold by Python sets; residual pairs are planted pairs of which both rows were kept, by
similarity.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gemtune import dedup
from gemtune.dedup import overlaps, substrings

THRESHOLD = 0.8
BANDS = ((0.8, 0.85), (0.85, 0.9), (0.9, 0.95), (0.95, 1.01))


def corpus(rows: int, seed: int = 1) -> tuple[list[str], list[int]]:
    """Ticket-like texts of 10 to 200 words, a quarter of them edited copies, and the row each is a copy of."""
    draw = random.Random(seed)
    parts = ["".join(p) for p in zip(draw.choices("bcdfglmnprstvk", k=900), draw.choices("aeiou", k=900), strict=True)]
    words = ["".join(draw.choices(parts, k=draw.choice((1, 2, 2, 3)))) for _ in range(30_000)]
    weights = [1 / (rank + 5) for rank in range(len(words))]
    texts: list[list[str]] = []
    origin: list[int] = []
    while len(texts) < rows:
        size = int(min(200, max(10, draw.lognormvariate(3.75, 0.6))))
        texts.append(draw.choices(words, weights, k=size))
        origin.append(len(texts) - 1)
        source = origin[-1]
        for _ in range(draw.choice((0, 0, 0, 0, 0, 1, 1, 2, 3, 8)) if draw.random() < 0.5 else 0):
            copy = list(texts[source])
            for _ in range(round(len(copy) * draw.choice((0, 0, 0.02, 0.05, 0.1, 0.2)) * draw.random())):
                copy[draw.randrange(len(copy))] = draw.choice(words)
            texts.append(copy)
            origin.append(source)
    order = draw.sample(range(rows), rows)
    return [" ".join(texts[i]) for i in order], [origin[i] for i in order]


def quality(texts: Sequence[str], origin: Sequence[int]) -> None:
    """Print over-drops and residual pairs by band."""
    leading = dedup.leaders(texts, THRESHOLD).tolist()
    kept = [leader == i for i, leader in enumerate(leading)]
    over = 0
    for i, leader in enumerate(leading):
        if leader != i:
            similar = dedup.jaccard(dedup.shingles(texts[i]), dedup.shingles(texts[leader]))
            over += not kept[leader] or similar < THRESHOLD
    clusters: dict[int, list[int]] = {}
    for i, source in enumerate(origin):
        clusters.setdefault(source, []).append(i)
    found = {band: [0, 0] for band in BANDS}
    for members in (m for m in clusters.values() if len(m) > 1):
        sets = [dedup.shingles(texts[i]) for i in members]
        for a in range(len(members)):
            for b in range(a):
                similar = dedup.jaccard(sets[a], sets[b])
                for low, high in BANDS:
                    if low <= similar < high:
                        found[low, high][0] += 1
                        found[low, high][1] += kept[members[a]] and kept[members[b]]
    print(f"  kept {sum(kept)} of {len(texts)}; over-drops {over}")
    for (low, high), (pairs, residual) in found.items():
        print(
            f"  planted pairs with {low} <= J < {high}: {pairs}, both kept {residual} ({residual / max(1, pairs):.4%})"
        )


def measured(runs: dict[str, Callable[[], Any]], repetitions: int = 3) -> dict[str, tuple[float, float]]:
    """Least (CPU seconds, wall seconds) of each, run in turn."""
    least: dict[str, tuple[float, float]] = {}
    for _ in range(repetitions):
        for name, run in runs.items():
            cpu, wall = _cpu(), time.perf_counter()
            run()
            spent = _cpu() - cpu, time.perf_counter() - wall
            least[name] = min(spent, least.get(name, spent))
    return least


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(title: str, spent: dict[str, tuple[float, float]], rows: int) -> None:
    """Print microseconds a row and how many times faster the first is."""
    print(title)
    first = next(iter(spent.values()))[0]
    for name, (cpu, wall) in spent.items():
        times = f", {cpu / first:.1f} times ours" if cpu != first else ""
        print(f"  {name:28s} {cpu / rows * 1e6:8.2f} us/row CPU, {wall:6.2f} s wall{times}")


def fuzzy(texts: list[str], origin: list[int]) -> None:
    """Keep list: ours, ours without a compiler, rensa's."""
    runs: dict[str, Callable[[], Any]] = {"gemtune": lambda: dedup.keep(texts, THRESHOLD, threads=1)}
    if find_spec("rensa"):
        runs["rensa Deduplicator 20x6"] = lambda: _rensa_keep(texts)
    report(f"fuzzy, {len(texts)} rows", measured(runs), len(texts))
    quality(texts, origin)


def _rensa_keep(texts: list[str]) -> Any:
    from rensa import RMinHashDeduplicator

    engine = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=120, use_lsh=True, num_bands=20)
    return engine.add_pairs((str(i), list(dedup.shingles(text))) for i, text in enumerate(texts))


def leakage(texts: list[str]) -> None:
    """2 % of the rows as test rows against the others."""
    cut = len(texts) // 50
    test, train = texts[:cut], texts[cut:]
    runs: dict[str, Callable[[], Any]] = {"gemtune": lambda: overlaps.overlaps(train, test, THRESHOLD, threads=1)}
    if find_spec("rensa"):
        runs["rensa LSH 20x6, unverified"] = lambda: _rensa_overlaps(train, test)
    report(f"leakage, {len(test)} rows against {len(train)}", measured(runs, 2), len(train))
    few = train[:5000]
    exact = {(i, j) for i, j in overlaps.overlaps(few, test, THRESHOLD, compiled=False).tolist()}
    ours = {(i, j) for i, j in overlaps.overlaps(few, test, THRESHOLD).tolist()}
    print(f"  {len(ours)} pairs in {len(few)} rows; missed {len(exact - ours)}, false {len(ours - exact)}")


def _rensa_overlaps(train: list[str], test: list[str]) -> Any:
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=THRESHOLD, num_perm=120, num_bands=20)
    sets = [list(dedup.shingles(text)) for text in train]
    index.insert_many(RMinHash.from_token_sets(sets, num_perm=120, seed=42))
    return index.query_all(RMinHash.from_token_sets([list(dedup.shingles(t)) for t in test], num_perm=120, seed=42))


def spans(texts: list[str], length: int = 100) -> None:
    """Repeated spans: ours beside a suffix array with its longest common prefixes."""
    size = sum(map(len, texts))
    runs: dict[str, Callable[[], Any]] = {"gemtune": lambda: substrings.repeated_spans(texts, length)}
    if find_spec("pydivsufsort"):
        runs["pydivsufsort + LCP"] = lambda: _suffix_marks(texts, length)
    spent = measured(runs, 2)
    print(f"repeated spans of {length} characters, {size / 1e6:.0f} MB")
    for name, (cpu, wall) in spent.items():
        print(f"  {name:28s} {size / 1e6 / cpu:8.1f} MB a CPU second, {wall:6.2f} s wall")


def _suffix_marks(texts: list[str], length: int) -> Any:
    import pydivsufsort

    text = "\x00".join(texts).encode()
    array = pydivsufsort.divsufsort(text)
    return pydivsufsort.kasai(text, array) >= length


def growth(file: Path) -> None:
    """Time a row from 10,000 to 1,000,000 rows, printed and plotted."""
    from matplotlib.figure import Figure

    sizes, micros = (10_000, 30_000, 100_000, 300_000, 1_000_000), []
    texts, _ = corpus(max(sizes))
    for rows in sizes:
        some = texts[:rows]
        spent = measured({"gemtune": lambda some=some: dedup.keep(some, THRESHOLD)}, 2)["gemtune"]  # type: ignore[misc]
        micros.append(spent[0] / rows * 1e6)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{rows:9d} rows: {spent[1]:6.2f} s wall, {micros[-1]:.2f} us/row CPU, peak memory so far {peak:.0f} MB")
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot(sizes, micros, marker="o")
    axes.set(xscale="log", xlabel="rows", ylabel="CPU microseconds a row", ylim=(0, None), title="Fuzzy deduplication")
    figure.savefig(file)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--growth", type=Path, help="measure growth instead, and draw it into this file")
    asked = parser.parse_args()
    before = time.perf_counter()
    dedup.keep(["warm up", "the kernels"], THRESHOLD)
    print(f"first call (kernels compiled or read from disk): {time.perf_counter() - before:.1f} s")
    if asked.growth:
        growth(asked.growth)
        return
    texts, origin = corpus(asked.rows)
    overlaps.overlaps(texts[:50], texts[:9])
    substrings.repeated_spans(texts[:50])
    fuzzy(texts, origin)
    leakage(texts)
    spans(texts)


if __name__ == "__main__":
    main()

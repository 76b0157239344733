# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How fast and how right deduplication is, on texts made here with known near-duplicates and on real ones.

    python -m bench.dedup --data DIR           100,000 rows: near-duplicates, leakage, passages; kernels' first call
    python -m bench.dedup --rows 10000         fewer
    python -m bench.dedup --growth FILE.svg    near-duplicates from 10,000 to 1,000,000 rows, with a plot

DIR holds public data sets as KIND/NAME/SPLIT.jsonl or .jsonl.gz with a key `text`; without it only texts made here are
measured. Peers (rensa for near-duplicates and leakage, pydivsufsort for passages) run beside, in turn, in this process,
where they are installed. Figures are CPU seconds, the least of the repetitions. Quality, the same for every engine: an
over-drop is a dropped row without a kept row within the threshold; a residual pair is one of which both rows were kept,
by similarity, among all pairs that `overlaps` finds and Python sets confirm. The command ends with exit code 1 when
ours drops a row too many, misses a leak, reports a false one, marks another span than the suffix array, or takes more
than twice the CPU time for `preprocess` with the row rule (`compared_text`) than with plain Jaccard of whole texts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numba import njit
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from oracles import kernels as oracle
from oracles.shingles import jaccard, shingles

from bench.figures import Figure, record
from bench.leaks import splits
from bench.public_data import ANY_SET, data_folder
from gemtune import dedup
from gemtune.data import compared_text
from gemtune.dedup import overlaps, substrings
from gemtune.dedup.passages import Remainder
from gemtune.steps import preprocess

THRESHOLD, LENGTH = 0.8, 100
BANDS = ((0.8, 0.85), (0.85, 0.9), (0.9, 0.95), (0.95, 1.01))
OTHER_LANGUAGES = ("ja_", "ko_", "zh_", "jnli", "jsts", "klue")
_GUARDED = 10_000
_SIGNS = re.compile(r"[\W_]+")
_SLOT = re.compile(r"[A-Z]{3,}")
TEMPLATES = """Hello, my PLACE THING stopped working on DAY and only shows code NUMBER.
I ordered a THING on DAY (number NUMBER) and it has still not come to PLACE.
Please pay back SUM for the THING, which your PLACE office charged twice.
Whenever I ACT the THING, the screen says fault NUMBER and then goes dark.
NUMBER people here cannot ACT since release NUMBER came out on DAY.
How do I ACT the account of NAME from PLACE?
The THING in PLACE is down, and NAME needs it before DAY.
To see it: open the THING, wait NUMBER minutes, then ACT twice.
NAME wrote to me on DAY that SUM would be enough, but the bill says SUM.
Is there a way to ACT everything and keep the THING as it is?
Yours, NAME, PLACE branch.""".splitlines()
SLOTS = {
    "PLACE": "Aarhus|Bilbao|Cork|Dresden|Evora|Fukuoka|Graz|Haifa|Izmir|Jaipur|Kyiv|Lille|Malaga|Nagoya|Oulu",
    "THING": "display|charger|search page|invoice list|gate sensor|backup job|headset|web shop|meter|scanner",
    "DAY": "Tuesday|the 3rd|Friday morning|last night|12 May|yesterday|week 40|noon|Sunday|the 28th",
    "ACT": "restart|export|rename|close|lock|merge|restore|print|copy|upgrade|verify|share",
    "NAME": "Asta|Bela|Cem|Dora|Elio|Fumi|Gita|Hugo|Inge|Joao|Kaja|Liam|Mona|Nils|Olga|Pavel",
}
FOOTERS = (
    "This message is meant for its addressee alone. If it reached you by mistake, please delete it.",
    "Written on a phone, so please forgive the typing.",
)
COLD = """
import sys, time
begun = time.process_time()
from gemtune import dedup
from gemtune.dedup import overlaps, substrings
texts = ["plain words, and again plain words. " * 9] * 2 + ["größere Wörter 日本語 " * 9] * 2
numbered = ["".join(map(chr, range(0x4E00, 0x5000)))] * 2
dedup.keep(texts), dedup.keep(texts[:2]), overlaps.overlaps(texts, texts)
overlaps.overlaps(texts[:2], texts[:2])
substrings.repeated_spans(texts), substrings.repeated_spans(numbered), substrings.shared_passages(texts, texts)
print(time.process_time() - begun)
"""


class Vocabulary:
    """Texts of made-up words, frequent and rare ones."""

    def __init__(self, draw: random.Random) -> None:
        consonants, vowels = draw.choices("bcdfglmnprstvk", k=900), draw.choices("aeiou", k=900)
        parts = ["".join(pair) for pair in zip(consonants, vowels, strict=True)]
        self.draw = draw
        self.words = ["".join(draw.choices(parts, k=draw.choice((1, 2, 2, 3)))) for _ in range(30_000)]
        self.weights = [1 / (rank + 5) for rank in range(len(self.words))]

    def text(self, size: int) -> list[str]:
        """So many words."""
        return self.draw.choices(self.words, self.weights, k=size)


class Walks:
    """Texts half of filled templates, half of walks from word to word as real texts have them."""

    def __init__(self, draw: random.Random, texts: Sequence[str]) -> None:
        self.draw = draw
        self.follow: dict[str, list[str]] = defaultdict(list)
        for words in (text.split()[:120] for text in texts):
            for word, after in pairwise(words):
                self.follow[word].append(after)
        self.words = list(self.follow)
        self.starts = [word for words in self.follow.values() for word in words]

    def text(self, size: int) -> list[str]:
        """So many words."""
        words: list[str] = []
        while len(words) < size:
            words += self._filled() if self.draw.random() < 0.5 else self._walk(self.draw.randrange(6, 18))
        return words[:size]

    def _filled(self) -> list[str]:
        return _SLOT.sub(lambda slot: self._value(slot[0]), self.draw.choice(TEMPLATES)).split()

    def _value(self, slot: str) -> str:
        if slot in SLOTS:
            return self.draw.choice(SLOTS[slot].split("|"))
        return f"{self.draw.randrange(3, 4000)}.{self.draw.randrange(100):02d} EUR" if slot == "SUM" else self._code()

    def _code(self) -> str:
        return f"{self.draw.choice(('', 'E', 'INV-', '0x'))}{self.draw.randrange(10, 10_000_000)}"

    def _walk(self, size: int) -> list[str]:
        word, words = self.draw.choice(self.starts), []
        for _ in range(size):
            words.append(word)
            after = self.follow.get(word)
            word = self.draw.choice(after if after and self.draw.random() > 0.15 else self.starts)
        return words


def corpus(rows: int, seed: int = 1, real: Sequence[str] = ()) -> list[str]:
    """Texts of 10 to 200 words, two fifths of them edited copies, in no order; with `real` texts, walks over them."""
    draw = random.Random(seed)
    source = Walks(draw, real) if real else Vocabulary(draw)
    texts: list[str] = []
    while len(texts) < rows:
        words = source.text(int(min(200, max(10, draw.lognormvariate(3.75, 0.6)))))
        texts.append(" ".join(words))
        for _ in range(draw.choice((0, 0, 0, 0, 0, 1, 1, 2, 3, 8)) if draw.random() < 0.5 else 0):
            texts.append(_copy(draw, words, source.words))
    return draw.sample(texts[:rows], rows)


def _copy(draw: random.Random, words: list[str], known: list[str]) -> str:
    """The words with some replaced, or in other case, or with other signs, or with a footer."""
    kind = draw.random()
    if kind < 0.1:
        return " ".join(words).upper() if kind < 0.05 else "  ".join(words).lower() + " !"
    if kind < 0.15:
        return " ".join([*words, draw.choice(FOOTERS)])
    copy = list(words)
    for _ in range(round(len(copy) * draw.choice((0, 0, 0.02, 0.05, 0.1, 0.2)) * draw.random())):
        copy[draw.randrange(len(copy))] = draw.choice(known)
    return " ".join(copy)


def english(root: Path) -> Iterator[tuple[str, list[str]]]:
    """(kind of set, its texts in English, all splits), set by set."""
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        if not folder.name.startswith(OTHER_LANGUAGES):
            yield folder.parent.name, [text for texts in splits(folder).values() for text in texts]


def tokens(text: str) -> list[str]:
    """What peers are given: the different character 5-grams, as a user would make them in Python."""
    text = _SIGNS.sub(" ", text.lower()).strip()
    return list({text[i : i + 5] for i in range(max(1, len(text) - 4))})


def near_pairs(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (smaller index first) within the threshold, and their similarities by Python sets."""
    blocks = []
    for begin in range(0, len(texts), _GUARDED):
        found = overlaps.overlaps(texts[begin:], texts[begin : begin + _GUARDED], THRESHOLD) + begin
        blocks.append(found[found[:, 0] > found[:, 1], ::-1])
    pairs = np.concatenate(blocks)
    sets = {i: shingles(texts[i]) for i in np.unique(pairs).tolist()}
    similar = np.array([jaccard(sets[a], sets[b]) for a, b in pairs.tolist()])
    return pairs[similar >= THRESHOLD], similar[similar >= THRESHOLD]


def quality(kept: Any, pairs: NDArray[np.int64], similar: NDArray[np.float64]) -> tuple[int, float, str]:
    """Over-drops of a keep list, its residual share, and that in each band of similarity, in words."""
    stays = np.asarray(kept, np.bool_)
    spoken_for = stays.copy()
    for one, other in (pairs.T, pairs[:, ::-1].T):
        spoken_for[one[stays[other]]] = True
    residual = stays[pairs].all(axis=1)
    bands = [residual[(similar >= low) & (similar < high)] for low, high in BANDS]
    summary = ", ".join(
        f"J {low}: {band.mean():.4%} of {band.size}" for (low, _), band in zip(BANDS, bands, strict=True) if band.size
    )
    return int((~spoken_for).sum()), float(residual.mean()), summary


def measured(
    runs: dict[str, Callable[[], Any]], repetitions: int = 3
) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Least (CPU seconds, wall seconds) of each, run in turn; and what each gave."""
    least: dict[str, tuple[float, float]] = {}
    given: dict[str, Any] = {}
    for _ in range(repetitions):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            given[name] = run()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            least[name] = min(spent, least.get(name, spent))
    return least, given


def report(title: str, spent: dict[str, tuple[float, float]], rows: int, goal: float | None = None) -> None:
    """Print microseconds a row and how many times faster the first is; record the first beside the peer."""
    print(f"\n{title}")
    first = next(iter(spent.values()))[0]
    peer = next((name for name in spent if name.startswith("rensa")), "")
    theirs = {"peer": peer, "peer_value": spent[peer][0] / rows * 1e6} if peer else {}
    if peer or goal:
        record(Figure(name=title, value=first / rows * 1e6, unit="us/row", goal=goal, **theirs))
    for name, (cpu, wall) in spent.items():
        times = f", {cpu / first:.1f} times ours" if cpu != first else ""
        print(f"  {name:28s} {cpu / rows * 1e6:8.2f} us/row CPU, {wall:6.2f} s wall{times}", flush=True)


def fuzzy(title: str, texts: list[str]) -> bool:
    """Keep lists, ours and rensa's: speed and quality; whether ours drops no row too many."""
    runs: dict[str, Callable[[], Any]] = {"gemtune": lambda: dedup.keep(texts, THRESHOLD, threads=1)}
    if find_spec("rensa"):
        runs["rensa Deduplicator 20x6"] = lambda: _rensa_keep(texts)
    spent, kept = measured(runs)
    report(f"near-duplicates, {len(texts)} {title}", spent, len(texts), goal=3.5)
    pairs, similar = near_pairs(texts)
    results = {name: quality(kept[name], pairs, similar) for name in runs}
    for name, (over, _, residual) in results.items():
        print(f"  {name:28s} kept {sum(kept[name])}; over-drops {over}; residual pairs {residual}", flush=True)
    over_drops, share, _ = results["gemtune"]
    record(Figure(name=f"over-drops, {len(texts)} {title}", value=over_drops, unit="rows", goal=0))
    record(Figure(name=f"residual share of near pairs, {len(texts)} {title}", value=share, unit="", goal=0.0002))
    return over_drops == 0


def _rensa_keep(texts: list[str]) -> Any:
    from rensa import RMinHashDeduplicator

    engine = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=120, use_lsh=True, num_bands=20)
    return engine.add_pairs((str(i), tokens(text)) for i, text in enumerate(texts))


def leakage(title: str, texts: list[str]) -> bool:
    """2 % of the rows as test rows against the others; whether the pairs are those of plain Python."""
    cut = len(texts) // 50
    test, train = texts[:cut], texts[cut:]
    runs: dict[str, Callable[[], Any]] = {
        "gemtune": lambda: overlaps.overlaps(train, test, THRESHOLD, threads=1),
        "gemtune, the other order": lambda: overlaps.overlaps(test, train, THRESHOLD, threads=1),
    }
    if find_spec("rensa"):
        runs["rensa LSH 20x6, unverified"] = lambda: _rensa_overlaps(train, test)
    spent, found = measured(runs, 2)
    heading = f"leakage, {len(test)} rows against {len(train)}, {title}"
    report(heading, spent, len(train))
    first, other = (spent[name][0] for name in list(spent)[:2])
    record(Figure(name=f"{heading}: the slower order", value=max(first / other, other / first), unit="times", goal=1.2))
    few = train[:5000]
    exact = {(i, j) for i, j in oracle.overlaps(few, test, THRESHOLD).tolist()}
    ours = {(i, j) for i, j in found["gemtune"].tolist() if i < len(few)}
    print(f"  {len(found['gemtune'])} pairs; of {len(exact)} in the first {len(few)} rows by plain Python "
          f"missed {len(exact - ours)}, false {len(ours - exact)}", flush=True)  # fmt: skip
    return exact == ours


def _rensa_overlaps(train: list[str], test: list[str]) -> Any:
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=THRESHOLD, num_perm=120, num_bands=20)
    index.insert_many(RMinHash.from_token_sets(list(map(tokens, train)), num_perm=120, seed=42))
    return index.query_all(RMinHash.from_token_sets(list(map(tokens, test)), num_perm=120, seed=42))


def passages(title: str, texts: list[str]) -> bool:
    """Repeated spans, ours and by a suffix array with longest common prefixes; whether they mark the same windows."""
    texts = [text for text in texts if text.isascii()]
    size = sum(map(len, texts))
    runs: dict[str, Callable[[], Any]] = {"gemtune": lambda: substrings.repeated_spans(texts, LENGTH)}
    if find_spec("pydivsufsort"):
        runs["pydivsufsort + LCP"] = lambda: _suffix_marks(texts)
    spent, given = measured(runs, 3)
    heading = f"passages of {LENGTH} characters, {size / 1e6:.0f} MB, {len(texts)} {title}"
    print(f"\n{heading}")
    rates = [size / 1e6 / cpu for cpu, _ in spent.values()]
    peer = {"peer": list(spent)[1], "peer_value": rates[1]} if len(rates) > 1 else {}
    record(Figure(name=heading, value=rates[0], unit="MB/CPU s", goal=50, more_is_better=True, **peer))
    if peer:
        ratio = rates[0] / rates[1]
        record(Figure(name=f"{heading}: beside the peer", value=ratio, unit="times", goal=2.5, more_is_better=True))
    first = next(iter(spent.values()))[0]
    for name, (cpu, _) in spent.items():
        print(f"  {name:28s} {size / 1e6 / cpu:8.1f} MB a CPU second ({cpu / first:.1f} times our time)", flush=True)
    if len(given) == 1:
        return True
    ours, theirs = _marked(texts, given["gemtune"]), given["pydivsufsort + LCP"]
    print(f"  windows that repeat: {int(theirs.sum())}; marked otherwise by ours: {int((ours != theirs).sum())}")
    return bool((ours == theirs).all())


def _places(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes = np.array([len(text) for text in texts])
    return np.cumsum(sizes + 1) - sizes - 1, sizes


def _marked(texts: Sequence[str], spans: Sequence[substrings.Span]) -> NDArray[np.bool_]:
    """Window starts that our spans cover, in the texts joined by one character."""
    begins, sizes = _places(texts)
    marks = np.zeros(int((sizes + 1).sum()), np.bool_)
    for span in spans:
        marks[begins[span.text] + span.begin : begins[span.text] + span.end - LENGTH + 1] = True
    return marks


def _suffix_marks(texts: Sequence[str]) -> NDArray[np.bool_]:
    """The same by a suffix array; windows that reach over a text's end do not count."""
    import pydivsufsort

    joined = np.array(bytearray(("\x00".join(texts) + "\x00").encode()))
    begins, sizes = _places(texts)
    marks = np.zeros(joined.size, np.bool_)
    _mark_repeats(joined, pydivsufsort.divsufsort(joined), begins, sizes, LENGTH, marks)
    return marks


@njit  # type: ignore[untyped-decorator]
def _mark_repeats(text: Any, array: Any, begins: Any, sizes: Any, length: int, marks: Any) -> None:
    """Longest common prefixes in text order (Kärkkäinen, Manzini and Puglisi 2009), and both windows marked."""
    before = np.full(text.size, -1, np.int32)
    for k in range(1, array.size):
        before[array[k]] = array[k - 1]
    shared = 0
    for k in range(begins.size):
        for at in range(begins[k], begins[k] + sizes[k] + 1):
            other = before[at]
            if other < 0:
                shared = 0
                continue
            while at + shared < text.size and other + shared < text.size and text[at + shared] == text[other + shared]:
                shared += 1
            if shared >= length and at + length <= begins[k] + sizes[k]:
                marks[at] = True
                marks[other] = True
            shared = max(0, shared - 1)


def row_rule(title: str, texts: list[str], footers: bool = False, compiling: bool = False) -> bool:
    """`preprocess` with the row rule and with plain Jaccard of whole texts; whether it takes at most twice the time."""
    with tempfile.TemporaryDirectory() as folder:
        source, *files = (f"{folder}/{name}" for name in ("rows.jsonl", "examples", "dropped", "report"))
        with open(source, "w", encoding="utf-8") as out:
            for i, text in enumerate(texts):
                row = {"text": f"{text} {FOOTERS[0]}" if footers and i % 2 else text, "label": "ab"[i % 2]}
                out.write(json.dumps(row) + "\n")
        settings = {"max_removed_share": 1.0, "max_cluster": 0}
        whole = mock.patch.multiple(
            compared_text,
            without_passages=lambda texts: [Remainder((text,), ()) for text in texts],
            compared_form=lambda remainder: remainder.text,
        )

        def plain() -> Any:
            with whole:
                return preprocess.run(source, *files, preprocess=settings)

        runs = {"row rule": lambda: preprocess.run(source, *files, preprocess=settings), "whole texts": plain}
        spent, summaries = measured(runs, 2)
    report(f"preprocess, {len(texts)} {title}", spent, len(texts))
    kept = ", ".join(f"{name} {summary['examples']}" for name, summary in summaries.items())
    ratio = spent["row rule"][0] / spent["whole texts"][0]
    if not compiling:
        record(Figure(name=f"row rule, {len(texts)} {title}", value=ratio, unit="times whole texts", goal=2))
    print(f"  the row rule takes {ratio:.2f} times the CPU time; kept: {kept}", flush=True)
    return ratio <= 2


def first_call() -> None:
    """CPU seconds of the kernels' first calls in a fresh process: compiled, then read from disk."""
    with tempfile.TemporaryDirectory() as folder:
        for when in ("compiled, once a machine", "read from disk later"):
            process = subprocess.run(
                [sys.executable, "-c", COLD], env={**os.environ, "NUMBA_CACHE_DIR": folder}, check=True,
                cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True,
            )  # fmt: skip
            print(f"all kernels, ASCII and not, {when}: {float(process.stdout):.1f} CPU seconds", flush=True)


def growth(file: Path) -> None:
    """Time a row from 10,000 to 1,000,000 rows, printed and plotted."""
    from matplotlib.figure import Figure

    sizes, micros = (10_000, 30_000, 100_000, 300_000, 1_000_000), []
    texts = corpus(max(sizes))
    dedup.keep(texts[:100], THRESHOLD)
    for rows in sizes:
        some = texts[:rows]
        ((cpu, wall),) = measured({"gemtune": lambda some=some: dedup.keep(some, THRESHOLD)}, 2)[0].values()
        micros.append(cpu / rows * 1e6)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"{rows:9d} rows: {wall:6.2f} s wall, {micros[-1]:.2f} us/row CPU, peak memory so far {peak:.0f} MB")
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot(sizes, micros, marker="o")
    axes.set(xscale="log", xlabel="rows", ylabel="CPU microseconds a row", ylim=(0, None), title="Fuzzy deduplication")
    figure.savefig(file)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--growth", type=Path, help="measure growth instead, and draw it into this file")
    asked = parser.parse_args()
    if asked.data:
        data_folder(parser, asked.data, [ANY_SET], "a key `text`")
    if asked.growth:
        growth(asked.growth)
        return
    first_call()
    made = corpus(asked.rows)
    peers = [_suffix_marks] if find_spec("pydivsufsort") else []
    for warm in (dedup.keep, substrings.repeated_spans, *peers):
        warm(made[:50])
    overlaps.overlaps(made[:50], made[:9])
    words = "texts of made-up words"
    row_rule("rows to compile the kernels", made[:2000], compiling=True)
    vocabulary = Vocabulary(random.Random(7))
    single = [" ".join(vocabulary.text(60)) for _ in range(asked.rows)]
    right = [fuzzy(words, made), leakage(words, made), passages(words, made)]
    right += [passages(f"{words}, no copies", single), passages(f"{words}, each twice", single[::2] * 2)]
    right += [row_rule(words, made), row_rule(f"{words}, half with a footer", made, footers=True)]
    if asked.data:
        sets = list(english(asked.data))
        short = [text for kind, texts in sets if kind != "summarization" for text in texts]
        long = [text for kind, texts in sets if kind == "summarization" for text in texts]
        mixed, walks = "texts, half templates, half walks", corpus(asked.rows, 2, short)
        right += [fuzzy(mixed, walks), leakage(mixed, walks), passages(mixed, walks)]
        right += [fuzzy("real English texts", [*short, *long]), passages("long real English texts", long)]
    else:
        print("\nreal texts skipped: --data DIR names a folder with KIND/NAME/SPLIT.jsonl and a key `text`")
    if not all(right):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

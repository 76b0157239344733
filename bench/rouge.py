# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does our ROUGE agree with the usual package (rouge-score) on English, and what does that say of Japanese?

Takes sentences of the repository's own pages and examples, spoils copies of them (words lost, swapped, repeated, put
elsewhere), and compares ROUGE-1, ROUGE-2 and ROUGE-L of each pair. Exits 1 when a value differs by more than 1e-9.
`--write` keeps a few pairs with the package's values for the tests.

    python bench/rouge.py [--pairs 3000] [--write]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from pathlib import Path

from bench.figures import Figure, record
from gemtune.evaluation.metrics import rouge

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tests" / "unit" / "rouge_score.json"
NAMES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


def sentences() -> list[str]:
    """English sentences with their numbers, hyphens, apostrophes and marks; plain ASCII."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
    lines = [line for line in pages.splitlines() if line and not line.startswith(("|", "#", "`"))]
    rows = (ROOT / "examples" / "support_en" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    lines += re.findall(r'"text": "([^"\\\\]+)"', "\n".join(rows))
    found = {part.strip() for line in lines for part in re.split(r"(?<=[.?!]) ", line)}
    # texts of marks alone compare here, and are 0 in the package
    return sorted(one for one in found if one.isascii() and len(re.findall(r"\b\w", one)) >= 3)


def spoiled(text: str, rng: random.Random) -> str:
    """A copy with words lost, swapped, repeated or put elsewhere."""
    words = text.split()
    for _ in range(rng.randint(0, len(words))):
        at, to = rng.randrange(len(words)), rng.randrange(len(words))
        act = rng.choice(("lose", "swap", "repeat", "case"))
        if act == "lose" and len(words) > 1:
            del words[at]
        elif act == "swap":
            words[at], words[to] = words[to], words[at]
        elif act == "repeat":
            words.insert(to, words[at])
        else:
            words[at] = words[at].upper()
    return " ".join(words)


def main() -> int:
    """0 when both agree on every pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--write", action="store_true", help=f"keep pairs in {KEPT.relative_to(ROOT)}")
    given = parser.parse_args()
    try:
        from rouge_score import rouge_scorer
    except ImportError:
        print("skipped: rouge-score is not installed; pip install '.[bench]'")
        return 0
    scorer = rouge_scorer.RougeScorer(list(NAMES.values()))
    rng, known = random.Random(7), sentences()
    worst, kept = 0.0, []
    for _ in range(given.pairs):
        reference = rng.choice(known)
        answer = spoiled(reference if rng.random() < 0.8 else rng.choice(known), rng)
        theirs = scorer.score(reference, answer)
        wanted = {ours: theirs[name].fmeasure for ours, name in NAMES.items()}
        found = rouge(reference, answer)
        worst = max(worst, *(abs(found[name] - value) for name, value in wanted.items()))
        if len(kept) < 60:
            kept.append({"reference": reference, "answer": answer, **wanted})
    record(Figure(name="ROUGE, largest difference", value=worst, unit="", peer="rouge-score", goal=1e-9))
    print(f"{given.pairs} English pairs of {len(known)} sentences: largest difference {worst:.1e}")
    text = "荷物がまだ届いていません"
    said = {name: scorer.score(text, text)[theirs].fmeasure for name, theirs in NAMES.items()}
    print(f"a Japanese sentence against itself: the package says {said}, ours {rouge(text, text)}")
    if given.write:
        KEPT.write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")
    return 0 if worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())

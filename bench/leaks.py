# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows of published test splits stand in their training splits, and how many copies training sets hold.

    python -m bench.leaks --data DIR

DIR holds data sets as KIND/NAME/SPLIT.jsonl or .jsonl.gz with a key `text`. Prints a Markdown table: exact copies
(case, spaces and punctuation ignored), near-duplicates (Jaccard of character 5-grams at least 0.8) and rows that
share a passage of 100 characters, all counted by the functions the leakage report uses.

Published counts drop every sign but the underscore, so that rows of signs alone ("...", "?!") are all equal to each
other and "a_b" is not "ab". The certificate keeps the former apart and takes the latter for the same, so both counts
are printed. Where DIR/sanity.json holds published counts, they are compared, and a difference ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

from bench.public_data import ANY_SET, data_folder
from gemtune import dedup
from gemtune.data.cleaning import alphanumeric_key
from gemtune.data.example import RejectedRow
from gemtune.data.leakage import exact_matches
from gemtune.data.readers import read_rows
from gemtune.dedup.overlaps import overlaps
from gemtune.dedup.substrings import shared_passages

ORDER = ("train", "dev", "valid", "val", "test")
THRESHOLD = 0.8
PASSAGE = 100
_SIGNS = re.compile(r"\W+")


def splits(folder: Path) -> dict[str, list[str]]:
    """Texts of every split of a data set, in the order train, validation, test."""
    found = {}
    for path in sorted(folder.glob("*.jsonl*")):
        rows = [item[1] for item in read_rows(path) if not isinstance(item, RejectedRow)]
        texts = [row["text"] for row in rows if isinstance(row.get("text"), str)]
        if texts:
            found[path.name.split(".")[0].removeprefix("derived_")] = texts
    return {name: found[name] for name in ORDER if name in found}


def pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    """(later split, earlier split)."""
    for k, earlier in enumerate(names):
        for later in names[k + 1 :]:
            yield later, earlier


def by_published_rule(texts: list[str], others: list[str]) -> int:
    """Texts that stand among others when case and all but letters, digits and underscores are ignored."""
    known = {_SIGNS.sub("", text.lower()) for text in others}
    return sum(_SIGNS.sub("", text.lower()) in known for text in texts)


def published(root: Path) -> dict[tuple[str, str, str], int]:
    """(data set, later split, earlier split) -> rows that the data's own sanity file counts as overlapping."""
    path = root / "sanity.json"
    found = {}
    for name, record in (json.loads(path.read_text("utf-8")) if path.exists() else {}).items():
        for pair, counted in record.get("overlap", {}).items():
            if isinstance(counted, list):
                later, earlier = pair.replace("derived_", "").split(" rows also in ")
                found[name, later, earlier] = int(counted[0])
    return found


def between(sets: dict[str, dict[str, list[str]]], expected: dict[tuple[str, str, str], int]) -> list[str]:
    """Print the table of overlaps between splits; returns the sentences about counts that differ from the published."""
    print("| data set | rows of | in | rows | exact | exact, published rule | near, J >= 0.8 | a passage |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    differing = []
    for name, found in sets.items():
        for later, earlier in pairs(list(found)):
            texts, others = found[later], found[earlier]
            exact, ruled = len(exact_matches(texts, others)), by_published_rule(texts, others)
            close, passages = (
                len({*overlaps(texts, others, THRESHOLD)[:, 0].tolist()}),
                len(shared_passages(texts, others, PASSAGE)),
            )
            if exact or ruled or close or passages:
                cells = " | ".join(f"{n} ({n / len(texts):.1%})" for n in (exact, ruled, close, passages))
                print(f"| {name} | {later} | {earlier} | {len(texts)} | {cells} |")
            wanted = expected.get((name, later, earlier), ruled)
            if ruled != wanted:
                differing.append(f"{name}, {later} in {earlier}: {ruled}, published {wanted}")
    return differing


def inside(sets: dict[str, dict[str, list[str]]]) -> None:
    """Print the table of copies inside splits."""
    print("\n| data set | split | rows | exact copies of an earlier row | dropped as near-duplicates, J >= 0.8 |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, found in sets.items():
        for split, texts in found.items():
            distinct = list({alphanumeric_key(text): text for text in reversed(texts)}.values())
            dropped = len(distinct) - int(dedup.keep(distinct, THRESHOLD).sum())
            repeated = len(texts) - len(distinct)
            if repeated or dropped:
                print(f"| {name} | {split} | {len(texts)} | {repeated} ({repeated / len(texts):.1%}) "
                      f"| {dropped} ({dropped / len(texts):.1%}) |")  # fmt: skip


def main() -> None:
    """Print the two tables, and whether the published counts agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    root = data_folder(parser, parser.parse_args().data, [ANY_SET], "a key `text`")
    sets = {f"{path.parent.name}/{path.name}": splits(path) for path in sorted(root.glob("*/*")) if path.is_dir()}
    known = published(root)
    expected = {key: count for key, count in known.items() if set(key[1:]) <= set(sets.get(key[0], {}))}
    differing = between(sets, expected)
    print(f"\n{len(expected) - len(differing)} of {len(expected)} published counts agree", *differing, sep="\n")
    inside(sets)
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

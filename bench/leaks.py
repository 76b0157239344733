# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows of published test splits stand in their training splits, and how many copies training sets hold.

    python -m bench.leaks DIR

DIR holds data sets as KIND/NAME/SPLIT.jsonl or .jsonl.gz with a key `text`. Prints a Markdown table: exact copies
(case, spaces and punctuation put aside) and near-duplicates (Jaccard of character 5-grams at least 0.8), both counted
by the functions the leakage certificate uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from gemtune import dedup
from gemtune.data import Dropped
from gemtune.dedup.leakage import copies, near
from gemtune.rows.clean import bare
from gemtune.rows.intake import read_rows

ORDER = ("train", "dev", "valid", "val", "test")
THRESHOLD = 0.8


def splits(folder: Path) -> dict[str, list[str]]:
    """Texts of every split of a data set, in the order train, validation, test."""
    found = {}
    for path in sorted(folder.glob("*.jsonl*")):
        rows = [item[1] for item in read_rows(path) if not isinstance(item, Dropped)]
        texts = [row["text"] for row in rows if isinstance(row.get("text"), str)]
        if texts:
            found[path.name.split(".")[0].removeprefix("derived_")] = texts
    return {name: found[name] for name in ORDER if name in found}


def pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    """(later split, earlier split)."""
    for k, earlier in enumerate(names):
        for later in names[k + 1 :]:
            yield later, earlier


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    root = parser.parse_args().folder
    sets = {f"{path.parent.name}/{path.name}": splits(path) for path in sorted(root.glob("*/*")) if path.is_dir()}
    print("| data set | rows of | in | rows | exact | near, J >= 0.8 |\n| --- | --- | --- | ---: | ---: | ---: |")
    for name, found in sets.items():
        for later, earlier in pairs(list(found)):
            texts = found[later]
            exact, close = len(copies(texts, found[earlier])), len(near(texts, found[earlier], THRESHOLD))
            print(f"| {name} | {later} | {earlier} | {len(texts)} | {exact} ({exact / len(texts):.1%}) "
                  f"| {close} ({close / len(texts):.1%}) |")  # fmt: skip
    print("\n| data set | split | rows | exact copies of an earlier row | dropped as near-duplicates, J >= 0.8 |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, found in sets.items():
        for split, texts in found.items():
            distinct = list({bare(text): text for text in reversed(texts)}.values())
            dropped = len(distinct) - int(dedup.keep(distinct, THRESHOLD).sum())
            repeated = len(texts) - len(distinct)
            print(f"| {name} | {split} | {len(texts)} | {repeated} ({repeated / len(texts):.1%}) "
                  f"| {dropped} ({dropped / len(texts):.1%}) |")  # fmt: skip


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Are tables read as they were meant, whatever programs and people did to them? Planted rows, written in odd ways.

    python -m bench.odd_tables --count 4000

Each table has known texts and labels, in one of five ways of quoting, four delimiters and three encodings, with a
title, a row of units, cells left out or empty ones added, a second header in another order or with other names, and a
total. A row that is read with another text or label is wrong; one that is neither read nor rejected is lost. Prints
both and ends with exit code 1 above 3 of 1,000 tables: a text whose backslashes are doubled keeps them where no other
sign tells that they are.
"""

import argparse
import csv
import io
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gemtune.config import JsonObject, Preprocess
from gemtune.data.example import RejectedRow
from gemtune.data.readers import read_rows

TEXTS = (
    *("Where is my parcel, please?", 'It says "lost" again', "my invoice; twice", "two\nlines", "Größe falsch"),
    *(
        "荷物が届きません",
        '5" disk broken',
        "it's late",
        "path C:\\new",
        "tab\there",
        "plain words",
        "no, not really; no",
    ),
)
LABELS = ("billing", "delivery", "account", "other")
QUOTING: dict[str, JsonObject] = {
    "minimal": {},
    "all": {"quoting": csv.QUOTE_ALL},
    "apostrophes": {"quotechar": "'", "quoting": csv.QUOTE_ALL},
    "backslashes": {"doublequote": False, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE, "quotechar": None},
}
UNITS = {"id": "(number)", "text": "(free text)", "label": "(class)"}
NAMES: tuple[dict[str, str], ...] = ({}, {"text": "comment", "label": "category"}, {"text": "TEXT", "label": "Label"})
Pairs = Counter[tuple[str, str]]


def table(rng: random.Random) -> tuple[bytes, Pairs]:
    """The bytes of a table, and its texts and labels without their white space."""
    style = rng.choice([*QUOTING, "minimal"])
    delimiter = "\t" if style == "none" else rng.choice(",;\t|")
    texts = [" ".join(text.split()) if style == "none" else text for text in TEXTS]
    columns = ["text", "label", *["note", "channel"][: rng.randrange(3)], *["id"] * rng.randrange(2)]
    rng.shuffle(columns)
    is_ragged, adds_empty = rng.random() < 0.25, rng.random() < 0.15
    rows = [
        {"text": f"{rng.choice(texts)} {n}", "label": rng.choice(LABELS), "note": rng.choice(["", "x"]), "id": str(n)}
        for n in range(rng.randrange(12, 70))
    ]

    def line(cells: list[str]) -> str:
        written = io.StringIO()
        csv.writer(written, delimiter=delimiter, lineterminator="\n", **QUOTING[style]).writerow(cells)
        return written.getvalue()[:-1]

    lines = ["My report 2026"] * (rng.random() < 0.15) + [line(columns)]
    lines += [line([UNITS.get(name, "EUR") for name in columns])] * (rng.random() < 0.15)
    second = rng.randrange(1, 3 * len(rows))
    for n, row in enumerate(rows):
        if n == second:
            rng.shuffle(columns)
            names = rng.choice(NAMES if {"note", "channel"}.isdisjoint(columns) else NAMES[::2])
            lines.append(line([names.get(name, name) for name in columns]))
        cells = [row.get(name, "") for name in columns]
        while is_ragged and len(cells) > 2 and not cells[-1]:
            cells.pop()
        lines.append(line([*cells, *["", ""] * adds_empty]))
    lines += [line([f"Total: {len(rows)}", *[""] * (len(columns) - 1)])] * (rng.random() < 0.15)
    end = rng.choice(["\n", "\r\n"])
    pairs = Counter((_plain(row["text"]), row["label"]) for row in rows)
    return (end.join(lines) + end).encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"])), pairs


def _plain(value: object) -> str:
    return " ".join(str(value).split())


def misread(folder: Path, seed: int) -> tuple[list[tuple[str, str]], int]:
    """The pairs of text and label that a table did not have, and the number of its rows that were lost."""
    content, pairs = table(random.Random(seed))
    path = folder / "rows.csv"
    path.write_bytes(content)
    items = list(read_rows(path, config=Preprocess(), note=lambda _: None))
    read = [(_plain(item[1]["text"]), item[1]["label"]) for item in items if isinstance(item, tuple)]
    filled = Pairs(pair for pair in read if all(pair) and not pair[0].startswith("Total: "))
    rejected = sum(isinstance(item, RejectedRow) for item in items) + len(read) - filled.total()
    return [*(filled - pairs).elements()], max(0, (pairs - filled).total() - rejected)


def main() -> int:
    """Read tables and print those that are misread."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    count, wrong = options.parse_args().count, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            pairs, lost = misread(Path(folder), seed)
            wrong += bool(pairs or lost)
            if pairs or lost:
                print(f"seed {seed}: {lost} rows lost, {len(pairs)} wrong, such as {pairs[:1]}")
    print(f"{wrong} of {count} tables misread")
    return int(wrong > 0.003 * count)


if __name__ == "__main__":
    sys.exit(main())

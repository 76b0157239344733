# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the cells of semantic deduplication miss, against comparing every row with every other.

    python -m bench.semantic [--data DIR]

Above `EXACT_BELOW` rows only rows that share a k-means cell are compared. Here both ways run on the same unit vectors:
the builtin embedding of public texts (DIR holds KIND/NAME/SPLIT.jsonl or .jsonl.gz with a key `text`), and drawn ones
around a tenth as many centres. *Pairs left* are those within the threshold among the rows the cells keep; there are
none among the rows the exact way keeps. No row may be dropped for one that is not within the threshold, or not kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.public_data import data_folder, data_rows
from gemtune.dedup.embedding import embed, leaders

SETS = ("classification/banking77/train", "sentiment/ja_economy_watchers/derived_train")
THRESHOLDS = (0.9, 0.95)
BLOCK = 1024


def drawn(count: int, dimensions: int = 64) -> NDArray[np.float32]:
    """Unit vectors around a tenth as many centres."""
    draw = np.random.default_rng(3)
    centres = draw.normal(size=(count // 10, dimensions))
    vectors = centres[draw.integers(0, len(centres), count)] + 0.25 * draw.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def corpora(folder: Path | None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and vectors."""
    yield "drawn", drawn(20_000)
    for name in SETS if folder else ():
        texts = list(dict.fromkeys(row["text"] for row in data_rows(folder, name)))
        yield name.rsplit("/", 1)[0], embed(texts)


def pairs_within(vectors: NDArray[np.float32], threshold: float) -> int:
    """Pairs of cosine at least `threshold`, every pair looked at."""
    count = 0
    for begin in range(0, len(vectors), BLOCK):
        near = vectors[begin : begin + BLOCK] @ vectors[begin:].T >= threshold
        count += int(np.triu(near, 1).sum())
    return count


def main() -> None:
    """Print the table; ends with exit code 1 when a row was dropped for no reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    folder = parser.parse_args().data
    if folder:
        data_folder(parser, folder, SETS, "a key `text`")
    wrong = 0
    print("| vectors | rows | cosine | pairs | dropped, exact | dropped, cells | pairs left | exact, s | cells, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, vectors in corpora(folder):
        rows, same = np.arange(len(vectors)), [""] * len(vectors)
        for threshold in THRESHOLDS:
            found, spent = {}, {}
            for way, limit in (("exact", len(vectors) + 1), ("cells", 0)):
                start = time.process_time()
                found[way] = leaders(vectors, threshold, same, exact_below=limit)
                spent[way] = time.process_time() - start
            gone = np.flatnonzero(found["cells"] != rows)
            lead = found["cells"][gone]
            wrong += int((np.einsum("ij,ij->i", vectors[gone], vectors[lead]) < threshold - 1e-5).sum())
            wrong += int((found["cells"][lead] != lead).sum())
            left = pairs_within(vectors[found["cells"] == rows], threshold)
            dropped = {way: int((lead != rows).sum()) for way, lead in found.items()}
            print(
                f"| {name} | {len(vectors)} | {threshold} | {pairs_within(vectors, threshold)} | {dropped['exact']} "
                f"| {dropped['cells']} | {left} | {spent['exact']:.1f} | {spent['cells']:.1f} |",
                flush=True,
            )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()

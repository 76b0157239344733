# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deduplication by Beam keeps the rows that one machine keeps; its parts need no Beam."""

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest

from gemtune.dedup import beam as distributed

WORDS = ["".join(random.Random(n).choices("abcdefghij", k=5)) for n in range(150)] + ["naïve", "届かない荷物", "Größe"]


def corpus(count: int, seed: int = 1) -> list[str]:
    """Lines of texts and edited copies of them under two labels, equal ones, and lines that are no row."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=20))]
    while len(texts) < count:
        parts = draw.choice(texts).split() if draw.random() < 0.7 else draw.choices(WORDS, k=draw.randrange(2, 40))
        for _ in range(draw.randrange(4)):
            parts[draw.randrange(len(parts))] = draw.choice(WORDS)
        texts.append(" ".join(parts))
    lines = [json.dumps({"text": text, "label": draw.choice("ab"), "n": n}) for n, text in enumerate(texts)]
    return [*lines, lines[3], "not json", '{"text": 3}', "[]"]


def on_one_machine(lines: list[str], threshold: float) -> set[str]:
    return set(distributed.keep_ranked(lines, threshold))


def by_parts(lines: list[str], threshold: float) -> set[str]:
    """The pipeline's functions, called in its order on plain lists."""
    rows = {row[0]: row for line in lines if (row := distributed.read_row(line, "text", "label"))}
    bands = defaultdict(list)
    for band, held in distributed.sketches(list(rows.values()), threshold):
        bands[band].append(held)
    pairs = [pair for band, members in bands.items() for pair in distributed.candidates(band, members, threshold)]
    assert len(set(pairs)) == len(pairs)
    edges = [(a, b) for a, b in pairs if distributed.near((rows[a][2], rows[b][2]), threshold)]
    gone = dict(distributed.lead(edges))
    assert not set(gone.values()) & set(gone)
    return {rank for rank in rows if rank not in gone}


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_parts_keep_what_one_machine_keeps(seed: int, threshold: float) -> None:
    lines = corpus(400, seed)
    kept = {row[0] for line in on_one_machine(lines, threshold) if (row := distributed.read_row(line, "text", "label"))}
    assert by_parts(lines, threshold) == kept
    assert len(kept) < 390


def test_the_order_of_lines_changes_nothing() -> None:
    lines = corpus(300)
    shuffled = random.Random(5).sample(lines, len(lines))
    ranks = [
        {distributed.read_row(line, "text", "label") for line in on_one_machine(some, 0.8)}
        for some in (lines, shuffled)
    ]
    assert ranks[0] == ranks[1]


def test_a_crowded_band_is_compared_with_its_neighbours() -> None:
    rows = [(f"{n:03d}", "a", f"the same text but for number {n % 7}") for n in range(30)]
    bands = defaultdict(list)
    for band, held in distributed.sketches(rows, 0.5):
        bands[band].append(held)
    crowded = max(bands, key=lambda band: len(bands[band]))
    pairs = list(distributed.candidates(crowded, bands[crowded], 0.5, most=2))
    assert all(int(b) - int(a) <= 2 for a, b in pairs) or len(bands[crowded]) < 30


def test_beam_keeps_what_one_machine_keeps(tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="extra `beam` is not installed (see requirements-beam.lock)")
    lines = corpus(500)
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    names = {name: str(tmp_path / name) for name in ("kept", "dropped")}
    distributed.main(["--input", str(tmp_path / "rows.jsonl"), *(f"--{k}={v}" for k, v in names.items())])
    kept = (tmp_path / "kept").read_text().splitlines()
    dropped = [json.loads(line) for line in (tmp_path / "dropped").read_text().splitlines()]
    assert len(kept) + len(dropped) == len(lines)
    known = {distributed.read_row(line, "text", "label") for line in kept}
    assert known == {distributed.read_row(line, "text", "label") for line in on_one_machine(lines, 0.8)}
    ranks = {row[0] for row in known if row}
    assert all(row["kept"] in ranks for row in dropped)
    assert {row["reason"] for row in dropped} == {"near_duplicate", "exact_duplicate"}

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deduplication by Beam keeps the rows that one machine keeps; its parts need no Beam."""

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from gemtune.config import Preprocess, Task
from gemtune.data import dataflow_dedup as distributed
from gemtune.data.compared_text import full_text
from gemtune.data.duplicates import drop_near_duplicates, resolve_exact_duplicates
from gemtune.data.example import Example
from gemtune.data.row_validation import ReadStats
from gemtune.dedup.passages import Passages, find_passages
from gemtune.steps import preprocess

WORDS = ["".join(random.Random(n).choices("abcdefghij", k=5)) for n in range(150)] + ["naïve", "届かない荷物", "Größe"]


ALONE = (False, Passages.of([]))  # no system instructions, no passages that many rows have in common
PLAIN: dict[str, Any] = {"preprocess": {}}
SETTINGS = [
    PLAIN,
    {"preprocess": {"jaccard_threshold": 0.5, "conflicts": "majority"}},
    {"preprocess": {"jaccard_threshold": 0.95, "conflicts": "keep", "lowercase": True}},
    {"preprocess": {"pii": "mask"}, "task": {"kind": "generation"}},
]


def corpus(count: int, seed: int = 1) -> list[str]:
    """Lines of texts and edited copies of them under two labels, equal ones, conflicting ones, and no rows at all."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=20))]
    while len(texts) < count:
        parts = draw.choice(texts).split() if draw.random() < 0.7 else draw.choices(WORDS, k=draw.randrange(2, 40))
        for _ in range(draw.randrange(4)):
            parts[draw.randrange(len(parts))] = draw.choice([*WORDS, "a.b@example.com", "c.d@example.com"])
        text = " ".join(parts)
        texts.append(text.upper() if draw.random() < 0.1 else text.replace(" ", "  ") if draw.random() < 0.1 else text)
    lines = [json.dumps({"text": text, "label": draw.choice("aab"), "n": n}) for n, text in enumerate(texts)]
    same = [
        json.dumps({"text": text.title(), "label": label}) for text in texts[:40] for label in draw.choices("ab", k=3)
    ]
    chat = [
        json.dumps({"messages": [{"role": "user", "content": t}, {"role": "model", "content": "a"}]})
        for t in texts[:20]
    ]
    return [*lines, *same, *chat, lines[3], lines[3], "not json", '{"text": 3}', "[]", '{"text": "", "label": "a"}']


def on_one_machine(folder: Path, lines: list[str], settings: dict[str, Any]) -> set[str]:
    """Ids of the rows that the steps of `preprocess` keep."""
    task, config = Task.of(settings.get("task", {})), Preprocess.of(settings["preprocess"])
    rows, _ = drop_near_duplicates(different_texts(folder, lines, settings), task, config)
    return {row.id for row in rows}


def different_texts(folder: Path, lines: list[str], settings: dict[str, Any]) -> list[Example]:
    """The rows without exact duplicates and conflicts."""
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    task, config = Task.of(settings.get("task", {})), Preprocess.of(settings["preprocess"])
    rows, _ = preprocess.read_all(str(folder / "rows.jsonl"), task, config, ReadStats())
    return resolve_exact_duplicates(rows, task, config)[0]


def by_parts(lines: list[str], settings: dict[str, Any], common: distributed.Common) -> set[str]:
    """The pipeline's functions, called in its order on plain lists."""
    document, threshold = json.dumps(settings), Preprocess.of(settings["preprocess"]).jaccard_threshold
    groups = defaultdict(list)
    for line in lines:
        if (made := distributed.read_row((False, line), document)) is not None:
            groups[distributed.text_digest(made)].append((False, line))
    rows = {}
    for members in groups.values():
        rows |= {row[0]: row for row, _ in distributed.resolve_text_group(members, document, common) if row}
    bands = defaultdict(list)
    for band, held in distributed.sketches(list(rows.values()), threshold):
        bands[band].append(held)
    pairs = [pair for band, members in bands.items() for pair in distributed.candidates(band, members, threshold)]
    assert len(set(pairs)) == len(pairs)
    edges = [(a, b) for a, b in pairs if distributed.is_near((rows[a][2], rows[b][2]), threshold)]
    gone = dict(distributed.assign_leaders(edges))
    assert not set(gone.values()) & set(gone)
    return {rank[2:] for rank in rows if rank not in gone}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_dataflow_dedup_parts_agree_with_one_machine(tmp_path: Path, settings: dict[str, Any]) -> None:
    lines = corpus(400)
    kept = on_one_machine(tmp_path, lines, settings)
    common = False, find_passages(list(map(full_text, different_texts(tmp_path, lines, settings))))
    assert by_parts(lines, settings, common) == kept
    assert by_parts(random.Random(5).sample(lines, len(lines)), settings, common) == kept
    assert len(kept) < 390


def test_dataflow_dedup_lists_all_equal_rows_but_one() -> None:
    line = (False, json.dumps({"text": "the very same", "label": "a"}))
    (kept, dropped) = distributed.resolve_text_group([line, line], "{}", ALONE)
    assert kept[0]
    assert kept[1] == line
    assert dropped[0] is None
    assert dropped[1]["reason"] == "exact_duplicate"
    assert dropped[1]["kept_id"] == kept[0][0][2:]


def test_dataflow_dedup_compares_neighbours_in_a_crowded_band() -> None:
    rows = [(f"{n:03d}", "a", f"the same text but for number {n % 7}") for n in range(30)]
    bands = defaultdict(list)
    for band, held in distributed.sketches(rows, 0.5):
        bands[band].append(held)
    crowded = max(bands, key=lambda band: len(bands[band]))
    pairs = list(distributed.candidates(crowded, bands[crowded], 0.5, max_rows=2))
    assert all(int(b) - int(a) <= 2 for a, b in pairs) or len(bands[crowded]) < 30


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_dataflow_dedup_on_beam_agrees_with_one_machine(tmp_path: Path, settings: dict[str, Any]) -> None:
    pytest.importorskip("apache_beam", reason="extra `beam` is not installed (see requirements-beam.lock)")
    kept, dropped = on_beam(tmp_path, corpus(500), settings)
    wanted = on_one_machine(tmp_path, corpus(500), settings)
    assert {example_id(line, settings) for line in kept} - {None} == wanted
    assert len(kept) + len(dropped) == len(corpus(500))
    assert all(row["kept_id"] in wanted for row in dropped if row["reason"] == "near_duplicate")
    reasons = Counter(row["reason"] for row in dropped)
    conflicts = settings["preprocess"].get("conflicts") != "keep" and "task" not in settings
    assert set(reasons) == {"near_duplicate", "exact_duplicate", *(["label_conflict"] if conflicts else [])}
    # what is kept and read again loses nothing more
    again = on_one_machine(tmp_path, kept, settings)
    assert again == wanted


def test_dataflow_dedup_on_beam_uses_frame_and_test_file(tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="extra `beam` is not installed (see requirements-beam.lock)")
    framed = [
        json.dumps({**row, "text": f"Read the message below and say what it is about: {row['text']}"})
        for row in map(json.loads, corpus(300)[:300])
    ]
    given, lines = framed[:60], framed[30:]
    (tmp_path / "test.jsonl").write_text("\n".join(given) + "\n")
    settings = {"preprocess": {"test_data": str(tmp_path / "test.jsonl")}}
    kept, dropped = on_beam(tmp_path, lines, settings)
    assert len(kept) + len(dropped) == len(lines)
    wanted = on_one_machine(tmp_path, lines, settings)
    given_ids = {example_id(line, PLAIN) for line in given}
    assert {example_id(line, settings) for line in kept} == wanted - given_ids


def on_beam(folder: Path, lines: list[str], settings: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Lines that the pipeline keeps on Beam's local runner, and what it tells of the others."""
    (folder / "source.jsonl").write_text("\n".join(lines) + "\n")
    names = {name: str(folder / name) for name in ("kept", "dropped")}
    files = [f"--{name}={path}" for name, path in names.items()]
    distributed.main(["--input", str(folder / "source.jsonl"), "--settings", json.dumps(settings), *files])
    kept, dropped = ((folder / name).read_text().splitlines() for name in names)
    return kept, [json.loads(line) for line in dropped]


def example_id(line: str, settings: dict[str, Any]) -> str | None:
    made = distributed.read_row((False, line), json.dumps(settings))
    return made.id if made else None

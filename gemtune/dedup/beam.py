# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Near-deduplication of more rows than one machine holds, as an Apache Beam pipeline (extra `beam`).

    python -m gemtune.dedup.beam --input gs://B/rows.jsonl --kept gs://B/kept.jsonl --dropped gs://B/dropped.jsonl

The rule is `dedup.leaders`' own: the same sketches and bands make candidates, each is verified by its exact Jaccard
similarity, and a row leaves only if a row that stays is within the threshold. Equal texts of one label are folded
first; then only sketches are shuffled by band, texts follow for pairs that pass the sketch filter, and the pairs found
are led by one worker, which holds pairs, not texts. Rows are ranked by content (a hash of text and label), since a
distributed input has no order. Promise: the kept rows are those that `keep_ranked` keeps on one machine, as long as no
band holds more than `MOST_IN_BAND` different texts; further ones are compared with those next to them, and counted.
Rows without the text column are kept: what is wrong with them is for `preprocess` to say.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gemtune import dedup

MOST_IN_BAND = 2000
Row = tuple[str, str, str]  # rank, label, text


def ranked(text: str, label: str) -> str:
    """What decides which of two near rows stays: the smaller one, by a hash of the content."""
    return hashlib.sha256(json.dumps([text, label], ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def read_row(line: str, text_column: str, label_column: str) -> Row | None:
    """Rank, label and text of a line; None when it has no text."""
    try:
        row = json.loads(line)
        text = row[text_column]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    label = json.dumps(row.get(label_column), sort_keys=True, ensure_ascii=False)
    return ranked(text, label), label, text


def keep_ranked(
    lines: Sequence[str], threshold: float, text_column: str = "text", label_column: str = "label"
) -> list[str]:
    """The lines that stay, by the one-machine engine; the order of lines changes nothing but theirs."""
    rows: dict[str, Row] = {}
    kept = set()
    for line in lines:
        row = read_row(line, text_column, label_column)
        if row is not None:
            rows.setdefault(row[0], row)
    ordered = [rows[rank] for rank in sorted(rows)]
    leaders = dedup.leaders([row[2] for row in ordered], threshold, [row[1] for row in ordered])
    kept = {row[0] for i, row in enumerate(ordered) if leaders[i] == i}
    found = []
    for line in lines:
        row = read_row(line, text_column, label_column)
        if row is None:
            found.append(line)
        elif row[0] in kept:
            kept.discard(row[0])
            found.append(line)
    return found


def sketches(rows: Sequence[Row], threshold: float) -> Iterator[tuple[str, tuple[str, int, bytes, bytes]]]:
    """(band, (rank, length, low bytes, band keys)) for every band of every row."""
    made = dedup.sketched([text for _, _, text in rows], threshold, threads=1)
    for i, (rank, label, _) in enumerate(rows):
        held = (rank, int(made.lengths[i]), made.low[i].tobytes(), made.keys[i].tobytes())
        for band, key in enumerate(made.keys[i].tolist()):
            yield f"{band} {key} {label}", held


def candidates(
    band: str, members: Iterable[tuple[str, int, bytes, bytes]], threshold: float, most: int = MOST_IN_BAND
) -> Iterator[tuple[str, str]]:
    """(lower rank, higher rank) of pairs in a band that pass the sketch filter and share no earlier band."""
    held = sorted(members)
    number = int(band.split(" ", 1)[0])
    low = np.frombuffer(b"".join(member[2] for member in held), np.uint8).reshape(len(held), -1)
    keys = np.frombuffer(b"".join(member[3] for member in held), np.uint32).reshape(len(held), -1)
    lengths = np.array([member[1] for member in held])
    for i in range(1, len(held)):
        first = max(0, i - most)
        shorter = np.minimum(lengths[first:i], lengths[i])
        margin = np.select([shorter < 50, shorter < 100, shorter < 200], [1.0, 0.3, 0.22], 0.17)
        agree = (low[first:i] == low[i]).sum(axis=1)
        new = ~(keys[first:i, :number] == keys[i, :number]).any(axis=1)
        for j in np.flatnonzero(new & (agree >= (threshold - margin) * dedup.SLOTS)).tolist():
            yield held[first + j][0], held[i][0]


def lead(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(dropped rank, rank that stands for it): in order of rank, dropped is what has a kept neighbour before it."""
    before: dict[str, list[str]] = {}
    for low, high in pairs:
        before.setdefault(high, []).append(low)
    gone: set[str] = set()
    for rank in sorted(before):
        leader = next((low for low in sorted(before[rank]) if low not in gone), None)
        if leader is not None:
            gone.add(rank)
            yield rank, leader


def near(pair_texts: tuple[str, str], threshold: float) -> bool:
    """Whether two texts are within the threshold, exactly."""
    return dedup.jaccard(*map(dedup.shingles, pair_texts)) >= threshold


def thin_out(lines: Any, threshold: float, text_column: str = "text", label_column: str = "label") -> tuple[Any, Any]:
    """From a collection of lines those that stay, and those that leave with the rank of what stands for them."""
    import apache_beam as beam

    def keyed(line: str) -> tuple[str, str]:
        row = read_row(line, text_column, label_column)
        return (row[0] if row else "", line)

    def first_row(item: tuple[str, Iterable[str]]) -> Iterator[Row]:
        row = read_row(next(iter(item[1])), text_column, label_column)
        if item[0] and row:
            yield row

    def with_text(item: tuple[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
        rank, found = item
        for text in found["text"]:
            for other in found["pairs"]:
                yield other, (rank, text)

    def verified(item: tuple[str, Any]) -> Iterator[tuple[str, str]]:
        rank, found = item
        for text in found["text"]:
            for other, other_text in found["pairs"]:
                if near((text, other_text), threshold):
                    yield other, rank

    def decided(item: tuple[str, Any]) -> Iterator[Any]:
        rank, found = item
        leaders = list(found["led"])
        for n, line in enumerate(found["lines"]):
            if rank and (leaders or n):
                told = {"reason": "near_duplicate" if leaders else "exact_duplicate", "kept": (leaders or [rank])[0]}
                yield beam.pvalue.TaggedOutput(
                    "dropped", json.dumps({**told, "row": json.loads(line)}, ensure_ascii=False)
                )
            else:
                yield line

    by_rank = lines | "rank" >> beam.Map(keyed)
    rows = by_rank | "fold equal texts" >> beam.GroupByKey() | "one of each" >> beam.FlatMap(first_row)
    texts = rows | "text of a rank" >> beam.Map(lambda row: (row[0], row[2]))
    pairs = (
        rows
        | "some together" >> beam.BatchElements(min_batch_size=100, max_batch_size=2000)
        | "sketch" >> beam.FlatMap(sketches, threshold)
        | "bands" >> beam.GroupByKey()
        | "pairs" >> beam.FlatMapTuple(candidates, threshold)
    )
    found = (
        {"text": texts, "pairs": pairs}
        | "texts of the lower" >> beam.CoGroupByKey()
        | "hand on" >> beam.FlatMap(with_text)
    )
    edges = (
        {"text": texts, "pairs": found}
        | "texts of the higher" >> beam.CoGroupByKey()
        | "verify" >> beam.FlatMap(verified)
    )
    led = (
        edges
        | "to one worker" >> beam.Map(lambda edge: (0, edge))
        | "all pairs" >> beam.GroupByKey()
        | "lead" >> beam.FlatMap(lambda item: lead(item[1]))
    )
    split = (
        {"lines": by_rank, "led": led}
        | "what became of rows" >> beam.CoGroupByKey()
        | "decide" >> beam.FlatMap(decided).with_outputs("dropped", main="kept")
    )
    return split.kept, split.dropped


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, thin out, write; options that are not named here go to Beam (--runner=DataflowRunner, --project, ...)."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="JSONL file or pattern, gs:// too")
    parser.add_argument("--kept", required=True, help="file for the rows that stay, as they came")
    parser.add_argument("--dropped", required=True, help="file for the others, with the reason")
    parser.add_argument("--threshold", type=float, default=0.8, help="Jaccard of character 5-grams")
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", default="label")
    asked, further = parser.parse_known_args(arguments)
    with beam.Pipeline(options=PipelineOptions(further, save_main_session=False)) as pipeline:
        lines = pipeline | "read" >> beam.io.ReadFromText(asked.input)
        kept, dropped = thin_out(lines, asked.threshold, asked.text_column, asked.label_column)
        # one shard: the next step reads one file
        kept | "write kept" >> beam.io.WriteToText(asked.kept, num_shards=1, shard_name_template="")
        dropped | "write dropped" >> beam.io.WriteToText(asked.dropped, num_shards=1, shard_name_template="")


if __name__ == "__main__":
    main()

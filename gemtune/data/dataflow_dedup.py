# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deduplication of more rows than one machine holds, as an Apache Beam pipeline (extra `beam`).

    python -m gemtune.data.dataflow_dedup --input gs://B/rows.jsonl --kept gs://B/kept.jsonl --dropped gs://B/dropped.jsonl

Rows are read, cleaned and compared as `preprocess` does it, by its own functions and settings. Rows of the same text
meet in one group and are settled there (exact duplicates, conflicting labels). Then the near rule: the same sketches
and bands as `dedup.leaders` make candidates, each is verified by its exact Jaccard similarity, and a row leaves only if
a row that stays is within the threshold. Only sketches are shuffled by band, texts follow for pairs that pass the
sketch filter, and the pairs found are led by one worker, which holds pairs, not texts. Promise: the kept rows are those
that `duplicates.settle` and `duplicates.thin_out` keep on one machine, as long as no band holds more than
`MOST_IN_BAND` different texts (further ones are compared with those next to them) and a sample of `SAMPLE` rows shows
the instruction that all rows share, if any. Rows that cannot be used are kept: what is wrong with them is for
`preprocess` to say.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from gemtune import dedup
from gemtune.config import Preprocess, Task
from gemtune.data.audit import read_review_file
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import full_text, remove_frame, shared_frame
from gemtune.data.duplicates import keep_priority, resolve_group
from gemtune.data.example import Example, RejectedRow
from gemtune.data.readers import parse_json
from gemtune.data.row_validation import LABELLED_KINDS, ReadStats, validate_row

MOST_IN_BAND = 2000
SAMPLE = 500
Row = tuple[str, str, str]  # rank, class, compared text
Line = tuple[bool, str]  # whether it is of the given test file, and the row as it came
Frame = tuple[bool, str, str]  # whether system instructions differ; the beginning and the end that nearly all rows have


@dataclass(frozen=True)
class Rules:
    """What of the configuration decides which rows stay; `corrections` are an audit sheet's labels."""

    task: Task
    config: Preprocess
    corrections: Mapping[str, str]


@cache
def rules(settings: str) -> Rules:
    """The rules in JSON of the sections `task` and `preprocess`; read once a process, so that workers share them."""
    sections = json.loads(settings)
    config = Preprocess.of(sections.get("preprocess", {}))
    if config.pii == "report":  # counted where the rows that stay are read
        config = config.model_copy(update={"pii": "off"})
    return Rules(
        Task.of(sections.get("task", {})), config, read_review_file(config.corrections) if config.corrections else {}
    )


def read_row(line: Line, settings: str) -> Example | None:
    """The example in a line, its split as `preprocess` would have it; None when it holds none."""
    given, said = line
    known = rules(settings)
    try:
        value = parse_json(said)
    except ValueError:
        return None
    made = (
        validate_row(0, value, known.task, known.config, ReadStats(known.corrections))
        if isinstance(value, dict)
        else None
    )
    if made is None or isinstance(made, RejectedRow):
        return None
    home = "test" if given else made.split or ("train" if known.config.test_data else None)
    return made if home == made.split else replace(made, split=home)


def rank(example: Example) -> str:
    """What decides which of two near rows stays: the smaller one; `duplicates.order` as a word."""
    first, shouting, name, _ = keep_priority(example)
    return f"{first}{shouting:d}{name}"


def text_of(example: Example, shared: Frame) -> str:
    """What of a row is compared; see `compared`."""
    return remove_frame(full_text(example, shared[0]), *shared[1:])


def group_key(example: Example, shared: Frame) -> str:
    """Equal for rows that count as the same text."""
    return hashlib.blake2b(text_key(text_of(example, shared)).encode(), digest_size=16).hexdigest()


def resolve_text_group(
    members: Iterable[Line], settings: str, shared: Frame
) -> Iterator[tuple[Row, Line] | tuple[None, dict[str, Any]]]:
    """Of rows of the same text those that stay, with their line, and what is told of the others."""
    known, held = rules(settings), sorted(members)
    examples = [replace(made, line=n) for n, line in enumerate(held) if (made := read_row(line, settings))]
    stay, leave = resolve_group(examples, known.task, known.config) if len(examples) > 1 else (examples, [])
    for example in stay:
        label = example.target if known.task.kind in LABELLED_KINDS else ""
        yield (rank(example), label, text_of(example, shared)), held[example.line]
    for gone in leave:
        if not held[gone.line][0]:
            same = f"the same text as the row {gone.kept_id}: {gone.row['text']!r:.80}"
            yield None, _told(gone.reason, same if gone.kept_id else gone.detail, gone.kept_id, held[gone.line])


def _told(reason: str, detail: str, kept_id: str | None, line: Line) -> dict[str, Any]:
    """A dropped row, as `preprocess` reads it."""
    return {"reason": reason, "detail": detail, "kept_id": kept_id, "row": json.loads(line[1])}


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


def deduplicate(lines: Any, settings: str) -> tuple[Any, Any]:
    """From a collection of `Line`s the lines of the source that stay, and what is told of those that leave, as JSON."""
    import apache_beam as beam

    def read(line: Line) -> Iterator[Any]:
        made = read_row(line, settings)
        if made is not None:
            yield made, line
        elif not line[0]:
            yield beam.pvalue.TaggedOutput("unread", line[1])

    def digested(item: tuple[Example, Line]) -> tuple[str, str, str]:
        return item[0].id, full_text(item[0], True), full_text(item[0], False)

    def shared_by(sample: list[tuple[str, str, str]], systems: int) -> Frame:
        return (systems > 1, *shared_frame([texts[1 if systems > 1 else 2] for texts in sample]))

    def settle(item: tuple[str, Iterable[Line]], shared: Frame) -> Iterator[Any]:
        for row, told in resolve_text_group(item[1], settings, shared):
            yield (row, told) if row else beam.pvalue.TaggedOutput("dropped", json.dumps(told, ensure_ascii=False))

    def with_text(item: tuple[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
        name, found = item
        for text in found["text"]:
            for other in found["pairs"]:
                yield other, (name, text)

    def verified(item: tuple[str, Any]) -> Iterator[tuple[str, str]]:
        name, found = item
        for text in found["text"]:
            for other, other_text in found["pairs"]:
                if near((text, other_text), threshold):
                    yield other, name

    def decided(item: tuple[str, Any]) -> Iterator[Any]:
        leaders = list(item[1]["led"])
        for (given, line), text in item[1]["rows"]:
            if given:
                continue
            if not leaders:
                yield line
                continue
            kept_id = leaders[0][2:]
            told = f"a near-duplicate of the row {kept_id}: {text!r:.80}"
            gone = _told("near_duplicate", told, kept_id, (given, line))
            yield beam.pvalue.TaggedOutput("dropped", json.dumps(gone, ensure_ascii=False))

    threshold = rules(settings).config.jaccard_threshold
    taken = lines | "read rows" >> beam.FlatMap(read).with_outputs("unread", main="rows")
    systems = (
        taken.rows
        | "system instructions" >> beam.Map(lambda item: item[0].system or "")
        | beam.Distinct()
        | "how many" >> beam.combiners.Count.Globally()
    )
    shared = (
        taken.rows
        | "texts" >> beam.Map(digested)
        | "a sample" >> beam.combiners.Top.Smallest(SAMPLE)
        | "what all share" >> beam.Map(shared_by, beam.pvalue.AsSingleton(systems))
    )
    same = (
        taken.rows
        | "by text"
        >> beam.Map(lambda item, known: (group_key(item[0], known), item[1]), beam.pvalue.AsSingleton(shared))
        | "same text" >> beam.GroupByKey()
        | "settle" >> beam.FlatMap(settle, beam.pvalue.AsSingleton(shared)).with_outputs("dropped", main="rows")
    )
    rows = same.rows | "compared" >> beam.Map(lambda item: item[0])
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
    lines_of = same.rows | "line of a rank" >> beam.Map(lambda item: (item[0][0], (item[1], item[0][2][:80])))
    split = (
        {"rows": lines_of, "led": led}
        | "what became of rows" >> beam.CoGroupByKey()
        | "decide" >> beam.FlatMap(decided).with_outputs("dropped", main="kept")
    )
    kept = (split.kept, taken.unread) | "all kept" >> beam.Flatten()
    dropped = (split.dropped, same.dropped) | "all dropped" >> beam.Flatten()
    return kept, dropped


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, thin out, write; options that are not named here go to Beam (--runner=DataflowRunner, --project, ...)."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="JSONL file or pattern, gs:// too")
    parser.add_argument("--kept", required=True, help="file for the rows that stay, as they came")
    parser.add_argument("--dropped", required=True, help="file for the others, with the reason")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"preprocess": {"text_column": "body"}}')
    asked, further = parser.parse_known_args(arguments)
    sources = [(False, asked.input), (True, rules(asked.settings).config.test_data)]
    with beam.Pipeline(options=PipelineOptions(further, save_main_session=False)) as pipeline:
        read = [
            pipeline
            | f"open {source}" >> beam.io.ReadFromText(source)
            | f"lines of {source}" >> beam.Map(lambda line, given: (given, line.lstrip("\ufeff")), given)
            for given, source in sources
            if source
        ]
        kept, dropped = deduplicate(read | beam.Flatten(), asked.settings)
        # one shard: the next step reads one file
        kept | "write kept" >> beam.io.WriteToText(asked.kept, num_shards=1, shard_name_template="")
        dropped | "write dropped" >> beam.io.WriteToText(asked.dropped, num_shards=1, shard_name_template="")


if __name__ == "__main__":
    main()

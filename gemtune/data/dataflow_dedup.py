# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deduplication of data that exceeds one machine's memory, as an Apache Beam pipeline (extra `beam`).

    python -m gemtune.data.dataflow_dedup --input gs://B/rows.jsonl --kept gs://B/kept.jsonl --dropped gs://B/dropped.jsonl

Rows are read, cleaned and compared by the functions and settings of `preprocess`. Rows with the same text form a group,
in which exact duplicates and conflicting labels are resolved. Near-duplicates: the sketches and bands of
`dedup.leaders` give candidate pairs, each is verified by its exact Jaccard similarity, and a row is dropped only for a
kept row within the threshold. Only sketches are shuffled by band; texts follow for pairs that pass the sketch filter;
one worker, which holds pairs and no texts, assigns the leaders. Guarantees: the kept rows are those that
`resolve_exact_duplicates` and `drop_near_duplicates` keep on one machine, provided that no band has more than
`MAX_BAND_ROWS` different texts (further ones are compared with their neighbours) and that a sample of `SAMPLE_ROWS`
rows shows the passages that many rows have in common. Rows that cannot be used are kept, for `preprocess` to report.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from gemtune import dedup
from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import compared_form, text_to_compare
from gemtune.data.csv_safe import read_review_file
from gemtune.data.duplicates import duplicate_class, keep_priority, resolve_group, text_digest
from gemtune.data.example import Example, RejectedRow
from gemtune.data.readers import parse_json
from gemtune.data.row_validation import ReadStats, of_source, validate_row
from gemtune.dedup.passages import Passages, find_passages
from gemtune.errors import UserError

MAX_BAND_ROWS = 2000
SAMPLE_ROWS = 20_000
Row = tuple[str, str, str, str]  # rank, class, compared text, the beginning of the text
Line = tuple[bool, str]  # whether it is of the test file, and the raw row
Common = tuple[bool, Passages]  # whether system instructions differ; the passages that many rows have in common


@cache
def load_rules(settings: str) -> tuple[Task, Preprocess, Mapping[str, str]]:
    """The sections in JSON of `task` and `preprocess`, and the labels of the review file; read once per process."""
    sections = json.loads(settings)
    config = Preprocess.of(sections.get("preprocess", {}))
    if config.pii == "report":  # counted later, where the kept rows are read
        config = config.model_copy(update={"pii": "off"})
    corrections = read_review_file(config.corrections) if config.corrections else {}
    return Task.of(sections.get("task", {})), config, corrections


def read_row(line: Line, settings: str) -> Example | None:
    """The example in a line, its split as `preprocess` assigns it; None when there is none."""
    is_test, text = line
    task, config, corrections = load_rules(settings)
    try:
        value = parse_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    example = validate_row(0, value, task, config, ReadStats(corrections))
    example = of_source(example, is_test, config)
    return None if isinstance(example, RejectedRow) else example


def rank_of(example: Example) -> str:
    """Sort key of the rows to keep, best first: `duplicates.keep_priority` as a string."""
    split_priority, all_capitals, identifier, _ = keep_priority(example)
    return f"{split_priority}{all_capitals:d}{identifier}"


def text_of(example: Example, common: Common) -> str:
    """The text of a row that is compared; see `Remainders.compared`."""
    with_system, passages = common
    return compared_form(passages.remainders([text_to_compare(example, with_system)])[0])


def resolve_text_group(
    members: Iterable[Line], settings: str, common: Common
) -> Iterator[tuple[Row, Line] | tuple[None, JsonObject]]:
    """Of rows with the same text: the kept ones with their line, and the dropped ones as rows of the output file."""
    (task, config, _), lines = load_rules(settings), sorted(members)
    examples = [replace(row, line=n) for n, line in enumerate(lines) if (row := read_row(line, settings))]
    kept, dropped = resolve_group(examples, task, config) if len(examples) > 1 else (examples, [])
    for example in kept:
        label = duplicate_class(example, task)
        yield (rank_of(example), label, text_of(example, common), example.text[:80]), lines[example.line]
    for rejected in dropped:
        if not lines[rejected.line][0]:
            same = f"the same text as the row {rejected.kept_id}: {rejected.row['text']!r:.80}"
            detail = same if rejected.kept_id else rejected.detail
            yield None, _dropped_row(rejected.reason, detail, rejected.kept_id, lines[rejected.line])


def _dropped_row(reason: str, detail: str, kept_id: str | None, line: Line) -> JsonObject:
    """A dropped row in the form that `dataflow_job.read_dropped` reads."""
    return {"reason": reason, "detail": detail, "kept_id": kept_id, "row": json.loads(line[1])}


def sketches(rows: Sequence[Row], threshold: float) -> Iterator[tuple[str, tuple[str, int, bytes, bytes]]]:
    """(band, (rank, length, low bytes, band keys)) for every band of every row."""
    sketched = dedup.build_sketches([row[2] for row in rows], threshold, threads=1)
    for i, (rank, label, *_) in enumerate(rows):
        sketch = (rank, int(sketched.lengths[i]), sketched.low[i].tobytes(), sketched.keys[i].tobytes())
        for band, key in enumerate(sketched.keys[i].tolist()):
            yield f"{band} {key} {label}", sketch


def candidates(
    band: str, members: Iterable[tuple[str, int, bytes, bytes]], threshold: float, max_rows: int = MAX_BAND_ROWS
) -> Iterator[tuple[str, str]]:
    """(lower rank, higher rank) of pairs in a band that pass the sketch filter and share no earlier band."""
    rows = sorted(members)
    number = int(band.split(" ", 1)[0])
    low = np.frombuffer(b"".join(member[2] for member in rows), np.uint8).reshape(len(rows), -1)
    keys = np.frombuffer(b"".join(member[3] for member in rows), np.uint32).reshape(len(rows), -1)
    lengths = np.array([member[1] for member in rows])
    for i in range(1, len(rows)):
        first = max(0, i - max_rows)
        shorter = np.minimum(lengths[first:i], lengths[i])
        margin = np.select([shorter < 50, shorter < 100, shorter < 200], [1.0, 0.3, 0.22], 0.17)
        agreement = (low[first:i] == low[i]).sum(axis=1)
        is_new = ~(keys[first:i, :number] == keys[i, :number]).any(axis=1)
        for j in np.flatnonzero(is_new & (agreement >= (threshold - margin) * dedup.SLOTS)).tolist():
            yield rows[first + j][0], rows[i][0]


def assign_leaders(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(dropped rank, kept rank): in order of rank, a row is dropped when a kept neighbour has a lower rank."""
    lower_ranks: dict[str, list[str]] = {}
    for low, high in pairs:
        lower_ranks.setdefault(high, []).append(low)
    dropped: set[str] = set()
    for rank in sorted(lower_ranks):
        leader = next((low for low in sorted(lower_ranks[rank]) if low not in dropped), None)
        if leader is not None:
            dropped.add(rank)
            yield rank, leader


def is_near(pair_texts: tuple[str, str], threshold: float) -> bool:
    """Whether two texts are within the threshold, exactly."""
    return bool(dedup.similarities(pair_texts, np.array([[0, 1]]))[0] >= threshold)


def deduplicate(lines: Any, settings: str) -> tuple[Any, Any]:
    """From a collection of `Line`s: the kept lines of the source, and its dropped rows as JSON."""
    import apache_beam as beam

    def read(line: Line) -> Iterator[Any]:
        example = read_row(line, settings)
        if example is not None:
            yield example, line
        elif not line[0]:
            yield beam.pvalue.TaggedOutput("unread", line[1])

    def texts_by_id(item: tuple[Example, Line]) -> tuple[str, str, str]:
        return item[0].id, text_to_compare(item[0], True), text_to_compare(item[0], False)

    def passages_of(sample: list[tuple[str, str, str]], systems: int) -> Common:
        texts = [texts[1 if systems > 1 else 2] for texts in sample]
        return systems > 1, find_passages(list({text_key(text): text for text in texts}.values()))

    def resolve(item: tuple[str, Iterable[Line]], common: Common) -> Iterator[Any]:
        for row, line_or_dropped in resolve_text_group(item[1], settings, common):
            if row:
                yield row, line_or_dropped
            else:
                yield beam.pvalue.TaggedOutput("dropped", json.dumps(line_or_dropped, ensure_ascii=False))

    def with_text(item: tuple[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
        rank, joined = item
        for text in joined["text"]:
            for other in joined["pairs"]:
                yield other, (rank, text)

    def verified(item: tuple[str, Any]) -> Iterator[tuple[str, str]]:
        rank, joined = item
        for text in joined["text"]:
            for other, other_text in joined["pairs"]:
                if is_near((text, other_text), threshold):
                    yield other, rank

    def decide(item: tuple[str, Any]) -> Iterator[Any]:
        leaders = list(item[1]["leaders"])
        for (is_test, line), text in item[1]["rows"]:
            if is_test:
                continue
            if not leaders:
                yield line
                continue
            kept_id = leaders[0][2:]
            detail = f"a near-duplicate of the row {kept_id}: {text!r:.80}"
            row = _dropped_row("near_duplicate", detail, kept_id, (is_test, line))
            yield beam.pvalue.TaggedOutput("dropped", json.dumps(row, ensure_ascii=False))

    threshold = load_rules(settings)[1].jaccard_threshold
    parsed = lines | "read rows" >> beam.FlatMap(read).with_outputs("unread", main="rows")
    systems = (
        parsed.rows
        | "system instructions" >> beam.Map(lambda item: item[0].system or "")
        | beam.Distinct()
        | "count system instructions" >> beam.combiners.Count.Globally()
    )
    common = (
        parsed.rows
        | "texts" >> beam.Map(texts_by_id)
        | "sample" >> beam.combiners.Top.Smallest(SAMPLE_ROWS)
        | "common passages" >> beam.Map(passages_of, beam.pvalue.AsSingleton(systems))
    )
    resolved = (
        parsed.rows
        | "key by text" >> beam.Map(lambda item: (text_digest(item[0]), item[1]))
        | "group by text" >> beam.GroupByKey()
        | "resolve groups"
        >> beam.FlatMap(resolve, beam.pvalue.AsSingleton(common)).with_outputs("dropped", main="rows")
    )
    rows = resolved.rows | "compared rows" >> beam.Map(lambda item: item[0])
    texts = rows | "texts by rank" >> beam.Map(lambda row: (row[0], row[2]))
    pairs = (
        rows
        | "batch" >> beam.BatchElements(min_batch_size=100, max_batch_size=2000)
        | "sketch" >> beam.FlatMap(sketches, threshold)
        | "group by band" >> beam.GroupByKey()
        | "candidates" >> beam.FlatMapTuple(candidates, threshold)
    )
    half_joined = (
        {"text": texts, "pairs": pairs}
        | "join text of the lower rank" >> beam.CoGroupByKey()
        | "key by higher rank" >> beam.FlatMap(with_text)
    )
    edges = (
        {"text": texts, "pairs": half_joined}
        | "join text of the higher rank" >> beam.CoGroupByKey()
        | "verify" >> beam.FlatMap(verified)
    )
    leaders = (
        edges
        | "single key" >> beam.Map(lambda edge: (0, edge))
        | "all pairs" >> beam.GroupByKey()
        | "assign leaders" >> beam.FlatMap(lambda item: assign_leaders(item[1]))
    )
    line_of_rank = resolved.rows | "lines by rank" >> beam.Map(lambda item: (item[0][0], (item[1], item[0][3])))
    result = (
        {"rows": line_of_rank, "leaders": leaders}
        | "join leaders" >> beam.CoGroupByKey()
        | "decide" >> beam.FlatMap(decide).with_outputs("dropped", main="kept")
    )
    kept = (result.kept, parsed.unread) | "all kept" >> beam.Flatten()
    dropped = (result.dropped, resolved.dropped) | "all dropped" >> beam.Flatten()
    return kept, dropped


def run(source: str, kept: str, dropped: str, settings: str, beam_options: Sequence[str]) -> None:
    """Deduplicate a JSONL file or pattern into the files `kept` (rows as they are) and `dropped` (with reasons).

    `settings` is JSON of the sections `task` and `preprocess`; `beam_options` are Beam's own (--runner=..., ...).
    Raises `UserError` without the extra `beam`.
    """
    if find_spec("apache_beam") is None:
        raise UserError("Dataflow needs Apache Beam", remedy="pip install 'gemtune[beam]', in its own environment")
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    inputs = [(False, source), (True, load_rules(settings)[1].test_data)]
    with beam.Pipeline(options=PipelineOptions(list(beam_options), save_main_session=False)) as pipeline:
        lines = [
            pipeline
            | f"open {path}" >> beam.io.ReadFromText(path)
            | f"lines of {path}" >> beam.Map(lambda line, is_test: (is_test, line.lstrip("\ufeff")), is_test)
            for is_test, path in inputs
            if path
        ]
        kept_lines, dropped_lines = deduplicate(lines | beam.Flatten(), settings)
        # one shard: the next step reads one file
        kept_lines | "write kept" >> beam.io.WriteToText(kept, num_shards=1, shard_name_template="")
        dropped_lines | "write dropped" >> beam.io.WriteToText(dropped, num_shards=1, shard_name_template="")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the Flex Template; other options go to Beam (--runner=DataflowRunner, --project, ...)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="JSONL file or pattern, gs:// too")
    parser.add_argument("--kept", required=True, help="file for the kept rows, as they are")
    parser.add_argument("--dropped", required=True, help="file for the dropped rows, with reasons")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"preprocess": {"text_column": "body"}}')
    options, beam_options = parser.parse_known_args(arguments)
    run(options.input, options.kept, options.dropped, options.settings, beam_options)


if __name__ == "__main__":
    main()

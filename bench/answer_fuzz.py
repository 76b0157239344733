# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does any answer, row or label end in a traceback? Random ones in nine scripts, shrunk to the smallest that does.

Each example is a task of one kind with its labels, a raw row, an answer and a judge's reply, all built from the same
few texts. It ends in a value, in the reason why there is none, or in one message to the user. Hypothesis draws the
examples; the first traceback is shown with the smallest example that causes it, and the exit status is 1.

    python bench/answer_fuzz.py [--examples 50000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from gemtune.config import Judge, ModelVariant, Preprocess, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example, RejectedRow
from gemtune.data.row_validation import ReadStats, read
from gemtune.errors import UserError
from gemtune.evaluation.judge import UNREADABLE, parse_pairwise, parse_rating
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.prompts import resolve

SCRIPTS = {
    "Latin": ("A", "\u024f"),
    "Greek": ("\u0370", "\u03ff"),
    "Cyrillic": ("\u0400", "\u04ff"),
    "Hebrew": ("\u0591", "\u05f4"),
    "Arabic": ("\u0600", "\u06ff"),
    "Devanagari": ("\u0900", "\u097f"),
    "Thai": ("\u0e01", "\u0e5b"),
    "kana and Han": ("\u3040", "\u4fff"),
    "Hangul": ("\uac00", "\ud7a3"),
}
NOISE = [
    "", " ", "\n", "\t", "\r\n", "\x00", "\u200b", "\u202e", "\ufeff", "\ud800", "\U0001f600", "✅", "❌", ".", ",",
    "、", ":", "：", "-", "1.", "½", "٣", "{", "}", "[", "]", "(", '"', "'", "“", "「", "\\", "|", "```", "```json\n",
    "<think>", "</think>", "<label>", "</label>", "\\boxed{", "**", "is", "は", "이", "是", "not", "ではない",
    "because", "Label:", "ラベル：", "null", "1e999", "NaN", "[" * 200, '{"a":' * 200,
]  # fmt: skip
KINDS = ["classification", "sentiment", "extraction", "summarization", "generation"]

noise = st.sampled_from(NOISE)
words = st.one_of(
    *(st.text(st.characters(min_codepoint=ord(a), max_codepoint=ord(z)), min_size=1, max_size=6)
      for a, z in SCRIPTS.values())
)  # fmt: skip
plain = noise | words | st.none() | st.booleans() | st.integers() | st.floats()
values = plain | st.lists(plain, max_size=3) | st.dictionaries(noise, st.lists(plain, max_size=2) | plain, max_size=2)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], str, str]:
    """The settings of a task, a raw row, an answer and a judge's reply."""
    labels = draw(st.lists(words, min_size=2, max_size=4))
    pieces = st.sampled_from([*labels, *NOISE])
    task = {
        "kind": draw(st.sampled_from(KINDS)),
        "labels": labels if draw(st.integers(0, 3)) else draw(st.lists(pieces, max_size=4)),
        "label_separator": draw(st.sampled_from(["", ", ", "|", "、"])),
        "target_name": "分類" if draw(st.integers(0, 9)) else draw(pieces),
    }
    row = {"text": draw(words | values), "label": labels[0] if draw(st.integers(0, 2)) else draw(values)}
    if not draw(st.integers(0, 3)):
        row[draw(st.sampled_from(["contents", "messages", "group", "split", "system"]))] = draw(values)
    answer = "".join(draw(st.lists(pieces, max_size=6)))
    if not draw(st.integers(0, 3)):
        answer = json.dumps({labels[0]: draw(values), "label": answer}, ensure_ascii=False)[: draw(st.integers(9, 99))]
    reply = json.dumps({"reason": answer, "score": draw(values), "better": draw(pieces)}, ensure_ascii=False)
    return task, row, answer, reply[: draw(st.integers(30, 300))]


def outcome(path: Path, task: dict[str, Any], row: dict[str, Any], answer: str, reply: str) -> list[str]:
    """How the example ends, part by part: "value", "reason" or "message". Raises what a user would see as a bug.

    The row is written to `path` and read from it.
    """
    path.write_text(json.dumps(row), encoding="utf-8")
    ends = []
    samples = [ModelOutput(reply), ModelOutput(answer)]
    rating, result = parse_rating(Judge(), samples), parse_pairwise(samples, "one", "two")
    assert (rating.score is None) == (rating.refused + rating.unreadable == len(samples))
    assert result.winner in ("candidate", "baseline", "tie", UNREADABLE)
    ends.append("reason" if rating.score is None else "value")
    try:
        return [*ends, *_evaluated(path, Task.of(task), answer)]
    except UserError as error:
        message = str(error)
    assert message.strip()
    assert "\n" not in message, "one message is one line"
    return [*ends, "message"]


def _evaluated(path: Path, task: Task, answer: str) -> Iterator[str]:
    """The row's end, and the ends of the answer to a plain and to a chain-of-thought prompt."""
    rows = list(read(path, task, Preprocess(), ReadStats()))
    assert rows
    for row in rows:  # several where each value is a list: a data frame written whole
        assert not isinstance(row, RejectedRow) or (row.reason and row.detail)
        yield "reason" if isinstance(row, RejectedRow) else "value"
    examples = [row for row in rows if isinstance(row, Example)]
    example = (examples or [Example("1", "text", (task.labels or ["{}"])[0])])[0]
    task = resolve(task, examples or [example])
    for prompt in (Prompt(), Prompt(chain_of_thought=True)):
        variant = ModelVariant(name="m", model="m", prompt=prompt)
        score = score_sample(task, variant, example, ModelOutput(answer))
        assert (score.row.parsed is None) == bool(score.problem), score
        yield "reason" if score.problem else "value"


def fuzz(examples: int, seed: int = 0) -> Counter[str]:
    """How so many examples ended; raises the first traceback, with the smallest example that causes it."""
    ends: Counter[str] = Counter()

    def ends_well(case: tuple[dict[str, Any], dict[str, Any], str, str]) -> None:
        ends.update(outcome(path, *case))

    run = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(hypothesis.seed(seed)(given(cases())(ends_well)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        run()
    return ends


def main() -> int:
    """Run the fuzz; 0 when no example ended in a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("gemtune").setLevel(logging.ERROR)
    start = perf_counter()
    ends = fuzz(arguments.examples, arguments.seed)
    shown = ", ".join(f"{count} {name}s" for name, count in ends.most_common())
    print(f"{arguments.examples} examples in {len(SCRIPTS)} scripts: {shown}; {perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the sample of preferences: customers' messages, each with pairs of a better and a worse answer.

`python -m examples.generate` writes examples/preference_en/pairs.jsonl and planted.json with the other samples.

The messages are tickets of the English sample, a third of which also quote an outdated request. Every message has four
answers: a courteous one that says what is done, a plain one, a rude one (it says more) and a curt one; each is
preferred to the next. So imitating preferred answers alone gives courteous, plain and rude ones alike, and only what is
rejected shows which of them is best. What is done depends on the message: no constant answer is right often, and the
answer to the most similar message is wrong where that is the quoted one. Guarantees: no two messages are near one
another, planted.json lists every fault with its line.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from examples.generate import Row, Tickets, dumped

NAME = "preference_en"


def pairs_of(recipe: dict[str, Any], ticket: Row) -> list[Row]:
    """The pairs of one message: each answer against the next better one."""
    topic = recipe["topics"][ticket["label"]]
    answers = [*(text.format(fact=topic["fact"]) for text in recipe["answers"]), topic["curt"]]
    return [
        {
            "prompt": ticket["text"],
            "chosen": better,
            "rejected": worse,
            "topic": ticket["label"],
            "quoted": ticket["quoted"],
        }
        for better, worse in pairwise(answers)
    ]


def broken(row: Row) -> list[tuple[str, str]]:
    """Lines no pair can be made of, each with the reason that must be given."""
    without = {name: value for name, value in row.items() if name != "rejected"}
    return [
        ("invalid_json", dumped(row)[:-12]),
        ("not_a_pair", dumped(without)),
        ("not_a_pair", json.dumps({**row, "chosen": 3})),
        ("equal_answers", dumped({**row, "rejected": row["chosen"].upper()})),
        ("empty_answer", dumped({**row, "rejected": "  "})),
        ("empty_target", dumped({**row, "chosen": ""})),
        ("empty_text", dumped({**row, "prompt": " "})),
    ]


def sample(recipe: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text of pairs.jsonl and the content of planted.json."""
    tickets = Tickets({**recipe, "intents": {label: recipe["intents"][label] for label in recipe["topics"]}})
    tickets.write_all()
    draw, counts = tickets.random, recipe["planted"]
    rows = [pair for ticket in tickets.rows for pair in pairs_of(recipe, ticket)]
    lines: list[tuple[str, str, int]] = [("row", dumped(row), n) for n, row in enumerate(rows)]
    chosen = draw.sample(range(len(rows)), sum(counts.values()))
    for number, n in enumerate(chosen):
        row = rows[n]
        if number < counts["exact"]:
            lines.append(("exact", dumped({**row, "prompt": f" {row['prompt']} "} if number % 2 else row), n))
        elif number < counts["exact"] + counts["near"]:
            lines.append(
                ("near", dumped({**row, "rejected": row["rejected"] + "!", "chosen": row["chosen"] + "..."}), n)
            )
        else:
            lines.append(("contradiction", dumped({**row, "chosen": row["rejected"], "rejected": row["chosen"]}), n))
    lines += [(reason, line, -1) for reason, line in broken(rows[0])]
    draw.shuffle(lines)
    originals = {n: number for number, (kind, _, n) in enumerate(lines, 1) if kind == "row"}
    placed = {
        kind: [(number, originals[n]) for number, (k, _, n) in enumerate(lines, 1) if k == kind]
        for kind in ("exact", "near", "contradiction")
    }
    truth = {
        "lines": len(lines),
        "prompts": len(tickets.rows),
        "exact_duplicates": [{"line": line, "of": of} for line, of in placed["exact"]],
        "near_duplicates": [{"line": line, "of": of} for line, of in placed["near"]],
        "contradictions": [{"line": line, "with": of} for line, of in placed["contradiction"]],
        "broken": [{"line": number, "reason": kind} for number, (kind, _, n) in enumerate(lines, 1) if n < 0],
    }
    return "".join(line + "\n" for _, line, _ in lines), truth

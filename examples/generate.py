# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the sample data: support tickets made from `phrasings.yaml`, with known faults planted in them.

    python -m examples.generate            writes examples/*/rows.jsonl and planted.json again, byte for byte
    python -m examples.generate --to DIR   the same under another directory

Tickets of *rare* phrasings carry `split: test` and share no phrasing with any training row; those of *common*
phrasings are left to the split's hash. Guarantees: no two rows that are not planted as duplicates are near one another
(Jaccard of character 5-grams below 0.7), and planted.json lists every fault with its line.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SAMPLES = ("support_en", "support_ja")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
Row = dict[str, str]


def grams(text: str) -> set[str]:
    """Character 5-grams of the text without case and punctuation."""
    plain = re.sub(r"[\W_]+", " ", text.lower()).strip()
    return {plain[i : i + 5] for i in range(max(1, len(plain) - 4))}


def alike(a: set[str], b: set[str]) -> float:
    """Jaccard similarity."""
    return len(a & b) / len(a | b)


class Tickets:
    """Draws tickets until none is near another."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.random = random.Random(recipe["seed"])
        self.joint: str = recipe.get("joint", " ")
        self.rows: list[Row] = []
        self.sets: list[set[str]] = []

    def fill(self, text: str) -> str:
        """The text with its choices and slots decided."""
        text = _CHOICE.sub(lambda m: self.random.choice(m.group(1).split("|")), text)
        return _SLOT.sub(lambda m: self.random.choice(self.recipe["slots"][m.group(1)]), text)

    def ticket(self, phrasing: str) -> str:
        """An opening, the phrasing, an unrelated sentence before or after it, a closing; now and then a slip of the
        pen.
        """
        opening, extra, closing = (self.random.choice(self.recipe[name]) for name in ("openings", "extras", "closings"))
        middle = [extra, phrasing] if self.random.random() < 0.3 else [phrasing, extra]
        text = self.joint.join(self.fill(piece) for piece in [opening, *middle, closing] if piece)
        return self.slip(text) if self.random.random() < 0.04 else text

    def slip(self, text: str) -> str:
        """Two neighbouring letters swapped."""
        at = self.random.choice([i for i in range(1, len(text) - 2) if text[i : i + 2].isalpha()])
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    def add(self, label: str, phrasing: str, extra: Row) -> None:
        """One more ticket of the phrasing, far from all others."""
        for _ in range(400):
            text = self.ticket(phrasing)
            mine = grams(text)
            if all(alike(mine, other) < 0.7 for other in self.sets):
                customer = f"c{self.random.randrange(10_000):04d}"
                self.rows.append({"text": text, "label": label, "customer": customer, **extra})
                self.sets.append(mine)
                return
        raise RuntimeError(f"no room for another ticket of {phrasing!r}: give it more slots")

    def write_all(self) -> None:
        """Every intent's common and rare tickets, phrasings in turn."""
        for label, phrasings in self.recipe["intents"].items():
            for k in range(self.recipe["common_rows"]):
                self.add(label, phrasings["common"][k % len(phrasings["common"])], {"phrasing": "common"})
            for k in range(self.recipe["rare_rows"]):
                number = k % len(phrasings["rare"])
                marks = {"phrasing": "rare", "split": "test", "template": f"{label}-rare-{number}"}
                self.add(label, phrasings["rare"][number], marks)

    def near_copy(self, row: Row) -> Row:
        """A copy with a word or two changed: nearer than 0.8, not the same."""
        mine = grams(row["text"])
        while True:
            text = self.slip(row["text"]) + self.random.choice(["", "!!", " " + self.fill("{code}"), "..."])
            if 0.82 <= alike(mine, grams(text)) < 1:
                return {**row, "text": text}


def planted(tickets: Tickets) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
    """Faulty lines to put in: (kind, line, index of the row it is a copy of), and (reason, broken line)."""
    draw, wanted = tickets.random, tickets.recipe["planted"]
    common = [
        i
        for i, row in enumerate(tickets.rows)
        if row["phrasing"] == "common" and len(row["text"]) > 60 * len(tickets.joint) + 30
    ]
    chosen = draw.sample(common, sum(wanted.values()))
    labels = list(tickets.recipe["intents"])
    copies = []
    for number, i in enumerate(chosen):
        row = tickets.rows[i]
        if number < wanted["exact"]:
            text = row["text"].upper() if number % 4 == 0 else "  " + row["text"] + " " if number % 2 else row["text"]
            copies.append(("exact", dumped({**row, "text": text}), i))
        elif number < wanted["exact"] + wanted["near"]:
            copies.append(("near", dumped(tickets.near_copy(row)), i))
        else:
            other = draw.choice([label for label in labels if label != row["label"]])
            copies.append(("conflict", dumped({**row, "label": other}), i))
    return copies, broken(tickets, tickets.rows[chosen[0]])


def broken(tickets: Tickets, row: Row) -> list[tuple[str, str]]:
    """Lines no example can be made of, each with the reason that must be given."""
    text, label = tickets.fill(row["text"]), row["label"]
    return [
        ("invalid_json", dumped(row)[:-18]),
        ("invalid_json", f'{{"text": {json.dumps(text, ensure_ascii=False)}, "label": {label}}}'),
        ("invalid_json", f'{{"text": "{label}", "label": "{label}", "label": "{label}"}}'),
        ("missing_target", dumped({"text": text})),
        ("missing_text", dumped({"label": label})),
        ("empty_text", dumped({"text": " \t ", "label": label})),
        ("empty_target", dumped({"text": text, "label": ""})),
        ("wrong_type", json.dumps({"text": tickets.recipe["broken_text"], "label": label}, ensure_ascii=False)),
        ("wrong_type", json.dumps({"text": text, "label": [label]}, ensure_ascii=False)),
        ("wrong_type", json.dumps([text, label], ensure_ascii=False)),
    ]


def dumped(row: Row) -> str:
    """The row as one line of JSON."""
    return json.dumps(row, ensure_ascii=False)


def sample(recipe: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text of rows.jsonl and the content of planted.json."""
    tickets = Tickets(recipe)
    tickets.write_all()
    copies, faults = planted(tickets)
    lines: list[tuple[str, str, int]] = [("row", dumped(row), i) for i, row in enumerate(tickets.rows)]
    lines += copies
    lines += [(reason, line, -1) for reason, line in faults]
    tickets.random.shuffle(lines)
    home = {i: number for number, (kind, _, i) in enumerate(lines, 1) if kind == "row"}
    found = {
        kind: [(n, home[i]) for n, (k, _, i) in enumerate(lines, 1) if k == kind]
        for kind in ("exact", "near", "conflict")
    }
    truth = {
        "lines": len(lines),
        "exact_duplicates": [{"line": n, "of": of} for n, of in found["exact"]],
        "near_duplicates": [{"line": n, "of": of} for n, of in found["near"]],
        "conflicts": [{"line": n, "with": of} for n, of in found["conflict"]],
        "broken": [{"line": n, "reason": kind} for n, (kind, _, i) in enumerate(lines, 1) if i < 0],
    }
    return "".join(line + "\n" for _, line, _ in lines), truth


def main() -> None:
    """Write all samples."""
    parser = argparse.ArgumentParser(description="Write the sample data sets again.")
    parser.add_argument("--to", type=Path, default=HERE, help="directory to write under")
    root = parser.parse_args().to
    for name in SAMPLES:
        recipe = yaml.safe_load((HERE / name / "phrasings.yaml").read_text(encoding="utf-8"))
        rows, truth = sample(recipe)
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "rows.jsonl").write_text(rows, encoding="utf-8", newline="\n")
        text = json.dumps(truth, ensure_ascii=False, indent=1) + "\n"
        (root / name / "planted.json").write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {truth['lines']} lines")


if __name__ == "__main__":
    main()

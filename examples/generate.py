# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the sample data: rows made from the `phrasings.yaml` of each sample, with known faults planted in them.

    python -m examples.generate            writes examples/*/rows.jsonl and planted.json again, byte for byte
    python -m examples.generate --to DIR   the same under another directory

Tickets of *rare* phrasings carry `split: test` and share no phrasing with any training row; those of *common*
phrasings are left to the split. A share of the tickets also mentions another intent that does not count: quoted in a
frame that makes it void, negated, or taken back before the last wish. Frames of rare tickets are in no training row
either. Guarantees: no two rows that are not planted as duplicates are near one another (Jaccard of character 5-grams
below 0.7), and planted.json lists every fault with its line.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SAMPLES = ("support_en", "support_ja", "topics_en", "reviews_en")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
Row = dict[str, str]


def grams(text: str) -> set[str]:
    """Character 5-grams of the text without case and punctuation."""
    plain = re.sub(r"[\W_]+", " ", text.lower()).strip()
    return {plain[i : i + 5] for i in range(max(1, len(plain) - 4))}


def alike(a: set[str], b: set[str]) -> float:
    """Jaccard similarity."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def read_recipe(name: str) -> dict[str, Any]:
    """The phrasings of a sample; one with `base` takes what it lacks from another sample's."""
    recipe: dict[str, Any] = yaml.safe_load((HERE / name / "phrasings.yaml").read_text(encoding="utf-8"))
    return {**read_recipe(recipe["base"]), **recipe} if "base" in recipe else recipe


class Tickets:
    """Draws tickets until none is near another."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.random = random.Random(recipe["seed"])
        self.joint: str = recipe.get("joint", " ")
        self.rows: list[Row] = []
        self.sets: list[set[str]] = []
        self.rows_with: defaultdict[str, list[int]] = defaultdict(list)

    def fill(self, text: str) -> str:
        """The text with its choices and slots decided."""
        text = _CHOICE.sub(lambda m: self.random.choice(m.group(1).split("|")), text)
        return _SLOT.sub(lambda m: self.random.choice(self.recipe["slots"][m.group(1)]), text)

    def ticket(self, phrasing: str, frame: str = "") -> str:
        """An opening, the phrasing, an unrelated sentence before or after it, a closing; now and then a slip of the
        pen. A frame, which mentions another intent, takes the place of the unrelated sentence.
        """
        opening, extra, closing = (self.random.choice(self.recipe[name]) for name in ("openings", "extras", "closings"))
        if "{wish}" in frame:
            middle = [frame.replace("{wish}", phrasing)]
        else:
            before = self.random.random() < (0.5 if frame else 0.3)
            middle = [frame or extra, phrasing] if before else [phrasing, frame or extra]
        text = self.joint.join(self.fill(piece) for piece in [opening, *middle, closing] if piece)
        return self.slip(text) if self.random.random() < 0.04 else text

    def frame(self, label: str, kind: str, phrasing: str) -> str:
        """A frame of the kind, with a phrasing or a name of another intent than the label's in it."""
        frame: str = self.random.choice(self.recipe["mentions"][kind][phrasing])
        other = self.recipe["intents"][self.random.choice([name for name in self.recipe["intents"] if name != label])]
        for slot, texts in (("{other}", phrasing), ("{topic}", "topics")):
            frame = frame.replace(slot, self.random.choice(other[texts])) if slot in frame else frame
        return frame

    def slip(self, text: str) -> str:
        """Two neighbouring letters swapped."""
        at = self.random.choice([i for i in range(1, len(text) - 2) if text[i : i + 2].isalpha()])
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    def add(self, label: str, phrasing: str, columns: Row, kind: str = "") -> None:
        """One more ticket of the phrasing, far from all others; `kind` is how it mentions another intent."""
        for _ in range(400):
            text = self.ticket(phrasing, self.frame(label, kind, columns["phrasing"]) if kind else "")
            candidate = grams(text)
            if not self.has_near(candidate):
                for gram in candidate:
                    self.rows_with[gram].append(len(self.sets))
                customer = f"c{self.random.randrange(10_000):04d}"
                self.rows.append({"text": text, "label": label, "customer": customer, **columns})
                self.sets.append(candidate)
                return
        raise RuntimeError(f"no room for another ticket of {phrasing!r}: give it more slots")

    def has_near(self, candidate: set[str]) -> bool:
        """Whether a row is near these grams: then it has 7 of 10, so some of the 3 of 10 that fewest rows have."""
        rarest = sorted(candidate, key=lambda gram: len(self.rows_with[gram]))[: int(0.3 * len(candidate)) + 1]
        rows = {row for gram in rarest for row in self.rows_with[gram]}
        return any(alike(candidate, self.sets[row]) >= 0.7 for row in rows)

    def kinds(self, count: int) -> list[str]:
        """For each of so many tickets how it mentions another intent, "" where it does not; the shares are exact."""
        shares = {kind: mention["share"] for kind, mention in self.recipe["mentions"].items()}
        kinds = [kind for kind, share in shares.items() for _ in range(round(share * count))]
        kinds += [""] * (count - len(kinds))
        self.random.shuffle(kinds)
        return kinds

    def write_all(self) -> None:
        """Every intent's common and rare tickets, phrasings in turn."""
        for label, phrasings in self.recipe["intents"].items():
            for phrasing in ("common", "rare"):
                for k, kind in enumerate(self.kinds(self.recipe[f"{phrasing}_rows"])):
                    number = k % len(phrasings[phrasing])
                    mentioned = {name: "yes" if name == kind else "no" for name in self.recipe["mentions"]}
                    held_out = {"split": "test", "template": f"{label}-rare-{number}"} if phrasing == "rare" else {}
                    columns = {"phrasing": phrasing, **mentioned, **held_out}
                    self.add(label, phrasings[phrasing][number], columns, kind)

    def near_copy(self, row: Row) -> Row:
        """A copy that differs in punctuation only."""
        return {**row, "text": row["text"].replace(".", "...") + self.random.choice(["", "!", "!!"])}


def planted(tickets: Tickets) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
    """Faulty lines to put in: (kind, line, index of the row it is a copy of), and (reason, broken line)."""
    draw, counts = tickets.random, tickets.recipe["planted"]
    common = [
        i
        for i, row in enumerate(tickets.rows)
        if row["phrasing"] == "common" and len(row["text"]) > 60 * len(tickets.joint) + 30
    ]
    chosen = draw.sample(common, sum(counts.values()))
    labels = list(tickets.recipe["intents"])
    copies = []
    for number, i in enumerate(chosen):
        row = tickets.rows[i]
        if number < counts["exact"]:
            text = row["text"].upper() if number % 4 == 0 else "  " + row["text"] + " " if number % 2 else row["text"]
            copies.append(("exact", dumped({**row, "text": text}), i))
        elif number < counts["exact"] + counts["near"]:
            copies.append(("near", dumped(tickets.near_copy(row)), i))
        else:
            other = draw.choice([label for label in labels if label != row["label"]])
            copies.append(("conflict", dumped({**row, "label": other}), i))
    return copies, broken(tickets, tickets.rows[chosen[0]]) if chosen else []


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
    originals = {i: number for number, (kind, _, i) in enumerate(lines, 1) if kind == "row"}
    placed = {
        kind: [(n, originals[i]) for n, (k, _, i) in enumerate(lines, 1) if k == kind]
        for kind in ("exact", "near", "conflict")
    }
    truth = {
        "lines": len(lines),
        "exact_duplicates": [{"line": n, "of": of} for n, of in placed["exact"]],
        "near_duplicates": [{"line": n, "of": of} for n, of in placed["near"]],
        "conflicts": [{"line": n, "with": of} for n, of in placed["conflict"]],
        "broken": [{"line": n, "reason": kind} for n, (kind, _, i) in enumerate(lines, 1) if i < 0],
    }
    return "".join(line + "\n" for _, line, _ in lines), truth


def write_sample(folder: Path, file: str, rows: str, truth: dict[str, Any]) -> None:
    """Write the rows of a sample to `file` in its folder, and what is planted in them to planted.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(rows, encoding="utf-8", newline="\n")
    text = json.dumps(truth, ensure_ascii=False, indent=1) + "\n"
    (folder / "planted.json").write_text(text, encoding="utf-8", newline="\n")
    print(f"{folder.name}: {truth['lines']} lines")


def main() -> None:
    """Write all samples."""
    from examples import preferences

    parser = argparse.ArgumentParser(description="Write the sample data sets again.")
    parser.add_argument("--to", type=Path, default=HERE, help="directory to write under")
    root = parser.parse_args().to
    for name in SAMPLES:
        write_sample(root / name, "rows.jsonl", *sample(read_recipe(name)))
    write_sample(root / preferences.NAME, "pairs.jsonl", *preferences.sample(read_recipe(preferences.NAME)))


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rename words of the code everywhere at once: `python tools/rename_vocabulary.py [--check]`.

A second run changes nothing.

The tables in `tools/vocabulary/*.csv` have the columns kind, scope, old, new:

- `name`: a Python identifier (also an attribute, an argument, an import, an expression inside an f-string);
- `key`: a string literal that is exactly `old` (a key of a document, an argument of a command), in Python;
- `text`: the characters `old` wherever they stand, in any file.

`scope` is a glob of paths from the root (`**` is everything); several are separated by `|`. Names and keys are replaced
before texts; of two rows for the same name in one file the last one counts.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "tools" / "vocabulary"
Row = dict[str, str]


def main() -> int:
    """Apply the tables to every tracked file; with --check only report. Exit code 1: something is (still) to rename."""
    rows = [row for table in sorted(TABLES.glob("*.csv")) for row in csv.DictReader(io.StringIO(table.read_text()))]
    clashes = {row["new"] for row in rows if row["kind"] == "name"} & {
        row["old"] for row in rows if row["scope"] == "**"
    }
    if clashes:
        print(f"renamed to and from: {', '.join(sorted(clashes))}", file=sys.stderr)
        return 2
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    changed = [path for path in listed.stdout.splitlines() if rename(path, rows, "--check" not in sys.argv)]
    print("\n".join(changed) or "nothing to rename")
    return int(bool(changed))


def rename(path: str, rows: list[Row], write: bool) -> bool:
    """Apply the rows whose scope holds `path`; whether the file changes."""
    file = ROOT / path
    if (
        path.startswith(("tools/", "tests/golden/", "tests/vocabulary"))
        or not file.is_file()
        or file.suffix in (".lock", ".gz", ".safetensors", ".png", ".svg")
    ):
        return False
    mine = [row for row in rows if any(fnmatch.fnmatch(path, glob) for glob in row["scope"].split("|"))]
    try:
        text = before = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    if file.suffix == ".py":
        names = {row["old"]: row["new"] for row in mine if row["kind"] == "name"}
        keys = {row["old"]: row["new"] for row in mine if row["kind"] == "key"}
        text = renamed_tokens(text, names, keys) if names or keys else text
    for row in mine:
        if row["kind"] == "text":
            text = text.replace(row["old"], row["new"])
    if text != before and write:
        file.write_text(text, encoding="utf-8")
    return text != before


def renamed_tokens(text: str, names: dict[str, str], keys: dict[str, str]) -> str:
    """The source with identifiers and whole string literals replaced; everything else stays as it is."""
    lines = text.splitlines(keepends=True)
    edits = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in names:
            edits.append((token.start, token.end, names[token.string]))
        elif token.type == tokenize.STRING:
            new = renamed_string(token.string, names, keys)
            if new != token.string:
                edits.append((token.start, token.end, new))
    for (row, column), (last, end), new in reversed(edits):
        first, tail = lines[row - 1][:column], lines[last - 1][end:]
        lines[row - 1 : last] = [first + new + tail]
    return "".join(lines)


def renamed_string(literal: str, names: dict[str, str], keys: dict[str, str]) -> str:
    """A string literal with its key or, in an f-string, the identifiers of its expressions replaced."""
    prefix, quote, body = re.fullmatch(r"(?s)([A-Za-z]*)('{3}|\"{3}|'|\")(.*)\2", literal).groups()  # type: ignore[union-attr]
    if body in keys:
        return f"{prefix}{quote}{keys[body]}{quote}"
    if "f" not in prefix.lower():
        return literal

    def expression(match: re.Match[str]) -> str:
        inside = re.sub(r"(?<![\w'\"])[A-Za-z_]\w*(?!['\"\w])", lambda m: names.get(m[0], m[0]), match[0])
        return re.sub(r"(['\"])(\w+)\1", lambda m: f"{m[1]}{keys.get(m[2], m[2])}{m[1]}", inside)

    return f"{prefix}{quote}{re.sub(r'(?<!{){[^{}]+}', expression, body)}{quote}"


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does `gemtune init` recognize other people's files? Labelled sets, rewritten as people would bring them.

Every set is written as CSV with semicolons in the encoding of its language's office programs, as UTF-16 TSV, as Excel
and as JSON lines; with names of columns in its language, with names that say nothing, and beside columns of ids, dates,
channels, customers and splits. Counted are files whose kind of task, text or reference is guessed wrong. Prints a line
a set and exits 1 above 5 %.

    python -m bench.init_guesses --data DIR [--rows 300] [--only TEXT]
    python -m bench.init_guesses --data DIR --verdicts --rows 600    # half a CPU minute a set

With --verdicts one file of each set goes through `gemtune init FILE --yes` and `gemtune run` with the scripted engine,
without an edit: a run ends with a verdict (exit code 0, 3 or 4; 4 also for sets with too few rows). Counted are files
that are guessed wrong or end without a verdict. A training of the student would take minutes a set.

DIR holds data sets as KIND/NAME/SPLIT.jsonl or .jsonl.gz.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.public_data import ANY_SET, data_folder
from gemtune.cli.init import init
from gemtune.config import Config
from gemtune.errors import UserError

Row = dict[str, Any]
_FIELDS = {
    "classification": ("text", "label", "classification"),
    "sentiment": ("text", "label", "sentiment"),
    "extraction": ("text", "fields", "extraction"),
    "summarization": ("text", "summary", "summarization"),
    "preference": ("prompt", "chosen", ""),
}
_ENCODINGS = {"ja": "cp932", "ko": "cp949", "zh": "gb18030", "en": "cp1252"}
_NAMES = {
    "ja": {"text": "お問い合わせ内容", "label": "区分", "fields": "抽出項目", "summary": "要約文"},
    "ko": {"text": "문의 내용", "label": "분류", "fields": "개체명", "summary": "요약문"},
    "zh": {"text": "评论内容", "label": "情感标签", "fields": "实体列表", "summary": "摘要"},
    "en": {"text": "Ticket body", "label": "Issue Category", "fields": "extractedEntities", "summary": "TL;DR summary"},
}
_ODD = {"text": "F1", "label": "F2", "fields": "F2", "summary": "F2"}
_CHANNELS, _SPLITS = ("web", "mail", "phone", "app"), ("train", "train", "train", "test")


def language(name: str) -> str:
    """The language of a set, by its name."""
    korean = name.startswith("ko")
    return "ja" if name.startswith("j") else "ko" if korean else "zh" if name.startswith("zh") else "en"


def read(path: Path, count: int) -> list[Row]:
    """Rows of a file, sampled by seed."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(7).shuffle(rows)
    return rows[:count]


def variants(rows: list[Row], fields: tuple[str, str], lang: str) -> Iterator[tuple[str, str, str, list[Row]]]:
    """(name, text column, target column, rows) for each way to name and surround the columns."""
    text, target = fields
    for name, names in (("own", {}), ("translated", _NAMES[lang]), ("odd", _ODD)):
        renamed = {field: names.get(field, field) for field in fields}
        yield name, renamed[text], renamed[target], [{renamed[f]: row[f] for f in fields} for row in rows]
    rng, names = random.Random(1), _NAMES[lang]
    surrounded = [
        {
            "id": f"T-{number:05}",
            "created_at": f"2026-{1 + number % 9:02}-{1 + number % 28:02} 10:{number % 60:02}",
            "channel": rng.choice(_CHANNELS),
            names.get(target, target): row[target],
            "customer": f"C{rng.randrange(len(rows) // 3):04}",
            "subset": rng.choice(_SPLITS),
            names.get(text, text): row[text],
        }
        for number, row in enumerate(rows)
    ]
    yield "surrounded", names.get(text, text), names.get(target, target), surrounded
    order = list(surrounded[0])
    numbered = {name: f"F{number}" for number, name in enumerate(order, 1)}
    nameless = [{numbered[name]: row[name] for name in order} for row in surrounded]
    yield "nameless", numbered[names.get(text, text)], numbered[names.get(target, target)], nameless


def files(folder: Path, rows: list[Row], encoding: str) -> Iterator[Path]:
    """The rows as CSV with semicolons, as UTF-16 TSV, as Excel and as JSON lines."""
    cells = [{k: json.dumps(v, ensure_ascii=False) if isinstance(v, dict) else v for k, v in r.items()} for r in rows]
    table = pd.DataFrame(cells)
    encodable = table.map(lambda v: v.encode(encoding, "ignore").decode(encoding) if isinstance(v, str) else v)
    encodable.to_csv(folder / "export.csv", index=False, sep=";", encoding=encoding)
    yield folder / "export.csv"
    table.to_csv(folder / "export.tsv", index=False, sep="\t", encoding="utf-16")
    yield folder / "export.tsv"
    plain = table.map(lambda v: "".join(c for c in v if c in "\n\t" or c >= " ") if isinstance(v, str) else v)
    plain.map(lambda v: v[:30000] if isinstance(v, str) else v).to_excel(folder / "export.xlsx", index=False)
    yield folder / "export.xlsx"
    (folder / "export.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    yield folder / "export.jsonl"


def wrong(path: Path, folder: Path, kind: str, text: str, target: str) -> str:
    """What is guessed wrong for a file; "" when all is right."""
    out = folder / "guess.yaml"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            init(str(path), out, "", {"kind": "", "text": "", "target": ""}, interactive=False, force=True)
    except UserError as error:
        return f"refused: {error}"
    config = Config.load(out)
    if kind == "preference":
        columns = (config.preference.prompt_column, config.preference.chosen_column)
        return "" if config.method == kind and columns == (text, target) else f"method {config.method}, {columns}"
    rules = config.preprocess
    guessed = (config.task.kind, rules.text_column, rules.target_column)
    kinds = {kind, "classification"} if kind == "sentiment" else {kind}  # the same task under another instruction
    kinds |= {"generation"} if kind == "summarization" else set()
    return "" if guessed[0] in kinds and guessed[1:] == (text, target) else f"guessed {guessed}"


def verdict(path: Path, folder: Path) -> int:
    """The exit code of the two commands from a file to a verdict."""
    name = folder / "own.yaml"
    for words in (["init", str(path), "--yes", "--out", str(name)], ["run", str(name), "--engine", "scripted"]):
        done = subprocess.run([sys.executable, "-m", "gemtune", *words], cwd=folder, capture_output=True, text=True)
        if done.returncode not in (0, 3, 4):
            print(done.stdout[-500:], done.stderr[-500:])
            break
    return done.returncode


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=300, help="rows of each set")
    parser.add_argument("--only", default="", help="only sets whose path contains this text")
    parser.add_argument("--verdicts", action="store_true", help="run one file of each set to a verdict")
    arguments = parser.parse_args()
    root = data_folder(parser, arguments.data, [ANY_SET], "keys such as text and label")
    tried = failed = 0
    for kind, (text, target, expected) in _FIELDS.items():
        for name in sorted(path.name for path in (root / kind).glob("*") if path.is_dir()):
            if arguments.only not in f"{kind}/{name}":
                continue
            source = max((root / kind / name).glob("*.jsonl*"), key=lambda path: path.stat().st_size)
            rows, problems = read(source, arguments.rows), []
            fields = (text, target, *(["rejected"] if kind == "preference" else []))
            lang = language(name)
            own = [("own", text, target, [{f: row[f] for f in fields} for row in rows])]
            varied_rows = own if kind == "preference" else list(variants(rows, (text, target), lang))
            if arguments.verdicts:
                varied_rows = [varied_rows[len(name) % len(varied_rows)]]
            for variant, text_name, target_name, varied in varied_rows:
                with tempfile.TemporaryDirectory() as folder:
                    written = list(files(Path(folder), varied, _ENCODINGS[lang]))
                    for path in [written[len(name) % len(written)]] if arguments.verdicts else written:
                        problem = wrong(path, Path(folder), expected or kind, text_name, target_name)
                        if arguments.verdicts and not problem:
                            code = verdict(path, Path(folder))
                            problem = "" if code in (0, 3, 4) else f"exit code {code}"
                            print(f"{kind}/{name} {variant}{path.suffix}: exit code {code}", flush=True)
                        tried += 1
                        problems += [f"{variant} {path.suffix}: {problem:.200}"] if problem else []
            failed += len(problems)
            print(f"{kind}/{name}: {len(problems)} wrong", *problems, sep="\n    ", flush=True)
    outcome = "guessed wrong or without a verdict" if arguments.verdicts else "guessed wrong"
    print(f"{failed} of {tried} files {outcome} ({failed / max(1, tried):.1%}; at most 5 %)")
    sys.exit(failed > 0.05 * tried)


if __name__ == "__main__":
    main()

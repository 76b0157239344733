# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of public data sets that some benchmarks read; they are not shipped, so the command line names it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemtune.data.example import RejectedRow
from gemtune.data.readers import read_rows

ANY_SET = "KIND/NAME/SPLIT"  # every data set in the folder is read


def data_folder(parser: argparse.ArgumentParser, folder: Path | None, files: Sequence[str], keys: str) -> Path:
    """The folder of `--data`; without it, or without one of the files in it, the command ends and lists them.

    `files` are names without suffix, such as ratings/realsumm/all; `keys` are what each row has.
    """
    missing = [name for name in files if folder is None or not _files(folder, name)]
    if folder is None or missing:
        layout = "\n".join(f"  {name}.jsonl" for name in files)
        problem = "--data DIR is required" if folder is None else f"--data {folder}: {missing[0]}.jsonl is missing"
        parser.error(f"{problem}; the folder must hold JSON lines, gzipped (.jsonl.gz) or not, with {keys}:\n{layout}")
    return folder


def data_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """All rows of a file, which is named without its suffix."""
    return [item[1] for item in read_rows(_files(folder, name)[0]) if not isinstance(item, RejectedRow)]


def _files(folder: Path, name: str) -> list[Path]:
    pattern = "*/*/*" if name == ANY_SET else name
    return sorted([*folder.glob(f"{pattern}.jsonl"), *folder.glob(f"{pattern}.jsonl.gz")])
